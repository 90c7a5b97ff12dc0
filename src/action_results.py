"""The results of actions, within the sizes that Juju accepts."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from ckf_airgap.deployment.deployer import Outcome
from ckf_airgap.deployment.mirror_trial import MirrorTrial
from ckf_airgap.deployment.preflight import Level, PreflightResult
from ckf_airgap.deployment.verification import Verification
from ckf_airgap.images.reference import ImageReference
from ckf_airgap.kubernetes.user_pull_secrets import PullSecretChanges
from ckf_airgap.mirrors.original_names import OriginalNames
from ckf_airgap.planning.plan import Plan
from ckf_airgap.push.pusher import PushResult
from ckf_airgap.upgrades.rendering import walk_table
from ckf_airgap.upgrades.walk_steps import Walk

# Juju accepts 100 kB of results in total.
_LONGEST_DOCUMENT = 32_000
_LONGEST_LIST = 6_000
_SEE_PLAN = "`ckf-airgap plan` on a workstation"
_CERTIFICATE = "the certificates of the option registry-ca and of the relation receive-ca-cert\n"


def of_push(result: PushResult) -> dict[str, object]:
    """Return the results of a push: the number of images and bytes."""
    return {
        "pushed-images": len(result.pushed),
        "present-images": result.present,
        "uploaded-bytes": result.uploaded_bytes,
        "passed-over-files": len(result.inventory.passed_over),
    }


def of_plan(plan: Plan) -> dict[str, object]:
    """Return the results of a plan: its content, and what is missing."""
    return {
        "applications": len(plan.applications),
        "excluded": ", ".join(item.name for item in plan.excluded) or "none",
        "missing-images": listed(plan.missing, see=_SEE_PLAN),
        "missing-charms": listed(plan.missing_charms, see=_SEE_PLAN),
        "left-out": ", ".join(item.name for item in plan.incomplete) or "none",
        "warnings": listed(plan.warnings, see=_SEE_PLAN),
    }


def of_rendered(plan: Plan, bundle: str, report: str) -> dict[str, object]:
    """Return the results of render-bundle.

    Args:
        plan: The plan.
        bundle: The bundle that would be deployed.
        report: How each image was found.
    """
    return {
        "bundle": shortened(bundle, see=_SEE_PLAN),
        "report": shortened(report, see=_SEE_PLAN),
        **of_plan(plan),
    }


def of_changes(changes: Sequence[str]) -> dict[str, object]:
    """Return the results of a deployment: what was changed."""
    count = len(changes)
    return {
        "changes": listed(changes),
        "result": f"{count} changes" if changes else "nothing to do: the model is as planned",
    }


def of_outcome(outcome: Outcome, unit: str) -> dict[str, object]:
    """Return the results of a deployment or a refresh.

    Args:
        outcome: The outcome.
        unit: The name of this unit, for the command that comes next.
    """
    results = of_changes(outcome.changes)
    if outcome.outdated:
        results["outdated"] = (
            f"{', '.join(outcome.outdated)} run charms or images that differ from these archives: "
            f"juju run {unit} refresh"
        )
    return results


def of_mirrors(
    names: OriginalNames,
    lacking: Mapping[ImageReference, str],
    files: Mapping[str, Mapping[str, str]],
) -> dict[str, object]:
    """Return the results of the action mirrors: the files for each container runtime.

    Args:
        names: The original names of the images.
        lacking: The names that the registry cannot serve, with the reason.
        files: The files for each runtime, by their paths. The result has a note in place of the
            CA certificates, because the operator already has them.
    """
    texts = {
        runtime: "\n".join(
            f"==> {path} <==\n{_CERTIFICATE if path.endswith('.crt') else content}"
            for path, content in sorted(contents.items())
        )
        for runtime, contents in files.items()
    }
    if sum(len(text.encode()) for text in texts.values()) > _LONGEST_DOCUMENT:
        command = f"ckf-airgap mirrors --images images.tar.gz --registry {names.location}"
        texts = dict.fromkeys(texts, f"too long for a result: run {command} on a workstation")
    return {
        **texts,
        "registries": ", ".join(names.hosts),
        "found-images": len(names.paths) - len(lacking),
        "not-found": listed(f"{name}: {why}" for name, why in lacking.items()),
        "without-registry": listed(names.unknown),
    }


def of_walk(walk: Walk) -> dict[str, object]:
    """Return the steps of a planned upgrade, and the backups to make first."""
    return {"walk": shortened(walk_table(walk)), "steps": len(walk.steps)}


def of_verification(verification: Verification) -> dict[str, object]:
    """Return the results of a verification."""
    not_active = (f"{unit}: {status}" for unit, status in verification.not_active.items())
    mirrored = verification.images.mirrored
    lacking = verification.without_pull_secret
    return {
        "namespaces": ", ".join(verification.namespaces),
        "containers": verification.images.containers,
        "not-active": listed(not_active),
        "foreign-images": listed(verification.images.foreign),
        "failed-pulls": listed(verification.images.not_pulled),
        "not-as-planned": listed(verification.not_as_planned),
        "not-looked-at": verification.not_compared or "none",
        **({"mirrored-images": listed(mirrored)} if mirrored else {}),
        **({"mirrors": _mirrors(verification.mirrors)} if verification.mirrors else {}),
        **({"without-pull-secret": ", ".join(lacking)} if lacking else {}),
    }


def of_pull_secrets(result: PullSecretChanges) -> dict[str, object]:
    """Return the results of user-pull-secrets: the changes in users' namespaces."""
    count = len(result.changes)
    return {
        "namespaces": result.namespaces,
        "changes": listed(result.changes),
        "not-done": listed(result.problems),
        "result": f"{count} changes" if count else "nothing to do",
    }


def _mirrors(trial: MirrorTrial) -> str:
    not_tried = (f"{host}: the registry has no image from this host" for host in trial.not_tried)
    return listed([*trial.tried, *not_tried])


def of_preflight(preflight: PreflightResult, unit: str) -> dict[str, object]:
    """Return the results of the preflight checks.

    Args:
        preflight: The result of the checks.
        unit: The name of this unit, for the command that comes next.
    """
    count = Counter(finding.level for finding in preflight.findings)
    next_step = "refresh" if preflight.walk else "deploy"
    return {
        "findings": shortened("\n".join(map(str, preflight.findings))),
        "errors": count[Level.ERROR],
        "warnings": count[Level.WARNING],
        **(of_walk(preflight.walk) if preflight.walk else {}),
        **({} if preflight.errors else {"result": f"ready: juju run {unit} {next_step}"}),
    }


def listed(items: Iterable[object], see: str = "") -> str:
    """Write one item per line, as many as fit; ``none`` if there are none.

    Args:
        items: The items.
        see: As for ``shortened``.
    """
    return shortened("\n".join(map(str, items)), _LONGEST_LIST, see) or "none"


def shortened(text: str, longest: int = _LONGEST_DOCUMENT, see: str = "") -> str:
    """Shorten a text to what Juju accepts, and replace characters that hook tools reject.

    Args:
        text: The text; lines are kept.
        longest: The maximum size, in bytes.
        see: Where the whole text is shown, if anywhere.
    """
    text = "".join(
        c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text
    )
    content = text.encode()
    if len(content) <= longest:
        return text
    place = f"; see {see}" if see else ""
    return f"{content[:longest].decode(errors='ignore')}\n... cut: too long for Juju{place}"

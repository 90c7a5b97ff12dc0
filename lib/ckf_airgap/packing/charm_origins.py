"""The charms that a bundle or a channel map names, and where to download each."""

from collections.abc import Mapping
from typing import Any, cast

from ckf_airgap.charms.charm_reference import REVISION
from ckf_airgap.errors import AirgapError, ConfigurationError, join_errors
from ckf_airgap.files.untrusted_yaml import DocumentError, load_strings
from ckf_airgap.juju.charm_download import CharmOrigin
from ckf_airgap.juju.juju_names import is_charm
from ckf_airgap.planning.bundle_and_overlay import read_bundle
from ckf_airgap.planning.topology import TopologyApplication


def charms_of_bundle(text: str, *, from_files: bool = False) -> tuple[CharmOrigin, ...]:
    """List the charms that a bundle deploys.

    Args:
        text: The bundle (Juju's documentation, "Bundle").
        from_files: Whether the operator has the charm files; otherwise all come from Charmhub.

    Returns:
        The charms, sorted by name, each once.

    Raises:
        ConfigurationError: The text is not a bundle, names no applications, deploys a charm from
            two sources, or, without ``from_files``, from a file.
    """
    found: dict[str, CharmOrigin] = {}
    failures: list[AirgapError] = []
    for application in read_bundle(text).applications:
        reference = application.reference
        if reference and reference.is_file and not from_files:
            failures.append(
                ConfigurationError(
                    f"the bundle deploys {application.name} from a file, not from Charmhub",
                    "give the directory of the charms with --charms",
                )
            )
            continue
        origin = _application_origin(application)
        other = found.setdefault(origin.name, origin)
        if other != origin:
            failures.append(
                ConfigurationError(
                    f"the bundle deploys {other} and {origin}",
                    "give both applications the same channel, base and revision: charms.tar.gz "
                    "contains each charm once",
                )
            )
    if failures:
        raise join_errors(failures, "applications of the bundle cannot be packed")
    return tuple(found[name] for name in sorted(found))


def charms_of_channel_map(text: str) -> tuple[CharmOrigin, ...]:
    """List the charms of a channel map.

    Args:
        text: YAML: charm -> channel, or charm -> a map of channel, base, revision.

    Returns:
        The charms, sorted by name.

    Raises:
        ConfigurationError: The text is not such a map, or a charm or revision in it is invalid.
    """
    document = _channel_map(text)
    origins: list[CharmOrigin] = []
    for name, body in sorted(document.items()):
        details = {"channel": body} if body and isinstance(body, str) else body
        if not isinstance(details, dict) or set(cast(dict[str, Any], details)) - {
            "channel",
            "base",
            "revision",
        }:
            raise ConfigurationError(
                f"the entry of {name} in the channel map is invalid",
                "write CHARM: CHANNEL, for example argo-controller: 3.4/stable, or CHARM: "
                "{channel, base, revision}",
            )
        origins.append(_entry_origin(name, cast(dict[str, Any], details)))
    return tuple(origins)


def _channel_map(text: str) -> Mapping[str, Any]:
    try:
        document = load_strings(text)
    except DocumentError as error:
        raise ConfigurationError(
            f"the channel map is not valid YAML{error}", "correct it"
        ) from error
    if not isinstance(document, dict) or not document:
        raise ConfigurationError("the channel map is not a map", "give a YAML file with a map")
    return {str(key): value for key, value in cast(dict[Any, Any], document).items()}


def _application_origin(application: TopologyApplication) -> CharmOrigin:
    """Return the source of an application's charm; for a charm file, only the charm's name."""
    reference = application.reference
    if reference is None or reference.is_file:
        return CharmOrigin(application.charm)
    return CharmOrigin(
        application.charm, application.channel, application.base, reference.revision
    )


def _entry_origin(name: str, details: Mapping[str, Any]) -> CharmOrigin:
    if not is_charm(name):
        raise ConfigurationError(
            f"{name[:80]!r} is not the name of a charm", "write it as Charmhub does"
        )
    revision = details.get("revision")
    if revision is not None and not REVISION.fullmatch(str(revision)):
        raise ConfigurationError(f"the revision of {name} is {revision!r}", "give a number")
    channel, base = details.get("channel"), details.get("base")
    return CharmOrigin(
        name,
        str(channel) if channel else None,
        str(base).partition("/")[0] if base else None,
        None if revision is None else int(revision),
    )

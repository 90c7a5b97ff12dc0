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
        ConfigurationError: It is not a bundle, deploys a charm from two sources, or no charm.
    """
    found: dict[str, CharmOrigin] = {}
    failures: list[AirgapError] = []
    for item in read_bundle(text).applications:
        if item.reference and item.reference.is_file and not from_files:
            failures.append(
                ConfigurationError(
                    f"the bundle deploys {item.name} from a file, not from Charmhub",
                    "give the directory of the charms with --charms",
                )
            )
            continue
        origin = _origin(item)
        other = found.setdefault(origin.name, origin)
        if other != origin:
            failures.append(
                ConfigurationError(
                    f"the bundle deploys {other} and {origin}",
                    "charms.tar.gz contains each charm once: give both applications the same one",
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
        ConfigurationError: It is not such a map.
    """
    document = _document(text, "the channel map")
    origins: list[CharmOrigin] = []
    for name, body in sorted(document.items()):
        details = {"channel": body} if body and isinstance(body, str) else body
        if not isinstance(details, dict) or set(cast(dict[str, Any], details)) - {
            "channel",
            "base",
            "revision",
        }:
            raise ConfigurationError(
                f"the channel map gives no channel for {name}",
                "write CHARM: CHANNEL, for example argo-controller: 3.4/stable",
            )
        origins.append(_charm(name, cast(dict[str, Any], details)))
    return tuple(origins)


def _document(text: str, what: str) -> Mapping[str, Any]:
    try:
        document = load_strings(text)
    except DocumentError as error:
        raise ConfigurationError(f"{what} is not valid YAML{error}", "correct it") from error
    if not isinstance(document, dict) or not document:
        raise ConfigurationError(f"{what} is not a map", "give a YAML file with a map")
    return {str(key): value for key, value in cast(dict[Any, Any], document).items()}


def _origin(item: TopologyApplication) -> CharmOrigin:
    """Return the source of an application's charm; for a file, only its name."""
    reference = item.reference
    if reference is None or reference.is_file:
        return CharmOrigin(item.charm)
    return CharmOrigin(item.charm, item.channel, item.base, reference.revision)


def _charm(name: str, details: Mapping[str, Any]) -> CharmOrigin:
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

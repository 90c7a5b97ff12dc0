"""charms.tar.gz: ``.charm`` files side by side, as ``juju download`` and the scripts leave them.

The charms are idle stand-ins. What they state about themselves is what the real ones state; all
they do is to set their unit active. Those of Istio can do more: see ``CharmOptions``.
"""

import hashlib
import io
import tarfile
import zipfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from tests.sample_release.compression import Compressor, gzip_writer
from tests.sample_release.istio import acting_files
from tests.sample_release.layers import add_bytes
from tests.sample_release.release import Charm, Container, Option, Resource, Storage

_DISPATCH = "#!/bin/sh\nstatus-set active\n"
_CHARM_TIME = (2024, 1, 1, 0, 0, 0)
# A stand-in is a script, so it runs on any base; Juju 4 takes no charm that names none.
_MANIFEST = {
    "charmcraft-version": "3.5.0",
    "bases": [{"name": "ubuntu", "channel": "24.04", "architectures": ["amd64"]}],
}
_STYLES = 4


@dataclass(frozen=True)
class CharmOptions:
    """How to make charms.tar.gz.

    Attributes:
        podspec_as_sidecar: Whether a podspec charm, which Juju 4 does not deploy, becomes a
            sidecar charm with the same resources, options, storage and endpoints. Together with
            the one base of all stand-ins it lets Juju 4, which changes no base either, take the
            releases that a Juju 3 upgrades from podspec charms and from base to base.
        acting_istio: Whether istio-pilot refuses to jump over versions, and istio-gateway makes
            its Deployment, as the real ones do.
        keep_assumes: Whether ``assumes`` stays where it rules Juju 4 out, as that of mysql-k8s.
        left_out: Charms that are not packed.
        without_metadata: Charms whose file has no metadata.yaml.
        duplicated: Charms that are there in two files.
        compressor: What compresses; by default the best there is.
    """

    podspec_as_sidecar: bool = False
    acting_istio: bool = False
    keep_assumes: bool = False
    left_out: frozenset[str] = frozenset()
    without_metadata: frozenset[str] = frozenset()
    duplicated: frozenset[str] = frozenset()
    compressor: Compressor | None = None


@dataclass(frozen=True)
class PackedCharm:
    """One file in charms.tar.gz.

    Attributes:
        charm: The name of the charm.
        file_name: The name of the file.
        size: Its size in bytes.
    """

    charm: str
    file_name: str
    size: int


@dataclass(frozen=True)
class CharmArchive:
    """A charms.tar.gz that was made.

    Attributes:
        path: Where it is.
        charms: What is in it, in its order.
    """

    path: Path
    charms: tuple[PackedCharm, ...]


def write_charm_archive(
    charms: Sequence[Charm], path: Path, options: CharmOptions | None = None
) -> CharmArchive:
    """Write charms.tar.gz.

    Args:
        charms: The charms.
        path: The file to write.
        options: How.

    Raises:
        ValueError: An option names a charm that is not among the charms.
    """
    options = options or CharmOptions()
    _check(options, {charm.name for charm in charms})
    files: dict[str, tuple[str, bytes]] = {}
    packed = [charm for charm in charms if charm.name not in options.left_out]
    for number, charm in enumerate(packed):
        content = charm_file(charm, options)
        name = charm_file_name(charm.name, content, number)
        if name in files:
            # Several of one name, in a style that does not tell them apart.
            name = charm_file_name(charm.name, content, 0)
        files[name] = (charm.name, content)
        if charm.name in options.duplicated:
            # One revision more: another file, another digest, another name.
            other = charm_file(charm, options, {"version": "2\n"})
            files[charm_file_name(charm.name, other, number + 1)] = (charm.name, other)
    ordered = sorted(files.items())
    with (
        gzip_writer(path, options.compressor or Compressor.best()) as stream,
        tarfile.open(fileobj=stream, mode="w|", format=tarfile.GNU_FORMAT) as archive,
    ):
        for file_name, (_, content) in ordered:
            add_bytes(archive, file_name, content)
    return CharmArchive(
        path, tuple(PackedCharm(name, file, len(content)) for file, (name, content) in ordered)
    )


def charm_file_name(name: str, content: bytes, number: int) -> str:
    """Give a charm's file a name in one of the four styles that are in use.

    Args:
        name: The name of the charm.
        content: The content of the file.
        number: The number of the file, which chooses the style.
    """
    digest = hashlib.sha256(content).hexdigest()
    revision = 100 + int(digest[:4], 16) % 900
    return (
        f"{name}_{digest[:7]}.charm",
        f"{name}_r{revision}.charm",
        f"{name}.charm",
        f"{name}_ubuntu-20.04-amd64.charm",
    )[number % _STYLES]


def charm_file(
    charm: Charm, options: CharmOptions | None = None, more_files: Mapping[str, str] | None = None
) -> bytes:
    """Make one ``.charm`` file.

    Args:
        charm: The charm.
        options: How to make it.
        more_files: Other files to put into it: path to content.
    """
    options = options or CharmOptions()
    charm = _stand_in(charm, options)
    files = {
        "metadata.yaml": _yaml(metadata(charm)),
        "manifest.yaml": _yaml(_MANIFEST),
        "dispatch": _DISPATCH,
        **(acting_files(charm) if options.acting_istio else {}),
        **charm.default_files,
        **(more_files or {}),
    }
    # Charms without options have no config.yaml.
    if charm.options:
        files["config.yaml"] = _yaml({"options": dict(map(_option, charm.options))})
    if charm.name in options.without_metadata:
        del files["metadata.yaml"]
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for path, text in sorted(files.items()):
            entry = zipfile.ZipInfo(path, _CHARM_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            # Juju takes the mode of a file from the upper half, as Unix wrote it there.
            entry.create_system = 3
            entry.external_attr = (0o100755 if path == "dispatch" else 0o100644) << 16
            archive.writestr(entry, text)
    return content.getvalue()


def metadata(charm: Charm) -> dict[str, Any]:
    """Give the content of a charm's metadata.yaml."""
    document: dict[str, Any] = {"name": charm.name} | charm.details
    for endpoint in charm.endpoints:
        ends = document.setdefault(endpoint.role, {})
        ends[endpoint.name] = {"interface": endpoint.interface} | endpoint.details
    parts = {
        "containers": dict(map(_container, charm.containers)),
        "resources": dict(map(_resource, charm.resources)),
        "storage": {storage.name: storage.details for storage in charm.storages},
    }
    return document | {key: value for key, value in parts.items() if value}


def _stand_in(charm: Charm, options: CharmOptions) -> Charm:
    if charm.podspec and options.podspec_as_sidecar:
        charm = _as_sidecar(charm)
    assumes = str(charm.details.get("assumes", ""))
    if "juju <" in assumes and not options.keep_assumes:
        details = {key: value for key, value in charm.details.items() if key != "assumes"}
        charm = replace(charm, details=details)
    kinds = {resource.kind for resource in charm.resources}
    if kinds == {"oci-image", "file"}:
        # Juju 4.1-beta2 loses a resource where one charm has both kinds; the image matters here.
        images = tuple(resource for resource in charm.resources if resource.kind == "oci-image")
        charm = replace(charm, resources=images)
    return charm


def _as_sidecar(charm: Charm) -> Charm:
    """Make a podspec charm one that Juju 4 can deploy.

    It is no longer what the release holds, only something with the same inputs and relations: a
    container for each image, the storage mounted in the first of them. Where that was mounted the
    storage still says: so its declaration differs from that of a charm that never was podspec, and
    no refresh leads from one to the other here either.
    """
    dropped = ("series", "deployment", "min-juju-version")
    mounts = [
        {"storage": storage.name, "location": storage.details["location"]}
        for storage in charm.storages
        if "location" in storage.details
    ]
    images = [resource.name for resource in charm.resources if resource.kind == "oci-image"]
    containers = [
        Container(
            charm.name if len(images) == 1 else f"{charm.name}-{image}",
            image,
            {"mounts": mounts} if mounts and number == 0 else {},
        )
        for number, image in enumerate(images)
    ]
    storages = [
        Storage(name=storage.name, details=_location_described(storage.details))
        for storage in charm.storages
    ]
    return replace(
        charm,
        containers=tuple(containers),
        storages=tuple(storages),
        details={key: value for key, value in charm.details.items() if key not in dropped},
    )


def _location_described(details: Mapping[str, Any]) -> dict[str, Any]:
    described = {key: value for key, value in details.items() if key != "location"}
    if "location" in details:
        described["description"] = f"Mounted at {details['location']}."
    return described


def _option(option: Option) -> tuple[str, dict[str, Any]]:
    body: dict[str, Any] = {"type": option.kind, "description": f"Option {option.name}"}
    if option.default is not None:
        body["default"] = option.default
    return option.name, body


def _resource(resource: Resource) -> tuple[str, dict[str, Any]]:
    body: dict[str, Any] = {"type": resource.kind} | resource.details
    if resource.upstream_source:
        body["upstream-source"] = resource.upstream_source
    return resource.name, body


def _container(container: Container) -> tuple[str, dict[str, Any]]:
    body = {"resource": container.resource} if container.resource else {}
    return container.name, body | container.details


def _yaml(document: object) -> str:
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)


def _check(options: CharmOptions, names: Collection[str]) -> None:
    named = options.left_out | options.without_metadata | options.duplicated
    if unknown := named - set(names):
        raise ValueError(f"not among the charms: {', '.join(sorted(unknown))}")

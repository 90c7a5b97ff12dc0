"""Writes the mirror configuration of container runtimes, with a README on where it goes.

The formats: containerd, "Registry Host Configuration" (docs/hosts.md); k3s and RKE2, "Private
Registry Configuration"; OpenShift, ImageDigestMirrorSet and ImageTagMirrorSet of
config.openshift.io/v1.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import jinja2
import yaml

from ckf_airgap.images.reference import is_repository
from ckf_airgap.images.registry_location import RegistryLocation

_CA = "ca.crt"
_RANCHER_CA = "ckf-airgap-ca.crt"
_MIRROR_SET_NAME = "ckf-airgap"
# The characters of host names, repository URLs and file names. No such character is special in a
# quoted TOML string.
_TOML_SAFE = re.compile(r"[A-Za-z0-9.:/_\[\]-]+")


@dataclass(frozen=True)
class MirrorSettings:
    """The input of the generated files.

    Attributes:
        location: The registry prefix.
        hosts: The original registries.
        ca: The registry's CA certificates (PEM); None if the nodes trust it already.
    """

    location: RegistryLocation
    hosts: Sequence[str]
    ca: str | None

    def repository(self, host: str) -> str:
        """Return the path in the registry below which the images of an original registry are."""
        return f"{self.location.path}/{host}".lstrip("/")


def runtime_files(runtime: str, settings: MirrorSettings) -> dict[str, str]:
    """Write the files for one container runtime.

    Args:
        runtime: One of ``RUNTIMES``.
        settings: The input.

    Returns:
        The content of each file, by its path below the directory of the runtime. No file contains
        credentials.
    """
    for host in settings.hosts:
        # The host becomes the name of a directory.
        if "/" in host or not is_repository(host):
            raise AssertionError(host)
    written = RUNTIMES[runtime](settings)
    page = f"{_PAGES.get(runtime, runtime)}.md"
    readme = files("ckf_airgap.mirrors").joinpath("readme", page).read_text()
    # The README is Markdown: no HTML escapes.
    template = jinja2.Environment(  # noqa: S701
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True, trim_blocks=True
    ).from_string(readme)
    text = template.render(
        runtime=runtime,
        registry=settings.location.host,
        prefix=str(settings.location),
        hosts=settings.hosts,
        has_ca=settings.ca is not None,
        example=settings.repository(settings.hosts[0]) if settings.hosts else "",
    )
    return {"README.md": text, **written}


def _containerd(settings: MirrorSettings) -> dict[str, str]:
    written: dict[str, str] = {}
    for host in settings.hosts:
        url = f"https://{settings.location.host}/v2/{settings.repository(host)}"
        rules = ['capabilities = ["pull", "resolve"]', "override_path = true"]
        if settings.ca:
            rules.append(f"ca = {_quoted(_CA)}")
            written[f"certs.d/{host}/{_CA}"] = settings.ca
        # Without server, containerd would fall back to the original registry. Some versions ignore
        # the settings of server, so a host section is needed, too.
        lines = [
            f"server = {_quoted(url)}",
            *rules,
            "",
            f"[host.{_quoted(url)}]",
            *(f"  {rule}" for rule in rules),
        ]
        written[f"certs.d/{host}/hosts.toml"] = "\n".join(lines) + "\n"
    return written


def _rancher(product: str, settings: MirrorSettings) -> dict[str, str]:
    document: dict[str, Any] = {
        "mirrors": {
            host: {
                "endpoint": [f"https://{settings.location.host}"],
                "rewrite": {"^(.*)$": f"{settings.repository(host)}/$1"},
            }
            for host in settings.hosts
        }
    }
    if settings.ca:
        tls = {"ca_file": f"/etc/rancher/{product}/{_RANCHER_CA}"}
        document["configs"] = {settings.location.host: {"tls": tls}}
    written = {"registries.yaml": yaml.safe_dump(document, sort_keys=False)}
    return written | ({_RANCHER_CA: settings.ca} if settings.ca else {})


def _openshift(settings: MirrorSettings) -> dict[str, str]:
    mirrors = [
        {
            "source": host,
            "mirrors": [f"{settings.location.host}/{settings.repository(host)}"],
            "mirrorSourcePolicy": "NeverContactSource",
        }
        for host in settings.hosts
    ]
    documents = [
        {
            "apiVersion": "config.openshift.io/v1",
            "kind": kind,
            "metadata": {"name": _MIRROR_SET_NAME},
            "spec": {key: mirrors},
        }
        for kind, key in (
            ("ImageDigestMirrorSet", "imageDigestMirrors"),
            ("ImageTagMirrorSet", "imageTagMirrors"),
        )
    ]
    dumper = _WithoutAliases
    written = {
        "mirror-sets.yaml": yaml.dump_all(documents, Dumper=dumper, sort_keys=False),
    }
    return written | ({_CA: settings.ca} if settings.ca else {})


class _WithoutAliases(yaml.SafeDumper):
    """Writes repeated values in full, without YAML anchors and aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _quoted(text: str) -> str:
    """Quote a TOML string; these files contain only strings that need no escapes."""
    if not _TOML_SAFE.fullmatch(text):
        raise AssertionError(text)
    return f'"{text}"'


RUNTIMES: Mapping[str, Callable[[MirrorSettings], dict[str, str]]] = {
    "containerd": _containerd,
    "k3s": lambda settings: _rancher("k3s", settings),
    "rke2": lambda settings: _rancher("rke2", settings),
    "openshift": _openshift,
}
"""The supported container runtimes, each with the function that writes its files."""
_PAGES = {"k3s": "rancher", "rke2": "rancher"}
ALL_RUNTIMES = "all"
"""The choice that means every runtime."""


def chosen_runtimes(choice: str) -> tuple[str, ...]:
    """Return the runtimes for a choice: one of ``RUNTIMES``, or ``ALL_RUNTIMES``."""
    return tuple(RUNTIMES) if choice == ALL_RUNTIMES else (choice,)

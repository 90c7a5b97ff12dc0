"""The files that container runtimes read their mirrors from, with a page on where they go.

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
_NAME = "ckf-airgap"
# What host names, URLs of repositories and the names of these files consist of. None of it has a
# meaning of its own in a quoted string of TOML.
_PLAIN = re.compile(r"[A-Za-z0-9.:/_\[\]-]+")


@dataclass(frozen=True)
class MirrorSettings:
    """What the files are made from.

    Attributes:
        location: The registry prefix.
        hosts: The original registries.
        ca: PEM certificates of the registry's authority, or None for those of the nodes' system.
    """

    location: RegistryLocation
    hosts: Sequence[str]
    ca: str | None

    def repository(self, host: str) -> str:
        """Return the part of the registry, without its host, that mirrors an original one."""
        return f"{self.location.path}/{host}".lstrip("/")


def runtime_files(runtime: str, settings: MirrorSettings) -> dict[str, str]:
    """Write the files for one container runtime.

    Args:
        runtime: One of ``RUNTIMES``.
        settings: What they are made from.

    Returns:
        The content of each file, by its path below the directory of the runtime. There is no
        account in any of them.
    """
    for host in settings.hosts:
        # The host becomes the name of a directory.
        if "/" in host or not is_repository(host):
            raise AssertionError(host)
    written = RUNTIMES[runtime](settings)
    readme = files("ckf_airgap.mirrors").joinpath("readme", f"{runtime}.md").read_text()
    # The README is Markdown: no HTML escapes.
    template = jinja2.Environment(  # noqa: S701
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True, trim_blocks=True
    ).from_string(readme)
    text = template.render(
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
        # Without a server, the last one asked would be the original registry. Some versions ignore
        # the rules of the server, so that it alone would not do.
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
            "metadata": {"name": _NAME},
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
    """Writes what stands twice twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _quoted(text: str) -> str:
    """Write a string of TOML; all that these files have are plain ones."""
    if not _PLAIN.fullmatch(text):
        raise AssertionError(text)
    return f'"{text}"'


RUNTIMES: Mapping[str, Callable[[MirrorSettings], dict[str, str]]] = {
    "containerd": _containerd,
    "k3s": lambda settings: _rancher("k3s", settings),
    "rke2": lambda settings: _rancher("rke2", settings),
    "openshift": _openshift,
}
"""The container runtimes that files can be written for."""
ALL_RUNTIMES = "all"
"""What stands for all of them where one can be chosen."""


def chosen_runtimes(choice: str) -> tuple[str, ...]:
    """Return the runtimes that an operator means by one of them, or by ``ALL_RUNTIMES``."""
    return tuple(RUNTIMES) if choice == ALL_RUNTIMES else (choice,)

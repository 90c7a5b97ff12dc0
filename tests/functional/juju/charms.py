"""Charm files and bundles to deploy, with everything that the client passes on."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from ckf_airgap.juju.juju_model import JujuModel
from ckf_airgap.juju.juju_values import LocalApplication, OptionValue, Side
from tests.sample_release import Charm as SampleCharm
from tests.sample_release import charm_file
from tests.sample_release.release import Container, Endpoint, Option, Resource, Storage

PASSWORD = "correct horse: battery 'staple' --debug @x"


IMAGE = "registry.corp:5000/ckf/minio/minio:1"


RELATION = (Side("kfp-api", "object-storage"), Side("minio", "object-storage"))


Login = Callable[..., JujuModel]


MINIO = SampleCharm(
    "minio",
    resources=(Resource("oci-image", "oci-image", "minio/minio:1"),),
    options=(
        Option("mode", "string", "server"),
        Option("motd", "string", None),
        Option("port", "int", 9000),
        Option("ratio", "float", 0.5),
        Option("secure", "boolean", False),
    ),
    endpoints=(Endpoint("object-storage", "provides", "object-storage"),),
    containers=(Container("minio", "oci-image"),),
    storages=(Storage("minio-data", {"type": "filesystem", "location": "/data"}),),
    # The client takes no charm without them.
    details={"summary": "Storage", "description": "Stores objects"},
)


PODSPEC = replace(MINIO, containers=(), details={**MINIO.details, "series": ["kubernetes"]})


# What a value of an option may be, each for an option of its own.
TEXTS = [
    "",
    "--force",
    "-m",
    "--",
    "~",
    "~/.ssh/id_rsa",
    "a=b=c",
    "=",
    "1.10",
    "007",
    "yes",
    "null",
    "{a: [1, 2]}",
    '{"gateway": "a:1"}',
    "two\nlines\n",
    "\n\t x \r\n",
    "$HOME `id` 'q' \"d\" \\n %s",
    "Grüße \u2028 \U0001f600 \ufeff",
    "\x07\x1b[0m\x85",
    "/etc/hostname",
    "x" * 100_000,
]


NUMBERS: dict[str, list[OptionValue]] = {
    "int": [0, -(2**63), 2**63 - 1],
    "float": [1e16, 1e-7, 2.0],
    "boolean": [True, False],
}
VALUES: dict[str, OptionValue] = {
    **{f"string-{number}": text for number, text in enumerate(TEXTS)},
    **{f"{kind}-{n}": each for kind, given in NUMBERS.items() for n, each in enumerate(given)},
}
MANY_OPTIONS = replace(
    MINIO, options=tuple(Option(name, name.partition("-")[0], None) for name in VALUES)
)


class Charms:
    """Charm files, and applications of them as they are planned."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def planned(
        self,
        options: dict[str, OptionValue] | None = None,
        charm: SampleCharm = MINIO,
        bases: tuple[str, ...] = ("24.04",),
        **more: Any,
    ) -> LocalApplication:
        """Plan an application ``minio`` of a charm, whose file is written."""
        manifest = {
            "bases": [
                {"name": "ubuntu", "channel": base, "architectures": ["amd64"]} for base in bases
            ]
        }
        path = self._folder / f"{charm.name}-{'-'.join(bases)}.charm"
        more_files = {"manifest.yaml": yaml.safe_dump(manifest)}
        path.write_bytes(charm_file(charm, more_files=more_files))
        planned = LocalApplication(
            name="minio",
            file=path,
            base=f"ubuntu@{bases[0]}",
            resources={"oci-image": IMAGE},
            options=options or {},
        )
        return replace(planned, **more)


def bundle(folder: Path, application: LocalApplication, **more: Any) -> Path:
    """Write a bundle with one application by hand."""
    body: dict[str, Any] = {
        "charm": str(application.file),
        "base": application.base,
        "scale": 1,
        "trust": True,
        "resources": dict(application.resources),
        "options": dict(application.options),
    }
    document = {"bundle": "kubernetes", "applications": {application.name: body | more}}
    path = folder / "bundle.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def image_of(text: str) -> dict[str, str]:
    """Read what was sent for an image."""
    return yaml.safe_load(text)

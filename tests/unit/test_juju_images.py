"""Which images each version of Juju takes for itself, and from where."""

from pathlib import Path

import pytest

from ckf_airgap.charms.charm_file import CharmFile
from ckf_airgap.juju.juju_images import all_images, default_repository, model_images
from ckf_airgap.juju.juju_version import JujuVersion

OPERATOR = "jujud-operator"


def charm(*bases: str, is_podspec: bool = False) -> CharmFile:
    return CharmFile(Path("x"), "x", "x", {}, (), {}, (), bases, is_podspec)


@pytest.mark.parametrize(
    ("version", "repository", "database"),
    [
        ("3.6-rc1", "docker.io/jujusolutions", "juju-db:4.4"),
        ("3.6.0", "docker.io/jujusolutions", "juju-db:4.4"),
        ("3.6.8", "docker.io/jujusolutions", "juju-db:4.4"),
        ("3.6.9", "ghcr.io/juju", "juju-db:4.4"),
        ("3.6.18", "ghcr.io/juju", "juju-db:4.4"),
        ("3.6.19", "ghcr.io/juju", "juju-db:4.4.30"),
        ("3.6.25.1", "ghcr.io/juju", "juju-db:4.4.30"),
        ("4.0.0", "ghcr.io/juju", None),
        ("4.1-beta2", "ghcr.io/juju", None),
    ],
)
def test_the_images_of_a_version(version: str, repository: str, database: str | None) -> None:
    juju = JujuVersion.of_option(version)
    assert default_repository(juju) == repository
    assert all_images(juju, [charm("ubuntu@22.04")]) == tuple(
        filter(
            None,
            (
                f"{OPERATOR}:{version}",
                "charm-base:ubuntu-22.04",
                database,
                "charm-base:ubuntu-24.04",
            ),
        )
    )


def test_the_controller_has_a_base_whatever_the_charms_have() -> None:
    assert all_images(JujuVersion.of_option("4.0.1"), []) == (
        f"{OPERATOR}:4.0.1",
        "charm-base:ubuntu-24.04",
    )


@pytest.mark.parametrize("bases", [(), ("ubuntu@22.04",), ("ubuntu@20.04",)])
def test_the_operator_of_a_podspec_charm_has_one_base(bases: tuple[str, ...]) -> None:
    images = model_images(JujuVersion.of_option("3.6.8"), [charm(*bases, is_podspec=True)])
    assert images == (f"{OPERATOR}:3.6.8", "charm-base:ubuntu-20.04")


def test_versions_are_in_order() -> None:
    texts = ["3.6.8", "3.6.9", "3.6.10", "3.10.0", "4.0.0"]
    versions = [JujuVersion.of_option(text) for text in texts]
    assert sorted(reversed(versions)) == versions
    assert JujuVersion.of_option("4.1-beta2").major == 4


@pytest.mark.parametrize(
    "text", ["", "latest", "3.6", "3", "3.6.8\n", "3.6.x", "\u0663.6.8", f"3.6.{'1' * 5000}"]
)
def test_what_is_not_a_version(text: str) -> None:
    assert JujuVersion.find(text) is None

"""What the client is told to change."""

import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from ckf_airgap.errors import ConfigurationError
from ckf_airgap.juju.juju_model import JujuModel
from ckf_airgap.juju.juju_status import ModelState
from ckf_airgap.juju.juju_values import OptionValue
from tests.unit.juju.fake_juju import (
    MODEL,
    RELATION,
    FakeJuju,
    planned,
)


def test_a_bundle_is_deployed_with_trust_by_its_absolute_path(
    fake: FakeJuju, model: JujuModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.answer(
        "deploy",
        "Located charm\nExecuting changes:\n"
        "- upload charm /charms/minio.charm for base ubuntu@24.04/stable\n"
        "- deploy application minio on ubuntu@24.04/stable\n"
        "- add relation kfp-api:object-storage - minio:object-storage\n"
        "Deploy of bundle completed.\n",
    )
    monkeypatch.chdir(tmp_path)
    assert model.deploy_bundle(Path("bundle.yaml")) == [
        "upload charm /charms/minio.charm for base ubuntu@24.04/stable",
        "deploy application minio on ubuntu@24.04/stable",
        "add relation kfp-api:object-storage - minio:object-storage",
    ]
    assert fake.commands == [
        ["deploy", "--model", MODEL, str(tmp_path / "bundle.yaml"), "--trust"]
    ]


def test_a_new_application_is_deployed_with_all_that_was_planned(
    fake: FakeJuju, model: JujuModel
) -> None:
    options: dict[str, OptionValue] = {"mode": "server", "port": 9000, "secure": False}
    changes = model.deploy_application(planned(options, "mem=2G cores=2"))
    assert changes == ["deploy application minio from minio_1234567.charm"]
    (command,) = fake.commands
    assert command[:5] == ["deploy", "--model", MODEL, "/charms/minio_1234567.charm", "minio"]
    assert "--trust" in command
    pairs = {f"{key}={value}" for key, value in itertools.pairwise(command)}
    assert {
        "--base=ubuntu@24.04",
        "--config=mode=server",
        "--config=port=9000",
        "--config=secure=false",
        "--constraints=mem=2G",
        "--constraints=cores=2",
        "--resource=oci-image=h:5/minio/minio:1",
    } <= pairs


@pytest.mark.parametrize(
    ("wanted", "changed"),
    [
        ({}, []),
        ({"mode": "server", "port": 9000, "secure": True}, []),
        ({"port": "9000"}, []),
        ({"largest": 2**63 - 1, "ratio": 1}, []),
        ({"mode": "gateway"}, ["mode=gateway"]),
        ({"mode": "server", "unset": "value"}, ["unset=value"]),
        ({"port": 9001, "secure": False}, ["port=9001", "secure=false"]),
    ],
)
def test_the_options_of_an_application_that_is_there_are_brought_up_to_date(
    wanted: dict[str, OptionValue], changed: list[str], fake: FakeJuju, model: JujuModel
) -> None:
    settings = {
        "mode": {"value": "server", "type": "string"},
        "port": {"value": 9000, "type": "int"},
        # The client has no more than the 53 bits of a float for it.
        "largest": {"value": 9223372036854775807 + 1, "type": "int"},
        "ratio": {"value": 1.0, "type": "float"},
        "secure": {"value": True, "type": "boolean"},
        "unset": {"type": "string"},
    }
    fake.answer("config", {"settings": settings})
    changes = model.update_options(planned(wanted))
    read, *written = fake.commands
    assert read == ["config", "--model", MODEL, "--format", "json", "minio"]
    if changed:
        assert written == [["config", "--model", MODEL, "minio", *changed]]
        names = ", ".join(setting.partition("=")[0] for setting in changed)
        assert changes == [f"set options of minio: {names}"]
    else:
        assert (written, changes) == ([], [])


def test_no_value_is_taken_for_the_name_of_a_file(fake: FakeJuju, model: JujuModel) -> None:
    """The client would set the content of the unit's own file."""
    fake.answer("config", {"settings": {"mode": {"value": "server", "type": "string"}}})
    wanted = planned({"mode": "@/var/lib/juju/agents/unit-minio-0/agent.conf"})
    for method in (model.update_options, model.deploy_application):
        with pytest.raises(ConfigurationError, match="mode of minio begins with @"):
            method(wanted)
    assert [command[0] for command in fake.commands] == ["config"]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"mode": "a\0b"}, r"^the option mode of minio has a NUL"),
        ({"mode": "é" * 70_000}, r"^the option mode of minio has 140,005 bytes"),
        (
            {f"mode-{number}": "a" * 100_000 for number in range(11)},
            r"^the options of minio have 1,100,078 bytes together",
        ),
    ],
)
def test_what_no_argument_can_hold_is_told_by_its_name(
    options: dict[str, OptionValue], problem: str, fake: FakeJuju, model: JujuModel
) -> None:
    fake.answer("config", {"settings": {}})
    for method in (model.update_options, model.deploy_application):
        with pytest.raises(ConfigurationError, match=problem):
            method(planned(options))
    assert [command[0] for command in fake.commands] == ["config"]


def test_a_new_relation_is_added(fake: FakeJuju, model: JujuModel) -> None:
    other = {RELATION[0]: frozenset({"katib-db"}), RELATION[1]: frozenset({"katib-api"})}
    state = ModelState(frozenset(), other, {})
    assert model.relate(RELATION, state) == [
        "add relation kfp-api:relational-db - kfp-db:database"
    ]
    assert fake.commands == [
        ["integrate", "--model", MODEL, "kfp-api:relational-db", "kfp-db:database"]
    ]


def test_a_relation_that_is_there_is_left_alone(fake: FakeJuju, model: JujuModel) -> None:
    there = {RELATION[0]: frozenset({"kfp-db"}), RELATION[1]: frozenset({"kfp-api", "x"})}
    assert model.relate(RELATION, ModelState(frozenset(), there, {})) == []
    assert fake.commands == []


def test_a_refresh_brings_the_charm_with_its_resources(fake: FakeJuju, model: JujuModel) -> None:
    application = replace(planned(), resources={"oci-image": "/files/minio.oci-image.yaml"})
    assert model.refresh_application(application) == [
        "refresh application minio to minio_1234567.charm"
    ]
    assert fake.commands == [
        [
            *("refresh", "--model", MODEL, "minio", "--path", "/charms/minio_1234567.charm"),
            *("--resource", "oci-image=/files/minio.oci-image.yaml", "--trust"),
        ]
    ]


def test_a_refresh_moves_to_another_base(fake: FakeJuju, model: JujuModel) -> None:
    model.refresh_application(planned(), base="ubuntu@24.04")
    assert fake.commands == [
        [
            *("refresh", "--model", MODEL, "minio", "--base", "ubuntu@24.04"),
            *("--path", "/charms/minio_1234567.charm"),
            *("--resource", "oci-image=h:5/minio/minio:1", "--trust"),
        ]
    ]


def test_another_image_is_attached(fake: FakeJuju, model: JujuModel) -> None:
    model.attach_resource("minio", "oci-image", "h:5/minio/minio:2")
    assert fake.commands == [
        ["attach-resource", "--model", MODEL, "minio", "oci-image=h:5/minio/minio:2"]
    ]


def test_only_the_changes_of_a_bundle_are_told(fake: FakeJuju, model: JujuModel) -> None:
    fake.answer(
        "deploy",
        "Executing changes:\n"
        "- upload charm /a.charm for base ubuntu@24.04/stable with architecture=amd64\n"
        "- deploy application one with 1 unit on ubuntu@24.04/stable\n",
        "  added resource oci-image\nDeploy of bundle completed.\n",
    )
    assert model.deploy_bundle(Path("bundle.yaml")) == [
        "upload charm /a.charm for base ubuntu@24.04/stable with architecture=amd64",
        "deploy application one with 1 unit on ubuntu@24.04/stable",
    ]

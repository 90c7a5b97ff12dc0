"""The login, what is read of a model, and a controller that is lost."""

import json
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ckf_airgap.errors import ConfigurationError, JujuError
from ckf_airgap.juju.juju_controller import Controller, require_reachable
from ckf_airgap.juju.juju_model import JujuModel, JujuVersions
from ckf_airgap.juju.juju_status import ModelState
from ckf_airgap.juju.juju_values import DeployedCharm
from testbed.pki import Authority
from tests.functional.juju.charms import (
    IMAGE,
    MINIO,
    PASSWORD,
    RELATION,
    Charms,
    Login,
)
from tests.functional.juju_api import serving
from tests.functional.juju_model import VERSION, Application, Charm, Model
from tests.sample_release import charm_file


def test_the_password_goes_to_the_controller_and_nowhere_else(login: Login, juju: Model) -> None:
    assert login().name == "admin/kubeflow"
    (sent,) = juju.api.made("Admin.Login")
    assert sent["auth-tag"] == "user-deployer"
    assert sent["credentials"] == PASSWORD
    assert sent["client-version"] == VERSION
    # The client tells the controller its command line, which is kept in the audit log.
    assert sent["cli-args"].endswith("juju models --controller airgap --format json")
    assert juju.api.names == ["ModelManager.ListModelSummaries"]


def test_a_wrong_password_is_told(login: Login, juju: Model) -> None:
    with pytest.raises(ConfigurationError, match="refuses the user or the password"):
        login(password="wrong")
    assert juju.api.names == []


@pytest.mark.parametrize("wanted", ["kubeflow", "ann/kubeflow"])
def test_a_model_is_found_by_its_name(wanted: str, login: Login, juju: Model) -> None:
    juju.owners = ["ann"]
    assert login(wanted).name == "ann/kubeflow"


def test_a_model_of_several_owners_is_asked_for(login: Login, juju: Model) -> None:
    juju.owners = ["ann", "bob"]
    with pytest.raises(
        ConfigurationError, match="several models are named kubeflow: ann/kubeflow, bob/"
    ):
        login()


@pytest.mark.parametrize("wanted", ["other", "--help", "", "@x"])
def test_a_model_that_is_not_there_is_told(wanted: str, login: Login, juju: Model) -> None:
    with pytest.raises(ConfigurationError, match="no access to a model"):
        login(wanted)
    assert juju.api.names == ["ModelManager.ListModelSummaries"]


def test_no_model_at_all_is_told(login: Login, juju: Model) -> None:
    juju.owners = []
    with pytest.raises(ConfigurationError, match="no access to a model kubeflow"):
        login()


def test_versions_and_access_are_read(model: JujuModel, juju: Model) -> None:
    juju.access = "write"
    versions = model.versions()
    assert versions == JujuVersions(versions.client, VERSION)
    assert versions.client.startswith(f"{VERSION}-")
    assert (model.user, model.access) == ("deployer", "write")
    # All of that is known from one answer.
    assert juju.api.names == ["ModelManager.ModelInfo"]


def test_the_state_is_read(model: JujuModel, juju: Model) -> None:
    def there(name: str, scale: int = 1, **more: Any) -> None:
        charm = Charm(charm_file(replace(MINIO, name=name)), {})
        juju.applications[name] = Application(charm, "ubuntu@20.04", scale, {}, {}, **more)

    there("minio", relations={"object-storage": ["kfp-api"]})
    there("kfp-api", relations={"object-storage": ["minio"]}, unit=("allocating", "waiting"))
    there("dying", unit=("idle", "error"), life="dying")
    there("empty", scale=0)
    state = model.state()
    assert juju.api.names == ["Client.FullStatus"]
    assert state.applications == {"minio", "kfp-api", "dying", "empty"}
    assert state.charms["minio"] == DeployedCharm("minio", 0)
    assert set(state.bases.values()) == {"ubuntu@20.04"}
    assert state.starting == {"kfp-api"}
    assert state.leaving == {"dying"}
    assert {n for n, count in state.scales.items() if not count} == {"empty"}
    assert set(state.not_active) == {"kfp-api/0", "dying/0"}
    assert state.has_relation(RELATION)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (None, ""),
        ("registry.corp:5000/juju", "registry.corp:5000/juju"),
        (
            json.dumps({"username": "u", "password": "p", "repository": "registry.corp:5000/j"}),
            "registry.corp:5000/j",
        ),
        ("ghcr.io/juju", ""),
    ],
)
def test_where_agents_come_from_is_read(
    value: str | None, found: str, model: JujuModel, juju: Model
) -> None:
    if value is not None:
        juju.controller_config["caas-image-repo"] = value
    assert model.agent_images() == found
    assert juju.api.names == ["Controller.ControllerConfig"]


def test_options_are_read(model: JujuModel, juju: Model) -> None:
    charm = Charm(charm_file(MINIO), {})
    juju.applications["minio"] = Application(charm, "ubuntu@24.04", 1, {"port": "9001"}, {})
    assert model.option_values("minio").get("port") == 9001
    assert model.option_values("minio").get("mode") == "server"
    assert model.option_values("minio").get("motd") is None
    assert juju.api.names == ["Application.Get"] * 3


@pytest.mark.parametrize(
    ("message", "code", "kind", "words"),
    [
        ("permission denied", "unauthorized access", ConfigurationError, "may not do this"),
        ("the controller is upgrading", "", JujuError, "^juju refused: .*controller is upgrading"),
        ("\n\n", "", JujuError, "juju refused"),
        ("--help %s \x1b[31mred", "", JujuError, "juju refused: --help %s"),
    ],
)
def test_a_refusal_is_told(
    message: str, code: str, kind: type[Exception], words: str, model: JujuModel, juju: Model
) -> None:
    for call in ("Client.FullStatus", "ModelManager.ModelInfo", "Application.Get"):
        juju.api.refuse(call, message, code)
    for ask in (
        model.state,
        lambda: model.access,
        lambda: model.option_values("minio").get("port"),
    ):
        with pytest.raises(kind, match=words):
            ask()


def test_an_application_that_is_not_there_is_told(model: JujuModel) -> None:
    with pytest.raises(JujuError, match=r'^juju refused: application "gone" not found'):
        model.option_values("gone").get("port")


def test_a_controller_that_says_nothing_is_told_before_the_client_waits(
    login: Login, controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client itself would try for ten minutes."""
    defaults = require_reachable.__kwdefaults__
    assert defaults is not None
    assert defaults["seconds"] <= 30
    monkeypatch.setitem(defaults, "seconds", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(JujuError, match=f"cannot be reached at {address}"):
            login(at=replace(controller, api_addresses=(address,)))


def test_a_controller_that_is_lost_on_the_way_is_told_by_every_command(
    login: Login, juju: Model, authority: Authority, charms: Charms
) -> None:
    with serving(juju.api, authority) as controller:
        model = login(at=controller)
    application = charms.planned({"port": 1})
    asks: list[Callable[[], object]] = [
        model.state,
        model.agent_images,
        lambda: model.access,
        lambda: model.option_values("minio").get("port"),
        lambda: model.update_options(application),
        lambda: model.deploy_application(application),
        lambda: model.deploy_bundle(application.file),
        lambda: model.refresh_application(application),
        lambda: model.attach_resource("minio", "oci-image", IMAGE),
        lambda: model.relate(RELATION, ModelState(frozenset(), {}, {})),
    ]
    for ask in asks:
        with pytest.raises(JujuError, match="the Juju controller cannot be reached at"):
            ask()


def test_a_certificate_of_another_authority_is_told(
    login: Login, controller: Controller, tmp_path: Path, juju: Model
) -> None:
    other = Authority(tmp_path / "other").certificate.read_text()
    with pytest.raises(JujuError, match="certificate"):
        login(at=replace(controller, ca_certificate=other))
    assert juju.api.calls == []

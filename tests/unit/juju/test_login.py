"""How the client is logged in, and which model it finds."""

import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from ckf_airgap.accounts.credentials import Credentials
from ckf_airgap.errors import ConfigurationError, JujuError
from ckf_airgap.juju.juju_controller import Controller
from ckf_airgap.juju.juju_model import JujuModel
from tests.unit.juju.fake_juju import (
    CERTIFICATE,
    CONTROLLER,
    CREDENTIALS,
    NO_STATE,
    PASSWORD,
    RELATION,
    FakeJuju,
    app,
    mode,
    planned,
    status,
)


def test_the_controller_is_read_from_the_agents_configuration(tmp_path: Path) -> None:
    path = tmp_path / "agent.conf"
    document = {
        "tag": "unit-ckf-airgap-0",
        "controller": "controller-c0ffee",
        "apiaddresses": list(CONTROLLER.api_addresses),
        "cacert": CERTIFICATE,
        "apipassword": "not ours to read",
    }
    path.write_text("# format 2.0\n" + yaml.safe_dump(document))
    assert Controller.from_agent_configuration(path) == CONTROLLER


@pytest.mark.parametrize(
    "content", [None, "", "controller: x\n", "- list\n", "a: [unclosed", "apiaddresses: 3\n"]
)
def test_an_agents_configuration_of_another_kind_is_refused(
    content: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "agent.conf"
    if content is not None:
        path.write_text(content)
    with pytest.raises(JujuError, match=r"agent\.conf cannot be read"):
        Controller.from_agent_configuration(path)


def test_the_login_is_two_files_that_only_their_owner_reads(
    model: JujuModel, tmp_path: Path
) -> None:
    folder = tmp_path / "unit" / "juju"
    assert mode(folder) == 0o700
    assert {path.name: mode(path) for path in folder.iterdir()} == {
        "accounts.yaml": 0o600,
        "controllers.yaml": 0o600,
    }
    assert yaml.safe_load((folder / "controllers.yaml").read_text()) == {
        "controllers": {
            "airgap": {
                "uuid": "c0ffee",
                "api-endpoints": ["10.0.0.1:17070", "[fd00::1]:17070"],
                "ca-cert": CERTIFICATE,
            }
        },
        "current-controller": "airgap",
    }
    assert yaml.safe_load((folder / "accounts.yaml").read_text()) == {
        "controllers": {"airgap": {"user": "deployer", "password": PASSWORD}}
    }
    assert model.name == "admin/kubeflow"


def test_another_login_replaces_the_files_and_what_a_crash_left(
    login: Callable[..., JujuModel], tmp_path: Path
) -> None:
    login()
    accounts = tmp_path / "unit" / "juju" / "accounts.yaml"
    accounts.chmod(0o644)
    (accounts.parent / "accounts.yaml.incoming").write_text("half of i")
    login(credentials=Credentials("deployer", "changed"))
    assert mode(accounts) == 0o600
    assert "changed" in accounts.read_text()
    assert {path.name for path in accounts.parent.iterdir()} == {
        "accounts.yaml",
        "controllers.yaml",
    }


def test_the_client_uses_these_files_and_no_others(
    fake: FakeJuju, model: JujuModel, tmp_path: Path
) -> None:
    assert model.deploy_bundle(tmp_path / "bundle.yaml") == []
    folders = {call.environment["JUJU_DATA"] for call in fake.calls}
    assert folders == {str(tmp_path / "unit" / "juju")}


def test_the_password_is_nowhere_but_in_the_file(
    fake: FakeJuju, login: Callable[..., JujuModel], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    fake.answer("status", status(minio=app()))
    fake.answer("config", {"settings": {}})
    model = login()
    model.deploy_bundle(Path("bundle.yaml"))
    model.state()
    model.update_options(planned({"a": "b"}))
    model.deploy_application(planned({"a": "b"}))
    model.relate(RELATION, NO_STATE)
    fake.answer("integrate", stderr="ERROR invalid entity name or password", status=1)
    with pytest.raises(ConfigurationError) as error:
        model.relate(RELATION, NO_STATE)

    assert {call.arguments[0] for call in fake.calls} == {
        "models",
        "deploy",
        "status",
        "config",
        "integrate",
    }
    for call in fake.calls:
        assert not any(PASSWORD in argument for argument in call.arguments)
        assert not any(PASSWORD in value for value in call.environment.values())
    assert not any(PASSWORD in value for value in os.environ.values())
    assert caplog.records
    assert PASSWORD not in caplog.text
    assert PASSWORD not in str(error.value)
    assert PASSWORD not in repr(CREDENTIALS)
    assert PASSWORD not in str(CREDENTIALS)


@pytest.mark.parametrize(
    ("models", "wanted", "found"),
    [
        (["admin/kubeflow"], "kubeflow", "admin/kubeflow"),
        (["admin/kubeflow"], "admin/kubeflow", "admin/kubeflow"),
        (["admin/kubeflow-2", "admin/controller", "ann/kubeflow"], "kubeflow", "ann/kubeflow"),
        (["admin/kubeflow", "ann/kubeflow"], "ann/kubeflow", "ann/kubeflow"),
    ],
)
def test_a_model_is_found_by_its_name_with_or_without_its_owner(
    models: list[str], wanted: str, found: str, fake: FakeJuju, login: Callable[..., JujuModel]
) -> None:
    fake.models(*models)
    assert login(wanted).name == found
    assert [call.arguments for call in fake.calls] == [
        ["models", "--controller", "airgap", "--format", "json"]
    ]


def test_a_name_of_several_models_is_refused(
    fake: FakeJuju, login: Callable[..., JujuModel]
) -> None:
    fake.models("admin/kubeflow", "ann/kubeflow", "ann/other")
    with pytest.raises(
        ConfigurationError,
        match=r"several models are named kubeflow: admin/kubeflow, ann/kubeflow: "
        r".*model=OWNER/NAME",
    ):
        login()


@pytest.mark.parametrize(
    ("models", "wanted"),
    [
        ([], "kubeflow"),
        (["admin/controller"], "kubeflow"),
        (["admin/kubeflow"], "ann/kubeflow"),
        (["admin/kubeflow"], "flow"),
    ],
)
def test_a_model_that_the_user_does_not_see_is_refused(
    models: list[str], wanted: str, fake: FakeJuju, login: Callable[..., JujuModel]
) -> None:
    fake.models(*models)
    with pytest.raises(
        ConfigurationError,
        match=rf"no access to a model {wanted}, or there is none: juju add-model",
    ):
        login(wanted)


def test_an_empty_list_of_models_may_be_null(
    fake: FakeJuju, login: Callable[..., JujuModel]
) -> None:
    fake.answer("models", {"models": None})
    with pytest.raises(ConfigurationError, match="no access to a model kubeflow"):
        login()


def test_a_wrong_password_shows_at_the_login(
    fake: FakeJuju, login: Callable[..., JujuModel]
) -> None:
    fake.answer("models", stderr="ERROR invalid entity name or password", status=1)
    with pytest.raises(ConfigurationError, match="refuses the user or the password"):
        login()


@pytest.mark.parametrize(
    ("content", "permissions"),
    [
        ("not a program of any kind", 0o755),
        ("#!/does/not/exist\n", 0o755),
        ("", 0o755),
        pytest.param(
            "#!/bin/sh\nexit 0\n",
            0o644,
            id="not executable",
        ),
    ],
)
def test_a_client_that_cannot_be_run_is_refused_with_the_command_that_attaches_one(
    content: str, permissions: int, login: Callable[..., JujuModel], tmp_path: Path
) -> None:
    client = tmp_path / "other"
    client.write_text(content)
    client.chmod(permissions)
    with pytest.raises(
        ConfigurationError,
        match=r"juju client cannot be run.*juju attach-resource ckf-airgap juju=",
    ):
        login(client=client)


def test_a_client_that_is_not_there_is_refused(
    login: Callable[..., JujuModel], tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match="juju client cannot be run"):
        login(client=tmp_path / "gone")

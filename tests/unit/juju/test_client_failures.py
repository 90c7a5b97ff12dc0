"""What the failures and the odd answers of the juju client mean."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ckf_airgap.errors import AirgapError, ConfigurationError, JujuError
from ckf_airgap.juju.juju_controller import Controller
from ckf_airgap.juju.juju_model import JujuModel
from ckf_airgap.juju.juju_values import Side
from tests.unit.juju.fake_juju import NO_STATE, RELATION, FakeJuju, app, planned, status


@pytest.mark.parametrize(
    ("stderr", "kind", "words"),
    [
        (
            "ERROR cannot log into controller: invalid entity name or password\n",
            ConfigurationError,
            ["refuses the user or the password of juju-credentials", "juju update-secret"],
        ),
        (
            "ERROR permission denied (unauthorized access)\n",
            ConfigurationError,
            ["may not do this", "juju grant USER admin MODEL"],
        ),
        (
            "ERROR unable to connect to API: dial tcp 10.0.0.1:17070: connection refused\n",
            JujuError,
            [
                "cannot be reached",
                "10.0.0.1:17070: connection refused",
                "juju status -m controller",
            ],
        ),
        (
            "ERROR something new\nof two lines\n",
            JujuError,
            ["juju refused: something new of two lines: ", "run the action again"],
        ),
        ("", JujuError, ["the client printed no error"]),
    ],
)
def test_each_failure_is_told_with_its_cure(
    stderr: str,
    kind: type[AirgapError],
    words: list[str],
    fake: FakeJuju,
    model: JujuModel,
    tmp_path: Path,
) -> None:
    methods: list[Callable[[], object]] = [
        model.state,
        lambda: model.deploy_bundle(tmp_path / "bundle.yaml"),
        lambda: model.deploy_application(planned()),
        lambda: model.update_options(planned()),
        lambda: model.relate(RELATION, NO_STATE),
    ]
    for command in ("status", "deploy", "config", "integrate"):
        fake.answer(command, stderr=stderr, status=1)
    for method in methods:
        with pytest.raises(kind) as error:
            method()
        assert all(word in str(error.value) for word in words)


def test_no_command_waits_for_a_controller_that_is_gone(
    fake: FakeJuju, model: JujuModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The client itself would try for ten minutes, after hours of pushing as well."""

    def gone(_: Controller) -> None:
        raise JujuError("the Juju controller cannot be reached", "see that it runs")

    monkeypatch.setattr("ckf_airgap.juju.juju_client.require_reachable", gone)
    methods: list[Callable[[], object]] = [
        model.state,
        model.agent_images,
        lambda: model.access,
        lambda: model.option_values("minio").get("port"),
        lambda: model.deploy_bundle(tmp_path / "bundle.yaml"),
        lambda: model.deploy_application(planned()),
        lambda: model.refresh_application(planned()),
        lambda: model.attach_resource("minio", "oci-image", "h:5/a:1"),
        lambda: model.update_options(planned({"a": "b"})),
        lambda: model.relate(RELATION, NO_STATE),
    ]
    for method in methods:
        with pytest.raises(JujuError, match="cannot be reached"):
            method()
    assert fake.commands == []


@pytest.mark.parametrize("answer", ["", "snap 2.63\n", "\ufeff[]"])
def test_a_program_that_is_not_juju_is_told(
    answer: str, fake: FakeJuju, login: Callable[..., JujuModel]
) -> None:
    fake.answer("models", answer)
    with pytest.raises(AirgapError, match="juju"):
        login()


@pytest.mark.parametrize(
    ("stderr", "told"),
    [
        (
            'Located local charm "pod", revision 3\n'
            'WARNING deploying podspec charm "pod": podspec charms are deprecated.\n'
            'Deploying "pod9" from local charm "pod", revision 3 on ubuntu@20.04/stable\n'
            "ERROR local charm missing OCI images for: oci-image\n",
            "local charm missing OCI images for: oci-image",
        ),
        (
            "ERROR Upgrading from an older PodSpec style charm to a newer Sidecar charm requires"
            " that\nthe application be scaled down to 0 units.\n",
            "Upgrading from an older PodSpec style charm to a newer Sidecar charm requires that "
            "the application be scaled down to 0 units.",
        ),
        (
            'ERROR base "ubuntu@22.04/stable" is not supported, supported bases are: '
            "ubuntu@20.04\nWARNING it is old\n",
            'base "ubuntu@22.04/stable" is not supported, supported bases are: ubuntu@20.04',
        ),
        ("panic: out of luck\n", "panic: out of luck"),
    ],
)
def test_a_failure_is_told_without_what_stands_before_it(
    stderr: str, told: str, fake: FakeJuju, model: JujuModel
) -> None:
    fake.answer("deploy", stderr=stderr, status=1)
    with pytest.raises(JujuError) as error:
        model.deploy_application(planned())
    assert error.value.problem == f"juju refused: {told}"


def test_an_empty_document_is_no_reason(fake: FakeJuju, model: JujuModel) -> None:
    fake.answer("status", "{}\n", status=1)
    with pytest.raises(JujuError, match="juju refused: the client printed no error"):
        model.state()
    fake.answer("status", "{}\n", "ERROR model airgap:admin/x not found\n", status=1)
    with pytest.raises(JujuError, match="juju refused: model airgap:admin/x not found"):
        model.state()


def _status_with(applications: object) -> str:
    return json.dumps(status() | {"applications": applications})


@pytest.mark.parametrize("command", ["status", "config", "show-model", "controller-config"])
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param('{"a":' * 100_000, id="deep"),
        pytest.param("{" + "[" * 100_000, id="deep lists"),
        pytest.param('{"a": ' + "1" * 5_000 + "}", id="long number"),
        pytest.param("{\x00", id="NUL"),
        pytest.param('{"repository"', id="cut"),
        pytest.param("{]", id="no JSON"),
    ],
)
def test_an_answer_that_cannot_be_read_is_one_error(
    command: str, answer: str, fake: FakeJuju, model: JujuModel
) -> None:
    fake.answer(command, answer)
    ask: dict[str, Callable[[], object]] = {
        "status": model.state,
        "config": lambda: model.option_values("minio").get("port"),
        "show-model": lambda: model.access,
        "controller-config": model.agent_images,
    }
    with pytest.raises(ConfigurationError, match="the output of the juju client cannot be read"):
        ask[command]()


@pytest.mark.parametrize(
    "applications",
    [
        ["minio"],
        "minio",
        {"minio": []},
        {"minio": app() | {"relations": [1]}},
        {"minio": app() | {"relations": {"e": 1}}},
        {"minio": app() | {"units": ["minio/0"]}},
        {"minio": app() | {"base": "ubuntu"}},
        {"minio": app() | {"base": {"name": "ubuntu", "channel": 24}}},
        {"minio": app() | {"scale": "many"}},
    ],
)
def test_applications_of_another_shape_are_one_error(
    applications: object, fake: FakeJuju, model: JujuModel
) -> None:
    fake.answer("status", _status_with(applications))
    with pytest.raises(ConfigurationError, match="the output of the juju client cannot be read"):
        model.state()


def test_an_answer_that_is_not_utf_8_is_one_error(
    login: Callable[..., JujuModel], tmp_path: Path
) -> None:
    client = tmp_path / "latin"
    client.write_text("#!/bin/sh\nprintf '\\351\\377'\n")
    client.chmod(0o755)
    with pytest.raises(ConfigurationError, match="the output of the juju client cannot be read"):
        login(client=client)


@pytest.mark.parametrize("name", ["--model=x", "-m", "", "a b", "a=b", "a\0b", "a\n", "@file"])
def test_no_name_is_taken_for_a_flag(name: str, fake: FakeJuju, model: JujuModel) -> None:
    other = replace(planned(), name=name)
    methods: list[Callable[[], object]] = [
        lambda: model.option_values(name).get("port"),
        lambda: model.deploy_application(other),
        lambda: model.refresh_application(other),
        lambda: model.update_options(other),
        lambda: model.update_options(planned({name: "x"})),
        lambda: model.attach_resource(name, "oci-image", "h:5/a:1"),
        lambda: model.attach_resource("minio", name, "h:5/a:1"),
        lambda: model.relate((Side(name, "e"), RELATION[1]), NO_STATE),
        lambda: model.relate((RELATION[0], Side(name, "e")), NO_STATE),
    ]
    for method in methods:
        with pytest.raises(ConfigurationError, match="is not a valid name of a Juju"):
            method()
    assert fake.commands == []

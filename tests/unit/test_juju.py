"""The juju client: how it is logged in, what it is told, and what its failures mean."""

import itertools
import json
import logging
import os
import stat
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from ckf_airgap.credentials import Credentials
from ckf_airgap.errors import AirgapError, ConfigurationError, JujuError
from ckf_airgap.juju import JujuModel, JujuVersions, ModelState
from ckf_airgap.juju_controller import Controller
from ckf_airgap.juju_values import DeployedCharm, LocalApplication, OptionValue, Side

PASSWORD = "correct horse: battery 'staple'"
CREDENTIALS = Credentials("deployer", PASSWORD)
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
CONTROLLER = Controller("c0ffee", ("10.0.0.1:17070", "[fd00::1]:17070"), CERTIFICATE)
MODEL = "airgap:admin/kubeflow"
RELATION = (Side("kfp-api", "relational-db"), Side("kfp-db", "database"))
NO_STATE = ModelState(frozenset(), {}, {})

CLIENT = """#!{python}
import json, os, sys
folder = {folder!r}
with open(folder + "/calls", "a") as file:
    file.write(json.dumps({{"arguments": sys.argv[1:], "environment": dict(os.environ)}}) + "\\n")
with open(folder + "/answers") as file:
    answer = json.load(file).get(sys.argv[1], {{}})
sys.stdout.write(answer.get("stdout", ""))
sys.stderr.write(answer.get("stderr", ""))
sys.exit(answer.get("status", 0))
"""


@dataclass(frozen=True)
class Call:
    arguments: list[str]
    environment: dict[str, str]


class FakeJuju:
    """A program in the place of the juju client, which writes down how it is called."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self.path = folder / "juju"
        self.path.write_text(CLIENT.format(python=sys.executable, folder=str(folder)))
        self.path.chmod(0o755)
        self._answers: dict[str, dict[str, Any]] = {}
        self.models("admin/kubeflow")

    def answer(self, command: str, stdout: object = "", stderr: str = "", status: int = 0) -> None:
        """Say what to answer to a command from now on."""
        text = stdout if isinstance(stdout, str) else json.dumps(stdout)
        self._answers[command] = {"stdout": text, "stderr": stderr, "status": status}
        (self._folder / "answers").write_text(json.dumps(self._answers))

    def models(self, *names: str) -> None:
        self.answer(
            "models",
            {"models": [{"name": n, "short-name": n.rpartition("/")[2]} for n in names]},
        )

    @property
    def calls(self) -> list[Call]:
        file = self._folder / "calls"
        lines = file.read_text().splitlines() if file.exists() else []
        return [Call(**json.loads(line)) for line in lines]

    @property
    def commands(self) -> list[list[str]]:
        """The arguments of each call but the search for the model."""
        return [c.arguments for c in self.calls if c.arguments[0] != "models"]


@pytest.fixture
def fake(tmp_path: Path) -> FakeJuju:
    return FakeJuju(tmp_path / "client")


def _answers(_: Controller) -> None:
    """Stand in the place of the attempt to reach a controller."""


@pytest.fixture
def login(
    fake: FakeJuju, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., JujuModel]:
    # The login sets it; monkeypatch has to know of it to take it back.
    monkeypatch.setenv("JUJU_DATA", "to be replaced")
    # Nothing listens at the controller's addresses.
    monkeypatch.setattr("ckf_airgap.juju_client.require_reachable", _answers)

    def login(
        model: str = "kubeflow",
        client: Path = fake.path,
        credentials: Credentials = CREDENTIALS,
    ) -> JujuModel:
        return JujuModel.login(
            client=client,
            folder=tmp_path / "unit" / "juju",
            controller=CONTROLLER,
            credentials=credentials,
            model=model,
        )

    return login


@pytest.fixture
def model(login: Callable[..., JujuModel]) -> JujuModel:
    return login()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def app(
    units: Mapping[str, Mapping[str, str]] | None = None,
    relations: Mapping[str, list[str]] | None = None,
    message: str = "",
) -> dict[str, Any]:
    """Give an application as ``juju status --format json`` does."""
    return {
        "charm": "local:x-0",
        "charm-origin": "local",
        "charm-name": "x",
        "charm-rev": 0,
        "exposed": False,
        "application-status": {"current": "waiting", "message": message},
        "relations": {
            endpoint: [{"related-application": name, "interface": "i"} for name in names]
            for endpoint, names in (relations or {}).items()
        },
        "units": {name: {"workload-status": dict(s)} for name, s in (units or {}).items()},
    }


def status(**applications: dict[str, Any]) -> dict[str, Any]:
    return {
        "model": {
            "name": "kubeflow",
            "type": "caas",
            "controller": "airgap",
            "cloud": "k8s",
            "version": "3.6.1",
        },
        "machines": {},
        "applications": {name.replace("_", "-"): body for name, body in applications.items()},
    }


def planned(
    options: Mapping[str, OptionValue] | None = None, constraints: str | None = None
) -> LocalApplication:
    return LocalApplication(
        name="minio",
        file=Path("/charms/minio_1234567.charm"),
        base="ubuntu@24.04",
        constraints=constraints,
        resources={"oci-image": "h:5/minio/minio:1"},
        options=options or {},
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
    (accounts.parent / ".accounts.yaml.new").write_text("half of i")
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
        match=r"several models kubeflow: admin/kubeflow, ann/kubeflow: .*model=OWNER/NAME",
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
    with pytest.raises(ConfigurationError, match=rf"sees no model {wanted}: juju add-model"):
        login(wanted)


def test_an_empty_list_of_models_may_be_null(
    fake: FakeJuju, login: Callable[..., JujuModel]
) -> None:
    fake.answer("models", {"models": None})
    with pytest.raises(ConfigurationError, match="sees no model kubeflow"):
        login()


def test_the_state_of_a_model_is_read(fake: FakeJuju, model: JujuModel) -> None:
    active = {"current": "active", "message": "ready"}
    fake.answer(
        "status",
        status(
            kfp_api=app(
                {"kfp-api/0": active}, {"relational-db": ["kfp-db"], "peers": ["kfp-api"]}
            ),
            kfp_db=app({"kfp-db/0": {"current": "maintenance"}}, {"database": ["kfp-api", "x"]}),
            minio=app({"minio/0": active, "minio/1": {"current": "blocked", "message": "no key"}}),
            argo=app(message="installing agent"),
            envoy=app(),
        ),
    )
    state = model.state()
    assert fake.commands == [["status", "--model", MODEL, "--format", "json"]]
    assert state.applications == {"kfp-api", "kfp-db", "minio", "argo", "envoy"}
    assert state.not_active == {
        "kfp-db/0": "maintenance",
        "minio/1": "blocked: no key",
        "argo": "no unit yet (installing agent)",
        "envoy": "no unit yet (waiting)",
    }
    assert state.has_relation(RELATION)
    assert state.has_relation((RELATION[1], RELATION[0]))
    assert not state.has_relation((RELATION[0], Side("kfp-db", "mysql")))
    assert not state.has_relation((Side("kfp-api", "mysql"), RELATION[1]))
    assert not state.has_relation((RELATION[0], Side("katib-db", "database")))


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
        ("", JujuError, ["it failed without a word"]),
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

    monkeypatch.setattr("ckf_airgap.juju_client.require_reachable", gone)
    methods: list[Callable[[], object]] = [
        model.state,
        model.agent_images,
        lambda: model.access("deployer"),
        lambda: model.option("minio", "port"),
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


@pytest.mark.parametrize("answer", ["", "snap 2.63\n", "\ufeff[]"])
def test_a_program_that_is_not_juju_is_told(
    answer: str, fake: FakeJuju, login: Callable[..., JujuModel]
) -> None:
    fake.answer("models", answer)
    with pytest.raises(AirgapError, match="juju"):
        login()


@pytest.mark.parametrize(
    ("answer", "repository"),
    [
        ("registry.corp:5000/juju\n", "registry.corp:5000/juju"),
        ('{"serveraddress": "h", "repository": "h:5/juju", "password": "secret"}', "h:5/juju"),
        ("docker.io/jujusolutions", None),
        ("ghcr.io/juju", None),
        ("\n", None),
    ],
)
def test_where_the_agents_images_come_from(
    answer: str, repository: str | None, fake: FakeJuju, model: JujuModel
) -> None:
    fake.answer("controller-config", answer)
    assert model.agent_images() == repository
    assert fake.commands == [["controller-config", "--controller", "airgap", "caas-image-repo"]]


def test_a_controller_that_does_not_say_so_counts_as_none(
    fake: FakeJuju, model: JujuModel
) -> None:
    fake.answer("controller-config", stderr="permission denied", status=1)
    assert model.agent_images() is None


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


def test_an_agent_of_another_charm_than_the_application_is_starting(
    fake: FakeJuju, model: JujuModel
) -> None:
    running = {"workload-status": {"current": "active"}, "juju-status": {"current": "idle"}}
    old, new, missing = app(), app(), app()
    for body, upgrading in ((old, "local:x-0"), (new, "")):
        body["scale"] = 1
        body["charm-rev"] = 1
        body["units"] = {"a/0": running | ({"upgrading-from": upgrading} if upgrading else {})}
    missing["scale"] = 1
    fake.answer("status", status(old=old, new=new, missing=missing))
    state = model.state()
    assert state.starting == {"old", "missing"}
    assert state.charms["new"] == DeployedCharm("x", 1)


def test_an_application_that_is_being_removed_is_told_apart(
    fake: FakeJuju, model: JujuModel
) -> None:
    staying, dying, dead = app(), app(), app()
    dying["life"], dead["life"] = "dying", "dead"
    fake.answer("status", status(staying=staying, dying=dying, dead=dead))
    assert model.state().leaving == {"dying", "dead"}


def test_access_and_versions_are_told(fake: FakeJuju, model: JujuModel) -> None:
    information = {
        "name": "admin/kubeflow",
        "short-name": "kubeflow",
        "model-uuid": "uuid",
        "model-type": "caas",
        "controller-uuid": "c0ffee",
        "controller-name": "airgap",
        "is-controller": False,
        "cloud": "k8s",
        "life": "alive",
        "agent-version": "3.6.8",
        "users": {"deployer": {"access": "write", "last-connection": "now"}},
    }
    fake.answer("show-model", {"kubeflow": information})
    fake.answer("version", "3.6.9-ubuntu-amd64\n")
    assert model.versions() == JujuVersions("3.6.9-ubuntu-amd64", "3.6.8")
    assert model.access("deployer") == "write"
    assert model.access("nobody") == ""
    assert model.uuid == "uuid"


def test_bases_are_told_as_charms_name_them(fake: FakeJuju, model: JujuModel) -> None:
    plain, with_risk, none = app(), app(), app({"none/0": {"current": "active"}})
    plain["base"] = {"name": "ubuntu", "channel": "20.04"}
    with_risk["base"] = {"name": "ubuntu", "channel": "24.04/stable"}
    with_risk["scale"] = 1
    fake.answer("status", status(plain=plain, with_risk=with_risk, none=none))
    state = model.state()
    assert state.bases == {"plain": "ubuntu@20.04", "with-risk": "ubuntu@24.04"}
    assert state.without_units == {"plain"}


def test_the_status_of_juju_3_is_read(fake: FakeJuju, model: JujuModel) -> None:
    """It says nothing of ``life`` while an application lives, and has keys that Juju 4 lacks."""
    since = "26 Nov 2026 10:00:00Z"
    fake.answer(
        "status",
        {
            "model": {
                "name": "kubeflow",
                "type": "caas",
                "controller": "airgap",
                "cloud": "k8s",
                "version": "3.6.25",
                "model-status": {"current": "available", "since": since},
                "sla": "unsupported",
            },
            "machines": {},
            "applications": {
                "pod": {
                    "charm": "local:pod-0",
                    "base": {"name": "ubuntu", "channel": "20.04"},
                    "charm-origin": "local",
                    "charm-name": "pod",
                    "charm-rev": 0,
                    "scale": 1,
                    "exposed": False,
                    "application-status": {
                        "current": "waiting",
                        "message": "installing agent",
                        "since": since,
                    },
                    "relations": {
                        "p": [{"related-application": "one", "interface": "i", "scope": "global"}]
                    },
                    "units": {
                        "pod/0": {
                            "workload-status": {
                                "current": "waiting",
                                "message": "installing agent",
                                "since": since,
                            },
                            "juju-status": {"current": "allocating", "since": since},
                            "leader": True,
                        }
                    },
                    "endpoint-bindings": {"": "alpha"},
                }
            },
            "storage": {},
            "controller": {"timestamp": "14:00:00Z"},
        },
    )
    state = model.state()
    assert state.starting == {"pod"}
    assert state.leaving == frozenset()
    assert state.charms == {"pod": DeployedCharm("pod", 0)}
    assert state.bases == {"pod": "ubuntu@20.04"}
    assert state.not_active == {"pod/0": "waiting: installing agent"}
    assert state.relations == {Side("pod", "p"): frozenset({"one"})}


def test_the_options_of_juju_3_are_read(fake: FakeJuju, model: JujuModel) -> None:
    setting = {"default": 1, "description": "", "source": "default", "type": "int", "value": 1}
    fake.answer(
        "config",
        {
            "application": "pod",
            "application-config": {"trust": {"value": True}},
            "charm": "pod",
            "settings": {"n": setting, "unset": {"description": "", "type": "string"}},
        },
    )
    assert model.option("pod", "n") == 1
    assert model.option("pod", "unset") is None


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
    with pytest.raises(JujuError, match="juju refused: it failed without a word"):
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
        "config": lambda: model.option("minio", "port"),
        "show-model": lambda: model.access("deployer"),
        "controller-config": model.agent_images,
    }
    with pytest.raises(ConfigurationError, match="what the juju client answers cannot be read"):
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
    with pytest.raises(ConfigurationError, match="what the juju client answers cannot be read"):
        model.state()


def test_an_answer_that_is_not_utf_8_is_one_error(
    login: Callable[..., JujuModel], tmp_path: Path
) -> None:
    client = tmp_path / "latin"
    client.write_text("#!/bin/sh\nprintf '\\351\\377'\n")
    client.chmod(0o755)
    with pytest.raises(ConfigurationError, match="what the juju client answers cannot be read"):
        login(client=client)


@pytest.mark.parametrize("name", ["--model=x", "-m", "", "a b", "a=b", "a\0b", "a\n", "@file"])
def test_no_name_is_taken_for_a_flag(name: str, fake: FakeJuju, model: JujuModel) -> None:
    other = replace(planned(), name=name)
    methods: list[Callable[[], object]] = [
        lambda: model.option(name, "port"),
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
        with pytest.raises(ConfigurationError, match="no name that Juju takes"):
            method()
    assert fake.commands == []


LISTED_SECRET = {
    "revision": 3,
    "owner": "<model>",
    "name": "ckf-airgap-record",
    "created": "2026-11-26T08:00:00Z",
    "updated": "2026-11-26T08:00:00Z",
}


class TestSecret:
    """A user secret of the model, made at the first write."""

    def test_that_is_not_there_is_empty_and_is_added(
        self, fake: FakeJuju, login: Callable[..., JujuModel]
    ) -> None:
        fake.answer("secrets", {"d4": {**LISTED_SECRET, "name": "another"}})
        fake.answer("add-secret", "secret:d5")
        secret = login().secret("ckf-airgap-record")
        assert secret.read() == {}
        secret.write({"record": PASSWORD}, "what was deployed")
        listed = ["secrets", "--model", MODEL, "--format", "json"]
        added = fake.commands[-1]
        assert fake.commands == [listed, listed, added]
        assert added[:-1] == [
            *("add-secret", "--model", MODEL, "ckf-airgap-record"),
            *("--info", "what was deployed", "--file"),
        ]
        secret.write({"record": PASSWORD}, "what was deployed")
        assert fake.commands[-1][0] == "update-secret"
        # The value is in a file, never in an argument.
        assert PASSWORD not in str(fake.calls)

    def test_that_is_there_is_read_and_updated(
        self, fake: FakeJuju, login: Callable[..., JujuModel]
    ) -> None:
        fake.answer("secrets", {"d4": LISTED_SECRET})
        fake.answer("show-secret", {"d4": {**LISTED_SECRET, "content": {"Data": {"record": "x"}}}})
        secret = login().secret("ckf-airgap-record")
        assert secret.read() == {"record": "x"}
        secret.write({"record": PASSWORD}, "what was deployed")
        assert fake.commands[-1][:-1] == [
            *("update-secret", "--model", MODEL, "ckf-airgap-record"),
            *("--info", "what was deployed", "--auto-prune", "--file"),
        ]

    def test_that_the_user_may_not_see_names_the_right(
        self, fake: FakeJuju, login: Callable[..., JujuModel]
    ) -> None:
        fake.answer("secrets", stderr="ERROR permission denied", status=1)
        with pytest.raises(ConfigurationError, match="juju grant USER admin MODEL"):
            login().secret("ckf-airgap-record").read()


def test_sizes_of_resources(fake: FakeJuju, model: JujuModel) -> None:
    """The file of a resource that nobody has given has no bytes (Juju 4.1), or no size."""
    listed = [{"name": "images", "size": 5}, {"name": "bundle", "size": 0}, {"name": "charms"}]
    fake.answer("resources", {"resources": listed})
    assert model.resource_sizes("c0ffee-uuid", "ckf-airgap") == {
        "images": 5,
        "bundle": 0,
        "charms": 0,
    }
    assert fake.commands[-1] == [
        *("resources", "ckf-airgap", "--model", "c0ffee-uuid", "--format", "json")
    ]
    fake.answer("resources", {"resources": None})
    assert model.resource_sizes("c0ffee-uuid", "ckf-airgap") == {}
    fake.answer("resources", stderr="ERROR permission denied", status=1)
    assert model.resource_sizes("c0ffee-uuid", "ckf-airgap") is None

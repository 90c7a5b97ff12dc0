"""Every command line of the juju client that the product runs, run by the client of Juju 3.6.

The controller is a stand-in, which keeps what it is sent. So these tests show which calls the
client makes of each command, and what the product makes of its answers; not what a controller
does.
"""

import json
import socket
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from ckf_airgap.credentials import Credentials
from ckf_airgap.errors import ConfigurationError, JujuError
from ckf_airgap.juju import JujuModel, JujuVersions, ModelState
from ckf_airgap.juju_controller import Controller, require_reachable
from ckf_airgap.juju_values import DeployedCharm, LocalApplication, OptionValue, Side
from tests.functional.juju_api import serving
from tests.functional.juju_model import MODEL_UUID, VERSION, Application, Charm, Model
from tests.sample_release import Charm as SampleCharm
from tests.sample_release import charm_file
from tests.sample_release.release import Container, Endpoint, Option, Resource, Storage
from tests.testbed.pki import Authority

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


@pytest.fixture
def juju() -> Model:
    """A model of Juju 3.6, empty."""
    return Model("deployer", PASSWORD)


@pytest.fixture
def controller(juju: Model, authority: Authority) -> Generator[Controller]:
    with serving(juju.api, authority) as controller:
        yield controller


@pytest.fixture
def login(
    juju_client: Path, controller: Controller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Login:
    # The login sets it; monkeypatch has to know of it to take it back.
    monkeypatch.setenv("JUJU_DATA", "to be replaced")

    def login(
        model: str = "kubeflow", password: str = PASSWORD, at: Controller = controller
    ) -> JujuModel:
        return JujuModel.login(
            client=juju_client,
            folder=tmp_path / "juju",
            controller=at,
            credentials=Credentials("deployer", password),
            model=model,
        )

    return login


@pytest.fixture
def model(login: Login, juju: Model) -> JujuModel:
    """The model, logged in to; the calls of the login are forgotten."""
    model = login()
    juju.api.forget()
    return model


@pytest.fixture
def charms(tmp_path: Path) -> "Charms":
    return Charms(tmp_path)


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


# --- The login and what is read -----------------------------------------------------------------


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
    with pytest.raises(ConfigurationError, match="several models kubeflow: ann/kubeflow, bob/"):
        login()


@pytest.mark.parametrize("wanted", ["other", "--help", "", "@x"])
def test_a_model_that_is_not_there_is_told(wanted: str, login: Login, juju: Model) -> None:
    with pytest.raises(ConfigurationError, match="sees no model"):
        login(wanted)
    assert juju.api.names == ["ModelManager.ListModelSummaries"]


def test_no_model_at_all_is_told(login: Login, juju: Model) -> None:
    juju.owners = []
    with pytest.raises(ConfigurationError, match="sees no model kubeflow"):
        login()


def test_versions_and_access_are_read(model: JujuModel, juju: Model) -> None:
    juju.access = "write"
    versions = model.versions()
    assert versions == JujuVersions(versions.client, VERSION)
    assert versions.client.startswith(f"{VERSION}-")
    assert (model.uuid, model.access("deployer"), model.access("x")) == (MODEL_UUID, "write", "")
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
    assert state.without_units == {"empty"}
    assert set(state.not_active) == {"kfp-api/0", "dying/0", "empty"}
    assert state.has_relation(RELATION)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (None, None),
        ("registry.corp:5000/juju", "registry.corp:5000/juju"),
        (
            json.dumps({"username": "u", "password": "p", "repository": "registry.corp:5000/j"}),
            "registry.corp:5000/j",
        ),
        ("ghcr.io/juju", None),
    ],
)
def test_where_agents_come_from_is_read(
    value: str | None, found: str | None, model: JujuModel, juju: Model
) -> None:
    if value is not None:
        juju.controller_config["caas-image-repo"] = value
    assert model.agent_images() == found
    assert juju.api.names == ["Controller.ControllerConfig"]


def test_options_are_read(model: JujuModel, juju: Model) -> None:
    charm = Charm(charm_file(MINIO), {})
    juju.applications["minio"] = Application(charm, "ubuntu@24.04", 1, {"port": "9001"}, {})
    assert model.option("minio", "port") == 9001
    assert model.option("minio", "mode") == "server"
    assert model.option("minio", "motd") is None
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
    for ask in (model.state, lambda: model.access("x"), lambda: model.option("minio", "port")):
        with pytest.raises(kind, match=words):
            ask()


def test_an_application_that_is_not_there_is_told(model: JujuModel) -> None:
    with pytest.raises(JujuError, match=r'^juju refused: application "gone" not found'):
        model.option("gone", "port")


# --- A controller that cannot be reached --------------------------------------------------------


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
        lambda: model.access("deployer"),
        lambda: model.option("minio", "port"),
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


# --- One application ----------------------------------------------------------------------------


def test_all_that_is_planned_is_deployed(model: JujuModel, juju: Model, charms: Charms) -> None:
    application = charms.planned(
        {"mode": "gateway", "port": 9001, "secure": True},
        bases=("22.04", "24.04"),
        base="ubuntu@24.04",
        scale=2,
        constraints="mem=2G cores=2 tags=a,^b",
        storage={"minio-data": "fast,2,10G"},
    )
    assert model.deploy_application(application) == [
        "deploy application minio from minio-22.04-24.04.charm"
    ]
    (upload, image) = juju.api.uploads
    assert upload.path.startswith(f"/model-{MODEL_UUID}/charms/minio-")
    assert upload.body == application.file.read_bytes()
    assert image.path == f"/model/{MODEL_UUID}/applications/minio/resources/oci-image"
    assert image_of(image.body.decode()) == {
        "registrypath": IMAGE,
        "username": "",
        "password": "",
    }
    ((sent,),) = [each["applications"] for each in juju.api.made("Application.Deploy")]
    assert sent["application"] == "minio"
    assert sent["charm-url"] == "local:minio-0"
    assert sent["charm-origin"]["base"] == {"name": "ubuntu", "channel": "24.04/stable"}
    assert sent["num-units"] == 2
    assert sent["config"] == {
        "mode": "gateway",
        "port": "9001",
        "secure": "true",
        "trust": "true",
    }
    assert sent["config-yaml"] == ""
    assert sent["constraints"] == {"mem": 2048, "cores": 2, "tags": ["a", "^b"]}
    assert sent["storage"] == {"minio-data": {"Pool": "fast", "Size": 10240, "Count": 2}}
    assert set(sent["resources"]) == {"oci-image"}
    assert not sent["Force"]
    assert model.changed_options(application) == {}


def test_an_application_without_trust(model: JujuModel, juju: Model, charms: Charms) -> None:
    model.deploy_application(charms.planned(trust=False))
    ((sent,),) = [each["applications"] for each in juju.api.made("Application.Deploy")]
    assert "trust" not in (sent.get("config") or {})


def test_the_account_of_an_image_is_in_no_argument(
    model: JujuModel, juju: Model, charms: Charms, tmp_path: Path
) -> None:
    image = {"registrypath": IMAGE, "username": "pull", "password": "pass: 'phrase'"}
    file = tmp_path / "minio.oci-image.yaml"
    file.write_text(yaml.safe_dump(image))
    application = charms.planned(resources={"oci-image": str(file)})
    model.deploy_application(application)
    model.attach_resource("minio", "oci-image", str(file))
    model.refresh_application(application)
    sent = [image_of(each.body.decode()) for each in juju.api.uploads if "resources" in each.path]
    assert sent == [image] * 3
    assert not any("phrase" in each["cli-args"] for each in juju.api.made("Admin.Login"))


@pytest.mark.parametrize("way", ["a deployment", "a change", "a bundle"])
def test_every_value_of_an_option_arrives_as_it_is(
    way: str, model: JujuModel, juju: Model, charms: Charms, tmp_path: Path
) -> None:
    application = charms.planned(VALUES, MANY_OPTIONS)
    if way == "a bundle":
        model.deploy_bundle(bundle(tmp_path, application))
    elif way == "a deployment":
        model.deploy_application(application)
    else:
        model.deploy_application(replace(application, options={}))
        (change,) = model.update_options(application)
        assert change == f"set options of minio: {', '.join(VALUES)}"
    there = juju.applications["minio"]
    held = {name: each["value"] for name, each in there.charm.settings(there.values).items()}
    assert held == VALUES
    # So that the next run finds nothing to do.
    assert model.update_options(application) == []


def test_no_value_is_taken_for_a_file(model: JujuModel, juju: Model, charms: Charms) -> None:
    application = charms.planned({"motd": "@/etc/hostname"})
    with pytest.raises(ConfigurationError, match="motd of minio begins with @"):
        model.deploy_application(application)
    assert juju.api.calls == []
    model.deploy_application(replace(application, options={}))
    juju.api.forget()
    with pytest.raises(ConfigurationError, match="motd of minio begins with @"):
        model.update_options(application)
    assert juju.api.names == ["Application.Get"]


@pytest.mark.parametrize("name", ["--help", "-h", "", "a b", "~", "@x", "a=b"])
def test_no_name_is_taken_for_a_flag(
    name: str, model: JujuModel, juju: Model, charms: Charms
) -> None:
    application = charms.planned(name=name)
    for ask in (model.deploy_application, model.refresh_application, model.update_options):
        with pytest.raises(ConfigurationError, match="no name that Juju takes"):
            ask(application)
    assert juju.api.calls == []


def test_a_podspec_charm_is_deployed_with_no_more_than_a_warning(
    model: JujuModel, juju: Model, charms: Charms
) -> None:
    model.deploy_application(charms.planned(charm=PODSPEC, bases=("20.04",), base=None))
    assert juju.applications["minio"].base == "ubuntu@20.04"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"resources": {}}, "local charm missing OCI images for: oci-image"),
        (
            {"base": "ubuntu@22.04"},
            'base "ubuntu@22.04/stable" is not supported, supported bases are: ubuntu@20.04',
        ),
        ({"constraints": "mem=much"}, 'bad "mem" constraint: must be a non-negative float with'),
        (
            {"storage": {"minio-data": "x,y,z"}},
            "cannot parse disk constraints: pool name",
        ),
    ],
)
def test_what_the_client_refuses_is_told_in_its_words_alone(
    change: dict[str, Any], words: str, model: JujuModel, juju: Model, charms: Charms
) -> None:
    """Before its error it tells what it did so far, and that podspec charms are deprecated."""
    application = charms.planned(charm=PODSPEC, bases=("20.04",), **change)
    with pytest.raises(JujuError) as error:
        model.deploy_application(application)
    assert words in error.value.problem
    assert "Located" not in error.value.problem
    assert "deprecated" not in error.value.problem
    assert juju.applications == {}


def test_what_the_controller_refuses_of_a_deployment_is_told(
    model: JujuModel, juju: Model, charms: Charms
) -> None:
    application = charms.planned()
    model.deploy_application(application)
    with pytest.raises(JujuError, match=r"^juju refused: .*minio.*already exists"):
        model.deploy_application(application)
    juju.api.refuse("Application.Deploy", "no operator storage")
    with pytest.raises(JujuError) as error:
        model.deploy_application(replace(application, name="other"))
    assert error.value.problem == "juju refused: no operator storage"


# --- Bundles ------------------------------------------------------------------------------------


def test_a_bundle_is_deployed_with_its_resources_and_relations(
    model: JujuModel, juju: Model, charms: Charms, tmp_path: Path
) -> None:
    client = replace(
        MINIO, name="kfp-api", endpoints=(Endpoint("store", "requires", "object-storage"),)
    )
    minio = charms.planned({"port": 9001, "motd": "@/etc/hostname"})
    api = charms.planned(charm=client, name="kfp-api")
    account = tmp_path / "account.yaml"
    image = {"registrypath": IMAGE, "username": "pull", "password": "pass-phrase"}
    account.write_text(yaml.safe_dump(image))
    document = yaml.safe_load(bundle(tmp_path, minio).read_text())
    document["applications"]["kfp-api"] = {
        "charm": str(api.file),
        "base": "ubuntu@24.04",
        "scale": 2,
        "trust": False,
        "constraints": "mem=1G",
        "resources": {"oci-image": str(account)},
        "storage": {"minio-data": "10G"},
    }
    document["relations"] = [["kfp-api:store", "minio:object-storage"]]
    path = tmp_path / "bundle.yaml"
    path.write_text(yaml.safe_dump(document))

    changes = model.deploy_bundle(path)
    assert [change.split(" ")[0] for change in changes] == ["upload", "deploy"] * 2 + ["add"]
    assert changes[-1] == "add relation kfp-api:store - minio:object-storage"
    sent = {
        each["application"]: each
        for deployed in juju.api.made("Application.Deploy")
        for each in deployed["applications"]
    }
    assert yaml.safe_load(sent["minio"]["config-yaml"])["minio"] == {
        "port": 9001,
        "motd": "@/etc/hostname",
        "trust": "true",
    }
    assert "trust" not in sent["kfp-api"]["config-yaml"]
    assert sent["kfp-api"]["num-units"] == 2
    assert sent["kfp-api"]["constraints"] == {"mem": 1024}
    assert sent["kfp-api"]["storage"]["minio-data"]["Size"] == 10240
    assert image_of(juju.applications["kfp-api"].resources["oci-image"]) == image
    assert image_of(juju.applications["minio"].resources["oci-image"])["registrypath"] == IMAGE
    assert juju.api.made("Application.AddRelation") == [
        {"endpoints": ["kfp-api:store", "minio:object-storage"]}
    ]
    assert model.state().relations[Side("minio", "object-storage")] == {"kfp-api"}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (
            {"offers": {"o": {"endpoints": ["object-storage"]}}},
            "applications.minio.offers can only appear in an overlay section",
        ),
        ({"bindings": {"object-storage": "alpha"}}, 'space "alpha" not found'),
        ({"base": "ubuntu@22.04"}, "ubuntu@22.04"),
    ],
)
def test_what_the_client_refuses_of_a_bundle_is_told(
    more: dict[str, Any],
    words: str,
    model: JujuModel,
    juju: Model,
    charms: Charms,
    tmp_path: Path,
) -> None:
    with pytest.raises(JujuError) as error:
        model.deploy_bundle(bundle(tmp_path, charms.planned(), **more))
    assert words in error.value.problem
    assert juju.applications == {}


# --- What is there already ----------------------------------------------------------------------


@pytest.mark.parametrize(("base", "moved"), [(None, "20.04"), ("ubuntu@24.04", "24.04")])
def test_a_refresh_keeps_the_base_unless_it_is_told_another(
    base: str | None, moved: str, model: JujuModel, juju: Model, charms: Charms
) -> None:
    """A charm for 24.04 alone that stays on 20.04 does not run (Juju 3 does not look)."""
    model.deploy_application(charms.planned(bases=("20.04",)))
    juju.api.forget()
    new = charms.planned(bases=("24.04",), resources={"oci-image": f"{IMAGE}.1"})
    assert model.refresh_application(new, base=base) == [
        "refresh application minio to minio-24.04.charm"
    ]
    (sent,) = juju.api.made("Application.SetCharm")
    assert sent["application"] == "minio"
    assert sent["charm-url"] == "local:minio-1"
    assert sent["charm-origin"]["base"] == {"name": "ubuntu", "channel": f"{moved}/stable"}
    assert not (sent["force"] or sent["force-units"] or sent["force-base"])
    there = juju.applications["minio"]
    assert image_of(there.resources["oci-image"])["registrypath"] == f"{IMAGE}.1"
    assert model.state().bases == {"minio": f"ubuntu@{moved}"}


def test_a_podspec_charm_with_units_does_not_become_a_sidecar_charm(
    model: JujuModel, juju: Model, charms: Charms
) -> None:
    model.deploy_application(charms.planned(charm=PODSPEC, bases=("20.04",)))
    words = "Upgrading from an older PodSpec style charm to a newer Sidecar charm requires that"
    juju.api.refuse("Application.SetCharm", words)
    with pytest.raises(JujuError, match=f"^juju refused: .*{words}"):
        model.refresh_application(charms.planned())


def test_another_image_is_attached(model: JujuModel, juju: Model, charms: Charms) -> None:
    model.deploy_application(charms.planned())
    juju.api.forget()
    model.attach_resource("minio", "oci-image", f"{IMAGE}.2")
    (sent,) = juju.api.uploads
    assert (sent.path, sent.query) == (
        f"/model/{MODEL_UUID}/applications/minio/resources/oci-image",
        {},
    )
    assert image_of(sent.body.decode())["registrypath"] == f"{IMAGE}.2"


@pytest.mark.parametrize("image", ["--force", "@x", "~", "not an image", "/gone.yaml", ""])
def test_no_image_is_taken_for_a_flag_or_a_file(
    image: str, model: JujuModel, juju: Model, charms: Charms
) -> None:
    model.deploy_application(charms.planned())
    before = dict(juju.applications["minio"].resources)
    with pytest.raises(JujuError, match="juju refused"):
        model.attach_resource("minio", "oci-image", image)
    assert juju.applications["minio"].resources == before


def test_relations_are_added_once(model: JujuModel, juju: Model, charms: Charms) -> None:
    for name in ("minio", "kfp-api"):
        charm = Charm(charm_file(replace(MINIO, name=name)), {})
        juju.applications[name] = Application(charm, "ubuntu@24.04", 1, {}, {})
    before = model.state()
    assert model.relate(RELATION, before) == [
        "add relation kfp-api:object-storage - minio:object-storage"
    ]
    assert juju.api.made("Application.AddRelation") == [
        {"endpoints": ["kfp-api:object-storage", "minio:object-storage"]}
    ]
    assert model.relate(RELATION, model.state()) == []
    with pytest.raises(JujuError, match="relation already exists"):
        model.relate(RELATION, before)


def test_a_secret_of_the_model_is_kept(model: JujuModel, juju: Model) -> None:
    content = {"first-key": "a\nb: @x --force ~", "second": "x" * 20_000}
    secret = model.secret("ckf-airgap-record")
    assert secret.read() == {}
    secret.write(content, "what was deployed")
    assert model.secret("ckf-airgap-record").read() == content
    secret.write({"other": "value"}, "what was deployed")
    assert model.secret("ckf-airgap-record").read() == {"other": "value"}
    first, second = juju.secrets
    assert (first["label"], first["description"]) == ("ckf-airgap-record", "what was deployed")
    assert second["existing-label"] == "ckf-airgap-record"
    assert second["auto-prune"] is True
    assert not any("force" in each["cli-args"] for each in juju.api.made("Admin.Login"))


def test_the_sizes_of_resources_are_read(model: JujuModel, juju: Model, charms: Charms) -> None:
    model.deploy_application(charms.planned())
    size = len(juju.applications["minio"].resources["oci-image"])
    assert model.resource_sizes(MODEL_UUID, "minio") == {"oci-image": size}
    assert model.resource_sizes(MODEL_UUID, "gone") is None

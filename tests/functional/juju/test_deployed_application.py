"""One application that is deployed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from ckf_airgap.errors import ConfigurationError, JujuError
from ckf_airgap.juju.juju_model import JujuModel
from ckf_airgap.juju.juju_values import OptionValue
from tests.functional.juju.charms import (
    IMAGE,
    MANY_OPTIONS,
    MINIO,
    PODSPEC,
    VALUES,
    Charms,
    bundle,
    image_of,
)
from tests.functional.juju_model import MODEL_UUID, Model
from tests.sample_release import Option


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


def test_a_value_may_be_as_long_as_an_argument(
    model: JujuModel, juju: Model, charms: Charms
) -> None:
    longest = "a" * (128 * 1024 - 1 - len("motd="))
    model.deploy_application(charms.planned({"motd": longest}))
    assert juju.applications["minio"].values["motd"] == longest
    changed = longest.replace("a", "b")
    model.update_options(charms.planned({"motd": changed}))
    assert juju.applications["minio"].values["motd"] == changed
    juju.api.forget()
    for method in (model.deploy_application, model.update_options):
        with pytest.raises(ConfigurationError, match="motd of minio has 131,072 bytes"):
            method(charms.planned({"motd": f"{longest}a"}))
    assert juju.api.names == ["Application.Get"]


def test_values_may_be_many(model: JujuModel, juju: Model, charms: Charms) -> None:
    names = [f"string-{number}" for number in range(10)]
    charm = replace(MINIO, options=tuple(Option(name, "string", None) for name in names))
    options: dict[str, OptionValue] = dict.fromkeys(names, "a" * 100_000)
    model.deploy_application(charms.planned(options, charm))
    assert juju.applications["minio"].values == options


@pytest.mark.parametrize("name", ["--help", "-h", "", "a b", "~", "@x", "a=b"])
def test_no_name_is_taken_for_a_flag(
    name: str, model: JujuModel, juju: Model, charms: Charms
) -> None:
    application = charms.planned(name=name)
    for ask in (model.deploy_application, model.refresh_application, model.update_options):
        with pytest.raises(ConfigurationError, match="is not a valid name of a Juju"):
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

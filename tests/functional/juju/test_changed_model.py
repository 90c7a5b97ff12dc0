"""Bundles, and changes to what is there already."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from ckf_airgap.errors import ConfigurationError, JujuError
from ckf_airgap.juju.juju_model import JujuModel
from ckf_airgap.juju.juju_values import OptionValue, Side
from tests.functional.juju.charms import IMAGE, MINIO, PODSPEC, RELATION, Charms, bundle, image_of
from tests.functional.juju_model import MODEL_UUID, Application, Charm, Model
from tests.sample_release import charm_file
from tests.sample_release.release import Endpoint

_SCALE = "Application.ScaleApplications"


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


def test_a_refresh_brings_the_options_with_the_charm(
    model: JujuModel, juju: Model, charms: Charms
) -> None:
    """The hook that upgrades the workload reads them already."""
    model.deploy_application(charms.planned())
    juju.api.forget()
    options: dict[str, OptionValue] = {
        "port": 9001,
        "motd": "two\nlines = {a: 1}",
        "secure": True,
    }
    model.refresh_application(charms.planned(options))
    (sent,) = juju.api.made("Application.SetCharm")
    assert sent["config-settings"] == {
        "port": "9001",
        "motd": "two\nlines = {a: 1}",
        "secure": "true",
        "trust": "true",
    }
    assert model.update_options(charms.planned(options)) == []


def test_a_refresh_takes_no_value_for_the_name_of_a_file(
    model: JujuModel, juju: Model, charms: Charms
) -> None:
    model.deploy_application(charms.planned())
    juju.api.forget()
    with pytest.raises(ConfigurationError, match="motd of minio begins with @"):
        model.refresh_application(charms.planned({"motd": "@/etc/hostname"}))
    assert juju.api.names == []


def test_an_application_is_scaled(model: JujuModel, juju: Model, charms: Charms) -> None:
    model.deploy_application(charms.planned())
    assert model.scale_application("minio", 0) == ["scale application minio to 0"]
    state = model.state()
    assert (state.scales["minio"], state.units["minio"]) == (0, 0)
    model.scale_application("minio", 3)
    assert model.state().scales["minio"] == 3
    assert [each["applications"][0]["scale"] for each in juju.api.made(_SCALE)] == [0, 3]


@pytest.mark.parametrize("destroys", [False, True])
def test_an_application_is_removed(
    destroys: bool, model: JujuModel, juju: Model, charms: Charms
) -> None:
    model.deploy_application(charms.planned())
    assert model.remove_application("minio", destroy_storage=destroys) == [
        "remove application minio"
    ]
    assert model.state().applications == frozenset()
    (sent,) = juju.api.made("Application.DestroyApplication")
    assert sent["applications"][0].get("destroy-storage", False) is destroys
    assert not sent["applications"][0].get("force")


def test_the_defaults_of_the_charm_that_runs_are_told(
    model: JujuModel, juju: Model, charms: Charms
) -> None:
    model.deploy_application(charms.planned({"port": 9001}))
    assert model.option_defaults("minio")["mode"] == "server"


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
    assert model.remove_relation(RELATION) == [
        "remove relation kfp-api:object-storage - minio:object-storage"
    ]
    assert not model.state().has_relation(RELATION)
    with pytest.raises(JujuError, match="not found"):
        model.remove_relation(RELATION)


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

"""A hostile charm, bundle or overlay changes nothing of what another application gets."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from ckf_airgap.archives.sources import FileSource
from ckf_airgap.charms.charm_archive import UnpackedCharms, unpack_charms
from ckf_airgap.charms.charm_file import wanted_images
from ckf_airgap.errors import AirgapError, ConfigurationError
from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.planning.bundle import render_bundle
from ckf_airgap.planning.plan import make_plan
from ckf_airgap.planning.settings import PlanSettings
from tests.sample_release import Charm, Endpoint, Option, Resource, charm_file
from tests.unit.artifacts import inventory_of, write_archive
from tests.unit.hostile_charm_files import CHARMS, ODD, charm

TEMPLATES = Path(__file__).parents[2] / "templates"
# A password of the unit, which the juju client would upload.
SECRET = "/var/lib/juju/agents/unit-ckf-airgap-0/ckf-airgap/juju/accounts.yaml"
STORE = Endpoint("object-storage", "provides", "object-storage")
SOUND = {
    "minio.charm": Charm(
        "minio",
        (Resource("oci-image", "oci-image", "docker.io/minio/minio:1"),),
        (Option("mode", "string", "server"),),
        endpoints=(STORE,),
    ),
    "argo-controller.charm": Charm(
        "argo-controller",
        (Resource("oci-image", "oci-image", "docker.io/argo/controller:1"),),
        (Option("executor-image", "string", "docker.io/argo/exec:1"),),
        endpoints=(Endpoint("object-storage", "requires", "object-storage"),),
    ),
}
LINES = f"""x: a
    trust: true
    resources:
      loot: {SECRET}
  minio:
    charm: /etc/passwd
    resources:
      y"""
INJECTIONS = {
    "a resource": charm(
        metadata_yaml=yaml.safe_dump(
            {
                "name": "some",
                "resources": {LINES: {"type": "oci-image", "upstream-source": "minio/minio:1"}},
            }
        )
    ),
    "an option": charm(
        config_yaml=yaml.safe_dump(
            {"options": {LINES: {"type": "string", "default": "a/image:1"}}}
        )
    ),
    "an endpoint": charm(
        metadata_yaml=yaml.safe_dump({"name": "some", "provides": {LINES: {"interface": "x"}}})
    ),
    "a storage": charm(
        metadata_yaml=yaml.safe_dump({"name": "some", "storage": {LINES: {"type": "filesystem"}}})
    ),
    "a base": charm(manifest_yaml=json.dumps({"bases": [{"name": LINES, "channel": LINES}]})),
    "an interface of a neighbour": charm(
        metadata_yaml="name: some\nprovides: {object-storage: {interface: object-storage}}"
    ),
    "an image of a neighbour": charm(
        metadata_yaml="name: some\nresources: {a: {type: oci-image, "
        "upstream-source: 'docker.io/minio/minio:2'}}"
    ),
}
HOSTILE = {
    **{name: make for name, (make, _) in CHARMS.items()},
    **ODD,
    **{name: lambda content=content: content for name, content in INJECTIONS.items()},
}


def bundle_of(found: UnpackedCharms, **settings: str) -> dict[str, Any]:
    """Give the bundle that is deployed, without what belongs to the charm ``some``."""
    images = ["docker.io/minio/minio:1", "docker.io/argo/controller:1", "docker.io/argo/exec:1"]
    assert {*images} <= {str(image) for image in wanted_images(found.charms)}
    plan = make_plan(
        found.charms,
        inventory_of(images),
        PlanSettings.parse(
            location=RegistryLocation("registry.corp:5000", "ckf"), excluded_charms="", **settings
        ),
        found.unreadable,
    ).without_incomplete()
    document = yaml.safe_load(render_bundle(plan, TEMPLATES))
    document["applications"].pop("some", None)
    for body in document["applications"].values():
        body["charm"] = Path(body["charm"]).name
    document["relations"] = document["relations"] or []
    return document


def unpacked(folder: Path, *hostile: tuple[str, bytes], is_last: bool = False) -> UnpackedCharms:
    sound = [(name, charm_file(each)) for name, each in SOUND.items()]
    members = [*sound, *hostile] if is_last else [*hostile, *sound]
    folder.mkdir()
    path = write_archive(folder / "charms.tar.gz", members)
    return unpack_charms(FileSource(path), folder / "unpacked")


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    found = bundle_of(unpacked(tmp_path_factory.mktemp("sound") / "charms"))
    assert set(found["applications"]) == {"minio", "argo-controller"}
    assert found["relations"] == [["argo-controller:object-storage", "minio:object-storage"]]
    return found


@pytest.mark.parametrize("is_last", [False, True], ids=["first", "last"])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_charm(name: str, is_last: bool, expected: dict[str, Any], tmp_path: Path) -> None:
    found = unpacked(tmp_path / "charms", ("bad.charm", HOSTILE[name]()), is_last=is_last)
    assert bundle_of(found) == expected
    # That somebody deploys it changes nothing either.
    overlay = "applications: {some: {charm: some, trust: false}}"
    try:
        assert bundle_of(found, overlay=overlay) == expected
    except AirgapError as error:
        assert "bad.charm" in str(error) or "some" in str(error)


@pytest.mark.parametrize(
    "body",
    [
        {"options": {"a": LINES}},
        {"annotations": {"a": LINES}},
        {"storage": {"a": LINES}},
        {"devices": {"a": LINES}},
        {"options": {LINES: "a"}},
        {"annotations": {LINES: "a"}},
        {"resources": {LINES: "a/b:1"}},
        {"resources": {"a": LINES}},
        {"constraints": LINES},
        {"base": LINES},
        {"channel": LINES},
        {"trust": LINES},
        {"scale": LINES},
        {"charm": LINES},
        {LINES: "a"},
    ],
    ids=str,
)
@pytest.mark.parametrize("place", ["bundle", "overlay"])
def test_a_text_of_the_operator(
    place: str, body: dict[str, Any], expected: dict[str, Any], tmp_path: Path
) -> None:
    some = charm(
        config_yaml="options: {a: {type: string}}",
        metadata_yaml="name: some\nstorage: {a: {type: filesystem}}",
    )
    found = unpacked(tmp_path / "charms", ("some.charm", some))
    document: dict[str, Any] = {"applications": {"some": {"charm": "some", **body}}}
    if place == "bundle":
        document["applications"] |= {"minio": {}, "argo-controller": {}}
        document["relations"] = expected["relations"]
    try:
        assert bundle_of(found, **{place: json.dumps(document)}) == expected
    except ConfigurationError as error:
        assert f"the {place} " in error.problem
        assert len(str(error)) < 2_200


def test_a_name_with_structure_in_it(tmp_path: Path) -> None:
    found = unpacked(tmp_path / "charms")
    for document in ({"applications": {LINES: {"charm": "minio"}}}, {"relations": [[LINES, "a"]]}):
        with pytest.raises(ConfigurationError, match="with the name 'x: a"):
            bundle_of(found, overlay=json.dumps(document))

"""``ckf-airgap plan --format terraform``: what OpenTofu makes of the directory.

The output is compared with the bundle of the same plan, which Juju itself reads elsewhere.
"""

import hashlib
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from ckf_airgap.commands.main import main
from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.planning.bundle import render_bundle
from ckf_airgap.planning.plan import Plan, make_plan
from ckf_airgap.planning.settings import PlanSettings
from tests.functional.opentofu import OpenTofu
from tests.sample_release import ImageOptions, Release, SampleRelease, write_release
from tests.support.operator_steps import PROJECT
from tests.unit.artifacts import charm_files, inventory_of

pytestmark = pytest.mark.interop

REGISTRY = "registry.corp:5000/ckf"
MODEL = "0f4a5b1c-0000-4000-8000-000000000001"
PASSWORD = "only-for-pulling"
# What Terraform would evaluate if it was not escaped, and what JSON has to escape.
STRANGE = [
    "${var.model_uuid}",
    "$${var.model_uuid} $$${x} ${",
    '%{ if true }yes%{ endif } %{ %%{ $ %"',
    '"} ] \\ \n\t\u2028 größe 😀 </script>',
    '${file("/etc/passwd")}',
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> SampleRelease:
    return write_release(
        Release.builtin(),
        tmp_path_factory.mktemp("release"),
        ImageOptions(program=b"not a program, and quick to make"),
    )


def overlay(folder: Path) -> Path:
    """Set something of every kind, with values that Terraform could misread."""
    path = folder / "overlay.yaml"
    applications = {
        "kubeflow-profiles": {"constraints": "mem=1G", "scale": 3, "trust": False},
        "kubeflow-dashboard": {"expose": True},
        "minio": {
            "storage": {"minio-data": "fast,2,20G"},
            "options": {"access-key": STRANGE[0], "secret-key": " ".join(STRANGE[1:])},
        },
    }
    path.write_text(yaml.safe_dump({"applications": applications}))
    return path


def written(made: SampleRelease, folder: Path, *words: str) -> Path:
    """Write the directory, with the charms in it."""
    archives = ["--charms", str(made.charms.path), "--images", str(made.images.path)]
    target = folder / "terraform"
    words = ("--format", "terraform", "--output", str(target), *words)
    # The release lacks charms of a whole one.
    assert main(["plan", *archives, "--registry", REGISTRY, *words]) == 1
    with tarfile.open(made.charms.path) as archive:
        archive.extractall(target / "charms", filter="data")
    return target


def planned(tofu: OpenTofu, folder: Path, *words: str) -> dict[str, dict[str, Any]]:
    """Have OpenTofu plan; gives the values of each resource, by its type and name."""
    tofu.must(folder, "init")
    tofu.must(folder, "validate")
    tofu.must(folder, "plan", f"-var=model_uuid={MODEL}", "-out=plan", *words)
    document = json.loads(tofu.must(folder, "show", "-json", "plan"))
    resources = document["planned_values"]["root_module"]["resources"]
    found: dict[str, dict[str, Any]] = {}
    for each in resources:
        assert each["values"]["model_uuid"] == MODEL
        found.setdefault(each["type"], {})[each["name"]] = each["values"]
    return found


def plan_of(made: SampleRelease, folder: Path, overlay_text: str) -> Plan:
    settings = PlanSettings.parse(
        location=RegistryLocation.parse(REGISTRY), excluded_charms="", overlay=overlay_text
    )
    charms = charm_files(made.release.charms, folder / "charms of the bundle")
    return make_plan(charms, inventory_of(made.release.images), settings)


def as_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def test_it_deploys_what_the_bundle_deploys(
    tofu: OpenTofu, made: SampleRelease, tmp_path: Path
) -> None:
    changed = overlay(tmp_path)
    plan = plan_of(made, tmp_path, changed.read_text())
    bundle = yaml.safe_load(render_bundle(plan, PROJECT / "templates"))
    found = planned(tofu, written(made, tmp_path, "--overlay", str(changed)))

    applications = found["juju_application"]
    assert set(applications) == set(bundle["applications"]) == set(made.release.applications)
    for name, body in bundle["applications"].items():
        values = applications[name]
        (charm,) = values["local_charm"]
        assert values["name"] == name
        assert charm["name"] == made.release.applications[name]
        assert charm["base"] == body["base"]
        assert values["units"] == body["scale"]
        assert values["trust"] is body["trust"]
        assert values.get("constraints") == body.get("constraints")
        assert values["resources"] == body.get("resources")
        options = body.get("options")
        assert values["config"] == (
            options and {key: as_text(value) for key, value in options.items()}
        )
        assert values["storage_directives"] == body.get("storage")
        assert bool(values["expose"]) is bool(body.get("expose"))
        assert values["registry_credentials"] is None
    assert applications["minio"]["config"]["access-key"] == STRANGE[0]
    assert applications["minio"]["config"]["secret-key"] == " ".join(STRANGE[1:])

    relations = {
        frozenset(f"{side['name']}:{side['endpoint']}" for side in values["application"])
        for values in found["juju_integration"].values()
    }
    assert relations == {frozenset(pair) for pair in bundle["relations"]}
    assert len(found["juju_integration"]) == len(bundle["relations"])


def test_every_charm_is_the_one_of_the_archive(
    tofu: OpenTofu, made: SampleRelease, tmp_path: Path
) -> None:
    folder = written(made, tmp_path)
    found = planned(tofu, folder)["juju_application"]
    digests = {
        hashlib.sha256(folder.joinpath(values["local_charm"][0]["path"]).read_bytes()).hexdigest()
        for values in found.values()
    }
    in_archive = [path for path in (folder / "charms").rglob("*.charm")]
    assert digests == {hashlib.sha256(path.read_bytes()).hexdigest() for path in in_archive}

    path = folder / found["minio"]["local_charm"][0]["path"]
    path.write_bytes(path.read_bytes() + b"\0")
    outcome = tofu.run(folder, "plan", f"-var=model_uuid={MODEL}")
    assert outcome.returncode == 1
    assert f"{path.relative_to(folder)} is not the charm of the plan" in outcome.stdout


def test_the_account_is_given_for_every_image_and_shown_nowhere(
    tofu: OpenTofu, made: SampleRelease, tmp_path: Path
) -> None:
    folder = written(made, tmp_path)
    account = {"username": "puller", "password": PASSWORD}
    folder.joinpath("registry.auto.tfvars.json").write_text(
        json.dumps({"registry_account": account})
    )
    with_images = 0
    for values in planned(tofu, folder)["juju_application"].values():
        images: dict[str, str] = values["resources"] or {}
        # The provider looks here for the account of an image.
        paths = {image.rpartition("/")[0] for image in images.values()}
        assert values["registry_credentials"] == (
            {path: account for path in paths} if paths else None
        )
        with_images += bool(paths)
    assert with_images > 10
    assert PASSWORD not in tofu.must(folder, "show", "plan")


def test_it_is_applied_once_and_then_nothing_is_left_to_do(
    tofu: OpenTofu, made: SampleRelease, tmp_path: Path
) -> None:
    folder = written(made, tmp_path)
    variables = f"-var=model_uuid={MODEL}"
    tofu.must(folder, "init")
    count = len(made.release.applications) + len(made.release.relations)
    assert f"{count} added, 0 changed, 0 destroyed" in tofu.must(
        folder, "apply", "-auto-approve", variables
    )
    assert "No changes." in tofu.must(folder, "plan", "-detailed-exitcode", variables)


def test_relations_follow_an_application_that_is_replaced(
    tofu: OpenTofu, made: SampleRelease, tmp_path: Path
) -> None:
    folder = written(made, tmp_path)
    variables = f"-var=model_uuid={MODEL}"
    tofu.must(folder, "init")
    tofu.must(folder, "apply", "-auto-approve", variables)
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text("applications: {kfp-db: {constraints: mem=8G}}")
    written(made, tmp_path, "--overlay", str(overlay))
    text = tofu.must(folder, "plan", variables)
    relations = sum("kfp-db" in str(pair) for pair in made.release.relations)
    assert relations > 0
    assert f"Plan: {1 + relations} to add, 0 to change, {1 + relations} to destroy." in text


def test_its_files_are_formatted_as_the_field_does(
    tofu: OpenTofu, made: SampleRelease, tmp_path: Path
) -> None:
    tofu.must(written(made, tmp_path), "fmt", "-check", "-diff", "-recursive")

"""Charms that cannot be read: warnings where nothing needs them, else one error."""

import json
from pathlib import Path

import pytest

from ckf_airgap.archives.sources import FileSource
from ckf_airgap.charms.charm_archive import UnpackedCharms, unpack_charms
from ckf_airgap.charms.charm_file import CharmFile
from ckf_airgap.commands.main import main
from ckf_airgap.errors import ArtifactError, ConfigurationError
from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.packing.packed_charms import charms_in
from ckf_airgap.planning.charm_selection import select_charms
from ckf_airgap.planning.plan import Plan, make_plan
from ckf_airgap.planning.settings import PlanSettings
from tests.sample_release import Charm, charm_file
from tests.sample_release.release import Endpoint
from tests.unit.artifacts import charm_files, inventory_of, write_archive

SETTINGS = PlanSettings(location=RegistryLocation("registry.corp:5000", "ckf"))
SOUND = ("minio", "dex-auth")


def unpacked(folder: Path, *broken: str, sound: tuple[str, ...] = SOUND) -> UnpackedCharms:
    members = [(f"{name}.charm", charm_file(Charm(name))) for name in sound]
    members += [(name, b"no charm") for name in broken]
    archive = write_archive(folder / "charms.tar.gz", members)
    return unpack_charms(FileSource(archive), folder / "charms")


def planned(found: UnpackedCharms, **values: str) -> Plan:
    settings = PlanSettings.parse(location=SETTINGS.location, **values)
    return make_plan(found.charms, inventory_of([]), settings, found.unreadable)


def test_one_that_nothing_is_deployed_from_is_a_warning(tmp_path: Path) -> None:
    plan = planned(unpacked(tmp_path, "postgresql-k8s_r1.charm", "x.charm"))
    assert {item.name for item in plan.applications} == set(SOUND)
    problems = [str(warning) for warning in plan.warnings if "readable" in warning.problem]
    assert [text.partition(" ")[0] for text in problems] == ["postgresql-k8s_r1.charm", "x.charm"]
    assert all(
        "nothing is deployed from it: download the charm again" in text for text in problems
    )


def test_those_that_are_needed_are_named_in_one_error(tmp_path: Path) -> None:
    found = unpacked(tmp_path, "kfp-api_r1.charm", "mlmd.charm", "x.charm")
    with pytest.raises(ArtifactError) as raised:
        planned(found)
    problem = raised.value.problem
    assert problem.startswith(
        "2 charms that the deployment needs cannot be read: kfp-api_r1.charm"
    )
    assert "mlmd.charm" in problem
    assert "x.charm" not in problem
    # An unreadable charm is not a missing one.
    selected = select_charms(found.charms, SETTINGS, found.unreadable)
    assert not {"kfp-api", "mlmd"} & {charm.name for charm in selected.missing}


def test_the_topology_decides_what_is_needed(tmp_path: Path) -> None:
    found = unpacked(tmp_path, "kfp-api_r1.charm")
    plan = planned(found, bundle="applications: {minio: {charm: minio}}")
    assert any("kfp-api_r1.charm is not a readable charm" in str(w) for w in plan.warnings)
    with pytest.raises(ArtifactError, match=r"kfp-api_r1\.charm is not a readable charm"):
        planned(found, bundle="applications: {minio: {charm: minio}, mine: {charm: kfp-api}}")


def test_one_that_is_there_a_second_time_is_not_needed(tmp_path: Path) -> None:
    plan = planned(unpacked(tmp_path, "older/minio_r1.charm"))
    assert any("older/minio_r1.charm" in str(warning) for warning in plan.warnings)


def test_istio_that_cannot_be_read_is_of_the_mesh_that_it_belongs_to(tmp_path: Path) -> None:
    found = unpacked(tmp_path, "istio-k8s_r9.charm", sound=("minio", "istio-beacon-k8s"))
    with pytest.raises(ArtifactError, match=r"istio-k8s_r9\.charm"):
        planned(found)


def test_inspect_lists_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unpacked(tmp_path, "x.charm")
    words = ["inspect", "--charms", str(tmp_path / "charms.tar.gz")]
    assert main([*words, "--format", "json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert set(document["charms"]) == set(SOUND)
    (text,) = document["unreadable_charms"]
    assert text.startswith("x.charm is not a readable charm")
    assert main(words) == 1
    shown = capsys.readouterr().out
    assert "CHARMS THAT CANNOT BE READ\n  x.charm is not a readable charm" in shown


def test_a_folder_has_them_as_findings(tmp_path: Path) -> None:
    (tmp_path / "minio_r1.charm").write_bytes(charm_file(Charm("minio")))
    (tmp_path / "x.charm").write_bytes(b"x")
    (found,), (unreadable,) = charms_in(tmp_path)
    assert (found.file.name, unreadable.label) == ("minio", "x.charm")
    (tmp_path / "minio_r1.charm").unlink()
    with pytest.raises(ArtifactError, match=r"x\.charm is not a readable charm"):
        charms_in(tmp_path)


def of_many_endpoints(folder: Path, name: str, role: str, count: int) -> CharmFile:
    endpoints = tuple(Endpoint(f"e{number}", role, "same") for number in range(count))
    (charm,) = charm_files([Charm(name, endpoints=endpoints)], folder)
    return charm


def test_a_relation_that_could_be_very_many_is_one_short_error(tmp_path: Path) -> None:
    charms = [
        of_many_endpoints(tmp_path, "left", "requires", 5_000),
        of_many_endpoints(tmp_path, "right", "provides", 5_000),
    ]
    apps = "applications: {left: {charm: left}, right: {charm: right}}\n"
    bundle = f"{apps}relations: [[left, right]]"
    with pytest.raises(ConfigurationError) as raised:
        make_plan(
            charms, inventory_of([]), PlanSettings.parse(location=SETTINGS.location, bundle=bundle)
        )
    assert "could be several: left:e0 - right:e0; left:e0 - right:e1; " in raised.value.problem
    assert raised.value.problem.endswith("; more")


def test_very_many_relations_of_two_large_charms_are_planned(tmp_path: Path) -> None:
    charms = [
        of_many_endpoints(tmp_path, "left", "requires", 5_000),
        of_many_endpoints(tmp_path, "right", "provides", 5_000),
    ]
    apps = "applications: {left: {charm: left}, right: {charm: right}}\n"
    pairs = ", ".join(f"['left:e{n}', 'right:e{n}']" for n in range(5_000))
    settings = PlanSettings.parse(location=SETTINGS.location, bundle=f"{apps}relations: [{pairs}]")
    assert len(make_plan(charms, inventory_of([]), settings).relations) == 5_000

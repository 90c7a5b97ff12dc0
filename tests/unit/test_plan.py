"""The plan: which image of the archive stands for which need, and what is deployed how."""

import json
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from ckf_airgap.archives.inventory import read_inventory
from ckf_airgap.archives.sources import FileSource
from ckf_airgap.charms.charm_archive import unpack_charms
from ckf_airgap.charms.charm_file import CharmFile
from ckf_airgap.errors import ConfigurationError, PlanError
from ckf_airgap.images.reference import ImageReference
from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.planning.image_lookup import Match, Resolver
from ckf_airgap.planning.plan import Plan, PlannedApplication, make_plan
from ckf_airgap.planning.plan_document import plan_document
from ckf_airgap.planning.settings import PlanSettings
from tests.sample_release import (
    Charm,
    Release,
    Resource,
    SampleRelease,
    charm_file,
    retagged_name,
)
from tests.unit.artifacts import charm_files, inventory_of, knative_images

LOCATION = RegistryLocation.parse("registry.corp:5000/ckf")
PREFIX = "registry.corp:5000/ckf"
SETTINGS = PlanSettings.parse(location=LOCATION)
# The two relations of the public bundles that leave finding the endpoint to Juju.
ENDPOINTS = {
    ("argo-controller", "minio"): ("argo-controller:object-storage", "minio:object-storage"),
    ("kubeflow-profiles", "kubeflow-dashboard"): (
        "kubeflow-profiles:kubeflow-profiles",
        "kubeflow-dashboard:kubeflow-profiles",
    ),
}


def settings(**values: str) -> PlanSettings:
    return PlanSettings.parse(location=LOCATION, **values)


def application(plan: Plan, name: str) -> PlannedApplication:
    (found,) = (item for item in plan.applications if item.name == name)
    return found


def sides(pairs: Iterable[tuple[object, object]]) -> set[frozenset[str]]:
    """Give relations as sets of two sides: which of them stands first says nothing."""
    return {frozenset(map(str, pair)) for pair in pairs}


@pytest.fixture(scope="module")
def charms(tmp_path_factory: pytest.TempPathFactory) -> tuple[CharmFile, ...]:
    return charm_files(Release.builtin().charms, tmp_path_factory.mktemp("charms"))


@pytest.mark.parametrize(
    ("image", "archived", "by", "to"),
    [
        ("docker.io/istio/pilot:1", "docker.io/istio/pilot:1", Match.EXACT, "istio/pilot:1"),
        ("docker.io/istio/pilot:1", "172.17.0.2:5000/istio/pilot:1", Match.EXACT, "istio/pilot:1"),
        ("docker.io/istio/pilot:1", "istio/pilot:1", Match.EXACT, "istio/pilot:1"),
        ("istio/pilot:1", "docker.io/istio/pilot:1", Match.EXACT, "istio/pilot:1"),
        ("docker.io/ubuntu:22.04", "ubuntu:22.04", Match.EXACT, "ubuntu:22.04"),
        ("gcr.io/a/b", "gcr.io/a/b:latest", Match.EXACT, "a/b:latest"),
        ("gcr.io/a/b:1", "gcr.io/a/b:2", Match.REPOSITORY, "a/b:2"),
        (f"gcr.io/a/b@sha256:{'0' * 64}", f"h:5/a/b:{'0' * 64}", Match.EXACT, f"a/b:{'0' * 64}"),
        (f"gcr.io/a/b@sha256:{'0' * 64}", "gcr.io/a/b:1", Match.REPOSITORY, "a/b:1"),
        ("gcr.io/a/b:1", "quay.io/c/b:1", Match.NAME, "c/b:1"),
        ("gcr.io/a/b:1", "quay.io/c/b:2", Match.NAME, "c/b:2"),
    ],
)
def test_an_image_is_found(image: str, archived: str, by: Match, to: str) -> None:
    resolver = Resolver(inventory_of([archived, "x/unrelated:1"]))
    resolution = resolver.resolve(image)
    assert (resolution.by, str(resolution.path), resolution.note) == (by, to, "")


def test_the_nearest_kind_of_match_counts() -> None:
    resolver = Resolver(inventory_of(["gcr.io/a/b:1", "gcr.io/a/b:2", "quay.io/c/b:1"]))
    assert resolver.resolve("gcr.io/a/b:1").by is Match.EXACT
    resolver = Resolver(inventory_of(["gcr.io/a/b:2", "quay.io/c/b:1"]))
    assert str(resolver.resolve("gcr.io/a/b:1").path) == "a/b:2"


@pytest.mark.parametrize(
    ("archived", "note"),
    [
        (["gcr.io/a/b:2", "gcr.io/a/b:3"], "several images could be meant: a/b:2, a/b:3"),
        (["quay.io/c/b:1", "quay.io/d/b:1"], "several images could be meant: c/b:1, d/b:1"),
        (["gcr.io/a/other:1"], ""),
        ([], ""),
    ],
)
def test_nothing_is_guessed(archived: list[str], note: str) -> None:
    resolution = Resolver(inventory_of(archived)).resolve("gcr.io/a/b:1")
    assert (resolution.by, resolution.path, resolution.note) == (None, None, note)


def test_very_many_candidates_are_counted() -> None:
    resolver = Resolver(inventory_of(f"quay.io/r{number}/b:1" for number in range(5_000)))
    notes = {resolver.resolve(f"gcr.io/{organisation}/b:1").note for organisation in ("a", "c")}
    (note,) = notes
    assert note.startswith("several images could be meant: r0/b:1, r1/b:1, r10/b:1")
    assert note.endswith(" more")
    assert len(note) < 500


def test_what_an_application_lacks_is_listed_as_far_as_it_fits(tmp_path: Path) -> None:
    names = [f"image-{number:04}" for number in range(2_000)]
    resources = tuple(Resource(name, "oci-image", "docker.io/a/b:1") for name in names)
    charm = Charm("minio", resources=resources)
    made = make_plan(
        charm_files((charm,), tmp_path / "charms"),
        inventory_of(["docker.io/other/image:1"]),
        PlanSettings.parse(location=LOCATION),
    )
    assert made.incomplete[0].lacking == tuple(names)
    (told,) = (w for w in plan_document(made, LOCATION)["warnings"] if "cannot be deployed" in w)
    assert told.startswith("minio cannot be deployed: no image for image-0000, image-0001")
    assert told.endswith(" more")
    assert len(told) < 2_200
    assert len(made.missing) == 1
    assert len(made.missing[0].wanted_by) == 2_000
    assert len(str(made.missing[0])) < 2_200


def test_one_image_under_two_names_is_not_ambiguous() -> None:
    resolver = Resolver(inventory_of(["gcr.io/a/b:2", "172.17.0.2:5000/a/b:2"]))
    assert resolver.resolve("gcr.io/a/b:1").by is Match.REPOSITORY


def test_what_is_no_reference_is_not_found() -> None:
    resolution = Resolver(inventory_of(["a/b:1"])).resolve("docker.io/istio/:1")
    assert (resolution.path, resolution.note) == (None, "not a valid image reference")


def test_the_builtin_release_is_planned_from_its_two_files(
    builtin: SampleRelease, tmp_path: Path
) -> None:
    charms = unpack_charms(FileSource(builtin.charms.path), tmp_path).charms
    wanted = [ImageReference.parse(image) for charm in charms for image in charm.images]
    held = read_inventory(FileSource(builtin.images.path), filter(None, wanted))
    release = builtin.release
    plan = make_plan(charms, held, settings(bundle=release.bundle))
    assert {item.name: item.charm for item in plan.applications} == release.applications
    assert [item.name for item in plan.applications] == sorted(release.applications)
    assert sides(plan.relations) == sides(ENDPOINTS.get(r, r) for r in release.relations)
    assert plan.missing == ()
    plan.require_complete()
    # The two defaults of kfp-profile-controller that are older than what was packed.
    assert {r.image: (r.by, str(r.path)) for r in plan.resolved if r.by is not Match.EXACT} == {
        "gcr.io/ml-pipeline/frontend:2.0.3": (Match.REPOSITORY, "ml-pipeline/frontend:2.0.5"),
        "gcr.io/ml-pipeline/visualization-server:2.0.3": (
            Match.NAME,
            "charmedkubeflow/visualization-server:2.0.5-4ae34a1",
        ),
    }
    problems = [warning.problem for warning in plan.warnings]
    assert sum("is used instead" in problem for problem in problems) == 2


def test_every_image_of_an_application_comes_from_the_registry(
    charms: tuple[CharmFile, ...],
) -> None:
    plan = make_plan(charms, inventory_of(Release.builtin().images), SETTINGS)
    for item in plan.applications:
        assert all(image.startswith(f"{PREFIX}/") for image in item.resources.values())
    assert application(plan, "kubeflow-profiles").resources == {
        "profile-image": f"{PREFIX}/kubeflownotebookswg/profile-controller:v1.8.0",
        "kfam-image": f"{PREFIX}/kubeflownotebookswg/kfam:v1.8.0",
    }
    digest = "672f20830d66678a3ece7285048700d6e52a9393202eb51e9749eb35031559c4"
    for name in ("katib-db", "kfp-db"):
        database = application(plan, name)
        assert database.resources == {"mysql-image": f"{PREFIX}/canonical/charmed-mysql:{digest}"}
        assert database.constraints == "mem=2G"
        assert database.base == "ubuntu@24.04"
        assert database.scale == 1
    gateway = application(plan, "istio-ingressgateway")
    assert gateway.options == {"kind": "ingress", "proxy-image": f"{PREFIX}/istio/proxyv2:1.17.3"}
    pilot = application(plan, "istio-pilot")
    assert pilot.options["default-gateway"] == "kubeflow-gateway"
    assert json.loads(str(pilot.options["image-configuration"]))["global-hub"] == f"{PREFIX}/istio"
    katib = json.loads(str(application(plan, "katib-controller").options["custom_images"]))
    assert len(katib) == 19
    assert all(image.startswith(f"{PREFIX}/") for image in katib.values())


def test_options_name_the_model_and_those_that_a_charm_lacks_are_left_out(tmp_path: Path) -> None:
    options = "options:\n  namespace: {type: string}\n  istio.gateway.namespace: {type: string}\n"
    path = tmp_path / "knative-serving.charm"
    path.write_bytes(charm_file(Charm("knative-serving"), None, {"config.yaml": options}))
    plan = make_plan([CharmFile.read(path)], inventory_of([]), settings(model="mine"))
    assert application(plan, "knative-serving").options == {
        "namespace": "knative-serving",
        "istio.gateway.namespace": "mine",
    }


@pytest.mark.parametrize(
    ("setting", "excluded"),
    [
        ("auto", {"katib-controller", "kubeflow-volumes", "minio"}),
        (" auto ", {"katib-controller", "kubeflow-volumes", "minio"}),
        ("", set[str]()),
        ("minio", {"minio"}),
        (" minio , argo-controller,, ", {"minio", "argo-controller"}),
        ("mysql-k8s", {"katib-db", "kfp-db"}),
        ("kfp-db", {"kfp-db"}),
        ("istio-gateway", {"istio-ingressgateway"}),
    ],
)
def test_charms_are_excluded_by_kind_or_by_name(
    setting: str, excluded: set[str], charms: tuple[CharmFile, ...]
) -> None:
    plan = make_plan(charms, inventory_of([]), settings(excluded_charms=setting))
    assert {item.name for item in plan.excluded} == excluded
    assert {item.name for item in plan.bundled} == {i.name for i in plan.applications} - excluded
    bundled = {str(side) for relation in plan.bundled_relations for side in relation}
    assert not {side for side in bundled if side.partition(":")[0] in excluded}
    # They are related all the same.
    assert len(plan.relations) == 16


def test_excluding_what_is_not_there_is_refused(charms: tuple[CharmFile, ...]) -> None:
    with pytest.raises(ConfigurationError, match=r"excluded-charms names minoi.*minio"):
        make_plan(charms, inventory_of([]), settings(excluded_charms="argo-controller,minoi"))


def test_missing_images_are_listed_with_who_wants_them(charms: tuple[CharmFile, ...]) -> None:
    gone = {
        "ghcr.io/canonical/charmed-mysql"
        "@sha256:672f20830d66678a3ece7285048700d6e52a9393202eb51e9749eb35031559c4": (
            "katib-db/mysql-image",
            "kfp-db/mysql-image",
        ),
        "kubeflownotebookswg/jupyter-scipy:v1.8.0": ("jupyter-ui/jupyter-images",),
        "docker.io/ubuntu:22.04": ("katib-controller/custom_images",),
        "gcr.io/google-containers/busybox": ("kfp-api/cache-image",),
    }
    held = [image for image in Release.builtin().images if image not in gone]
    plan = make_plan(charms, inventory_of(held), SETTINGS)
    assert {item.image: item.wanted_by for item in plan.missing} == gone
    assert not {item.image for item in plan.resolved} & set(gone)
    # Neither an empty string nor the charm's default on the internet.
    assert application(plan, "katib-db").resources == {}
    assert application(plan, "kfp-api").options["cache-image"] == (
        f"{PREFIX}/google-containers/busybox:latest"
    )
    assert f"{PREFIX}/kubeflownotebookswg/jupyter-scipy:v1.8.0" in json.loads(
        str(application(plan, "jupyter-ui").options["jupyter-images"])
    )
    values = [v for item in plan.applications for v in (*item.options.values(), *item.resources)]
    assert "" not in values
    assert '""' not in " ".join(map(str, values))
    with pytest.raises(PlanError) as error:
        plan.require_complete()
    assert "lacks 4 images" in str(error.value)
    for image, wanted_by in gone.items():
        assert f"{image} (for {', '.join(wanted_by)}" in str(error.value)


def test_what_came_close_to_a_missing_image_is_told(charms: tuple[CharmFile, ...]) -> None:
    held = [*Release.builtin().images, "gcr.io/ml-pipeline/frontend:2.0.4"]
    plan = make_plan(charms, inventory_of(held), SETTINGS)
    (missing,) = plan.missing
    assert str(missing) == (
        "gcr.io/ml-pipeline/frontend:2.0.3 (for kfp-profile-controller/custom_images; several "
        "images could be meant: ml-pipeline/frontend:2.0.4, ml-pipeline/frontend:2.0.5)"
    )


def test_all_missing_images_of_a_hub_are_listed(charms: tuple[CharmFile, ...]) -> None:
    pilot = [charm for charm in charms if charm.name == "istio-pilot"]
    plan = make_plan(pilot, inventory_of([]), SETTINGS)
    assert {item.image: item.wanted_by for item in plan.missing} == {
        "docker.io/istio/pilot:1.17.3": ("istio-pilot/image-configuration",),
        "docker.io/istio/proxyv2:1.17.3": ("istio-pilot/image-configuration",),
    }


def test_images_that_one_hub_cannot_name_count_as_missing(
    charms: tuple[CharmFile, ...],
) -> None:
    pilot = [charm for charm in charms if charm.name == "istio-pilot"]
    held = inventory_of(["docker.io/istio/pilot:1.17.3", "quay.io/else/proxyv2:1.17.3"])
    plan = make_plan(pilot, held, SETTINGS)
    configured = json.loads(str(application(plan, "istio-pilot").options["image-configuration"]))
    assert configured["global-hub"] == f"{PREFIX}/istio"
    assert [item.image for item in plan.missing] == [
        "docker.io/istio/pilot:1.17.3",
        "docker.io/istio/proxyv2:1.17.3",
    ]
    assert all("hubs or tags differ" in item.note for item in plan.missing)


def test_a_charm_of_no_application_is_warned_about(
    charms: tuple[CharmFile, ...], tmp_path: Path
) -> None:
    (stranger,) = charm_files([Charm("stranger")], tmp_path)
    plan = make_plan((*charms, stranger), inventory_of([]), SETTINGS)
    assert plan.warnings[0].problem == (
        "charm stranger belongs to no application of this deployment and is not deployed"
    )
    assert not [item for item in plan.applications if item.charm == "stranger"]
    with pytest.raises(PlanError, match=r"no charm of this deployment, only stranger"):
        make_plan([stranger], inventory_of([]), SETTINGS)


def test_relations_that_the_charms_cannot_make_are_left_out(
    charms: tuple[CharmFile, ...], tmp_path: Path
) -> None:
    (minio,) = charm_files([Charm("minio")], tmp_path)
    plan = make_plan(
        (*(charm for charm in charms if charm.name != "minio"), minio),
        inventory_of([]),
        SETTINGS,
    )
    assert not [s for pair in plan.relations for s in pair if s.application == "minio"]
    assert len(plan.relations) == 12


def exact(count: int, **others: int) -> Counter[str]:
    return Counter({"exact": count} | others)


@pytest.mark.parametrize("rename", [str, retagged_name], ids=["original", "retagged"])
@pytest.mark.parametrize(
    ("release", "applications", "found"),
    [
        ("1.8", 38, exact(91, repository=1, name=1)),
        ("1.9", 37, None),
        ("1.11", 37, exact(93, repository=1, missing=3)),
    ],
)
def test_real_releases_resolve_as_counted_by_hand(
    release: str,
    applications: int,
    found: Counter[str] | None,
    rename: Callable[[str], str],
    facts: Path | None,
    tmp_path: Path,
) -> None:
    if facts is None or not (facts / release).is_dir():
        pytest.skip(f"no facts about CKF {release}: set CKF_FACTS")
    real = Release.from_folder(facts / release)
    charms = charm_files(real.charms, tmp_path / "charms")
    # The lists of images do not hold those that the charms of old Knative do not name.
    old = [] if release == "1.11" else knative_images(facts)
    plan = make_plan(charms, inventory_of(map(rename, [*real.images, *old])), SETTINGS)

    assert {item.name: item.charm for item in plan.applications} == real.applications
    assert len(plan.applications) == applications
    assert sides(plan.relations) == sides(ENDPOINTS.get(r, r) for r in real.relations)
    assert len(plan.relations) == len(real.relations)
    assert plan.missing_charms == ()
    assert plan.incomplete == ()
    ways = Counter({"missing": len(plan.missing)} if plan.missing else {})
    ways.update(resolution.by.value for resolution in plan.resolved if resolution.by)
    if found is not None:
        assert ways == found
    assert sum(ways.values()) == len({image for charm in charms for image in charm.images})


@pytest.mark.parametrize(("release", "count"), [("1.8", 16), ("1.9", 16), ("1.11", 0)])
def test_images_that_old_knative_does_not_name_are_missing(
    release: str, count: int, facts: Path | None, tmp_path: Path
) -> None:
    if facts is None or not (facts / release).is_dir():
        pytest.skip(f"no facts about CKF {release}: set CKF_FACTS")
    real = Release.from_folder(facts / release)
    charms = charm_files(real.charms, tmp_path / "charms")
    plan = make_plan(charms, inventory_of(real.images), SETTINGS)
    missing = [item for item in plan.missing if "knative.dev" in item.image]
    assert len(missing) == count
    for item in missing:
        assert item.wanted_by[0].startswith("knative-")
        assert "the charm names no image: add that of the version 1.1" in item.note


def one_charm(folder: Path, name: str, options: str = "", metadata: str = "") -> CharmFile:
    """Write a charm with options and metadata of its own."""
    path = folder / f"{name}.charm"
    files = {"metadata.yaml": f"name: {name}\n{metadata}"}
    if options:
        files["config.yaml"] = f"options:\n{options}"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
    return CharmFile.read(path)


@pytest.mark.parametrize(("kind", "expected"), [("", None), ("NodePort", "NodePort")])
def test_the_gateways_service_has_the_type_that_is_wanted(
    kind: str, expected: str | None, tmp_path: Path
) -> None:
    gateway = one_charm(tmp_path, "istio-gateway", "  gateway_service_type: {default: X}\n")
    plan = make_plan([gateway], inventory_of([]), settings(gateway_service_type=kind))
    options = application(plan, "istio-ingressgateway").options
    assert options.get("gateway_service_type") == expected


def test_a_type_that_no_charm_takes_is_warned_about(tmp_path: Path) -> None:
    charm = one_charm(tmp_path, "minio")
    plan = make_plan([charm], inventory_of([]), settings(gateway_service_type="NodePort"))
    assert "no available charm has this option" in plan.warnings[0].problem


@pytest.mark.parametrize(
    ("default", "expected"),
    [
        ("nvcr.io", "nvcr.io,registry.corp:5000"),
        ("", "registry.corp:5000"),
        ("nvcr.io, registry.corp:5000", "nvcr.io,registry.corp:5000"),
    ],
)
def test_knative_does_not_resolve_tags_of_the_registry(
    default: str, expected: str, tmp_path: Path
) -> None:
    options = f"  registries-skipping-tag-resolving: {{default: '{default}'}}\n"
    charm = one_charm(tmp_path, "knative-serving", options)
    plan = make_plan([charm], inventory_of([]), SETTINGS)
    found = application(plan, "knative-serving").options["registries-skipping-tag-resolving"]
    assert found == expected


@pytest.mark.parametrize("name", ["dex-auth", "oidc-gatekeeper"])
def test_old_charms_learn_of_dex_by_an_option(name: str, tmp_path: Path) -> None:
    option = "  public-url: {default: ''}\n"
    new = "requires: {dex-oidc-config: {interface: dex-oidc-config}}\n"
    for metadata, expected in (("", "http://dex-auth.mine.svc:5556"), (new, None)):
        charm = one_charm(tmp_path, name, option, metadata)
        plan = make_plan([charm], inventory_of([]), settings(model="mine"))
        assert application(plan, name).options.get("public-url") == expected


def test_images_out_of_reach_are_told_with_what_they_are_for(tmp_path: Path) -> None:
    old = one_charm(tmp_path, "tensorboard-controller")
    (warning,) = make_plan([old], inventory_of([]), SETTINGS).warnings
    assert "tensorboard-controller uses docker.io/tensorflow/tensorflow for" in warning.problem
    assert "the mirrors of docker.io (output of ckf-airgap mirrors)" in warning.cure
    mirror = f"{PREFIX}/docker.io/tensorflow/tensorflow"
    assert f"{mirror}; images.tar.gz lacks" in warning.cure
    assert "pack it with --add-image docker.io/tensorflow/tensorflow" in warning.cure
    (fixed,) = make_plan([old], inventory_of([]), SETTINGS).fixed_images
    assert (fixed.image, fixed.application) == (
        "docker.io/tensorflow/tensorflow",
        "tensorboard-controller",
    )
    assert (fixed.mirror, fixed.is_required) == (mirror, False)
    held = make_plan([old], inventory_of(["tensorflow/tensorflow:2.5.1"]), SETTINGS).warnings[0]
    assert held.cure.endswith(f"request {mirror}")
    new = one_charm(tmp_path, "tensorboard-controller", "  tensorboard-image: {default: a/b:1}\n")
    plan = make_plan([new], inventory_of([]), SETTINGS)
    assert plan.warnings == ()
    assert [item.image for item in plan.missing] == ["a/b:1"]


def test_an_image_out_of_reach_is_found_by_any_way_to_write_its_name(tmp_path: Path) -> None:
    charm = one_charm(tmp_path, "training-operator")
    delivery = "mpioperator/kubectl-delivery:1"
    for name in ("alpine:3.10", "docker.io/library/alpine:3.10"):
        (there,) = make_plan([charm], inventory_of([name, delivery]), SETTINGS).warnings
        assert f"{PREFIX}/docker.io/library/alpine:3.10" in there.cure
        assert "lacks" not in there.cure
        assert "instead of" not in there.cure
    newer = inventory_of(["docker.io/library/alpine:3.12", delivery])
    (tagged,) = make_plan([charm], newer, SETTINGS).warnings
    assert "has library/alpine:3.12 instead of docker.io/library/alpine:3.10" in tagged.cure
    other = inventory_of(["docker.io/charmed/alpine:3.10", delivery])
    (absent,) = make_plan([charm], other, SETTINGS).warnings
    assert "--add-image docker.io/library/alpine:3.10" in absent.cure


@pytest.mark.parametrize("place", ["bundle", "overlay"])
def test_the_plugin_of_istio_counts_where_the_operator_uses_it(place: str, tmp_path: Path) -> None:
    pilot = one_charm(tmp_path, "istio-pilot", "  cni-bin-dir: {}\n  cni-conf-dir: {}\n")
    assert make_plan([pilot], inventory_of([]), SETTINGS).warnings == ()
    text = "applications: {istio-pilot: {options: {cni-bin-dir: /a, cni-conf-dir: /b}}}"
    (warning,) = make_plan([pilot], inventory_of([]), settings(**{place: text})).warnings
    assert "docker.io/istio/install-cni" in warning.problem


def test_a_resource_whose_image_nobody_names_bars_its_application(tmp_path: Path) -> None:
    charm = one_charm(tmp_path, "minio", metadata="resources: {oci-image: {type: oci-image}}\n")
    plan = make_plan([charm], inventory_of([]), SETTINGS)
    assert [item.name for item in plan.incomplete] == ["minio"]
    assert plan.without_incomplete().applications == ()
    assert "does not say which image its resource oci-image is" in plan.warnings[0].problem
    overlay = "applications: {minio: {resources: {oci-image: 'registry.corp:5000/minio:1'}}}"
    plan = make_plan([charm], inventory_of([]), settings(overlay=overlay))
    assert application(plan, "minio").resources == {"oci-image": "registry.corp:5000/minio:1"}
    assert plan.incomplete == ()


def test_charms_that_every_release_has_are_missed(charms: tuple[CharmFile, ...]) -> None:
    have = [charm for charm in charms if charm.name != "mysql-k8s"]
    missing = {
        item.name: item for item in make_plan(have, inventory_of([]), SETTINGS).missing_charms
    }
    # Of two applications that are deployed from one charm, and of which others need the relation.
    assert missing["mysql-k8s"].applications == ("katib-db", "kfp-db")
    assert "requires it" in missing["mysql-k8s"].wanted_by
    assert missing["dex-auth"].wanted_by == "every release has it"
    # What only some releases have, and nothing at hand asks for.
    assert not {"argo-server", "seldon-core", "mlmd", "envoy"} & set(missing)


def test_a_partner_that_not_every_release_has_is_missed_by_who_requires_it(
    tmp_path: Path,
) -> None:
    envoy = one_charm(tmp_path, "envoy", metadata="requires: {grpc: {interface: k8s-service}}\n")
    found = {
        item.name: item for item in make_plan([envoy], inventory_of([]), SETTINGS).missing_charms
    }
    assert found["mlmd"].wanted_by == "envoy:grpc requires it"


@pytest.mark.parametrize("quote", ["`", "'", ""])
def test_a_charm_that_runs_in_a_model_of_one_name_only(quote: str, tmp_path: Path) -> None:
    path = tmp_path / "kubeflow-dashboard.charm"
    text = (
        f'"kubeflow-dashboard must be deployed to model named {quote}kubeflow{quote}: https://x"'
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.yaml", "name: kubeflow-dashboard\n")
        archive.writestr("src/charm.py", f"raise CheckFailed({text}, BlockedStatus)\n")
    charm = CharmFile.read(path)
    assert make_plan([charm], inventory_of([]), SETTINGS).warnings == ()
    (warning,) = make_plan([charm], inventory_of([]), settings(model="ml-platform")).warnings
    assert "kubeflow-dashboard runs only in a model named kubeflow" in warning.problem
    assert warning.is_fatal


def test_a_charm_that_runs_in_any_model(tmp_path: Path) -> None:
    path = tmp_path / "kubeflow-dashboard.charm"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.yaml", "name: kubeflow-dashboard\n")
        archive.writestr("src/charm.py", "# must be deployed\n")
    charm = CharmFile.read(path)
    assert make_plan([charm], inventory_of([]), settings(model="other")).warnings == ()


def test_older_charms_are_planned_for_an_upgrade_to_go_through(tmp_path: Path) -> None:
    """With their own images and options; what they lack is missing as everything else is."""
    option = "  image: {default: 'a/b:1.17', type: string}\n  extra: {default: x, type: string}\n"
    for name in ("new", "1.17", "1.18"):
        (tmp_path / name).mkdir()
    newest = one_charm(tmp_path / "new", "kfp-api", option.replace("1.17", "1.19"))
    older = [
        one_charm(tmp_path / version, "kfp-api", f"  image: {{default: 'a/b:{version}'}}\n")
        for version in ("1.17", "1.18")
    ]
    overlay = "applications: {kfp-api: {options: {extra: mine}}}"
    settings = PlanSettings.parse(location=LOCATION, overlay=overlay)
    images = inventory_of(["a/b:1.19", "a/b:1.17"])
    plan = make_plan([newest], images, settings, intermediate=older)
    (item,) = plan.applications
    assert item.options == {"image": f"{PREFIX}/a/b:1.19", "extra": "mine"}
    first, second = plan.intermediate["kfp-api"]
    assert (first.file, first.options["image"]) == (older[0].path, f"{PREFIX}/a/b:1.17")
    assert "extra" not in first.options
    assert second.file == older[1].path
    assert [missing.image for missing in plan.missing] == ["a/b:1.18"]
    # No upgrade goes through what lacks its image.
    assert plan.without_incomplete().intermediate == {"kfp-api": (first,)}
    assert make_plan([newest], images, settings).intermediate == {}

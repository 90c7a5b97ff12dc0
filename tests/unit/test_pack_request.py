"""What is to be packed: bundles, channel maps, lists of images."""

import dataclasses
from pathlib import Path

import pytest

from ckf_airgap.charms.charm_file import CharmFile
from ckf_airgap.errors import AirgapError, ConfigurationError
from ckf_airgap.images.reference import ImageReference
from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.juju.charm_download import CharmOrigin
from ckf_airgap.packing.added_images import images_in
from ckf_airgap.packing.charm_origins import charms_of_bundle, charms_of_channel_map
from ckf_airgap.packing.pack_request import PackRequest
from ckf_airgap.packing.wanted_images import distinct_images, juju_images, parse_image
from ckf_airgap.planning.settings import PlanSettings
from tests.sample_release import Release, charm_file
from tests.unit.kubernetes_manifests import MANIFESTS


def references(*texts: str) -> list[ImageReference]:
    return [parse_image(text) for text in texts]


def test_a_bundle_names_each_charm_once() -> None:
    text = """
    default-base: ubuntu@22.04
    applications:
      kfp-db: {charm: mysql-k8s, channel: 8.0/stable}
      katib-db: {charm: "ch:mysql-k8s", channel: 8.0/stable}
      argo-controller: {charm: argo-controller, channel: 3.4/stable, base: ubuntu@24.04/stable}
      minio: {charm: minio, revision: 12, series: focal}
    """
    assert charms_of_bundle(text) == (
        CharmOrigin("argo-controller", "3.4/stable", "ubuntu@24.04"),
        CharmOrigin("minio", None, "ubuntu@20.04", 12),
        CharmOrigin("mysql-k8s", "8.0/stable", "ubuntu@22.04"),
    )


def test_the_published_bundles(facts: Path | None) -> None:
    if facts is None:
        pytest.skip("no facts about real releases: set CKF_FACTS")
    for name in ("1.8", "1.9", "1.11"):
        origins = charms_of_bundle((facts / name / "bundle.yaml").read_text())
        assert len(origins) == len(set(Release.from_folder(facts / name).applications.values()))
        assert all(origin.channel for origin in origins)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not a map"),
        ("[1]", "is not a map"),
        ("a: [", "not valid YAML"),
        ("name: x", "names no applications"),
        ("applications: {a: {charm: 1}}", "names no valid charm for a: '1'"),
        ("applications: {a: {charm: ./a.charm}}", "deploys a from a file, not from Charmhub"),
        ("applications: {a: {charm: b, revision: x}}", "gives a a revision that is not a number"),
        (
            f"applications: {{a: {{charm: b, revision: '{'1' * 5000}'}}}}",
            "gives a a revision that is not a number",
        ),
        (
            "applications: {a: {charm: c, channel: '1'}, b: {charm: c, channel: '2'}}",
            r"deploys c \(1\) and c \(2\)",
        ),
    ],
)
def test_a_bundle_that_cannot_be_packed(text: str, words: str) -> None:
    with pytest.raises(AirgapError, match=words):
        charms_of_bundle(text)


EXPORTED = """
default-base: ubuntu@22.04/stable
applications:
  charmhub: {charm: "ch:amd64/focal/minio-57", channel: 1.10}
  plain: {charm: argo-controller, revision: "4"}
  of-series: {charm: mlmd, series: noble}
  of-its-own: {charm: kfp-api, base: ubuntu@20.04/stable}
  kfp-ui: {channel: 2/stable}
  gone: {charm: dex-auth}
--- # overlay.yaml
applications:
  plain: {channel: 3.4/stable}
  of-its-own: {charm: "ch:kfp-db-9"}
  added: {charm: "ch:amd64/jammy/katib-ui-3"}
  later: {charm: kfp-persistence}
  gone:
"""


def test_pack_and_plan_read_a_bundle_alike() -> None:
    settings = PlanSettings.parse(location=RegistryLocation("registry.corp"), bundle=EXPORTED)
    planned = {item.charm: item.base for item in settings.topology.applications}
    origins = charms_of_bundle(EXPORTED)
    assert {origin.name: origin.base for origin in origins} == planned
    assert origins == (
        CharmOrigin("argo-controller", "3.4/stable", "ubuntu@22.04", 4),
        CharmOrigin("katib-ui", None, "ubuntu@22.04", 3),
        CharmOrigin("kfp-db", None, "ubuntu@20.04", 9),
        CharmOrigin("kfp-persistence", None, "ubuntu@22.04"),
        CharmOrigin("kfp-ui", "2/stable", "ubuntu@22.04"),
        CharmOrigin("minio", "1.10", "ubuntu@20.04", 57),
        CharmOrigin("mlmd", None, "ubuntu@24.04"),
    )


@pytest.mark.parametrize("channel", ["[1]", "{a: b}", "'a\\nb'"])
def test_a_channel_that_is_not_text_is_refused_by_both(channel: str) -> None:
    bundle = f"applications: {{a: {{charm: b, channel: {channel}}}}}".replace("'", '"')
    with pytest.raises(ConfigurationError, match="gives a a channel that is not text"):
        charms_of_bundle(bundle)
    with pytest.raises(ConfigurationError, match="gives a a channel that is not text"):
        PlanSettings.parse(location=RegistryLocation("registry.corp"), bundle=bundle)


def test_the_charms_of_a_bundle_may_be_files_where_they_are_at_hand() -> None:
    text = "applications: {a: {charm: ./charms/argo-controller_r12.charm}, b: {charm: minio}}"
    names = [origin.name for origin in charms_of_bundle(text, from_files=True)]
    assert names == ["argo-controller", "minio"]


@pytest.mark.parametrize(
    ("charm", "origin"),
    [
        ("ch:minio", CharmOrigin("minio")),
        ("ch:amd64/jammy/minio-57", CharmOrigin("minio", base="ubuntu@22.04", revision=57)),
        ("ch:minio-1234567890", CharmOrigin("minio", revision=1234567890)),
        ("ch:amd64/mysql-k8s", CharmOrigin("mysql-k8s")),
        # The charm store counted revisions in its own way.
        ("cs:minio-57", CharmOrigin("minio")),
        ("cs:~kubeflow-charmers/katib-ui-3", CharmOrigin("katib-ui")),
    ],
)
def test_a_charm_is_named_in_any_form_of_juju(charm: str, origin: CharmOrigin) -> None:
    assert charms_of_bundle(f"applications: {{a: {{charm: '{charm}'}}}}") == (origin,)


def test_the_overlays_of_an_exported_bundle_count() -> None:
    text = """
default-base: ubuntu@22.04/edge
applications: {a: {charm: minio, revision: 1}, gone: {charm: x}}
--- # overlay.yaml
applications: {a: {offers: {o: {endpoints: [s3]}}}, b: {charm: mlmd}, gone: }
"""
    assert charms_of_bundle(text) == (
        CharmOrigin("minio", None, "ubuntu@22.04", 1),
        CharmOrigin("mlmd", None, "ubuntu@22.04"),
    )


def test_a_channel_map() -> None:
    text = """
    minio: ckf-1.8/stable
    argo-controller: 3.10
    x: {revision: 4}
    y: {channel: 1, base: ubuntu@20.04}
    """
    assert charms_of_channel_map(text) == (
        CharmOrigin("argo-controller", "3.10"),
        CharmOrigin("minio", "ckf-1.8/stable"),
        CharmOrigin("x", revision=4),
        CharmOrigin("y", "1", "ubuntu@20.04"),
    )


@pytest.mark.parametrize("text", ["minio:", "minio: [1]", "minio: {track: 1}", "- minio", ""])
def test_a_channel_map_that_is_none(text: str) -> None:
    with pytest.raises(ConfigurationError, match="the channel map"):
        charms_of_channel_map(text)


def test_images_in_a_list() -> None:
    text = "# mine\n\nbusybox\n- docker.io/a/b:1  # with a bullet\n'c/d@sha256:" + "e" * 64 + "'\n"
    found = images_in(text, "list")
    assert list(found) == references("busybox", "docker.io/a/b:1", f"c/d@sha256:{'e' * 64}")


def test_images_in_manifests() -> None:
    place = "gcr.io/knative-releases/knative.dev"
    assert set(images_in(MANIFESTS, "serving.yaml")) == set(
        references(
            f"{place}/serving/cmd/controller@sha256:{'a' * 64}",
            f"{place}/webhook:v1",
            f"{place}/serving/cmd/queue:v1",
        )
    )


@pytest.mark.parametrize("text", ["", "kind: ConfigMap\ndata: {a: b c}\n", "a b: [", "UPPER/CASE"])
def test_a_file_without_images(text: str) -> None:
    with pytest.raises(ConfigurationError):
        images_in(text, "file.yaml")


def test_images_of_juju(tmp_path: Path) -> None:
    charms: list[CharmFile] = []
    for charm in Release.builtin(("minio", "mysql-k8s")).charms:
        path = tmp_path / f"{charm.name}.charm"
        path.write_bytes(charm_file(charm))
        charms.append(CharmFile.read(path))
    assert list(juju_images("3.6.8", charms)) == references(
        "docker.io/jujusolutions/jujud-operator:3.6.8",
        "docker.io/jujusolutions/charm-base:ubuntu-20.04",
        "docker.io/jujusolutions/charm-base:ubuntu-24.04",
        "docker.io/jujusolutions/juju-db:4.4",
    )
    with pytest.raises(ConfigurationError, match="not a version"):
        juju_images("latest", charms)


def test_images_that_are_the_same_count_once() -> None:
    same = references("ubuntu:22.04", "docker.io/ubuntu:22.04", "docker.io/library/ubuntu:22.04")
    assert len(distinct_images(same)) == 1
    assert distinct_images(references("a/b", "a/b:latest")) == references("a/b")


def test_images_that_would_stand_in_one_place_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"would both be team/app:1"):
        distinct_images(references("gcr.io/team/app:1", "quay.io/team/app:1"))


def test_another_charmhub_is_another_pack(tmp_path: Path) -> None:
    public = PackRequest(output=tmp_path)
    assert dataclasses.replace(public, layout="oci").identity == public.identity
    own = dataclasses.replace(public, charmhub_url="https://charmhub.corp")
    assert own.identity != public.identity


def test_manifests_that_stand_for_endless_data() -> None:
    layers = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 40)]
    text = "\n".join(["a0: &a0 {image: gcr.io/kept/image:v1}", *layers])
    with pytest.raises(ConfigurationError, match=r"some\.yaml is neither a list"):
        images_in(text, "some.yaml")


def test_manifests_that_are_too_deep() -> None:
    with pytest.raises(ConfigurationError, match=r"some\.yaml is neither a list"):
        images_in("a: " + "[" * 20_000, "some.yaml")

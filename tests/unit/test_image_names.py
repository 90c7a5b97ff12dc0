"""Image references and the names that images get under the registry prefix."""

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckf_airgap.errors import ConfigurationError
from ckf_airgap.images.naming import archived_paths, image_path
from ckf_airgap.images.reference import ImagePath, ImageReference, registry_host
from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.planning.nearest_names import to_choose_from
from tests.support.member_names import wanted_by_member_name

DIGEST = "3c0665cd36aa87e4359a4c8b6271dcba5bdd817815cd0496ed12eb5dde5fd2ec"


def reference(text: str) -> ImageReference:
    parsed = ImageReference.parse(text)
    assert parsed is not None, text
    return parsed


@pytest.mark.parametrize(
    ("image", "path"),
    [
        ("ubuntu:22.04", "ubuntu:22.04"),
        ("argoproj/workflow-controller:v3.3.10", "argoproj/workflow-controller:v3.3.10"),
        ("docker.io/istio/proxyv2:1.17.3", "istio/proxyv2:1.17.3"),
        ("docker.io/ubuntu:22.04", "docker.io/ubuntu:22.04"),
        ("registry.k8s.io/busybox", "registry.k8s.io/busybox:latest"),
        (f"gcr.io/ml-pipeline/kfp-driver@sha256:{DIGEST}", f"ml-pipeline/kfp-driver:{DIGEST}"),
        ("registry.corp.example.com:8443/team/a/b/app:v1", "team/a/b/app:v1"),
        ("localhost:5000/app:1", "app:1"),
        ("172.17.0.2:5000/ubuntu:22.04", "ubuntu:22.04"),
        ("[fd00::1]:5000/app:1", "app:1"),
        (f"repo/img:tag@sha256:{DIGEST}", "repo/img:tag"),
    ],
)
def test_an_image_keeps_its_path_under_the_prefix(image: str, path: str) -> None:
    assert str(image_path(reference(image))) == path


def test_names_agree_with_the_public_retag_script(facts: Path | None) -> None:
    rows = [
        ("ubuntu:22.04", "172.17.0.2:5000/ubuntu:22.04"),
        ("docker.io/istio/proxyv2:1.28.0", "172.17.0.2:5000/istio/proxyv2:1.28.0"),
        ("docker.io/ubuntu:22.04", "172.17.0.2:5000/docker.io/ubuntu:22.04"),
    ]
    if facts:
        with (facts / "naming-examples.tsv").open() as file:
            rows += [(row[0], row[1]) for row in list(csv.reader(file, delimiter="\t"))[1:]]
    for image, retagged in rows:
        if ImageReference.parse(retagged) is None:
            continue  # the script makes an invalid name of it: test_an_image_keeps_its_path
        assert image_path(reference(image)) == image_path(reference(retagged))
        assert image_path(reference(image)) in archived_paths(reference(retagged))


@pytest.mark.parametrize(
    ("archived", "wanted"),
    [
        ("172.17.0.2:5000/istio/proxyv2:1.17.3", "docker.io/istio/proxyv2:1.17.3"),
        ("istio/proxyv2:1.17.3", "docker.io/istio/proxyv2:1.17.3"),
        ("ubuntu:22.04", "docker.io/ubuntu:22.04"),
        ("ubuntu:22.04", "docker.io/library/ubuntu:22.04"),
        ("registry.corp/ubuntu:22.04", "ubuntu:22.04"),
        ("busybox", "busybox:latest"),
    ],
)
def test_an_archived_image_is_found_under_either_reading_of_its_name(
    archived: str, wanted: str
) -> None:
    assert image_path(reference(wanted)) in archived_paths(reference(archived))


def test_a_member_without_tags_is_known_by_its_file_name() -> None:
    driver = reference(f"gcr.io/ml-pipeline/kfp-driver@sha256:{DIGEST}")
    api = reference("charmedkubeflow/api-server:2.0.5")
    wanted = [driver, api, reference("server:2.0.5")]
    stem = f"gcr.io-ml-pipeline-kfp-driver@sha256-{DIGEST}"
    assert wanted_by_member_name(stem, wanted) == driver
    assert (
        wanted_by_member_name(f"172.17.0.2-5000-ml-pipeline-kfp-driver-{DIGEST}", wanted) == driver
    )
    assert wanted_by_member_name("172.17.0.2-5000-charmedkubeflow-api-server-2.0.5", wanted) == api
    assert wanted_by_member_name("172.17.0.2-5000-other-1", wanted) is None


def test_a_file_name_that_fits_two_images_names_none() -> None:
    wanted = [reference("a/b-c:1"), reference("a-b/c:1")]
    assert wanted_by_member_name("172.17.0.2-5000-a-b-c-1", wanted) is None


@pytest.mark.parametrize(
    ("text", "host", "path"),
    [
        ("registry.corp", "registry.corp", ""),
        ("registry.corp:5000/ckf", "registry.corp:5000", "ckf"),
        ("10.0.0.1:5000/a/b", "10.0.0.1:5000", "a/b"),
        ("[fd00::1]:5000/ckf", "[fd00::1]:5000", "ckf"),
    ],
)
def test_a_registry_prefix_is_read(text: str, host: str, path: str) -> None:
    location = RegistryLocation.parse(text)
    assert (location.host, location.path) == (host, path)
    assert str(location) == text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is empty"),
        ("https://registry.corp/ckf", "has a scheme"),
        ("registry.corp/ckf/", "ends with a slash"),
        ("registry.corp/CKF", "upper case"),
        ("registry corp", "space"),
        ("registry.corp:70000/ckf", "out of range"),
        ("registry.corp:0", "out of range"),
        ("registry.corp//ckf", "not a valid name"),
        ("-registry", "not a valid name"),
        (f"registry.corp:{'1' * 5000}", "is too long"),
        (f"registry.corp:{'1' * 50}", "out of range"),
        (f"registry.corp/{'a-' * 100_000}", "is too long"),
        ("registry.corp/\x1b[2j", "not a valid name"),
        ("fd00::1", "not a valid name"),
        ("[fd00::1", "not a valid name"),
        ("registry.corp:port", "not a valid name"),
        ("registry.corp/../other", "not a valid name"),
        ("registry.corp/a?b=c", "not a valid name"),
    ],
)
def test_a_wrong_registry_prefix_is_refused_with_its_fault(text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        RegistryLocation.parse(text)
    assert problem in raised.value.problem
    assert "registry.corp:5000/ckf" in raised.value.cure


def test_a_password_in_a_registry_prefix_is_not_repeated() -> None:
    with pytest.raises(ConfigurationError, match="has an account in it") as raised:
        RegistryLocation.parse("https://user:passphrase@registry.corp")
    assert "passphrase" not in str(raised.value)
    assert "registry-credentials" in raised.value.cure


def test_an_image_without_a_host_comes_from_docker_hub() -> None:
    assert registry_host("ubuntu:22.04") == "docker.io"
    assert registry_host("minio/minio:1") == "docker.io"
    assert registry_host("registry.corp:5000/ckf/minio:1") == "registry.corp:5000"
    assert registry_host("localhost/minio") == "localhost"


_component = st.from_regex(r"\A[a-z0-9]+(?:[._-][a-z0-9]+)*\Z").filter(lambda s: len(s) < 30)
_host = st.one_of(
    st.sampled_from(["docker.io", "gcr.io", "localhost:5000", "10.1.2.3:5000", "r.corp"]),
    _component,
)
_version = st.one_of(
    st.just(""), st.from_regex(r"\A:[\w][\w.-]{0,20}\Z"), st.just(f"@sha256:{DIGEST}")
).filter(str.isascii)


@given(st.lists(_component, min_size=1, max_size=5), st.none() | _host, _version)
def test_every_image_gets_a_valid_name_that_finds_it_again(
    components: list[str], host: str | None, version: str
) -> None:
    image = reference("/".join([*([host] if host else []), *components]) + version)
    location = RegistryLocation("registry.corp:5000", "ckf")
    pushed = location.reference(image_path(image))
    assert ImageReference.parse(pushed) is not None
    assert registry_host(pushed) == "registry.corp:5000"
    assert image_path(image) in archived_paths(image)
    retagged = ImageReference.parse(f"172.17.0.2:5000/{image_path(image)}")
    assert retagged is not None
    assert image_path(image) in archived_paths(retagged)


def test_paths_have_a_short_name() -> None:
    assert ImagePath("istio/proxyv2", "1").last_component == "proxyv2"


@pytest.mark.parametrize(
    ("member", "wanted", "found"),
    [
        # Saved without a tag, so that there is none in its file's name.
        ("172.17.0.2-5000-registry.k8s.io-busybox.tar", ["registry.k8s.io/busybox"], 0),
        # Two images that are written alike once their slashes are dashes.
        ("a-b-c-1.tar", ["a/b-c:1", "a-b/c:1"], None),
        # One image, written in two ways.
        ("172.17.0.2-5000-org-app-1.tar", ["docker.io/org/app:1", "quay.io/org/app:1"], 0),
    ],
)
def test_a_file_name_stands_for_one_image_or_none(
    member: str, wanted: list[str], found: int | None
) -> None:
    references = list(map(reference, wanted))
    expected = None if found is None else references[found]
    assert wanted_by_member_name(member, references) == expected


def test_a_host_in_upper_case_gives_a_valid_name() -> None:
    assert str(image_path(reference("Registry.Corp/app:1"))) == "registry.corp/app:1"


def test_only_a_host_is_dropped_from_an_archived_name() -> None:
    for name, is_found in (("bitnami/minio:1", False), ("172.17.0.2:5000/minio:1", True)):
        assert (ImagePath("minio", "1") in archived_paths(reference(name))) is is_found


_MANY = [f"{number:02}" for number in range(22)]


@pytest.mark.parametrize(
    ("wanted", "names", "shown"),
    [
        ("limit-memory", ["a", "limit_memory"], "limit_memory, a"),
        ("Minoi", ["katib-db", "minio"], "minio, katib-db"),
        ("x", ["b", "a"], "a, b"),
        ("x", [], "none"),
        ("x", _MANY, f"{', '.join(_MANY[:20])} and 2 more"),
    ],
)
def test_of_many_names_the_nearest_come_first(wanted: str, names: list[str], shown: str) -> None:
    assert to_choose_from(wanted, names) == shown

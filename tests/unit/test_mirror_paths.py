"""The paths at which mirrors find images, by their original names."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckf_airgap.archives.inventory import ArchivedImage, Inventory
from ckf_airgap.errors import ArtifactError
from ckf_airgap.images.naming import image_path, mirror_path, mirror_paths
from ckf_airgap.images.reference import COMPONENT, HOST, ImageReference, is_repository
from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.mirrors.original_names import OriginalNames

DIGEST = "3c0665cd36aa87e4359a4c8b6271dcba5bdd817815cd0496ed12eb5dde5fd2ec"
LOCATION = RegistryLocation("registry.corp:5000", "ckf")


def reference(text: str) -> ImageReference:
    parsed = ImageReference.parse(text)
    assert parsed is not None, text
    return parsed


def paths(
    archived: list[str], wanted: list[str] | None = None, host: str = LOCATION.host
) -> dict[str, str]:
    found = mirror_paths(map(reference, archived), map(reference, wanted or []), host)
    return {str(name): str(path) for name, path in found.items()}


@pytest.mark.parametrize(
    ("image", "path"),
    [
        # What docker leaves out, a container runtime asks for.
        ("busybox:1.36", "docker.io/library/busybox:1.36"),
        ("docker.io/busybox", "docker.io/library/busybox:latest"),
        ("index.docker.io/library/busybox", "docker.io/library/busybox:latest"),
        ("argoproj/argo:v3", "docker.io/argoproj/argo:v3"),
        ("a/b/c:1", "docker.io/a/b/c:1"),
        ("docker.io/istio/proxyv2:1.17.3", "docker.io/istio/proxyv2:1.17.3"),
        # Whether or not the host is kept below the prefix.
        ("registry.k8s.io/pause:3.9", "registry.k8s.io/pause:3.9"),
        ("registry.k8s.io/sig-storage/csi:1", "registry.k8s.io/sig-storage/csi:1"),
        ("Quay.IO/team/app:1", "quay.io/team/app:1"),
        (f"gcr.io/a/b@sha256:{DIGEST}", f"gcr.io/a/b:{DIGEST}"),
        (f"gcr.io/a/b:1@sha256:{DIGEST}", "gcr.io/a/b:1"),
        # Of what was retagged, the rest may have kept its host.
        ("172.17.0.2:5000/docker.io/ubuntu:22.04", "docker.io/library/ubuntu:22.04"),
        ("localhost:32000/registry.k8s.io/busybox", "registry.k8s.io/busybox:latest"),
        ("172.17.0.2:5000/istio/proxyv2:1", None),
        ("localhost/mine:1", None),
        ("[fd00::1]:5000/app:1", None),
        ("quay.io:8443/team/app:1", None),
    ],
)
def test_a_mirror_finds_an_image_by_its_whole_name(image: str, path: str | None) -> None:
    found = mirror_path(reference(image))
    assert (str(found) if found else None) == path


def test_one_path_of_two_registries_is_two_for_mirrors() -> None:
    names = "docker.io/team/app:1", "quay.io/team/app:1"
    assert len({image_path(reference(name)) for name in names}) == 1
    assert len(set(paths(list(names)).values())) == 2


def test_charms_tell_the_original_names_of_retagged_images() -> None:
    wanted = ["docker.io/istio/proxyv2:1", "docker.io/istio/pilot:1", "gcr.io/istio/proxyv2:2"]
    assert paths(["172.17.0.2:5000/istio/proxyv2:1"], wanted) == {
        wanted[0]: "docker.io/istio/proxyv2:1"
    }
    # What is known to be of another registry does not get a name that is asked for there.
    assert paths(["quay.io/istio/proxyv2:1"], wanted) == {
        "quay.io/istio/proxyv2:1": "quay.io/istio/proxyv2:1"
    }


def test_the_registry_itself_has_no_mirror() -> None:
    assert paths(["registry.corp/ckf/minio:1"], host="registry.corp") == {}


def test_charms_tell_the_original_names_of_images_retagged_for_the_registry_itself() -> None:
    """Its host may have no port."""
    location = RegistryLocation("registry.corp", "ckf")
    wanted = "docker.io/istio/proxyv2:1"
    retagged = archive("registry.corp/istio/proxyv2:1", "registry.corp/istio/pilot:1")
    names = OriginalNames.of(retagged, [reference(wanted)], location)
    assert {str(name): str(path) for name, path in names.paths.items()} == {wanted: wanted}
    assert [str(name) for name in names.unknown] == ["registry.corp/istio/pilot:1"]


def name_of(host: list[str], rest: list[str], tag: str) -> str:
    return "/".join([*host, *rest]) + tag


NAMES = st.builds(
    name_of,
    st.lists(st.from_regex(HOST, fullmatch=True), max_size=1),
    st.lists(st.from_regex(COMPONENT, fullmatch=True), min_size=1, max_size=3),
    st.sampled_from(["", ":1", f"@sha256:{DIGEST}"]),
)


@given(NAMES)
def test_every_path_is_a_repository_of_one_registry_alone(name: str) -> None:
    parsed = ImageReference.parse(name)
    path = mirror_path(parsed) if parsed else None
    if parsed and path and len(path.repository) <= 255:
        assert is_repository(path.repository)
        # A runtime asks for the same again by the whole name.
        assert mirror_path(reference(str(path))) == path


def archive(*names: str) -> Inventory:
    made = [ArchivedImage(n, (reference(n),), "sha256:0", "amd64") for n in names]
    return Inventory(tuple(made))


class FakeClient:
    """Answers to some tags and digests of repositories."""

    def __init__(self, *known: str) -> None:
        self.known = known

    def manifest_digest(self, repository: str, version: str) -> str | None:
        return version if f"{repository} {version}" in self.known else None


def test_what_the_registry_does_not_answer_to_is_told_with_the_reason() -> None:
    by_digest = f"gcr.io/a/kept@sha256:{DIGEST}", f"gcr.io/a/lost@sha256:{DIGEST}"
    names = OriginalNames.of(archive("busybox:1", "quay.io/a/b:2", *by_digest), (), LOCATION)
    assert names.hosts == ("docker.io", "gcr.io", "quay.io")
    client: Any = FakeClient(
        "ckf/docker.io/library/busybox 1",
        f"ckf/gcr.io/a/kept sha256:{DIGEST}",
        f"ckf/gcr.io/a/lost {DIGEST}",
    )
    found = {str(name): problem for name, problem in names.lacking(client).items()}
    assert list(found) == ["quay.io/a/b:2", by_digest[1]]
    assert "has no registry.corp:5000/ckf/quay.io/a/b:2: push" in found["quay.io/a/b:2"]
    assert "by its digest, which the archive has not kept" in found[by_digest[1]]


def test_an_archive_whose_names_tell_no_registry_is_refused() -> None:
    retagged = archive("172.17.0.2:5000/istio/pilot:1")
    with pytest.raises(ArtifactError, match="a name with its original registry"):
        OriginalNames.of(retagged, (), LOCATION).require_some()
    known = OriginalNames.of(retagged, [reference("docker.io/istio/pilot:1")], LOCATION)
    known.require_some()
    assert (known.hosts, known.unknown) == (("docker.io",), ())

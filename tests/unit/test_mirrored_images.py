"""Images that pods name elsewhere: whether nodes run what the registry holds for a mirror."""

import pytest

from ckf_airgap.deployment.mirrored_images import separate_mirrored
from ckf_airgap.errors import RegistryError
from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.kubernetes.cluster import ImageReport, RunningImage, report_images

LOCATION = RegistryLocation("registry.corp:5000", "ckf")
ZTUNNEL = "docker.io/ubuntu/istio-ztunnel:1.29-24.04_stable"
PUSHED, OTHER = (f"sha256:{digit * 64}" for digit in "ab")
CHARMS = ("istio-k8s", "training-operator")


def running(image: str, digest: str = "", pull_failure: str = "") -> RunningImage:
    return RunningImage("kubeflow", "pod", "main", image, pull_failure, digest=digest)


def sorted_out(
    *images: RunningImage,
    charms: tuple[str, ...] = CHARMS,
    location: RegistryLocation | None = LOCATION,
    held: dict[tuple[str, str], str] | None = None,
) -> ImageReport:
    held = held or {
        ("ckf/docker.io/ubuntu/istio-ztunnel", "1.29-24.04_stable"): PUSHED,
        ("ckf/docker.io/library/alpine", "3.10"): PUSHED,
        ("ckf/docker.io/team/notebook", PUSHED): PUSHED,
    }
    report = report_images(images, LOCATION.host)
    return separate_mirrored(
        report, charms, location, lambda repository, tag: held.get((repository, tag))
    )


def test_what_the_node_has_pulled_as_the_registry_holds_it_is_mirrored() -> None:
    # A pod may give the short name, of which a mirror is asked for the long one.
    images = (
        running(ZTUNNEL, PUSHED),
        running("alpine:3.10", PUSHED),
        # Whoever has started it, and by digest.
        running(f"team/notebook@{PUSHED}", PUSHED),
    )
    report = sorted_out(*images)
    assert report.mirrored == images
    assert report.foreign == ()
    assert report.containers == 3


@pytest.mark.parametrize(
    ("image", "problem"),
    [
        # The index of several architectures, as it stands on the internet.
        (running(ZTUNNEL, OTHER), "the node has pulled another image than the registry has"),
        (running(ZTUNNEL), "the node does not report which image it has pulled"),
        (
            running(ZTUNNEL, pull_failure="ErrImagePull"),
            f"the registry has it as {LOCATION}/{ZTUNNEL}",
        ),
        (
            running("docker.io/istio/proxyv2:1.29.0", PUSHED),
            f"{LOCATION} lacks it: add docker.io/istio/proxyv2:1.29.0 to images.tar.gz "
            "and push it",
        ),
    ],
)
def test_where_that_is_not_so_the_image_is_foreign_with_its_cure(
    image: RunningImage, problem: str
) -> None:
    report = sorted_out(image)
    assert report.mirrored == ()
    (found,) = report.foreign
    assert str(found).endswith(
        f": the code of a charm names it, and no option changes it; {problem}; "
        "configure the nodes with the output of the action mirrors"
    )


@pytest.mark.parametrize(
    "image",
    [
        "docker.io/ubuntu/other:1",
        "docker.io/evil/istio-ztunnel:1.29-24.04_stable",
        "ghcr.io/ubuntu/istio-ztunnel:1.29-24.04_stable",
        f"team/notebook@{OTHER}",
        "localhost/team/notebook:1",
        "not an image",
    ],
)
def test_any_other_image_is_foreign(image: str) -> None:
    report = sorted_out(running(image, PUSHED))
    assert report.mirrored == ()
    (found,) = report.foreign
    assert found.image == image
    assert "code of a charm" not in found.note


def test_a_charm_that_is_not_deployed_names_nothing() -> None:
    (found,) = sorted_out(running(ZTUNNEL, OTHER), charms=("minio",)).foreign
    assert found.note == (
        "the node has pulled another image than the registry has; configure the nodes with the "
        "output of the action mirrors"
    )


def test_what_cannot_be_told_is_no_all_clear() -> None:
    (found,) = sorted_out(running(ZTUNNEL, PUSHED), location=None).foreign
    assert "only after images.tar.gz was pushed" in found.note

    def fail(repository: str, tag: str) -> str | None:
        raise RegistryError("it does not answer", "start it")

    report = report_images([running(ZTUNNEL, PUSHED)], LOCATION.host)
    (found,) = separate_mirrored(report, CHARMS, LOCATION, fail).foreign
    assert f"could not check whether {LOCATION} has it (it does not answer)" in found.note


def test_the_registry_is_asked_once_for_an_image() -> None:
    asked: list[tuple[str, str]] = []

    def digest(repository: str, tag: str) -> str | None:
        asked.append((repository, tag))
        return PUSHED

    images = [running(ZTUNNEL, PUSHED)] * 3 + [running("a/b", PUSHED)]
    separate_mirrored(report_images(images, LOCATION.host), CHARMS, LOCATION, digest)
    assert asked == [
        ("ckf/docker.io/ubuntu/istio-ztunnel", "1.29-24.04_stable"),
        ("ckf/docker.io/a/b", "latest"),
    ]

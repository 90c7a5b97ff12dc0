"""Images under their original names: what the push makes for mirrors, and the files for nodes."""

import shutil
import tomllib
from pathlib import Path

import pytest
import yaml

from testbed.pki import Authority
from tests.functional.archive_case import Answer, ArchiveCase
from tests.functional.front import Front
from tests.functional.registry_case import RegistryCase
from tests.functional.running_registry import RunningRegistry
from tests.functional.servers import Request, proxy
from tests.functional.watch import Watch
from tests.support.archive_forms import docker_save
from tests.support.compressed import gzipped
from tests.support.oci_forms import StoredImage, oci_layout
from tests.support.sample_images import (
    Identity,
    NamedImage,
    SampleImage,
    digest_of,
    sample_image,
)
from tests.support.skopeo_reader import read_image
from tests.support.tar_files import tar, tar_of

BUSYBOX, PAUSE, PROXY, OTHER = (
    sample_image("base", word) for word in ("busybox", "pause", "proxy", "other")
)
LAYOUT = sample_image("base", "layout")
BY_DIGEST = f"ghcr.io/team/kept@{digest_of(StoredImage.of(LAYOUT).manifest)}"
LOST = f"ghcr.io/team/lost@sha256:{'0' * 64}"
# By the names that pods give, with where a runtime looks for them below the prefix.
NAMES = {
    "docker.io/library/busybox:1.36": (BUSYBOX, "docker.io/library/busybox:1.36"),
    "registry.k8s.io/pause:3.9": (PAUSE, "registry.k8s.io/pause:3.9"),
    "docker.io/istio/proxyv2:1.17": (PROXY, "docker.io/istio/proxyv2:1.17"),
    # The same path with another tag: for mirrors, it is another repository.
    "quay.io/istio/proxyv2:1.18": (OTHER, "quay.io/istio/proxyv2:1.18"),
}
# Docker saves the images of its own hub without host and library/.
SAVED = [
    NamedImage(image, (name.replace("/library/", "/"),)) for name, (image, _) in NAMES.items()
]
ARCHIVE = gzipped(
    tar_of(
        saved=tar(docker_save(SAVED)),
        layout=tar(oci_layout([NamedImage(LAYOUT, (BY_DIGEST,))])),
    )
)


def read(case: ArchiveCase, registry: RunningRegistry, path: str) -> Identity:
    source = f"docker://{registry.process.host}/{case.place}/{path}"
    return read_image(source, case.folder / "pulled", registry.process.ca)


def mirrors(case: ArchiveCase, registry: RunningRegistry, *more: str) -> Answer:
    given = ("--images", str(case.path), "--output", str(case.folder / "mirrors"))
    ca = ("--registry-ca", str(registry.process.ca))
    return case.run("mirrors", *given, "--registry", case.prefix, *ca, *more)


def test_images_are_found_by_their_original_names(
    real_registry: RunningRegistry,
    authority: Authority,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    watch = Watch()
    with proxy(real_registry, authority, watch) as host:
        case = RegistryCase(real_registry, tmp_path, capsys, host)
        first = case.push(ARCHIVE)
        assert first.status == 0, first.said
        assert "second name" not in first.error
        # No byte of a layer is sent for a second name.
        assert sorted(watch.sent) == sorted(watch.created), "a blob was sent twice"
        before = watch.writes
        again = case.push()
        assert (again.status, again.document["uploaded_bytes"]) == (0, 0), again.said
        assert watch.writes == before
    for image, path in NAMES.values():
        assert read(case, real_registry, path) == image.identity
    kept = BY_DIGEST.partition("ghcr.io/")[2]
    assert read(case, real_registry, f"ghcr.io/{kept}") == LAYOUT.identity
    # The names that deployed models rely on stay.
    for path, image in {
        "busybox:1.36": BUSYBOX,
        "registry.k8s.io/pause:3.9": PAUSE,
        "istio/proxyv2:1.17": PROXY,
        "istio/proxyv2:1.18": OTHER,
    }.items():
        assert read(case, real_registry, path) == image.identity
    # Nothing answers to a name that was not in the archive.
    client = real_registry.client()
    for repository, tag in (
        ("docker.io/istio/proxyv2", "1.18"),
        ("quay.io/istio/proxyv2", "1.17"),
    ):
        assert client.manifest_digest(f"{case.place}/{repository}", tag) is None


def test_a_name_that_is_lacking_is_made_without_sending_anything(
    registry: RunningRegistry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = ArchiveCase(registry, tmp_path, capsys)
    assert case.push(ARCHIVE).status == 0
    names = case.all_tags()
    root = registry.process.data / "docker/registry/v2/repositories" / case.place
    # As a registry has it that an earlier version pushed to.
    for host in ("docker.io", "quay.io", "ghcr.io"):
        shutil.rmtree(root / host)
    assert len(case.all_tags()) == len(names) - 4
    answer = case.push()
    assert (answer.status, answer.document["uploaded_bytes"]) == (0, 0), answer.said
    assert answer.document["pushed"] == []
    assert case.all_tags() == names


@pytest.mark.usefixtures("no_pauses")
def test_a_registry_that_does_not_mount_has_no_second_names(
    registry: RunningRegistry,
    authority: Authority,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def forget_mount(request: Request) -> None:
        request.path = request.path.partition("?mount=")[0]

    with proxy(registry, authority, forget_mount) as host:
        case = Front(registry, tmp_path, capsys, host)
        answer = case.push(ARCHIVE)
    assert answer.status == 0, answer.said
    assert "does not mount layers across repositories" in answer.error
    assert read(case, registry, "busybox:1.36") == BUSYBOX.identity


@pytest.mark.usefixtures("no_pauses")
def test_a_registry_that_takes_no_further_repositories(
    registry: RunningRegistry,
    authority: Authority,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: list[str] = []

    def refuse(request: Request) -> int | None:
        if "/docker.io/many" not in request.path:
            return None
        asked.append(request.path)
        return 404 if request.method == "HEAD" else 403

    many = tuple(f"docker.io/many{number}/app:1" for number in range(60))
    with proxy(registry, authority, refuse) as host:
        case = Front(registry, tmp_path, capsys, host)
        answer = case.push(gzipped(tar(docker_save([NamedImage(BUSYBOX, many)]))))
    assert answer.status == 0, answer.said
    assert len(answer.document["pushed"]) == len(many)
    assert "and 57 more" in answer.error
    assert "what is deployed does not need them" in answer.error
    # It is not tried for each of them.
    assert len({path.split("/")[4] for path in asked}) < 30


def test_the_files_say_what_the_registry_answers_to(
    registry: RunningRegistry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = ArchiveCase(registry, tmp_path, capsys)
    lost = NamedImage(OTHER, (LOST,))
    case.path.write_bytes(
        gzipped(
            tar_of(
                saved=tar(docker_save(SAVED)),
                layout=tar(oci_layout([NamedImage(LAYOUT, (BY_DIGEST,)), lost])),
            )
        )
    )
    before = mirrors(case, registry)
    assert before.status == 1, before.said
    assert before.document["found"] == []
    reasons = {each["image"]: each["reason"] for each in before.document["not_found"]}
    assert "push the archive again" in reasons["registry.k8s.io/pause:3.9"]
    assert case.push().status == 0
    after = mirrors(case, registry)
    assert after.document["registries"] == ["docker.io", "ghcr.io", "quay.io", "registry.k8s.io"]
    assert len(after.document["found"]) == len(NAMES) + 1
    assert BY_DIGEST in after.document["found"]
    (only,) = after.document["not_found"]
    assert only["image"] == LOST
    assert "which the archive has not kept" in only["reason"]
    folder = case.folder / "mirrors"
    written = {path.name for path in folder.iterdir()}
    assert written == {"containerd", "k3s", "rke2", "openshift"}
    toml = tomllib.loads((folder / "containerd/certs.d/docker.io/hosts.toml").read_text())
    assert list(toml["host"]) == [f"https://{registry.process.host}/v2/{case.place}/docker.io"]
    yaml.safe_load((folder / "k3s/registries.yaml").read_text())
    ca = folder / "containerd/certs.d/docker.io/ca.crt"
    assert ca.read_text() == registry.process.ca.read_text()


def test_one_runtime_alone(
    registry: RunningRegistry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = ArchiveCase(registry, tmp_path, capsys)
    assert case.push(ARCHIVE).status == 0
    answer = mirrors(case, registry, "--runtime", "rke2")
    assert answer.status == 0, answer.said
    assert answer.document["not_found"] == []
    assert [path.name for path in (case.folder / "mirrors").iterdir()] == ["rke2"]


@pytest.mark.parametrize(
    "name",
    ["docker.io/../../etc/passwd:1", 'docker.io"]/x:1', "docker.io\nserver/x:1", "..:1", "../x:1"],
)
def test_a_hostile_name_writes_nothing_outside(
    registry: RunningRegistry, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    case = ArchiveCase(registry, tmp_path / "deep/er", capsys)
    case.folder.mkdir(parents=True, exist_ok=True)
    hostile = NamedImage(SampleImage(OTHER.layers, OTHER.config), (name,))
    members = {"saved": tar(docker_save(SAVED)), "hostile": tar(docker_save([hostile]))}
    case.push(gzipped(tar_of(**members)))
    before = set(tmp_path.iterdir())
    answer = mirrors(case, registry)
    assert set(tmp_path.iterdir()) == before
    # It is an image without a name, and no more than that.
    assert answer.document["registries"] == ["docker.io", "quay.io", "registry.k8s.io"]
    certs = case.folder / "mirrors/containerd/certs.d"
    assert sorted(path.name for path in certs.iterdir()) == answer.document["registries"]
    for path in certs.iterdir():
        assert len(tomllib.loads((path / "hosts.toml").read_text())["host"]) == 1

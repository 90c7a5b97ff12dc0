"""``ckf-airgap prune`` against real registries: what goes, what stays, what is refused."""

import json
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from testbed.host import run
from testbed.pki import Authority
from testbed.registries import DistributionRegistry
from testbed.registry import Registry
from tests.functional.archive_case import Answer
from tests.functional.registry_case import RegistryCase
from tests.functional.running_registry import RunningRegistry
from tests.functional.servers import Answer as ProxyAnswer
from tests.functional.servers import Gate, Request, proxy, running
from tests.functional.tokens import ACCOUNT, TokenServer, token_registry
from tests.support.archive_forms import docker_save
from tests.support.compressed import gzipped
from tests.support.oci_forms import (
    OCI_INDEX,
    OCI_MANIFEST,
    StoredImage,
    descriptor,
    index_of,
    oci_layout,
)
from tests.support.sample_images import (
    Document,
    Identity,
    NamedImage,
    digest_of,
    json_of,
    sample_image,
)
from tests.support.skopeo_reader import read_image
from tests.support.tar_files import tar, tar_of

PROXY, MINIO, BUSYBOX, KFAM, LAYOUT = (
    sample_image("base", word) for word in ("proxy", "minio", "busybox", "kfam", "layout")
)
BY_DIGEST = f"ghcr.io/team/kept@{digest_of(StoredImage.of(LAYOUT).manifest)}"
# The proxy is one image under a tag of each release.
OLD = (
    NamedImage(PROXY, ("docker.io/istio/proxyv2:1.16",)),
    NamedImage(MINIO, ("quay.io/minio/minio:2023",)),
    NamedImage(BUSYBOX, ("busybox:1.35",)),
    NamedImage(KFAM, ("docker.io/kubeflow/kfam:1.7",)),
)
NEW = (
    NamedImage(PROXY, ("docker.io/istio/proxyv2:1.17",)),
    NamedImage(MINIO, ("quay.io/minio/minio:2023",)),
)
# Where the new release is, below the prefix.
KEPT = {
    "istio/proxyv2:1.17": PROXY,
    "docker.io/istio/proxyv2:1.17": PROXY,
    "minio/minio:2023": MINIO,
    "quay.io/minio/minio:2023": MINIO,
    f"team/kept:{BY_DIGEST[-64:]}": LAYOUT,
    f"ghcr.io/team/kept:{BY_DIGEST[-64:]}": LAYOUT,
}
SHARED = {"istio/proxyv2:1.16", "docker.io/istio/proxyv2:1.16"}
DIGEST = f"sha256:{'0' * 64}"
GONE = {
    *("busybox:1.35", "docker.io/library/busybox:1.35"),
    *("kubeflow/kfam:1.7", "docker.io/kubeflow/kfam:1.7"),
}


class PruneCase(RegistryCase):
    """A registry with an old release and a new one, and other things beside the prefix."""

    def fill(self) -> None:
        """Push both, and the old one also below names that only begin like the prefix."""
        layout = tar(oci_layout([NamedImage(LAYOUT, (BY_DIGEST,))]))
        self._push_archive("new", tar_of(saved=tar(docker_save(NEW)), layout=layout))
        self._push_archive("old", tar_of(saved=tar(docker_save(OLD))))
        place = self.place
        self.place = f"{place}other"
        self._push_archive("old", tar_of(saved=tar(docker_save(OLD))))
        self.place = place

    def _push_archive(self, name: str, content: bytes) -> None:
        self.path = self.folder / f"{name}.tar.gz"
        self.state = self.folder / f"{self.place.replace('/', '-')}-{name}.pushed"
        answer = self.push(gzipped(content))
        assert answer.status == 0, answer.said

    def prune_words(self, *more: str) -> list[str]:
        ca = str(self._registry.process.ca)
        keep = str(self.folder / "new.tar.gz")
        return [
            *("prune", "--keep", keep, "--registry", self.prefix, "--registry-ca", ca),
            *("--format", "yaml", *more),
        ]

    def prune(self, *more: str) -> Answer:
        """Prune; what the new release names stays."""
        return self.run(*self.prune_words(*more))

    def below(self, answer: Answer, key: str) -> set[str]:
        """Give what the command lists under a key, below the prefix."""
        return {each.removeprefix(f"{self.prefix}/") for each in answer.document[key]}

    def digests(self, place: str = "") -> dict[str, str]:
        """List all tags with their digests, indexes as well."""
        registry = RunningRegistry(self.registry.process, place or self.place)
        client = registry.client()
        found: dict[str, str] = {}
        for repository in registry.repositories():
            name = f"{registry.location.path}/{repository}"
            for tag in client.tags(name):
                if stored := client.stored_manifest(name, tag):
                    found[f"{repository}:{tag}"] = stored.digest
        return found

    def require_kept(self) -> None:
        """See that another tool pulls every kept image, under each of its names."""
        place = f"docker://{self.registry.process.host}/{self.place}"
        pulled: dict[str, Identity] = {}
        for name in KEPT:
            ca = self.registry.process.ca
            pulled[name] = read_image(f"{place}/{name}", self.folder / "pulled", ca)
        assert pulled == {name: image.identity for name, image in KEPT.items()}


@pytest.fixture
def case(
    real_registry: RunningRegistry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> PruneCase:
    """Both releases in a registry of each maker."""
    case = PruneCase(real_registry, tmp_path, capsys)
    case.fill()
    return case


@pytest.fixture
def one(
    registry: RunningRegistry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> PruneCase:
    """Both releases in a registry of its own."""
    case = PruneCase(registry, tmp_path / "case", capsys)
    case.fill()
    return case


def deletes_tags(case: PruneCase) -> bool:
    """Tell whether the registry deletes a tag alone: of the three, Debian's does not."""
    return type(case.registry.process) is not Registry


def test_what_the_new_release_names_stays_whole(case: PruneCase) -> None:
    before, others = case.digests(), case.digests(f"{case.place}other")
    assert before.keys() == {*KEPT, *SHARED, *GONE}
    plan = case.prune()
    assert plan.status == 0, plan.said
    assert case.below(plan, "to_delete") == SHARED | GONE
    assert case.below(plan, "only_tags") == SHARED
    assert (plan.document["in_use"], plan.document["not_read"]) == ({}, {})
    assert plan.document["freed_bytes"] > 0
    # Nothing happens without consent.
    assert "deleted" not in plan.document
    assert case.digests() == before

    done = case.prune("--yes")
    assert done.status == 0, done.said
    left: frozenset[str] | set[str] = set() if deletes_tags(case) else SHARED
    assert case.below(done, "deleted") == (SHARED | GONE) - left
    assert case.below(done, "tags_left") == left
    assert case.digests() == {
        name: digest for name, digest in before.items() if name in {*KEPT, *left}
    }
    case.require_kept()
    assert case.digests(f"{case.place}other") == others

    again = case.prune("--yes")
    assert (again.status, again.document["deleted"]) == (0, []), again.said
    assert case.below(again, "to_delete") == left


def test_a_plan_asks_for_nothing_to_be_deleted(
    registry: RunningRegistry,
    authority: Authority,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    methods: list[str] = []

    def watch(request: Request) -> None:
        methods.append(request.method)

    with proxy(registry, authority, watch) as host:
        case = PruneCase(registry, tmp_path, capsys, host)
        case.fill()
        methods.clear()
        assert case.prune().status == 0
        assert set(methods) <= {"GET", "HEAD"}
        assert case.prune("--yes").status == 0
        assert "DELETE" in methods


def test_the_text_says_it_all(one: PruneCase) -> None:
    plan = one.prune("--format", "text")
    assert f"  {one.prefix}/busybox:1.35\n" in plan.output
    assert f"  {one.prefix}/istio/proxyv2:1.16 (only the tag)\n" in plan.output
    assert "6 to delete with --yes, 6 tags kept; the garbage collection" in plan.output
    done = one.prune("--format", "text", "--yes")
    assert "4 deleted, 6 tags kept" in done.output
    assert "this registry cannot delete a tag alone" in done.output
    assert json.loads(one.prune("--format", "json").output)["staying_tags"] == len(KEPT)


def test_garbage_collection_frees_what_was_deleted(one: PruneCase) -> None:
    process = one.registry.process
    other = f"{one.place}other"
    # What is beside the prefix has the same layers.
    client = one.registry.client()
    for name, digest in one.digests(other).items():
        client.delete_manifest(f"{other}/{name.rpartition(':')[0]}", digest)
    blobs = process.data / "docker/registry/v2/blobs/sha256"
    config = blobs / KFAM.image_id[7:9] / KFAM.image_id[7:]
    assert config.exists()
    assert one.prune("--yes").status == 0
    configuration = process.data.with_name(f"{process.data.name}.json")
    run(["docker-registry", "garbage-collect", configuration])
    assert not config.exists()
    one.require_kept()


def test_pages(authority: Authority, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    process = DistributionRegistry.on_loopback(tmp_path, authority)
    process.start()
    registry = RunningRegistry(process)
    pages: list[str] = []

    def small_pages(request: Request) -> None:
        path, _, query = request.path.partition("?")
        if path.endswith(("/_catalog", "/tags/list")):
            request.path = f"{path}?{query or 'n=1'}"
            pages.append(path)

    try:
        with proxy(registry, authority, small_pages) as host:
            case = PruneCase(registry, tmp_path, capsys, host)
            case.fill()
            pages.clear()
            plan = case.prune()
        assert case.below(plan, "to_delete") == SHARED | GONE
        assert pages.count("/v2/_catalog") > len(KEPT)
    finally:
        process.stop()


@pytest.mark.parametrize("status", [401, 403, 404, 405])
@pytest.mark.usefixtures("no_pauses")
def test_a_registry_without_a_catalog(
    registry: RunningRegistry,
    authority: Authority,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    status: int,
) -> None:
    def no_catalog(request: Request) -> int | None:
        return status if request.path.startswith("/v2/_catalog") else None

    with proxy(registry, authority, no_catalog) as host:
        case = PruneCase(registry, tmp_path, capsys, host)
        case.fill()
        alone = case.prune()
        assert f"the catalog of registry {host} answered {status}: prune" in alone.error
        assert "--old" in alone.error
        # The repositories of the new release are known.
        assert case.below(alone, "to_delete") == SHARED
        old = case.prune("--old", str(tmp_path / "old.tar.gz"), "--yes")
        assert old.status == 0, old.said
        assert case.below(old, "deleted") == GONE
        case.require_kept()


@pytest.mark.parametrize(
    ("body", "link"),
    [
        (b"", ""),
        (b"<html>sign in</html>", ""),
        (b"[1]", ""),
        (b'{"repositories": 5}', ""),
        (b"[" * 100_000, ""),
        (b'{"repositories": ["%s"]}' % (b"a" * 2_000_000), ""),
        (b'{"repositories": ["a"]}', '</v2/_catalog?last=a>; rel="next"'),
    ],
    ids=["empty", "page", "list", "number", "deep", "large", "endless"],
)
def test_a_catalog_that_cannot_be_read(
    registry: RunningRegistry,
    authority: Authority,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    body: bytes,
    link: str,
) -> None:
    def damaged(request: Request) -> ProxyAnswer | None:
        is_catalog = request.path.startswith("/v2/_catalog")
        return ProxyAnswer(200, body, {"Link": link} if link else {}) if is_catalog else None

    with proxy(registry, authority, damaged) as host:
        case = PruneCase(registry, tmp_path, capsys, host)
        case.fill()
        before = case.digests()
        done = case.prune("--yes")
        assert done.status == 2, done.said
        assert "/v2/_catalog" in done.error
        assert case.digests() == before


def test_names_that_lead_elsewhere_are_not_followed(
    registry: RunningRegistry,
    authority: Authority,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: list[str] = []
    place = ""

    def hostile(request: Request) -> ProxyAnswer | None:
        asked.append(request.path)
        if request.path.startswith("/v2/_catalog"):
            names = [f"{place}/../ckfother/x", f"{place}/x?y", f"{place}/A", f"{place}//x", 5]
            return ProxyAnswer(200, json.dumps({"repositories": names}).encode())
        if request.path.endswith("/istio/proxyv2/tags/list"):
            tags = ["..", "../../x/manifests/1", "a/b", "a?b", "", 5, "1.16", "1.17"]
            return ProxyAnswer(200, json.dumps({"tags": tags}).encode())
        return None

    with proxy(registry, authority, hostile) as host:
        case = PruneCase(registry, tmp_path, capsys, host)
        case.fill()
        place = case.place
        asked.clear()
        plan = case.prune()
    assert case.below(plan, "to_delete") == SHARED, plan.said
    assert not any(".." in path or "?" in path or "/x" in path for path in asked)


def test_a_record_in_the_place_of_an_archive(one: PruneCase) -> None:
    image = {"digest": DIGEST, "image_id": DIGEST, "size": 0}
    for name, images in {"new": [*NEW, NamedImage(LAYOUT, (BY_DIGEST,))], "old": OLD}.items():
        names = [name for each in images for name in each.names]
        document = {
            **{"format": 1, "layout": "docker", "architecture": "amd64", "charms": []},
            **{"bundle": "", "archive_size": 0},
            "images": [{"name": name, **image} for name in names],
        }
        one.folder.joinpath(f"{name}.json").write_text(json.dumps(document))
    words = [
        *("prune", "--keep", str(one.folder / "new.json"), "--registry", one.prefix),
        *("--old", str(one.folder / "old.json"), "--format", "yaml"),
        *("--registry-ca", str(one.registry.process.ca), "--yes"),
    ]
    done = one.run(*words)
    assert one.below(done, "deleted") == GONE, done.said
    one.require_kept()


@pytest.mark.parametrize(
    ("path", "answer", "words"),
    [
        ("manifests/1.7", ProxyAnswer(200, b"{}", {"Docker-Content-Digest": DIGEST}), "wrong"),
        ("manifests/1.7", ProxyAnswer(200, b" " * 5_000_000), "wrong content"),
        ("manifests/1.7", 403, "forbids this account to read"),
        ("tags/list", 401, "requires some: for reading"),
        ("tags/list", 403, "forbids this account to read"),
        ("tags/list", ProxyAnswer(200, b"<html>"), "has no tags"),
    ],
    ids=["other", "large", "closed", "no-account", "closed-list", "no-list"],
)
@pytest.mark.usefixtures("no_pauses")
def test_a_repository_that_cannot_be_read(
    registry: RunningRegistry,
    authority: Authority,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    path: str,
    answer: ProxyAnswer | int,
    words: str,
) -> None:
    """It is left alone, and the rest is pruned."""

    def unreadable(request: Request) -> ProxyAnswer | int | None:
        is_read = request.method == "GET" and request.path.endswith(f"/kubeflow/kfam/{path}")
        return answer if is_read else None

    PruneCase(registry, tmp_path, capsys).fill()
    with proxy(registry, authority, unreadable) as host:
        case = PruneCase(registry, tmp_path, capsys, host)
        done = case.prune("--yes")
    assert done.status == 1, done.said
    kfam = {"kubeflow/kfam", "docker.io/kubeflow/kfam"}
    assert case.below(done, "not_read") == kfam
    assert words in done.texts("not_read")
    assert "push" not in done.texts("not_read")
    assert case.below(done, "deleted") == GONE - {f"{each}:1.7" for each in kfam}
    case.require_kept()


@dataclass(frozen=True)
class KeepingRegistry(Registry):
    """Debian's registry, as it is by default: it deletes nothing."""

    def _configuration(self) -> dict[str, object]:
        return without_deletion(super()._configuration())


@dataclass(frozen=True)
class KeepingDistribution(DistributionRegistry):
    """Version 3, as it is by default."""

    def _configuration(self) -> dict[str, object]:
        return without_deletion(super()._configuration())


def without_deletion(configuration: dict[str, Any]) -> dict[str, object]:
    del configuration["storage"]["delete"]
    return configuration


@pytest.fixture(params=[KeepingRegistry, KeepingDistribution])
def keeping(
    request: pytest.FixtureRequest, authority: Authority, tmp_path: Path
) -> Generator[RunningRegistry]:
    process = request.param.on_loopback(tmp_path, authority)
    process.start()
    yield RunningRegistry(process)
    process.stop()


def test_a_registry_that_deletes_nothing(
    keeping: RunningRegistry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = PruneCase(keeping, tmp_path, capsys)
    case.fill()
    before = case.digests()
    assert case.below(case.prune(), "to_delete") == SHARED | GONE
    done = case.prune("--yes")
    assert done.status == 2, done.said
    assert "does not delete anything" in done.error
    assert "REGISTRY_STORAGE_DELETE_ENABLED=true" in done.error
    assert "garbage collection" in done.error
    assert done.error.count("error:") == 1
    assert case.digests() == before


def test_one_manifest_that_is_not_deleted(
    registry: RunningRegistry,
    authority: Authority,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def immutable(request: Request) -> ProxyAnswer | None:
        if request.method != "DELETE" or "/kfam/" not in request.path:
            return None
        body = b'{"errors": [{"code": "PRECONDITION", "message": "it is immutable"}]}'
        return ProxyAnswer(412, body)

    with proxy(registry, authority, immutable) as host:
        case = PruneCase(registry, tmp_path, capsys, host)
        case.fill()
        done = case.prune("--yes")
    assert done.status == 1, done.said
    kfam = {"kubeflow/kfam:1.7", "docker.io/kubeflow/kfam:1.7"}
    assert case.below(done, "deleted") == GONE - kfam
    assert case.below(done, "left") == kfam
    assert "it is immutable" in done.texts("left")


def test_a_registry_that_deletes_tags_before_manifests(
    authority: Authority, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As Google's does, which refuses to delete a manifest that has tags."""
    process = DistributionRegistry.on_loopback(tmp_path, authority)
    process.start()
    registry = RunningRegistry(process)
    deleted: list[str] = []

    def tags_first(request: Request) -> ProxyAnswer | None:
        if request.method != "DELETE":
            return None
        deleted.append(request.path)
        repository, _, reference = request.path.partition("/manifests/")
        is_tag_gone = any(repository in path and ":" not in path for path in deleted)
        body = b'{"errors": [{"code": "GOOGLE_MANIFEST_DANGLING_TAG", "message": "tags"}]}'
        return ProxyAnswer(409, body) if ":" in reference and not is_tag_gone else None

    try:
        with proxy(registry, authority, tags_first) as host:
            case = PruneCase(registry, tmp_path, capsys, host)
            case.fill()
            done = case.prune("--yes")
        assert (done.status, done.document["left"]) == (0, {}), done.said
        assert case.below(done, "deleted") == SHARED | GONE
        client = registry.client()
        for digest in deleted:
            if ":" in digest:
                repository, _, manifest = digest.removeprefix("/v2/").partition("/manifests/")
                assert client.stored_manifest(repository, manifest) is None
        case.require_kept()
    finally:
        process.stop()


def test_a_registry_that_deletes_more_than_a_tag(
    registry: RunningRegistry,
    authority: Authority,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It is put back, and the operator is told not to go on."""

    def whole_manifest(request: Request) -> None:
        path, _, tag = request.path.partition("/manifests/")
        if request.method == "DELETE" and ":" not in tag:
            digest = registry.client().manifest_digest(path.removeprefix("/v2/"), tag)
            request.path = f"{path}/manifests/{digest}"

    with proxy(registry, authority, whole_manifest) as host:
        case = PruneCase(registry, tmp_path, capsys, host)
        case.fill()
        # An old tag of its own for what a kept index lists.
        repository = f"{case.place}/minio/minio"
        client = registry.client()
        kept = client.stored_manifest(repository, "2023")
        assert kept
        registry.put_manifest(repository, "2023-amd64", kept.content, kept.media_type)
        index = index_of([descriptor(kept.media_type, kept.content)])
        registry.put_manifest(repository, "2023", index, OCI_INDEX)
        done = case.prune("--yes")
        assert done.status == 2, done.said
        assert "has restored" in done.error
        # The first repository with a loss ends a run.
        while done.status == 2:
            assert "has restored" in done.error
            done = case.prune("--yes")
    assert client.stored_manifest(repository, kept.digest) == kept
    assert client.manifest_digest(repository, "2023-amd64") is None
    stored = client.stored_manifest(repository, "2023")
    assert stored
    assert stored.content == index
    registry.put_manifest(repository, "2023", kept.content, kept.media_type)
    case.require_kept()


@pytest.mark.parametrize("passing", [0, 1, 3])
def test_a_run_that_is_killed_is_repeated(
    registry: RunningRegistry,
    authority: Authority,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    passing: int,
) -> None:
    gate = Gate(lambda request: request.method == "DELETE", passing=passing, then="cut")
    with proxy(registry, authority, gate) as host:
        case = PruneCase(registry, tmp_path, capsys, host)
        case.fill()
        with running(case.prune_words("--yes")) as process:
            gate.wait(process)
            process.kill()
        gate.open()
    case.require_kept()
    case = PruneCase(registry, tmp_path, capsys)
    case.place = next(
        iter(set(_places(registry)) - {f"{each}other" for each in _places(registry)})
    )
    done = case.prune("--yes")
    assert done.status == 0, done.said
    assert case.digests().keys() == {*KEPT, *SHARED}
    case.require_kept()


def _places(registry: RunningRegistry) -> set[str]:
    _, body = registry.get("/v2/_catalog?n=1000")
    return {name.partition("/")[0] for name in json.loads(body)["repositories"]}


def test_indexes_and_signatures_of_what_stays_stay(one: PruneCase) -> None:
    registry = one.registry
    repository = f"{one.place}/minio/minio"
    kept = registry.client().stored_manifest(repository, "2023")
    assert kept
    listed: Document = {
        "mediaType": kept.media_type,
        "digest": kept.digest,
        "size": len(kept.content),
    }
    stored = StoredImage.of(MINIO)
    signature = json.loads(stored.manifest)
    registry.put_manifest(repository, "index", index_of([listed]), OCI_INDEX)
    # With what is there of it already.
    config = json.loads(kept.content)["config"]
    about: Document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": config,
        "layers": [],
    }
    registry.put_manifest(repository, "about", json_of({**about, "subject": listed}), OCI_MANIFEST)
    attached = f"sha256-{kept.digest[7:]}.sig"
    registry.put_manifest(repository, attached, json_of({**about, "a": 1}), OCI_MANIFEST)
    lonely = f"sha256-{'0' * 64}.sig"
    registry.put_manifest(repository, lonely, json_of({**about, "a": 2}), OCI_MANIFEST)
    assert signature["schemaVersion"] == 2
    before = one.digests()
    done = one.prune("--yes")
    assert done.status == 0, done.said
    tags = {f"minio/minio:{tag}" for tag in ("index", "about")}
    assert one.below(done, "only_tags") == SHARED | tags
    assert one.below(done, "deleted") == GONE | {f"minio/minio:{lonely}"}
    after = one.digests()
    assert after == {name: digest for name, digest in before.items() if name in after}
    assert f"minio/minio:{attached}" in after
    assert tags <= after.keys()


def test_an_index_goes_with_what_it_lists(one: PruneCase) -> None:
    registry = one.registry
    repository = f"{one.place}/kubeflow/kfam"
    image = registry.client().stored_manifest(repository, "1.7")
    assert image
    listed = descriptor(image.media_type, image.content)
    index = index_of([listed])
    registry.put_manifest(repository, "index", index, OCI_INDEX)
    # Nothing but the index refers to the image now.
    for link in registry.process.data.rglob(f"repositories/{repository}/_manifests/tags/1.7"):
        link.rename(one.folder / "moved")
    done = one.prune("--yes")
    assert done.status == 0, done.said
    client = registry.client()
    for digest in (digest_of(index), image.digest):
        assert client.stored_manifest(repository, digest) is None


def test_accounts(
    closed_registry: RunningRegistry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = PruneCase(closed_registry, tmp_path, capsys)
    (tmp_path / "new.tar.gz").write_bytes(gzipped(tar_of(saved=tar(docker_save(NEW)))))
    done = case.prune("--yes")
    assert done.status == 2, done.said
    assert "refused the credentials" in done.error


def test_tokens(
    authority: Authority,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Consent to delete is asked for where something is deleted, and nowhere else."""
    server = TokenServer(ACCOUNT, actions=frozenset({"pull", "push", "delete", "*"}))
    with token_registry(authority, tmp_path, server) as process:
        auth = tmp_path / "auth.json"
        account = {"username": ACCOUNT.username, "password": ACCOUNT.password}
        auth.write_text(json.dumps({"auths": {process.host: account}}))
        monkeypatch.setenv("REGISTRY_AUTH_FILE", str(auth))
        case = PruneCase(RunningRegistry(process), tmp_path / "case", capsys)
        case.fill()
        server.scopes.clear()
        plan = case.prune()
        assert case.below(plan, "to_delete") == SHARED | GONE, plan.said
        asked = {scope for scopes in server.scopes for scope in scopes}
        assert "registry:catalog:*" in asked
        assert not any("delete" in scope for scope in asked)
        done = case.prune("--yes")
        assert case.below(done, "deleted") == GONE, done.said
        asked = {scope for scopes in server.scopes for scope in scopes}
        assert f"repository:{case.place}/busybox:pull,delete" in asked
        # An account that may not.
        server.actions = frozenset({"pull", "push"})
        without = case.prune()
        assert (
            "may not be read by this account" in without.error or "answered 401" in without.error
        )


def test_a_prefix_without_a_path(one: PruneCase) -> None:
    host = one.registry.process.host
    words = ["prune", "--keep", str(one.folder / "new.tar.gz"), "--registry", host]
    ca = ["--registry-ca", str(one.registry.process.ca), "--format", "yaml"]
    refused = one.run(*words, *ca)
    assert refused.status == 2
    assert "--whole-registry" in refused.error
    # Nothing of what is there is named so.
    wrong = one.run(*words, *ca, "--whole-registry", "--yes")
    assert wrong.status == 2, wrong.said
    assert "has no image of the kept archives" in wrong.error
    one.require_kept()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--context", "c"], "--kubeconfig"),
        (["--kubeconfig", "not-there"], "work with kubectl"),
        (["--old", "not-there"], "cannot be read"),
        (["--charms", "not-there"], "cannot be read"),
    ],
)
def test_options_that_are_not_valid(one: PruneCase, more: list[str], words: str) -> None:
    answer = one.prune(*more, "--yes")
    assert answer.status == 2, answer.said
    assert words in answer.error
    one.require_kept()


def test_images_that_only_charms_name(one: PruneCase) -> None:
    retagged = NamedImage(KFAM, ("172.17.0.2:5000/kubeflow/kfam:1.7",))
    unnamed = NamedImage(BUSYBOX, ())
    for name, image in {"retagged": retagged, "unnamed": unnamed}.items():
        path = one.folder / f"{name}.tar.gz"
        path.write_bytes(gzipped(tar_of(saved=tar(docker_save([image])))))
        answer = one.prune("--keep", str(path), "--yes")
        assert answer.status == 2, answer.said
        assert "--charms" in answer.error
    assert one.digests().keys() == {*KEPT, *SHARED, *GONE}


def test_a_damaged_archive_deletes_nothing(one: PruneCase) -> None:
    path = one.folder / "new.tar.gz"
    path.write_bytes(path.read_bytes()[:-2000])
    before: Mapping[str, str] = one.digests()
    answer = one.prune("--yes")
    assert answer.status == 2, answer.said
    assert one.digests() == before

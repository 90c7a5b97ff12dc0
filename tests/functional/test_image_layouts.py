"""images.tar.gz as an OCI image layout: read, pushed, and damaged in many ways."""

import gzip
import io
import json
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from ckf_airgap.archives.inventory import Inventory, read_inventory
from ckf_airgap.archives.sources import FileSource
from ckf_airgap.commands.main import main
from ckf_airgap.errors import ArtifactError
from ckf_airgap.push.pusher import ImagePusher, PushResult
from testbed.pki import Authority
from testbed.registry import Registry
from tests.functional.access_log import blobs_put, log_of
from tests.functional.pushes import push_to
from tests.functional.running_registry import RunningRegistry
from tests.functional.servers import Request, proxy
from tests.sample_release import Compressor, ImageArchive, ImageOptions, Layout, Release, truncate
from tests.support.outside import Outside, write_charms
from tests.support.tar_edits import repack

RELEASE = Release.builtin(("minio", "kubeflow-volumes", "jupyter-ui"))
OPTIONS = ImageOptions(program=b"stub", layouts=(Layout.LEGACY,), payload_kib=300)
Edit = Callable[[str, bytes], Iterator[tuple[str, bytes]]]


@pytest.fixture(scope="module")
def packed_once(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An images.tar.gz as ``pack --format oci`` makes it."""
    folder = tmp_path_factory.mktemp("packed")
    process = Registry.on_loopback(folder, authority)
    process.start()
    try:
        outside = Outside(process, folder)
        outside.fill(RELEASE.images, OPTIONS)
        write_charms(RELEASE, folder / "charms")
        words = ["pack", "--charms", str(folder / "charms"), "--output", str(folder)]
        words += ["--registry-ca", str(process.ca), "--format", "oci", "--allow-missing"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HOME", outside.environment["HOME"])
            assert main(words) == 0
    finally:
        process.stop()
    return folder / "images.tar.gz"


@pytest.fixture
def packed(packed_once: Path, tmp_path: Path) -> Path:
    """A copy of the archive that the test may change."""
    return Path(shutil.copy(packed_once, tmp_path))


def push(registry: RunningRegistry, path: Path) -> PushResult:
    pusher = ImagePusher(registry.client(), registry.location, path.with_name("pushed"))
    return pusher.push(FileSource(path))


def read(path: Path) -> Inventory:
    return read_inventory(FileSource(path))


def in_order(path: Path, key: Callable[[str], Any]) -> None:
    """Write an archive again with its members in another order, and without its manifest."""
    with tarfile.open(path) as archive:
        members = {member.name: archive.extractfile(member) for member in archive}
        content = {name: file.read() for name, file in members.items() if file}
    content.pop("ckf-airgap.json")
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as new:
        for name in sorted(content, key=key):
            entry = tarfile.TarInfo(f"./{name}")
            entry.size = len(content[name])
            new.addfile(entry, io.BytesIO(content[name]))
    path.write_bytes(gzip.compress(output.getvalue(), 1))


@pytest.mark.parametrize("order", ["names", "names backwards"])
def test_a_layout_in_any_order(
    order: str, packed: Path, registry: RunningRegistry, tmp_path: Path
) -> None:
    sign = 1 if order == "names" else -1
    in_order(packed, lambda name: [sign * ord(letter) for letter in name])
    inventory = read(packed)
    assert inventory.damaged == ()
    assert len(inventory.images) == len(RELEASE.images)
    result = push(registry, packed)
    assert len(result.pushed) == len(RELEASE.images)
    assert result.inventory == inventory
    for reference in result.pushed:
        assert registry.pull(reference, tmp_path).diff_ids
    assert push(registry, packed).pushed == ()


def test_a_layout_that_skopeo_makes(
    outside: Outside, registry: RunningRegistry, tmp_path: Path
) -> None:
    outside.fill(RELEASE.images, OPTIONS)
    layout = tmp_path / "layout"
    for image in RELEASE.images:
        outside.skopeo("copy", f"docker://{outside.place(image)}", f"oci:{layout}:{image}")
    path = tmp_path / "images.tar.gz"
    subprocess.run(["tar", "-czf", path, "-C", layout, "."], check=True)
    result = push(registry, path)
    assert len(result.pushed) == len(RELEASE.images)
    for reference in result.pushed:
        assert registry.pull(reference, tmp_path).diff_ids


def documents(change: Callable[[dict[str, Any]], None], wanted: str) -> Edit:
    """Change the index, or all documents that have a key."""

    def edit(name: str, content: bytes) -> Iterator[tuple[str, bytes]]:
        is_wanted = name == wanted if wanted == "index.json" else f'"{wanted}"'.encode() in content
        if content[:1] == b"{" and name != "ckf-airgap.json" and is_wanted:
            document = json.loads(content)
            change(document)
            content = json.dumps(document).encode()
        yield name, content

    return edit


def drop(pattern: Callable[[str, bytes], bool]) -> Edit:
    """Leave out the first member of a kind."""
    dropped: list[str] = []

    def edit(name: str, content: bytes) -> Iterator[tuple[str, bytes]]:
        if not dropped and pattern(name, content):
            dropped.append(name)
        else:
            yield name, content

    return edit


def first(kind: Callable[[str, bytes], bool], change: Callable[[bytes], bytes]) -> Edit:
    """Change the first member of a kind."""
    changed: list[str] = []

    def edit(name: str, content: bytes) -> Iterator[tuple[str, bytes]]:
        if not changed and kind(name, content):
            changed.append(name)
            content = change(content)
        yield name, content

    return edit


def flipped(content: bytes) -> bytes:
    return content[:-2] + bytes([content[-2] ^ 1]) + content[-1:]


def shortened(content: bytes) -> bytes:
    return content[:-100]


def is_own_layer(name: str, content: bytes) -> bool:
    """Tell a layer that only one image has: it is large here."""
    return name.startswith("blobs/") and content[:1] != b"{" and len(content) > 100_000


def is_config(name: str, content: bytes) -> bool:
    return name.startswith("blobs/") and b'"rootfs"' in content and content[:1] == b"{"


@pytest.mark.parametrize(
    ("edit", "words", "seen_by_reading"),
    [
        (drop(is_own_layer), "lacks the blob sha256:", True),
        (first(is_own_layer, flipped), "it does not match the digest in its path", False),
        (
            first(is_own_layer, shortened),
            "has the blob sha256:[0-9a-f]+ with [0-9,]+ bytes, not [0-9,]+",
            True,
        ),
        (drop(is_config), "lacks the config of", True),
        (first(is_config, flipped), "the config of .* is damaged", True),
    ],
    ids=["no layer", "layer flipped", "layer shorter", "no config", "config flipped"],
)
def test_a_damaged_image_is_named_and_the_others_are_pushed(
    edit: Edit, words: str, seen_by_reading: bool, packed: Path, registry: RunningRegistry
) -> None:
    repack(packed, without_manifest(edit))
    if seen_by_reading:
        (error,) = read(packed).damaged
        assert_matches(words, str(error))
    result = push(registry, packed)
    (error,) = result.inventory.damaged
    assert_matches(words, str(error))
    assert len(result.pushed) == len(RELEASE.images) - 1
    again = push(registry, packed)
    assert (len(again.inventory.damaged), again.pushed) == (1, ())


def assert_matches(words: str, text: str) -> None:
    assert re.search(words, text), text


def without_manifest(edit: Edit) -> Edit:
    def both(name: str, content: bytes) -> Iterator[tuple[str, bytes]]:
        if name != "ckf-airgap.json":
            yield from edit(name, content)

    return both


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (
            drop(lambda name, _: name == "index.json"),
            "has no image that manifest.json or index.json lists",
        ),
        (documents(lambda index: index.pop("manifests"), "index.json"), "index.json .* damaged"),
        (documents(lambda index: index.update(manifests=[1]), "index.json"), "damaged"),
        (documents(lambda index: index.update(manifests=[{}]), "index.json"), "damaged"),
    ],
    ids=["no index", "no manifests", "numbers", "empty"],
)
def test_a_layout_without_a_proper_index(
    edit: Edit, words: str, packed: Path, registry: RunningRegistry
) -> None:
    repack(packed, without_manifest(edit))
    with pytest.raises(ArtifactError, match=words):
        read(packed)
    with pytest.raises(ArtifactError, match=words):
        push(registry, packed)


@pytest.mark.parametrize("keep", [0.2, 0.7, 0.99])
def test_a_copy_that_is_not_complete_is_told_before_anything_is_sent(
    keep: float, packed: Path, registry: RunningRegistry
) -> None:
    truncate(packed, keep)
    with pytest.raises(ArtifactError, match="was not copied completely"):
        read(packed)
    with pytest.raises(ArtifactError, match="was not copied completely") as raised:
        push(registry, packed)
    assert "copy it again" in raised.value.cure
    assert "/blobs/" not in log_of(registry)


def test_a_bit_that_flips_in_the_copy(packed: Path, registry: RunningRegistry) -> None:
    content = bytearray(packed.read_bytes())
    content[len(content) // 2] ^= 1
    packed.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"images\.tar\.gz is damaged"):
        read(packed)
    with pytest.raises(ArtifactError, match=r"images\.tar\.gz is damaged"):
        push(registry, packed)


def test_a_connection_that_breaks(
    packed: Path, registry: RunningRegistry, authority: Authority, tmp_path: Path
) -> None:
    seen: list[str] = []

    def cut_once(request: Request) -> Literal["cut"] | None:
        if request.method not in ("PATCH", "PUT") or len(seen) >= 5:
            return None
        seen.append(request.path)
        return "cut"

    archive = ImageArchive(packed, (), 0, Compressor.best())
    with proxy(registry, authority, cut_once) as host:
        pushed = len(push_to(host, authority, archive).pushed)
    assert pushed == len(RELEASE.images)
    assert len(seen) == 5


def test_what_the_registry_has_is_not_sent_again_without_a_journal(
    packed: Path, registry: RunningRegistry, tmp_path: Path
) -> None:
    push(registry, packed)
    before = log_of(registry)
    (tmp_path / "pushed").unlink()
    again = push(registry, packed)
    assert (again.pushed, again.present) == ((), len(RELEASE.images))
    after = log_of(registry)[len(before) :]
    # Layers are found in their own repositories, or mounted from others.
    assert blobs_put(after) == []

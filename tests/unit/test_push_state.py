"""The journal of a push: what a kill, another archive or a broken file leaves of it."""

from pathlib import Path
from typing import BinaryIO

import pytest

from ckf_airgap.archives.decoding import Compression
from ckf_airgap.archives.image_sink import NestedArchive, PassedOver
from ckf_airgap.archives.inventory import ArchivedImage
from ckf_airgap.errors import StorageError
from ckf_airgap.files.journal import Journal
from ckf_airgap.images.oci import Blob
from ckf_airgap.images.reference import ImagePath, ImageReference
from ckf_airgap.push.push_state import PushedImage, PushState, StoredLayer

SOURCE, BLOB, OTHER, CONFIG, MANIFEST = (f"sha256:{letter * 64}" for letter in "abcde")
LAYER = StoredLayer(Blob(BLOB, 7), SOURCE, SOURCE, Compression.GZIP)
REPOSITORY = "ckf/x"
KEY = f"3/#{CONFIG}"
IMAGE = ArchivedImage("x.tar", (ImageReference("docker.io/x/y", "1", OTHER),), CONFIG, "amd64")
PUSHED = PushedImage(IMAGE, {ImagePath("x/y", "1"): MANIFEST})
NESTED = NestedArchive("3", "x.tar", 1024)


def open_state(path: Path, registry: str = "registry", archive: str = "archive") -> PushState:
    return PushState(path, registry, archive)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal of one layer with its name, and one image."""
    path = tmp_path / "pushed"
    state = open_state(path)
    state.add_layer(LAYER, "0/layer.tar", [REPOSITORY])
    state.add_name("0123:7", LAYER)
    state.add_image(KEY, PUSHED)
    state.close()
    return path


def test_what_was_done_is_known(path: Path) -> None:
    state = open_state(path)
    for found in (
        state.layer_of(SOURCE),
        state.layer_of(BLOB),
        state.layer_at("0/layer.tar"),
        state.layer_named("0123:7"),
    ):
        assert found == LAYER
    assert dict(state.images) == {KEY: PUSHED}
    assert state.inventory.images == (IMAGE,)
    assert state.images_of(NESTED) is None
    assert not state.is_complete


def test_what_was_not_done_is_not_known(path: Path) -> None:
    state = open_state(path)
    assert state.layer_of(OTHER) is None
    assert state.layer_at("1/layer.tar") is None
    assert state.layer_named("0123:8") is None


def test_the_end_is_remembered(path: Path) -> None:
    state = open_state(path)
    state.complete([])
    state.close()
    before = path.read_bytes()
    again = open_state(path)
    assert again.is_complete
    again.complete([])
    assert path.read_bytes() == before


def test_another_registry_begins_anew(path: Path) -> None:
    state = open_state(path, registry="another")
    assert state.layer_of(SOURCE) is None
    # Looking alone changes nothing.
    assert open_state(path).images
    state.add_layer(LAYER, "0/layer.tar", [REPOSITORY])
    state.close()
    assert not open_state(path).images
    assert open_state(path, registry="another").layer_of(SOURCE) == LAYER


def test_of_another_archive_only_the_layers_are_known(path: Path) -> None:
    state = open_state(path, archive="another")
    assert state.layer_of(BLOB) == state.layer_named("0123:7") == LAYER
    assert state.layer_at("0/layer.tar") is None
    assert not state.images
    # Looking alone changes nothing.
    assert open_state(path).images
    state.add_image("1", PUSHED)
    state.close()
    assert dict(open_state(path, archive="another").images) == {"1": PUSHED}
    assert not open_state(path).images
    assert open_state(path).layer_of(SOURCE) == LAYER


def test_a_layer_is_known_by_its_content_in_the_next_push(path: Path) -> None:
    kept = StoredLayer(Blob(CONFIG, 9), CONFIG, OTHER, Compression.GZIP)
    state = open_state(path)
    state.add_layer(kept, "4/layer.tar", [REPOSITORY])
    # When it is there in this push, is a matter of time: that must not decide anything.
    assert state.layer_of(OTHER) is None
    state.close()
    state = open_state(path, archive="another")
    assert state.layer_of(OTHER) == kept
    state.forget_layer(CONFIG)
    assert state.layer_of(OTHER) is None
    state.close()


def test_the_end_of_one_archive_is_not_that_of_another(path: Path) -> None:
    state = open_state(path)
    state.complete([])
    state.close()
    assert not open_state(path, archive="another").is_complete


@pytest.mark.parametrize("lost", [1, 5, 60])
def test_a_line_that_was_not_written_to_its_end_does_not_count(path: Path, lost: int) -> None:
    path.write_bytes(path.read_bytes()[:-lost])
    state = open_state(path)
    assert state.layer_of(SOURCE) == LAYER
    assert not state.images
    state.add_image(KEY, PUSHED)
    state.close()
    assert dict(open_state(path).images) == {KEY: PUSHED}


@pytest.mark.parametrize("line", [b"nonsense\n", b"[]\n", b"{}\n", b'{"layer": {}}\n', b"\xff\n"])
def test_what_stands_before_a_broken_line_counts(path: Path, line: bytes) -> None:
    path.write_bytes(path.read_bytes() + line + b'{"complete": []}\n')
    state = open_state(path)
    assert dict(state.images) == {KEY: PUSHED}
    assert not state.is_complete
    state.add_image("4", PUSHED)
    state.close()
    assert set(open_state(path).images) == {KEY, "4"}


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", b"[1]\n", b'{"format": 1}\n'])
def test_a_file_that_is_something_else_is_written_over(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "pushed"
    path.write_bytes(content)
    state = open_state(path)
    state.add_layer(LAYER, "0/layer.tar", [REPOSITORY])
    state.close()
    assert open_state(path).layer_of(SOURCE) == LAYER


def test_a_closed_journal_is_opened_again(path: Path) -> None:
    state = open_state(path)
    for number in (4, 5):
        state.add_image(str(number), PUSHED)
        state.close()
    assert set(open_state(path).images) == {KEY, "4", "5"}


def test_a_full_disk_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = open_state(path)

    def full(_: Journal) -> BinaryIO:
        return Path("/dev/full").open("wb")

    monkeypatch.setattr(Journal, "_open", full)
    with pytest.raises(StorageError, match="cannot be recorded") as raised:
        state.add_layer(LAYER, "0/layer.tar", [REPOSITORY])
    assert "make space" in raised.value.cure
    # What had been written before is not lost.
    assert open_state(path).images


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    state = open_state(tmp_path / "none" / "pushed")
    with pytest.raises(StorageError, match="cannot be recorded"):
        state.add_layer(LAYER, "0/layer.tar", [REPOSITORY])


def test_a_nested_archive_is_known_by_its_images(path: Path) -> None:
    state = open_state(path)
    state.add_nested(NESTED, [KEY])
    state.close()
    again = open_state(path)
    assert again.images_of(NESTED) == (KEY,)
    assert again.images_of(NestedArchive("3", "x.tar", 2048)) is None


def test_what_was_passed_over_is_remembered_with_the_end(path: Path) -> None:
    entry = PassedOver("README.md", "not an archive of images")
    state = open_state(path)
    state.complete([entry])
    state.close()
    assert open_state(path).inventory.passed_over == (entry,)


def test_a_blob_that_nobody_looked_into_is_no_layer_of_known_content(path: Path) -> None:
    blob = StoredLayer(Blob(OTHER, 9), OTHER, "", Compression.GZIP)
    state = open_state(path)
    state.add_layer(blob, "4/blobs/sha256/c", [REPOSITORY])
    state.close()
    assert state.blob(OTHER) == blob
    assert state.layer_of(OTHER) is None


def test_a_name_can_be_forgotten(path: Path) -> None:
    state = open_state(path)
    state.mark_ambiguous("0123:7")
    state.close()
    assert open_state(path).layer_named("0123:7") is None

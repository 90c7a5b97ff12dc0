"""The journal of a push: what a kill, another archive or a broken file leaves of it."""

from pathlib import Path
from typing import BinaryIO

import pytest

from ckf_airgap.archives.inventory import ArchivedImage
from ckf_airgap.errors import StorageError
from ckf_airgap.journal import Journal
from ckf_airgap.names import ImageReference
from ckf_airgap.registry.client import Blob
from ckf_airgap.registry.push_state import PushedMember, PushState, StoredLayer

LAYER = StoredLayer("sha256:a", "sha256:b", Blob("sha256:c", 7), "ckf/x", is_zstd=True)
IMAGE = ArchivedImage(
    "x.tar", (ImageReference("docker.io/x/y", "1", "sha256:d"),), "sha256:e", "amd64"
)
MEMBER = PushedMember((IMAGE,), {"x/y:1": "sha256:f"})


def open_state(path: Path, registry: str = "registry", archive: str = "archive") -> PushState:
    return PushState(path, registry, archive)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal of one layer with its name, and one member."""
    path = tmp_path / "pushed"
    state = open_state(path)
    state.add_layer(LAYER, "0/layer.tar")
    state.add_name("0123:7", "sha256:a")
    state.add_member(3, MEMBER)
    state.close()
    return path


def test_what_was_done_is_known(path: Path) -> None:
    state = open_state(path)
    for found in (
        state.layer_of("sha256:a"),
        state.layer_of("sha256:b"),
        state.layer_at("0/layer.tar"),
        state.layer_named("0123:7"),
    ):
        assert found == LAYER
    assert dict(state.members) == {3: MEMBER}
    assert state.inventory.images == (IMAGE,)
    assert not state.is_complete


def test_what_was_not_done_is_not_known(path: Path) -> None:
    state = open_state(path)
    assert state.layer_of("sha256:x") is None
    assert state.layer_at("1/layer.tar") is None
    assert state.layer_named("0123:8") is None


def test_the_end_is_remembered(path: Path) -> None:
    state = open_state(path)
    state.complete()
    state.close()
    before = path.read_bytes()
    again = open_state(path)
    assert again.is_complete
    again.complete()
    assert path.read_bytes() == before


def test_another_registry_begins_anew(path: Path) -> None:
    state = open_state(path, registry="another")
    assert state.layer_of("sha256:a") is None
    # Looking alone changes nothing.
    assert open_state(path).members
    state.add_layer(LAYER, "0/layer.tar")
    state.close()
    assert not open_state(path).members
    assert open_state(path, registry="another").layer_of("sha256:a") == LAYER


def test_of_another_archive_only_the_layers_are_known(path: Path) -> None:
    state = open_state(path, archive="another")
    assert state.layer_of("sha256:b") == state.layer_named("0123:7") == LAYER
    assert state.layer_at("0/layer.tar") is None
    assert not state.members
    # Looking alone changes nothing.
    assert open_state(path).members
    state.add_member(1, MEMBER)
    state.close()
    assert dict(open_state(path, archive="another").members) == {1: MEMBER}
    assert not open_state(path).members
    assert open_state(path).layer_of("sha256:a") == LAYER


def test_the_end_of_one_archive_is_not_that_of_another(path: Path) -> None:
    state = open_state(path)
    state.complete()
    state.close()
    assert not open_state(path, archive="another").is_complete


@pytest.mark.parametrize("lost", [1, 5, 60])
def test_a_line_that_was_not_written_to_its_end_does_not_count(path: Path, lost: int) -> None:
    path.write_bytes(path.read_bytes()[:-lost])
    state = open_state(path)
    assert state.layer_of("sha256:a") == LAYER
    assert not state.members
    state.add_member(3, MEMBER)
    state.close()
    assert dict(open_state(path).members) == {3: MEMBER}


@pytest.mark.parametrize("line", [b"nonsense\n", b"[]\n", b"{}\n", b'{"layer": {}}\n', b"\xff\n"])
def test_what_stands_before_a_broken_line_counts(path: Path, line: bytes) -> None:
    path.write_bytes(path.read_bytes() + line + b'{"complete": true}\n')
    state = open_state(path)
    assert dict(state.members) == {3: MEMBER}
    assert not state.is_complete
    state.add_member(4, MEMBER)
    state.close()
    assert set(open_state(path).members) == {3, 4}


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", b"[1]\n", b'{"format": 1}\n'])
def test_a_file_that_is_something_else_is_written_over(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "pushed"
    path.write_bytes(content)
    state = open_state(path)
    state.add_layer(LAYER, "0/layer.tar")
    state.close()
    assert open_state(path).layer_of("sha256:a") == LAYER


def test_a_closed_journal_is_opened_again(path: Path) -> None:
    state = open_state(path)
    for number in (4, 5):
        state.add_member(number, MEMBER)
        state.close()
    assert set(open_state(path).members) == {3, 4, 5}


def test_a_full_disk_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = open_state(path)

    def full(_: Journal) -> BinaryIO:
        return Path("/dev/full").open("wb")

    monkeypatch.setattr(Journal, "_open", full)
    with pytest.raises(StorageError, match="cannot be remembered") as raised:
        state.add_layer(LAYER, "0/layer.tar")
    assert "make space" in raised.value.cure
    # What had been written before is not lost.
    assert open_state(path).members


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    state = open_state(tmp_path / "none" / "pushed")
    with pytest.raises(StorageError, match="cannot be remembered"):
        state.add_layer(LAYER, "0/layer.tar")

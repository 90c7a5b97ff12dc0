"""Signed archives, with minisign itself on one side or the other."""

import dataclasses
import gzip
import io
import json
import re
import subprocess
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from ckf_airgap.archives.pack_manifest import PackManifest, first_record
from ckf_airgap.archives.sources import FileSource
from ckf_airgap.commands.main import main
from ckf_airgap.errors import ArtifactError
from ckf_airgap.push.pusher import ImagePusher
from tests.functional.packs import Captured, document, push, words
from tests.functional.running_registry import RunningRegistry
from tests.sample_release import Release
from tests.support.outside import Outside

Members = dict[str, bytes]


def minisign(*arguments: str | Path, password: str | None = None) -> str:
    done = subprocess.run(
        ["minisign", *arguments],
        check=True,
        capture_output=True,
        text=True,
        input=None if password is None else f"{password}\n{password}\n",
    )
    return done.stdout


class Keys:
    """A key pair that minisign has made."""

    def __init__(self, folder: Path, name: str, password: str | None = None) -> None:
        self.public, self.secret = folder / f"{name}.pub", folder / f"{name}.key"
        unprotected = () if password else ("-W",)
        arguments = ("-G", *unprotected, "-p", self.public, "-s", self.secret)
        minisign(*arguments, password=password)

    def sign(self, content: bytes, folder: Path, *more: str) -> bytes:
        path = folder / "to-sign"
        path.write_bytes(content)
        minisign("-S", *more, "-s", self.secret, "-m", path)
        return path.with_name("to-sign.minisig").read_bytes()


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path, "minisign")


@pytest.mark.parametrize("more", [(), ("--part-size", "150kB")], ids=["whole", "parts"])
@pytest.mark.parametrize("layout", ["docker", "oci"])
def test_what_is_signed_here_is_good_for_the_tool(
    layout: str,
    more: tuple[str, ...],
    release: Release,
    outside: Outside,
    registry: RunningRegistry,
    keys: Keys,
    tmp_path: Path,
    capsys: Captured,
) -> None:
    arguments = words(outside, tmp_path, "--format", layout, "--sign", str(keys.secret), *more)
    assert main(arguments) == 0
    packed = tmp_path / "packed"
    minisign("-V", "-H", "-p", keys.public, "-m", packed / "SHA256SUMS")
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=packed, check=True)
    for archive in ("images.tar.gz", "charms.tar.gz"):
        unpacked = tmp_path / f"unpacked-{archive}"
        unpacked.mkdir()
        names = ["ckf-airgap.json", "ckf-airgap.json.minisig"]
        script = f"cat {archive}* | tar -xzf - -C {unpacked} --occurrence=1 {' '.join(names)}"
        subprocess.run(["sh", "-c", script], cwd=packed, check=True)
        minisign("-V", "-H", "-p", keys.public, "-m", unpacked / "ckf-airgap.json")

    capsys.readouterr()
    verify = ("--verify-key", str(keys.public))
    assert push(registry, tmp_path, *verify) == 0
    assert len(document(capsys)["pushed"]) == len(release.images)
    files = ["--images", str(packed / "images.tar.gz"), "--charms", str(packed / "charms.tar.gz")]
    assert main(["inspect", *files, *verify, "--format", "yaml"]) == 0
    found = document(capsys)
    # What the signature adds to an archive is no file that anybody has to look at.
    assert not [each for each in found["passed_over"] if "ckf-airgap" in each["file"]]
    assert main(["plan", *files, *verify, "--registry", str(registry.location)]) == 0
    capsys.readouterr()
    # It is there already, signed with this key.
    assert main(arguments) == 0
    assert "already" in capsys.readouterr().err


@pytest.mark.parametrize("more", [(), ("-l",)], ids=["hashed", "legacy"])
def test_what_the_tool_signs_is_good_here(
    more: tuple[str, ...], release: Release, outside: Outside, keys: Keys, tmp_path: Path
) -> None:
    del release
    assert main(words(outside, tmp_path, "--format", "oci")) == 0
    for archive, option in (("images.tar.gz", "--images"), ("charms.tar.gz", "--charms")):
        path = tmp_path / "packed" / archive
        members = members_of(path)
        text = members.pop("ckf-airgap.json")
        rest = tar_of(members)
        # Two small members in front: three blocks more than their content.
        room = 20_000 + len(rest) + len(text)
        room += -room % 512
        said = PackManifest.decode(text, archive)
        assert said
        content = dataclasses.replace(said, archive_size=room).encode()
        signature = keys.sign(content, tmp_path, *more)
        front = {"ckf-airgap.json": content, "ckf-airgap.json.minisig": signature}
        path.write_bytes(tar_of(front | members).ljust(room, b"\0"))
        assert path.stat().st_size == room
        arguments = ["inspect", option, str(path), "--verify-key", str(keys.public)]
        assert main(arguments) == 0


def members_of(path: Path) -> Members:
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(path.read_bytes()))) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


def tar_of(members: Members) -> bytes:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        end = output.tell()
    # Without its end, for which others make room.
    return output.getvalue()[:end]


def rewrite(path: Path, members: Members) -> None:
    """Put other content into an archive, of the size that its record says."""
    size = path.stat().st_size
    content = tar_of(members)
    assert len(content) + 1024 <= size
    path.write_bytes(content.ljust(size, b"\0"))


def change_record(folder: Path) -> None:
    path = folder / "images.tar.gz"
    members = members_of(path)
    text = members["ckf-airgap.json"]
    members["ckf-airgap.json"] = text.replace(b"amd64", b"arm64", 1)
    assert members["ckf-airgap.json"] != text
    rewrite(path, members)


def swap_names(folder: Path) -> None:
    """Two images under each other's names: nothing is damaged, and yet nothing is right."""
    path = folder / "images.tar.gz"
    members = members_of(path)
    index = json.loads(members["index.json"])
    name = "org.opencontainers.image.ref.name"
    first, second = (entry["annotations"] for entry in index["manifests"][:2])
    first[name], second[name] = second[name], first[name]
    members["index.json"] = json.dumps(index).encode()
    rewrite(path, members)


def swap_charms(folder: Path) -> None:
    path = folder / "charms.tar.gz"
    members = members_of(path)
    first, second = [name for name in members if name.endswith(".charm")][:2]
    members[first], members[second] = members[second], members[first]
    rewrite(path, members)


def add_charm(folder: Path) -> None:
    path = folder / "charms.tar.gz"
    members = members_of(path)
    content = next(content for name, content in members.items() if name.endswith(".charm"))
    size = path.stat().st_size
    compressed = gzip.compress(tar_of(members | {"extra.charm": content}) + bytes(1024))
    path.write_bytes(compressed + gzip.compress(b"").ljust(size - len(compressed), b"\0"))
    assert path.stat().st_size == size


def sign_with(other: Keys, folder: Path) -> None:
    path = folder / "images.tar.gz"
    members = members_of(path)
    content = members["ckf-airgap.json"]
    members["ckf-airgap.json.minisig"] = other.sign(content, folder)
    rewrite(path, members)


def drop_signature(folder: Path) -> None:
    path = folder / "images.tar.gz"
    members = members_of(path)
    del members["ckf-airgap.json.minisig"]
    rewrite(path, members)


def drop_image(folder: Path) -> None:
    path = folder / "images.tar.gz"
    members = members_of(path)
    index = json.loads(members["index.json"])
    del index["manifests"][0]
    members["index.json"] = json.dumps(index).encode()
    rewrite(path, members)


@pytest.mark.usefixtures("release")
@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (drop_signature, "images.tar.gz is not signed"),
        (change_record, "ckf-airgap.json in images.tar.gz does not match its signature"),
        (swap_names, ".* in images.tar.gz does not match the signed record"),
        (drop_image, "does not hold .* as it was packed"),
        (add_charm, "extra.charm in charms.tar.gz does not match the signed record"),
        (swap_charms, ".*charm, .*charm in charms.tar.gz does not match the signed record"),
        (None, "is signed with the key [0-9A-F]{16}, not with [0-9A-F]{16}"),
    ],
    ids=["unsigned", "record", "names", "image gone", "one more charm", "charms", "another key"],
)
def test_nothing_is_pushed_of_what_is_not_as_it_was_signed(
    change: Callable[[Path], None] | None,
    problem: str,
    outside: Outside,
    registry: RunningRegistry,
    keys: Keys,
    tmp_path: Path,
    capsys: Captured,
) -> None:
    arguments = words(outside, tmp_path, "--format", "oci", "--sign", str(keys.secret))
    assert main(arguments) == 0
    packed = tmp_path / "packed"
    if change:
        change(packed)
    else:
        sign_with(Keys(tmp_path, "other"), packed)
    files = ["--images", str(packed / "images.tar.gz"), "--charms", str(packed / "charms.tar.gz")]
    verify = ("--verify-key", str(keys.public))
    runs: Iterable[Callable[[], int]] = (
        lambda: push(registry, tmp_path, *verify),
        lambda: main(["inspect", *files, *verify]),
        lambda: main(["plan", *files, *verify, "--registry", str(registry.location)]),
    )
    for run in runs:
        capsys.readouterr()
        assert run() == 2
        error = capsys.readouterr().err
        assert re.search(problem, error), error
    assert registry.repositories() == []


@pytest.mark.usefixtures("release")
def test_an_archive_that_is_replaced_after_it_was_verified(
    outside: Outside, registry: RunningRegistry, tmp_path: Path
) -> None:
    assert main(words(outside, tmp_path)) == 0
    source = FileSource(tmp_path / "packed" / "images.tar.gz")
    record = first_record(source)
    assert record
    verified = dataclasses.replace(record, architecture="arm64")
    pusher = ImagePusher(registry.client(), registry.location, tmp_path / "state")
    with pytest.raises(ArtifactError, match="was replaced while it was read"):
        pusher.push(source, (), verified)
    assert registry.repositories() == []


@pytest.mark.usefixtures("release")
def test_a_key_with_a_password(
    outside: Outside, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = Keys(tmp_path, "minisign", "the-password")
    arguments = words(outside, tmp_path, "--sign", str(keys.secret))
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert main(arguments) == 2
    assert "set the environment variable CKF_AIRGAP_KEY_PASSWORD" in capsys.readouterr().err
    monkeypatch.setenv("CKF_AIRGAP_KEY_PASSWORD", "another")
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert "the password of the key is wrong" in error
    assert "another" not in error
    monkeypatch.setenv("CKF_AIRGAP_KEY_PASSWORD", "the-password")
    assert main(arguments) == 0
    minisign("-V", "-p", keys.public, "-m", tmp_path / "packed" / "SHA256SUMS")
    # Packed again without a signature, nothing is left of it.
    assert main(words(outside, tmp_path)) == 0
    names = {path.name for path in (tmp_path / "packed").iterdir()}
    assert names == {"images.tar.gz", "charms.tar.gz", "SHA256SUMS"}


@pytest.mark.usefixtures("release")
def test_keys_that_are_none(outside: Outside, tmp_path: Path, capsys: Captured) -> None:
    noise = tmp_path / "noise"
    noise.write_text("noise")
    assert main(words(outside, tmp_path, "--sign", str(noise))) == 2
    assert "--sign is not a minisign secret key" in capsys.readouterr().err
    charms = tmp_path / "noise.tar.gz"
    charms.write_bytes(gzip.compress(tar_of({"x": b""}) + bytes(1024)))
    assert main(["inspect", "--charms", str(charms), "--verify-key", str(noise)]) == 2
    assert "--verify-key is not a minisign public key" in capsys.readouterr().err

"""Keys and signatures: what is not one is told, and nothing else is taken for one."""

import base64
import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckf_airgap.archives.minisign import PublicKey, SecretKey
from ckf_airgap.errors import ArtifactError, ConfigurationError

# Made with minisign 0.11: minisign -G -W, minisign -S, minisign -S -l; of the content b"hi\n".
PUBLIC = """untrusted comment: minisign public key D143777F47CE5459
RWRZVM5Hf3dD0cHzWCSxqMElXXC7EndSGnnnPdWgeUGhgqnCeGgZOoOw
"""
SECRET = """untrusted comment: minisign encrypted secret key
RWQAAEIyAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAWVTOR393Q9Ee2Byx2QyFFE5QCQ1WW\
oNlvdL6Vpi9tF1X89sIQqmb8sHzWCSxqMElXXC7EndSGnnnPdWgeUGhgqnCeGgZOoOwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\
AAAAAA=
"""
HASHED = b"""untrusted comment: signature from minisign secret key
RURZVM5Hf3dD0arbenctAWOBQJbaUIbZJjWbNJ5PyvBTFrXK6crznYWjKilNO/JB5uk8/qa32YgdaEPHxlxq8W/eFgdxePjTAwQ=
trusted comment: file:f
8bS3MVVE6MWyhUNw02zNQuAZPfUBJ3vxB5163tga+yh7XeSgdPodqyf8jWhkGtJKDHjGMMaznTDY0niYizVCDg==
"""
LEGACY = b"""untrusted comment: signature from minisign secret key
RWRZVM5Hf3dD0UTgUYnpLdGK77FiJbqkaEG8n6KsA12Aas0GujXcBHoBGY334OADr3b+26ozf4wp5Jc7m36stK7Feq2AFyFuygw=
trusted comment: timestamp:1795735692	file:f
l9cYwHEvWFfOpHRj/rwm6fetEwyzAmUTBIodQv1g2koC/O/rvK6bR6FlxyKrd84OWJHvulpAEqB7xiJaYSItBg==
"""


def no_password() -> str:
    raise AssertionError


KEY = PublicKey.parse(PUBLIC, "--verify-key")
OWN = SecretKey.parse(SECRET, no_password)


def test_what_the_tool_makes() -> None:
    assert OWN.public == KEY == PublicKey.parse(PUBLIC.splitlines()[1], "--verify-key")
    KEY.require(b"hi\n", HASHED, "f")
    KEY.require(b"hi\n", LEGACY, "f")
    # The signature itself is the same, whoever makes it.
    assert OWN.sign(b"hi\n", "f").splitlines()[1] == HASHED.splitlines()[1]


@pytest.mark.parametrize("signature", [HASHED, LEGACY, OWN.sign(b"hi\n", "f")])
def test_anything_else_is_refused(signature: bytes) -> None:
    with pytest.raises(ArtifactError, match="f does not match its signature"):
        KEY.require(b"hi", signature, "f")
    other = dataclasses.replace(KEY, number=b"12345678")
    with pytest.raises(
        ArtifactError, match=r"the key D143777F47CE5459, not with 3837363534333231"
    ):
        other.require(b"hi\n", signature, "f")
    # Of the same number, which says nothing.
    other = dataclasses.replace(KEY, key=SecretKey(KEY.number, bytes(32)).public.key)
    with pytest.raises(ArtifactError, match="f does not match its signature"):
        other.require(b"hi\n", signature, "f")
    changed = signature.replace(b"file:f", b"file:g")
    with pytest.raises(ArtifactError, match="f does not match its signature"):
        KEY.require(b"hi\n", changed, "f")


@given(st.data())
def test_a_signature_that_is_changed_anywhere(data: st.DataObject) -> None:
    lines = HASHED.decode().splitlines()
    number = data.draw(st.sampled_from([1, 3]))
    raw = bytearray(base64.b64decode(lines[number]))
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= 1 << data.draw(st.integers(0, 7))
    lines[number] = base64.b64encode(raw).decode()
    with pytest.raises(ArtifactError):
        KEY.require(b"hi\n", "\n".join(lines).encode(), "f")


@given(st.binary(max_size=300))
def test_what_is_no_signature(content: bytes) -> None:
    with pytest.raises(ArtifactError, match="the signature of f is damaged"):
        KEY.require(b"hi\n", content, "f")


@pytest.mark.parametrize(
    "text",
    ["", "\n", "key", SECRET, HASHED.decode(), PUBLIC + "more\n", PUBLIC[:-5], "\u0661" * 56],
)
def test_what_is_no_public_key(text: str) -> None:
    with pytest.raises(
        ConfigurationError, match="artifact-key is not a minisign public key"
    ) as raised:
        PublicKey.parse(text, "artifact-key")
    assert "minisign.pub" in raised.value.cure


def changed(at: int, content: bytes) -> str:
    """Change the bytes of the secret key from a place on."""
    comment, line = SECRET.splitlines()
    raw = bytearray(base64.b64decode(line))
    raw[at : at + len(content)] = content
    return f"{comment}\n{base64.b64encode(raw).decode()}\n"


@pytest.mark.parametrize(
    "text",
    [
        "",
        PUBLIC,
        SECRET.splitlines()[1],
        SECRET[:-9],
        changed(0, b"XX"),
        changed(2, b"XX"),
        changed(4, b"XX"),
        # It asks for more than any key of minisign does.
        changed(2, b"Sc" + b"B2" + bytes(32) + (2**40).to_bytes(8, "little") * 2),
        changed(2, b"Sc" + b"B2" + bytes(32) + bytes(16)),
    ],
)
def test_what_is_no_secret_key(text: str) -> None:
    with pytest.raises(ConfigurationError, match="--sign is not a minisign secret key"):
        SecretKey.parse(text, lambda: "password")


def test_a_key_that_is_damaged() -> None:
    with pytest.raises(ConfigurationError, match="the key is damaged"):
        SecretKey.parse(changed(157, b"x"), no_password)


def test_a_secret_is_not_shown() -> None:
    assert "seed" not in repr(OWN)

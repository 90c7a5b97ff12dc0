"""Keys and signatures in the format of minisign (Ed25519).

Format: https://jedisct1.github.io/minisign/ ("Signature format", "Public key format", "Secret key
format"). The scrypt parameters are computed as in libsodium (crypto_pwhash_scryptsalsa208sha256).
"""

import base64
import binascii
import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ckf_airgap.errors import ArtifactError, ConfigurationError

NOT_AS_PACKED_CURE = "do not use the archive; get it again from whoever packed it"
LARGEST_FILE = 8 * 1024
"""The maximum size of a key or signature file, in bytes."""
_ALGORITHM, _HASHED, _SCRYPT, _PLAIN, _CHECKSUM = b"Ed", b"ED", b"Sc", b"\0\0", b"B2"
_UNTRUSTED, _TRUSTED = "untrusted comment: ", "trusted comment: "
_SECRET = struct.Struct("<2s2s2s32sQQ104s")
_CONTENT = struct.Struct("<8s64s32s")
# The scrypt limits that minisign itself uses; a key that exceeds them is rejected.
_MOST_OPERATIONS = 2**25
_MOST_MEMORY = 2**30
_SCRYPT_BLOCK = 8


@dataclass(frozen=True)
class PublicKey:
    """A public key, which verifies signatures.

    Attributes:
        number: The key ID; 8 bytes.
        key: The key itself, Ed25519; 32 bytes.
    """

    number: bytes
    key: bytes

    @classmethod
    def parse(cls, text: str, option: str) -> "PublicKey":
        """Read a public key.

        Args:
            text: The content of its file, or only the second line.
            option: The option that gives it, for messages.

        Raises:
            ConfigurationError: The text is not a minisign public key.
        """
        lines = text.strip().splitlines()
        try:
            algorithm, number, key = struct.unpack("<2s8s32s", _decode(lines[-1]))
            if algorithm == _ALGORITHM and len(lines) <= 2:
                return cls(number, key)
        except (ValueError, IndexError, struct.error):
            pass
        raise ConfigurationError(
            f"{option} is not a minisign public key",
            "give the file that minisign -G wrote, minisign.pub",
        )

    def require(self, content: bytes, signature: bytes, what: str) -> None:
        """Check a signature.

        Args:
            content: What was signed.
            signature: The content of its signature file (``.minisig``).
            what: The name of the content, for messages.

        Raises:
            ArtifactError: The signature is damaged, of another key, or not of this content.
        """
        try:
            lines = signature.decode("utf-8").rstrip("\n").split("\n")
            _, signature_line, comment, global_signature_line = lines
            algorithm, number, content_signature = struct.unpack(
                "<2s8s64s", _decode(signature_line)
            )
            global_signature = _decode(global_signature_line)
            if algorithm not in (_ALGORITHM, _HASHED) or not comment.startswith(_TRUSTED):
                raise ValueError
        except (ValueError, struct.error) as error:
            raise ArtifactError(
                f"the signature of {what} is damaged", "copy it again, or have it signed again"
            ) from error
        if number != self.number:
            raise ArtifactError(
                f"{what} is signed with the key {_format_key_id(number)}, not with "
                f"{_format_key_id(self.number)}",
                "give the public key of whoever packed the archive, or do not use the archive",
            )
        message = _hashed(content) if algorithm == _HASHED else content
        trusted = comment.removeprefix(_TRUSTED).encode()
        key = Ed25519PublicKey.from_public_bytes(self.key)
        try:
            key.verify(content_signature, message)
            key.verify(global_signature, content_signature + trusted)
        except InvalidSignature as error:
            raise ArtifactError(
                f"{what} does not match its signature", NOT_AS_PACKED_CURE
            ) from error


@dataclass(frozen=True, repr=False)
class SecretKey:
    """A secret key, which signs.

    Attributes:
        number: The key ID; 8 bytes.
        seed: The Ed25519 seed; 32 bytes.
    """

    number: bytes
    seed: bytes

    @classmethod
    def parse(cls, text: str, ask_password: Callable[[], str]) -> "SecretKey":
        """Read a secret key.

        Args:
            text: The content of its file.
            ask_password: Returns the password; called only if the key has one. Key derivation then
                takes 1 GiB of memory and a few seconds.

        Raises:
            ConfigurationError: The text is not a minisign secret key, or the password is wrong.
        """
        try:
            _, key_line = text.strip().splitlines()
            algorithm, derivation, checksum_algorithm, salt, operations, memory, content = (
                _SECRET.unpack(_decode(key_line))
            )
            if (
                algorithm != _ALGORITHM
                or checksum_algorithm != _CHECKSUM
                or derivation not in (_SCRYPT, _PLAIN)
            ):
                raise ValueError
            if derivation == _SCRYPT:
                key = _derive(ask_password(), salt, operations, memory)
                content = bytes(a ^ b for a, b in zip(content, key, strict=True))
        except (ValueError, struct.error):
            raise ConfigurationError(
                "--sign is not a minisign secret key",
                "give the file that minisign -G wrote, minisign.key",
            ) from None
        number, key_pair, checksum = _CONTENT.unpack(content)
        expected = hashlib.blake2b(algorithm + number + key_pair, digest_size=32).digest()
        # minisign -W writes a key without a password, and with an all-zero checksum.
        if checksum != expected and (derivation == _SCRYPT or any(checksum)):
            raise ConfigurationError(
                "the password of the key is wrong, or the key is damaged",
                "run it again with the right password",
            )
        return cls(number, key_pair[:32])

    @property
    def public(self) -> PublicKey:
        """The matching public key."""
        return PublicKey(self.number, self._key.public_key().public_bytes_raw())

    def sign(self, content: bytes, name: str) -> bytes:
        """Sign content; the signature is deterministic.

        Args:
            content: What to sign.
            name: The file name of the content, for the trusted comment.

        Returns:
            The content of the signature file (``.minisig``).
        """
        comment = f"file:{name}\thashed"
        signature = self._key.sign(_hashed(content))
        global_signature = self._key.sign(signature + comment.encode())
        lines = (
            f"{_UNTRUSTED}signature of ckf-airgap pack",
            base64.b64encode(_HASHED + self.number + signature).decode(),
            f"{_TRUSTED}{comment}",
            base64.b64encode(global_signature).decode(),
        )
        return "".join(f"{line}\n" for line in lines).encode()

    @property
    def _key(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed)


def _hashed(content: bytes) -> bytes:
    return hashlib.blake2b(content).digest()


def _format_key_id(number: bytes) -> str:
    """Format a key ID as minisign prints it."""
    return f"{int.from_bytes(number, 'little'):016X}"


def _decode(line: str) -> bytes:
    try:
        return base64.b64decode(line.strip(), validate=True)
    except binascii.Error as error:
        raise ValueError(line) from error


def _derive(password: str, salt: bytes, operations: int, memory: int) -> bytes:
    """Derive, from its password, the XOR mask that encrypts a secret key.

    Raises:
        ValueError: The scrypt limits are outside the range that minisign uses.
    """
    if not (0 < operations <= _MOST_OPERATIONS and 2**20 <= memory <= _MOST_MEMORY):
        raise ValueError(operations)
    operations = max(operations, 32768)
    if operations < memory // 32:
        largest, parallel = operations // (_SCRYPT_BLOCK * 4), 1
        log = max(largest.bit_length() - 1, 1)
    else:
        log = max((memory // (_SCRYPT_BLOCK * 128)).bit_length() - 1, 1)
        parallel = max((operations // 4 >> log) // _SCRYPT_BLOCK, 1)
    return hashlib.scrypt(
        password.encode(),
        salt=salt,
        n=2**log,
        r=_SCRYPT_BLOCK,
        p=parallel,
        maxmem=2 * _MOST_MEMORY - 1,
        dklen=_CONTENT.size,
    )

"""The testbed's certificate authority and the certificates that it signs."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa


@dataclass(frozen=True)
class KeyPair:
    """The files of a certificate and its private key, PEM."""

    certificate: Path
    key: Path


class Authority:
    """A certificate authority in a folder, made at first use."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.certificate = folder / "ca.crt"
        key = folder / "ca.key"
        if not self.certificate.exists():
            authority = trustme.CA(key_type=trustme.KeyType.RSA)
            authority.private_key_pem.write_to_path(str(key))
            authority.cert_pem.write_to_path(str(self.certificate))
        self._authority = trustme.CA.from_pem(self.certificate.read_bytes(), key.read_bytes())

    def issue(
        self,
        name: str,
        *identities: str,
        user: str | None = None,
        group: str | None = None,
        until: datetime | None = None,
    ) -> KeyPair:
        """Sign a certificate, unless it is there.

        Args:
            name: The name of its files.
            identities: Host names and addresses that it is for.
            user: The common name: the user that Kubernetes takes its bearer for.
            group: The organization: the group that Kubernetes takes its bearer for.
            until: When it ends, where that is not in some distant time.
        """
        pair = KeyPair(self._folder / f"{name}.crt", self._folder / f"{name}.key")
        if not pair.certificate.exists():
            leaf = self._authority.issue_cert(
                *(identities or (f"{name}.test",)),
                common_name=user,
                organization_name=group,
                not_before=until - timedelta(days=30) if until else None,
                not_after=until,
                key_type=trustme.KeyType.RSA,
            )
            leaf.private_key_pem.write_to_path(str(pair.key))
            pair.certificate.write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
        return pair

    def signing_key(self, name: str) -> KeyPair:
        """Make a bare key pair, unless it is there; its public half stands for a certificate."""
        pair = KeyPair(self._folder / f"{name}.pub", self._folder / f"{name}.key")
        if not pair.certificate.exists():
            key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            pair.key.write_bytes(
                key.private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.PKCS8,
                    serialization.NoEncryption(),
                )
            )
            pair.certificate.write_bytes(
                key.public_key().public_bytes(
                    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
                )
            )
        return pair

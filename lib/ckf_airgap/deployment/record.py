"""What was deployed from what: Juju tells of a local charm no more than a number."""

import hashlib
import json
import os
from collections.abc import MutableMapping
from pathlib import Path

from ckf_airgap.credentials import Credentials
from ckf_airgap.planning.plan import PlannedApplication

# RFC 7914: the parameters for logins that must not take long.
_SCRYPT_COST, _SCRYPT_BLOCK, _SCRYPT_PARALLEL = 2**14, 8, 1


class DeploymentRecord:
    """Remembers for each application the charm, the images and the account to pull them with.

    Of the account it keeps a salted scrypt hash, which tells nobody the password.
    """

    def __init__(self, entries: MutableMapping[str, str], model: str) -> None:
        """Open the record of a model.

        Args:
            entries: Where it is kept; each change is there at once.
            model: The model's UUID.
        """
        self._entries = entries
        self._model = model
        self._digests: dict[Path, str] = {}
        self._hashes: dict[Credentials, str] = {}

    def knows(self, item: PlannedApplication) -> bool:
        """Tell whether it is known what an application was deployed from."""
        return self._images_key(item) in self._entries

    def is_same_charm(self, item: PlannedApplication, revision: str | None) -> bool:
        """Tell whether an application runs the planned charm.

        Args:
            item: The application as planned.
            revision: The charm that it runs, as Juju numbers it, for example ``minio-3``. What is
                not known counts as another.
        """
        return self._entries.get(self._charm_key(revision)) == self._digest(item.file)

    def was_podspec(self, revision: str | None) -> bool:
        """Tell whether a charm is known to be of the podspec kind.

        Args:
            revision: As for ``is_same_charm``.
        """
        return self._podspec_key(revision) in self._entries

    def other_images(self, item: PlannedApplication, account: Credentials | None) -> list[str]:
        """List the resources of an application that have another image or another account.

        Args:
            item: The application as planned.
            account: What the images are pulled with; None for nothing.
        """
        known: dict[str, str] = json.loads(self._entries.get(self._images_key(item), "{}"))
        before = self._entries.get(self._account_key(item))
        if before is not None and before != self._hashed(account):
            return list(item.resources)
        return [name for name, image in item.resources.items() if known.get(name) != image]

    def remember(
        self,
        item: PlannedApplication,
        revision: str | None,
        account: Credentials | None,
        *,
        is_podspec: bool = False,
    ) -> None:
        """Keep what an application was deployed from.

        Args:
            item: The application as planned.
            revision: As for ``is_same_charm``.
            account: As for ``other_images``.
            is_podspec: Whether its charm is of the podspec kind.
        """
        self._entries[self._charm_key(revision)] = self._digest(item.file)
        self._entries[self._images_key(item)] = json.dumps(dict(item.resources))
        self._entries[self._account_key(item)] = self._hashed(account)
        if is_podspec:
            self._entries[self._podspec_key(revision)] = "yes"

    def _hashed(self, account: Credentials | None) -> str:
        """Hash an account with the record's salt; an empty string for none."""
        if account is None:
            return ""
        if account not in self._hashes:
            salt = self._entries.setdefault(f"{self._model} salt", os.urandom(16).hex())
            text = json.dumps([account.username, account.password]).encode()
            self._hashes[account] = hashlib.scrypt(
                text,
                salt=salt.encode(),
                n=_SCRYPT_COST,
                r=_SCRYPT_BLOCK,
                p=_SCRYPT_PARALLEL,
            ).hex()
        return self._hashes[account]

    def _digest(self, path: Path) -> str:
        if path not in self._digests:
            with path.open("rb") as file:
                self._digests[path] = hashlib.file_digest(file, "sha256").hexdigest()
        return self._digests[path]

    def _charm_key(self, revision: str | None) -> str:
        return f"{self._model} charm {revision}"

    def _podspec_key(self, revision: str | None) -> str:
        return f"{self._model} podspec {revision}"

    def _images_key(self, item: PlannedApplication) -> str:
        return f"{self._model} images {item.name}"

    def _account_key(self, item: PlannedApplication) -> str:
        return f"{self._model} account {item.name}"

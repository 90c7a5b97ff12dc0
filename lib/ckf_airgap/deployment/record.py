"""Records the charm and images of each application, because Juju only numbers local charms."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec
from msgspec import structs

from ckf_airgap.accounts.credentials import Credentials
from ckf_airgap.charms.charm_file import CharmFile
from ckf_airgap.charms.charm_version import Version, version_of
from ckf_airgap.files.digests import file_sha256
from ckf_airgap.juju.juju_status import ModelState
from ckf_airgap.juju.juju_values import DeployedCharm, Side
from ckf_airgap.planning.plan import Plan, PlannedApplication
from ckf_airgap.upgrades.start_and_target import WalkMemory

# scrypt (RFC 7914), with the parameters that its author gives for interactive logins (Percival,
# "Stronger key derivation via sequential memory-hard functions", 2009).
_SCRYPT_COST, _SCRYPT_BLOCK, _SCRYPT_PARALLEL = 2**14, 8, 1
_KEY = "record"
_INFO = "ckf-airgap: the charm and the images that each application was deployed from"


class RecordStore(Protocol):
    """Stores the record: a write takes effect immediately and outlives the unit's pod."""

    def read(self) -> Mapping[str, str]:
        """Return the content; empty if nothing was written."""
        ...

    def write(self, content: Mapping[str, str], info: str) -> None:
        """Replace the content; ``info`` describes it for people."""
        ...


@dataclass(frozen=True)
class Deployed:
    """An application that was deployed or refreshed, or is about to be deployed.

    Attributes:
        item: The application as planned.
        charm: Its running charm; None before it is deployed.
        file: The file of that charm.
    """

    item: PlannedApplication
    charm: DeployedCharm | None
    file: CharmFile


@dataclass(frozen=True, kw_only=True)
class KnownCharm:
    """The recorded properties of an application's running charm.

    Attributes:
        digest: The SHA-256 of its file.
        version: The version of its workload, or None.
        is_podspec: Whether it is a podspec charm.
        has_storage: Whether it declares storage; None in records that lack it.
        fixed: The digest ``CharmFile.fixed``; None in records that lack it.
    """

    digest: str
    version: Version | None
    is_podspec: bool
    has_storage: bool | None
    fixed: str | None


class _Entry(msgspec.Struct, frozen=True):
    charm: DeployedCharm | None
    digest: str
    images: dict[str, str]
    account: str
    is_podspec: bool = False
    version: str = ""
    has_storage: bool | None = None
    fixed: str | None = None


class _Walk(msgspec.Struct, frozen=True):
    scales: dict[str, int]
    replacing: list[str]
    relations: list[tuple[str, str]]


class _Document(msgspec.Struct):
    salt: str
    applications: dict[str, _Entry]
    walk: _Walk | None = None


class DeploymentRecord:
    """Records the charm, the images and the pull account of each application.

    The account is stored as a salted scrypt hash, which reveals no password.
    """

    def __init__(self, store: RecordStore) -> None:
        """Read the record of a model.

        Args:
            store: Stores the record. Content that is not a record is ignored.

        Raises:
            AirgapError: The store cannot be read.
        """
        self._store = store
        self._digests: dict[Path, str] = {}
        self._hashes: dict[Credentials, str] = {}
        try:
            self._document = msgspec.json.decode(store.read().get(_KEY, ""), type=_Document)
        except (msgspec.MsgspecError, RecursionError):
            self._document = _Document(os.urandom(16).hex(), {})

    def knows(self, item: PlannedApplication) -> bool:
        """Return whether an application is in the record."""
        return item.name in self._document.applications

    def outdated(self, plan: Plan, state: ModelState, account: Credentials | None) -> list[str]:
        """List the applications whose charm, image or pull account differs from the plan.

        Args:
            plan: The plan.
            state: The state of the model.
            account: The pull account, or None.

        Returns:
            Their names; applications that are not in the record are omitted.
        """
        return [
            item.name
            for item in plan.applications
            if item.name in state.applications
            and self.knows(item)
            and (
                not self.is_same_charm(item, state.charms.get(item.name))
                or self.other_images(item, account)
            )
        ]

    def is_same_charm(self, item: PlannedApplication, charm: DeployedCharm | None) -> bool:
        """Return whether an application runs the planned charm; False if it is not in the record.

        Args:
            item: The application as planned.
            charm: Its running charm.
        """
        known = self._document.applications.get(item.name)
        return known is not None and (known.charm, known.digest) == (
            charm,
            self.digest(item.file),
        )

    def known_charm(self, application: str, charm: DeployedCharm | None) -> KnownCharm | None:
        """Return the recorded properties of an application's charm; None if it is not recorded.

        Args:
            application: The name of the application.
            charm: Its running charm.
        """
        known = self._document.applications.get(application)
        if known is None or known.charm != charm:
            return None
        return KnownCharm(
            digest=known.digest,
            version=Version.find(known.version),
            is_podspec=known.is_podspec,
            has_storage=known.has_storage,
            fixed=known.fixed,
        )

    @property
    def walk(self) -> WalkMemory | None:
        """The memory of an unfinished upgrade; None if there is none."""
        kept = self._document.walk
        if kept is None:
            return None
        return WalkMemory(
            scales=kept.scales,
            replacing=frozenset(kept.replacing),
            relations=tuple(
                (Side.parse(first), Side.parse(second)) for first, second in kept.relations
            ),
        )

    def remember_walk(self, walk: WalkMemory | None) -> None:
        """Record the memory of an unfinished upgrade; None removes it.

        Raises:
            AirgapError: The record cannot be written.
        """
        if walk == self.walk:
            return
        self._document.walk = walk and _Walk(
            dict(walk.scales),
            sorted(walk.replacing),
            [(str(first), str(second)) for first, second in walk.relations],
        )
        self._write()

    def other_images(self, item: PlannedApplication, account: Credentials | None) -> list[str]:
        """List the resources whose image or pull account differs from the record; all without one.

        Args:
            item: The application as planned.
            account: The pull account, or None.
        """
        known = self._document.applications.get(item.name)
        if known is None or known.account != self._hashed(account):
            return list(item.resources)
        return [name for name, image in item.resources.items() if known.images.get(name) != image]

    def remember(self, applications: Iterable[Deployed], account: Credentials | None) -> None:
        """Record the charm and images of applications.

        Args:
            applications: The applications.
            account: The pull account of their images, or None.

        Raises:
            AirgapError: The record cannot be written.
        """
        for deployed in applications:
            item = deployed.item
            self._document.applications[item.name] = _Entry(
                deployed.charm,
                self.digest(item.file),
                dict(item.resources),
                self._hashed(account),
                deployed.file.is_podspec,
                str(version_of(deployed.file) or ""),
                deployed.file.has_storage,
                deployed.file.fixed,
            )
        self._write()

    def complete(self, running: Mapping[str, DeployedCharm]) -> None:
        """Complete the entries that an interrupted run wrote before it deployed applications.

        If the application of an entry exists, its charm is added to the entry; otherwise the entry
        is removed.

        Args:
            running: The charms of the applications in the model.

        Raises:
            AirgapError: The record cannot be written.
        """
        announced = [name for name, each in self._document.applications.items() if not each.charm]
        for name in announced:
            entry = self._document.applications.pop(name)
            if name in running:
                self._document.applications[name] = structs.replace(entry, charm=running[name])
        if announced:
            self._write()

    def digest(self, path: Path) -> str:
        """Return the SHA-256 of a charm's file; each file is read once."""
        if path not in self._digests:
            with path.open("rb") as file:
                self._digests[path] = file_sha256(file)
        return self._digests[path]

    def _write(self) -> None:
        text = msgspec.json.encode(self._document).decode()
        self._store.write({_KEY: text}, _INFO)

    def _hashed(self, account: Credentials | None) -> str:
        """Hash an account with the record's salt; an empty string for None."""
        if account is None:
            return ""
        if account not in self._hashes:
            text = json.dumps([account.username, account.password]).encode()
            self._hashes[account] = hashlib.scrypt(
                text,
                salt=self._document.salt.encode(),
                n=_SCRYPT_COST,
                r=_SCRYPT_BLOCK,
                p=_SCRYPT_PARALLEL,
            ).hex()
        return self._hashes[account]

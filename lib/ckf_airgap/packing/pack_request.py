"""The request of a pack."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

from ckf_airgap.archives.minisign import SecretKey
from ckf_airgap.images.reference import ImageReference
from ckf_airgap.juju.charm_download import CharmOrigin
from ckf_airgap.packing.kit import Kit
from ckf_airgap.packing.previous_pack import PreviousPack
from ckf_airgap.packing.upgrade_start import UpgradeStart
from ckf_airgap.packing.user_images import DEFAULT, UserImages


@dataclass(frozen=True, kw_only=True)
class PackRequest:
    """What to pack, and where to.

    Attributes:
        output: The directory for the two files; created if missing.
        origins: The charms to download, if any.
        folder: A directory with charms, or None. If ``origins`` are given too, only their charms
            are packed from it.
        bundle: The text of the bundle of the charms; empty for none.
        images: Additional images.
        user_images: Additional images of users, by purpose.
        juju_version: The controller's version, to pack Juju's own images; empty to leave them
            out.
        layout: ``docker`` or ``oci``.
        architecture: The CPU architecture of the nodes.
        allow_missing: Whether to pack although charms or images are missing.
        juju: The juju client.
        charmhub_url: The address of another Charmhub; empty for the public one.
        part_size: The size of the files that the archives are split into, in bytes; 0 for one
            file each.
        key: The key to sign the archives and SHA256SUMS with; None for no signature.
        upgrade_from: The release that this one upgrades, or None.
        since: The earlier pack whose layers to leave out, or None.
        kit: The kit to write with the archives, or None.
    """

    output: Path
    origins: tuple[CharmOrigin, ...] = ()
    folder: Path | None = None
    bundle: str = ""
    images: tuple[ImageReference, ...] = ()
    user_images: UserImages = field(default_factory=UserImages)
    juju_version: str = ""
    layout: str = "docker"
    architecture: str = "amd64"
    allow_missing: bool = False
    juju: str = "juju"
    charmhub_url: str = ""
    part_size: int = 0
    key: SecretKey | None = None
    upgrade_from: UpgradeStart | None = None
    since: PreviousPack | None = None
    kit: Kit | None = None

    @property
    def identity(self) -> str:
        """The digest of what is fetched, independent of the format in which it is packed."""
        fetched = [
            sorted(map(str, self.origins)),
            str(self.folder),
            self.bundle,
            sorted(map(str, (*self.images, *self.user_images.references))),
            self.juju_version,
            self.architecture,
            self.charmhub_url,
            *((DEFAULT,) if self.user_images.with_default else ()),
            *(sorted(map(str, self.upgrade_from.versions.items())) if self.upgrade_from else ()),
        ]
        return hashlib.sha256(json.dumps(fetched).encode()).hexdigest()

"""An earlier pack, whose layers a difference leaves out (``pack --since``)."""

from dataclasses import dataclass, replace
from pathlib import Path

from ckf_airgap.archives.pack_manifest import PackedImage, PackManifest, first_record
from ckf_airgap.archives.parts import parts_beside
from ckf_airgap.archives.sources import FileSource
from ckf_airgap.errors import ConfigurationError
from ckf_airgap.files.regular_files import read_regular
from ckf_airgap.images.naming import image_path
from ckf_airgap.images.reference import ImageReference

_LARGEST = 16 * 1024 * 1024
_CURE = "give images.tar.gz or charms.tar.gz of an earlier pack, or the ckf-airgap.json in them"


@dataclass(frozen=True)
class PreviousPack:
    """An earlier pack.

    Attributes:
        manifest: Its record.
        name: Its name in messages.
    """

    manifest: PackManifest
    name: str

    @classmethod
    def read(cls, path: Path) -> "PreviousPack":
        """Read only the record of an earlier pack.

        Args:
            path: images.tar.gz or charms.tar.gz, as one file or in parts, of which only the first
                is read; or the ``ckf-airgap.json`` of one of them.

        Returns:
            The pack.

        Raises:
            ConfigurationError: The file cannot be read, or has no record with layers.
            ArtifactError: The file is damaged.
        """
        try:
            manifest = _read(path)
        except OSError as error:
            raise ConfigurationError(f"{path} cannot be read ({error.strerror})", _CURE) from error
        if manifest is None:
            raise ConfigurationError(
                f"{path} has no record of ckf-airgap pack that this version can read", _CURE
            )
        if any(image.size and not image.layers for image in manifest.images):
            raise ConfigurationError(
                f"{path} was packed by an earlier version of ckf-airgap, which did not record the "
                "layers of images",
                "pack that release again with this version",
            )
        return cls(manifest, str(path))

    def difference(self, manifest: PackManifest) -> PackManifest:
        """Mark as left out the layers of a release that this pack contains.

        If this pack is itself a difference, every layer in its record counts as contained.

        Args:
            manifest: The record of the whole release.

        Returns:
            The record of the difference.

        Raises:
            ConfigurationError: This pack has a different format or CPU architecture.
        """
        before = self.manifest
        for noun, option, now, then in (
            ("format", "--format", manifest.layout, before.layout),
            ("architecture", "--architecture", manifest.architecture, before.architecture),
        ):
            if now != then:
                raise ConfigurationError(
                    f"{self.name} has the {noun} {then}, so a difference to it cannot have {now}",
                    f"pack with {option} {then}",
                )
        # Prefer images that are the same in both releases: when a push is repeated, their tags
        # still lead to the layers.
        same = {(image.name, image.image_id) for image in manifest.images}
        images = sorted(before.images, key=lambda image: (image.name, image.image_id) not in same)
        if manifest.layout == "docker":
            # A push finds these layers by the tag of their image. Skip an image whose tag the
            # new release moves: if another difference has already moved it, the tag no longer
            # leads to the layers.
            ids = {_path_of(image): image.image_id for image in manifest.images}
            images = [
                image
                for image in images
                if ids.get(_path_of(image), image.image_id) == image.image_id
            ]
        found_in: dict[str, str] = {}
        for image in images:
            for layer in image.layers:
                found_in.setdefault(before.file_digest(layer), image.name)

        def marked(image: PackedImage) -> PackedImage:
            layers = tuple(
                replace(layer, found_in=found_in.get(manifest.file_digest(layer), ""))
                for layer in image.layers
            )
            return replace(image, layers=layers)

        return replace(
            manifest,
            images=tuple(map(marked, manifest.images)),
            stands_on=(before.identity, *before.stands_on),
        )


def _path_of(image: PackedImage) -> object:
    """Return the path of an image in a registry, which all spellings of its name share."""
    reference = ImageReference.parse(image.name)
    return image_path(reference) if reference else image.name


def _read(path: Path) -> PackManifest | None:
    if path.suffix == ".json":
        return PackManifest.decode(read_regular(path, _LARGEST), path.name)
    first = path if path.exists() else parts_beside(path).get(1, path)
    # Raises a clear error if neither exists.
    first.stat()
    return first_record(FileSource(first))


def left_out_text(manifest: PackManifest) -> str:
    """Describe the layers that a difference leaves out.

    Args:
        manifest: The record of the difference.
    """
    whole = [image for image in manifest.images if all(layer.found_in for layer in image.layers)]
    return (
        f"{len(manifest.left_out)} layers ({manifest.left_out_bytes:,} bytes), including all "
        f"layers of {len(whole)} of {len(manifest.images)} images"
    )

"""The config of an image (OCI Image Specification v1.1, "Image Configuration")."""

from dataclasses import dataclass

from ckf_airgap.errors import ArtifactError
from ckf_airgap.files.untrusted_json import items_of, member_of, parse_object, word_of
from ckf_airgap.images.oci import is_digest

MOST_LAYERS = 1000
"""The limit for the layers of an image. Valid images have fewer: overlay file systems allow 128 to
500."""
# Every image config has at least one of these keys.
_KEYS = frozenset({"architecture", "config", "history", "os", "rootfs"})


@dataclass(frozen=True)
class ImageConfig:
    """The relevant fields of a config.

    Attributes:
        diff_ids: The digests of the uncompressed layers, base layer first; empty for an image
            without layers.
        architecture: The CPU architecture, for example ``amd64``; empty if not given.
        os: The operating system, for example ``linux``; empty if not given.
    """

    diff_ids: tuple[str, ...]
    architecture: str
    os: str

    @property
    def platform(self) -> str:
        """Operating system and architecture, for example ``linux/amd64``."""
        return f"{self.os or 'linux'}/{self.architecture or 'unknown'}"


def read_config(content: bytes, image: str, cure: str) -> ImageConfig:
    """Read an image config.

    Args:
        content: The config.
        image: The image, for messages.
        cure: What to do if it is damaged.

    Raises:
        ArtifactError: It is not a valid image config.
    """
    document = parse_object(content, f"the image config of {image}", cure)
    if not _KEYS & document.keys():
        raise ArtifactError(f"the config of {image} is not an image config", cure)
    try:
        diff_ids = tuple(items_of(member_of(document, "rootfs"), "diff_ids"))
    except TypeError as error:
        raise ArtifactError(f"the image config of {image} is damaged ({error})", cure) from error
    if len(diff_ids) > MOST_LAYERS:
        raise ArtifactError(
            f"the image config of {image} lists {len(diff_ids)} layers, which is too many",
            cure,
        )
    for diff_id in diff_ids:
        if not isinstance(diff_id, str) or not is_digest(diff_id):
            raise ArtifactError(
                f"the image config of {image} lists a layer by {str(diff_id)[:100]!r}, which is "
                "not a SHA-256 digest",
                cure,
            )
    return ImageConfig(diff_ids, word_of(document, "architecture"), word_of(document, "os"))

"""Which image a member of images.tar.gz stands for by its file name."""

from collections.abc import Iterable

from ckf_airgap.archives.file_content import without_ending
from ckf_airgap.images.naming import MemberNames
from ckf_airgap.images.reference import ImageReference


def wanted_by_member_name(member: str, wanted: Iterable[ImageReference]) -> ImageReference | None:
    """Find the wanted image that a member is named after, as the reader does it."""
    return MemberNames(wanted).find(without_ending(member))

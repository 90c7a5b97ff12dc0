"""Makes the two files that the charm installs from, small but real, for tests and demonstrations.

::

    release = Release.builtin()  # or Release.from_folder(folder, charms=DEMO_CHARMS)
    made = write_release(release, output, ImageOptions(payload_kib=64), CharmOptions())

``python3 -m tests.sample_release --help`` does the same from a command line. Nothing here uses
the project's own code, which is tested with what is made here.
"""

from dataclasses import dataclass
from pathlib import Path

from tests.sample_release.charms import (
    CharmArchive,
    CharmOptions,
    PackedCharm,
    charm_file,
    write_charm_archive,
)
from tests.sample_release.compression import Compressor
from tests.sample_release.damage import Damage, flip_bit, truncate
from tests.sample_release.images import (
    ImageArchive,
    ImageOptions,
    Layout,
    SavedImage,
    write_image_archive,
)
from tests.sample_release.istio import ISTIO_VERSIONS, at_istio_version, istio_version
from tests.sample_release.naming import RETAG_REGISTRY, member_name, retagged_name
from tests.sample_release.program import sample_program
from tests.sample_release.release import (
    DEMO_CHARMS,
    SEED_EXCLUDED_CHARMS,
    Charm,
    Container,
    Endpoint,
    Option,
    Release,
    Resource,
    Storage,
    images_named_by,
    images_wanted_by,
    present_release_folders,
)
from tests.sample_release.upgrades import (
    UPGRADED_CHARMS,
    pilot_of,
    stated_release,
    with_charms_between,
    with_later_endpoints,
)

__all__ = [
    "DEMO_CHARMS",
    "ISTIO_VERSIONS",
    "RETAG_REGISTRY",
    "SEED_EXCLUDED_CHARMS",
    "UPGRADED_CHARMS",
    "Charm",
    "CharmArchive",
    "CharmOptions",
    "Compressor",
    "Container",
    "Damage",
    "Endpoint",
    "ImageArchive",
    "ImageOptions",
    "Layout",
    "Option",
    "PackedCharm",
    "Release",
    "Resource",
    "SampleRelease",
    "SavedImage",
    "Storage",
    "at_istio_version",
    "charm_file",
    "flip_bit",
    "images_named_by",
    "images_wanted_by",
    "istio_version",
    "member_name",
    "pilot_of",
    "present_release_folders",
    "retagged_name",
    "sample_program",
    "stated_release",
    "truncate",
    "with_charms_between",
    "with_later_endpoints",
    "write_charm_archive",
    "write_image_archive",
    "write_release",
]


@dataclass(frozen=True)
class SampleRelease:
    """The files of a release.

    Attributes:
        release: What they were made from.
        images: images.tar.gz.
        charms: charms.tar.gz.
        bundle: bundle.yaml, as the release publishes it.
    """

    release: Release
    images: ImageArchive
    charms: CharmArchive
    bundle: Path


def write_release(
    release: Release,
    folder: Path,
    image_options: ImageOptions | None = None,
    charm_options: CharmOptions | None = None,
) -> SampleRelease:
    """Write the three files into a folder, which is created where it is missing.

    Args:
        release: What to make them from.
        folder: Where to write them.
        image_options: How to make images.tar.gz.
        charm_options: How to make charms.tar.gz.
    """
    folder.mkdir(parents=True, exist_ok=True)
    images = write_image_archive(release.images, folder / "images.tar.gz", image_options)
    charms = write_charm_archive(release.charms, folder / "charms.tar.gz", charm_options)
    bundle = folder / "bundle.yaml"
    bundle.write_text(release.bundle)
    return SampleRelease(release, images, charms, bundle)

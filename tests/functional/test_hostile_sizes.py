"""Archives that are small, or quick to make, and ask for far more memory or time than they should.

Whatever an archive holds, reading it takes less than 256 MiB, ends, and is told in a few lines.
Run it with ``-s`` for the table of what each takes.
"""

import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.functional.running_registry import RunningRegistry
from tests.support import hostile_documents as documents
from tests.support import hostile_streams as streams
from tests.support.compressed import gzipped
from tests.support.hostile_parts import GIB
from tests.support.measured_command import check, measure

pytestmark = pytest.mark.hostile

Maker = Callable[[Path], None]
TIB = 1024 * GIB
INSPECTED: Mapping[str, Maker] = {
    # Headers that add up.
    "pax headers of 1 MB, 2,000 for one member": streams.pax_headers,
    "pax headers for all that follow, 2,000 of 1 MB": lambda path: streams.pax_headers(
        path, tarfile.XGLTYPE
    ),
    "pax headers of 400 bytes, 400,000 for one member": streams.small_pax_headers,
    "GNU long names of 1 MB, 2,000 for one member": streams.long_names_for_one,
    "GNU long names of 3,900 bytes, 60,000 members": streams.long_names,
    "GNU long link targets, 60,000 members": lambda path: streams.long_names(
        path, tarfile.GNUTYPE_LONGLINK
    ),
    "900,000 members": streams.many_members,
    "60,000 folders with empty layouts": streams.many_folders,
    # Documents.
    # Some are larger than any that is read, some are as large as those that still are.
    "a config of 8 MB for 200 images": lambda path: documents.config_of_many(path, 8_000_000),
    "a config of 4 MB for 200 images": lambda path: documents.config_of_many(path, 4_000_000),
    "a config of 100,000 layers for 400 images": lambda path: documents.config_of_many_layers(
        path, 100_000
    ),
    "a config of 50,000 layers for 400 images": lambda path: documents.config_of_many_layers(
        path, 50_000
    ),
    "80,000 images without layers": lambda path: documents.many_images(path, 80_000),
    "40,000 images without layers": lambda path: documents.many_images(path, 40_000),
    "150,000 names for one image": lambda path: documents.many_names(path, 150_000),
    "90,000 names for one image": lambda path: documents.many_names(path, 90_000),
    "a manifest of 2,700,000 objects": lambda path: documents.braces(path, 2_700_000),
    "a manifest of 1,300,000 objects": lambda path: documents.braces(path, 1_300_000),
    "a manifest of 240,000 objects": lambda path: documents.braces(path, 240_000),
    "a manifest of 2,700,000 objects and documents": documents.braces_and_documents,
    "100 documents of 8 MiB": documents.large_documents,
    "300,000 documents in a layout": documents.small_documents,
    "documents of 200,000 lists in each other": documents.deep_documents,
    # Links.
    "10,000 links, 4,000 layers": lambda path: documents.link_chain(path, 10_000, 4_000),
    "100,000 links, 1,000,000 layers": lambda path: documents.link_chain(path, 100_000, 1_000_000),
    "50,000 links in a ring": documents.link_ring,
    "100,000 links to nothing": documents.links_to_nothing,
    # What is said of it.
    "a config's path of 4 MB": lambda path: documents.long_word(path, Config="c" * 4_000_000),
    "a layer's path of 4 MB": lambda path: documents.long_word(path, Layers=["l" * 4_000_000]),
    "a name of 4 MB": lambda path: documents.long_word(path, RepoTags=["n" * 4_000_000]),
    "60 errors of 8 MB": lambda path: documents.many_long_errors(path, 8_000_000),
    "60 errors of 4 MB": lambda path: documents.many_long_errors(path, 4_000_000),
    "a digest of 7 MB in ckf-airgap.json": documents.long_pack_manifest,
    "words of 1 MB in an index": documents.long_layout_words,
    "3,000 damaged members": documents.damaged_members,
    "3,000 members that end in the middle": documents.cut_off_members,
    "10,000 images that lack, 10,000 damaged": documents.lacking_and_damaged,
    # Layouts.
    "a manifest of 70,000 layers, 50 times": lambda path: documents.one_manifest_many_times(
        path, 70_000
    ),
    "a manifest of 28,000 layers, 50 times": lambda path: documents.one_manifest_many_times(
        path, 28_000
    ),
    "50,000 architectures": lambda path: documents.many_architectures(path, 50_000),
    "18,000 architectures": lambda path: documents.many_architectures(path, 18_000),
    "indexes in indexes, 3,000 deep, two of each": documents.indexes_in_indexes,
    # Compression.
    "zstd, a layer of 4 GiB of zeros": lambda path: streams.zeros_in_zstandard(path, 4 * GIB),
    "a zstd layer of 2 GiB of zeros": lambda path: streams.zstandard_layer(path, 2 * GIB),
    "a window of 128 MiB": streams.windows,
    "windows of 128 MiB, outside and in a member": lambda path: streams.windows(
        path, in_member=True
    ),
    "windows of 128 MiB, outside and in a layer": lambda path: streams.windows(
        path, in_layer=True
    ),
    "windows of 128 MiB, outside, in a member and in a layer": lambda path: streams.windows(
        path, in_member=True, in_layer=True
    ),
    "16 MiB of empty gzip members": streams.empty_gzip_members,
    "a gzip member for each byte": streams.small_gzip_members,
    "8 MiB of empty zstd frames": streams.empty_frames,
    "a skippable frame of 4 GiB": streams.skippable_of_gigabytes,
    # Nesting.
    "tars in tars, 1,000 deep": lambda path: streams.nested(path, 1_000),
    "gzip in gzip, 200 deep": lambda path: streams.nested(path, 200, gzipped),
    "windows of 128 MiB in each other, 6 deep": lambda path: streams.nested(
        path, 6, streams.with_wide_window
    ),
    "50 archives of 50 images": streams.archives_in_archives,
    "a gzip member of 3 GiB of zeros": streams.zeros_in_member,
    # Holes.
    "GNU sparse, 8 TiB in 4 parts": lambda path: streams.gnu_sparse(path, 8 * TIB, 4),
    "GNU sparse, 1,000,000 parts": lambda path: streams.gnu_sparse(path, GIB, 1_000_000),
    "pax sparse 0.1, 60,000 parts": lambda path: streams.pax_sparse(path, "0.1", TIB, 60_000),
    "pax sparse 1.0, 1,000,000 parts": lambda path: streams.pax_sparse(
        path, "1.0", TIB, 1_000_000
    ),
    "a layer that is a hole of 1 TiB": lambda path: streams.sparse_layer(path, TIB),
    "an archive that is a hole of 1 TiB": lambda path: streams.sparse_archive(path, TIB),
}
PUSHED = (
    "pax headers of 1 MB, 2,000 for one member",
    "GNU long names of 3,900 bytes, 60,000 members",
    "a config of 4 MB for 200 images",
    "a manifest of 2,700,000 objects and documents",
    "300,000 documents in a layout",
    "100,000 links, 1,000,000 layers",
    "60 errors of 4 MB",
    "3,000 damaged members",
    "a manifest of 28,000 layers, 50 times",
    "18,000 architectures",
    "zstd, a layer of 4 GiB of zeros",
    "a zstd layer of 2 GiB of zeros",
    "windows of 128 MiB, outside and in a layer",
    "windows of 128 MiB, outside, in a member and in a layer",
    "16 MiB of empty gzip members",
    "tars in tars, 1,000 deep",
    "windows of 128 MiB in each other, 6 deep",
    "50 archives of 50 images",
    "pax sparse 1.0, 1,000,000 parts",
    "a layer that is a hole of 1 TiB",
    "an archive that is a hole of 1 TiB",
)


@pytest.mark.parametrize("name", INSPECTED)
def test_inspecting_it(name: str, tmp_path: Path) -> None:
    path = tmp_path / "images.tar.gz"
    INSPECTED[name](path)
    check(name, path, measure(["inspect", "--images", str(path)]))


@pytest.mark.parametrize("name", PUSHED)
def test_pushing_it(name: str, shared_registry: RunningRegistry, tmp_path: Path) -> None:
    path = tmp_path / "images.tar.gz"
    INSPECTED[name](path)
    place = f"{shared_registry.process.host}/hostile-{PUSHED.index(name)}"
    words = ["push", "--images", str(path), "--state", f"{path}.state", "--registry", place]
    measured = measure([*words, "--registry-ca", str(shared_registry.process.ca)])
    check(f"push: {name}", path, measured)

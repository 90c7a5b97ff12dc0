"""What stands in images.tar.gz: files of any name, in any dialect of tar, beside anything else."""

import tarfile
from collections.abc import Callable, Mapping, Sequence

import pytest

from tests.functional.archive_case import (
    JUPYTER,
    JUPYTER_TAR,
    KFAM,
    KFAM_TAR,
    MINIO,
    MINIO_TAR,
    SEVERAL,
    ArchiveCase,
    passed_over,
)
from tests.support.archive_forms import crane_tarball, docker_save, old_docker_save, podman_save
from tests.support.compressed import (
    gzip_members,
    gzipped,
    pzstd_frames,
    skippable_frame,
    zstandard_frame,
)
from tests.support.oci_forms import documents_last, oci_layout
from tests.support.sample_images import NamedImage, image_of, layer_of
from tests.support.tar_files import (
    Entry,
    folder,
    gnu_tar,
    hard_link,
    inside,
    is_sparse,
    symbolic_link,
    tar,
    tar_of,
)

# An AppleDouble file, which holds what macOS knows of a file and tar has no place for.
APPLE_DOUBLE = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        " + bytes(130)
LONG = "a-name-of-the-registry-that-says-all-of-it-" * 4
WHOLE: Mapping[str, tuple[Sequence[Entry], Sequence[NamedImage]]] = {
    ".tar.gz, .tgz, .tar": (
        [
            Entry("jupyter.tar.gz", gzipped(JUPYTER_TAR)),
            Entry("kfam.tgz", gzipped(KFAM_TAR)),
            Entry("minio.tar", MINIO_TAR),
        ],
        SEVERAL,
    ),
    ".tar.zst, .tar.zstd, .tzst": (
        [
            Entry("jupyter.tar.zst", zstandard_frame(JUPYTER_TAR)),
            Entry("kfam.tar.zstd", pzstd_frames(KFAM_TAR)),
            Entry("minio.tzst", skippable_frame(b"") + zstandard_frame(MINIO_TAR)),
        ],
        SEVERAL,
    ),
    "all .tgz": (
        [Entry("jupyter.tgz", gzipped(JUPYTER_TAR)), Entry("kfam.tgz", gzip_members(KFAM_TAR))],
        [JUPYTER, KFAM],
    ),
    "named .tar, gzip and zstd inside": (
        [
            Entry("jupyter.tar", gzipped(JUPYTER_TAR)),
            Entry("kfam.tar", zstandard_frame(KFAM_TAR)),
            Entry("minio.tar", MINIO_TAR),
        ],
        SEVERAL,
    ),
    "named .tar.gz, not compressed": (
        [Entry("jupyter.tar.gz", JUPYTER_TAR), Entry("kfam.tgz", KFAM_TAR)],
        [JUPYTER, KFAM],
    ),
    "named .tar.gz, compressed by docker's zstd": (
        [Entry("jupyter.tar.gz", zstandard_frame(JUPYTER_TAR))],
        [JUPYTER],
    ),
    "no ending": (
        [Entry("jupyter", JUPYTER_TAR), Entry("kfam-v1.8.0", KFAM_TAR), Entry("minio", MINIO_TAR)],
        SEVERAL,
    ),
    "upper case": (
        [Entry("JUPYTER.TAR", JUPYTER_TAR), Entry("Kfam.Tar.Gz", gzipped(KFAM_TAR))],
        [JUPYTER, KFAM],
    ),
    "other endings": (
        [
            Entry("jupyter.docker", JUPYTER_TAR),
            Entry("kfam.img", KFAM_TAR),
            Entry("m.oci", MINIO_TAR),
        ],
        SEVERAL,
    ),
    "a hidden file": ([Entry(".jupyter.tar", JUPYTER_TAR)], [JUPYTER]),
    "./ in front": (
        [
            folder("./"),
            *inside(".", [Entry("jupyter.tar", JUPYTER_TAR), Entry("kfam.tar", KFAM_TAR)]),
        ],
        [JUPYTER, KFAM],
    ),
    "an absolute path": ([Entry("/srv/images/jupyter.tar", JUPYTER_TAR)], [JUPYTER]),
    "in folders of one file name": (
        [Entry("jupyter/image.tar", JUPYTER_TAR), Entry("kfam/image.tar", KFAM_TAR)],
        [JUPYTER, KFAM],
    ),
    "a tar in a tar": (
        [Entry("images.tar", tar_of(jupyter=JUPYTER_TAR, kfam=KFAM_TAR, minio=MINIO_TAR))],
        SEVERAL,
    ),
    "a tar.gz in a tar, another beside": (
        [
            Entry("first.tar.gz", gzipped(tar_of(jupyter=gzipped(JUPYTER_TAR)))),
            Entry("second.tar.zst", zstandard_frame(tar_of(kfam=KFAM_TAR))),
            Entry("minio.tar", MINIO_TAR),
        ],
        SEVERAL,
    ),
    "a layout beside archives in a tar": (
        [
            Entry(
                "all.tar",
                tar(
                    [
                        *inside("minio", documents_last(oci_layout([MINIO]))),
                        Entry("j", JUPYTER_TAR),
                    ]
                ),
            ),
            Entry("kfam.tar", KFAM_TAR),
        ],
        SEVERAL,
    ),
    "an unpacked docker save": (inside("jupyter", old_docker_save([JUPYTER])), [JUPYTER]),
    "an unpacked docker save for each image": (
        [
            *inside("jupyter", docker_save([JUPYTER])),
            *inside("kfam", old_docker_save([KFAM])),
            *inside("minio", podman_save([MINIO])),
        ],
        SEVERAL,
    ),
    "an unpacked docker save beside a saved one": (
        [*inside("jupyter", crane_tarball([JUPYTER])), Entry("kfam.tar", KFAM_TAR)],
        [JUPYTER, KFAM],
    ),
    "what macOS adds": (
        [
            Entry(".DS_Store", b"\0\0\0\1Bud1" + bytes(6000)),
            Entry("._jupyter.tar", APPLE_DOUBLE),
            Entry("jupyter.tar", JUPYTER_TAR),
            Entry("images/._kfam.tar", APPLE_DOUBLE),
            Entry("images/kfam.tar", KFAM_TAR),
            Entry("__MACOSX/images/._kfam.tar", APPLE_DOUBLE),
        ],
        [JUPYTER, KFAM],
    ),
    "what macOS adds to a layout": (
        [
            Entry("._index.json", APPLE_DOUBLE),
            *oci_layout([JUPYTER]),
            Entry("blobs/sha256/._" + "0" * 64, APPLE_DOUBLE),
        ],
        [JUPYTER],
    ),
    "notes and checksums": (
        [
            Entry("README.md", b"# Charmed Kubeflow 1.8\n"),
            Entry("SHA256SUMS", b"0" * 64 + b"  jupyter.tar\n"),
            Entry("jupyter.tar", JUPYTER_TAR),
            Entry("images.txt", b"kubeflow/jupyter:1.8\n"),
            Entry("release.json", b'{"images": []}'),
            Entry("empty", b""),
            Entry("load.sh", b"#!/bin/sh\ndocker load -i $1\n"),
        ],
        [JUPYTER],
    ),
    "a hard link to another member": (
        [Entry("jupyter.tar", JUPYTER_TAR), hard_link("copy.tar", "jupyter.tar")],
        [JUPYTER],
    ),
    "a symbolic link to another member": (
        [
            symbolic_link("latest.tar", "images/jupyter.tar"),
            Entry("images/jupyter.tar", JUPYTER_TAR),
        ],
        [JUPYTER],
    ),
}


@pytest.mark.parametrize("name", WHOLE)
def test_all_images_of_it_are_pushed(name: str, case: ArchiveCase) -> None:
    entries, images = WHOLE[name]
    case.require_whole(case.push(gzipped(tar(entries))), images)


@pytest.mark.parametrize("name", WHOLE)
def test_inspect_finds_the_same_images(name: str, case: ArchiveCase) -> None:
    entries, images = WHOLE[name]
    answer = case.inspect(gzipped(tar(entries)))
    assert answer.status == 0, answer.said
    found = {each["image_id"] for each in answer.document["images"]}
    assert found == {each.image.image_id for each in images}


@pytest.mark.parametrize("dialect", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("inner", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_dialect_of_tar(inner: int, dialect: int, case: ArchiveCase) -> None:
    entries = [
        Entry("images/jupyter.tar", tar(podman_save([JUPYTER]), inner)),
        *inside("images/kfam", oci_layout([KFAM])),
        Entry("images/minio.tar", tar(oci_layout([MINIO]), inner)),
    ]
    case.require_whole(case.push(gzipped(tar(entries, dialect))), SEVERAL)


@pytest.mark.parametrize("dialect", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_that_are_long_or_not_english(dialect: int, case: ArchiveCase) -> None:
    entries = [
        Entry(f"{LONG}/{LONG}jupyter.tar", JUPYTER_TAR),
        *inside(f"{LONG}/Abbilder für Prüfung", oci_layout([KFAM])),
        Entry("образы/минио.tar", tar(inside(LONG, podman_save([MINIO])), dialect)),
    ]
    case.require_whole(case.push(gzipped(tar(entries, dialect))), SEVERAL)


HOLES = tar([Entry("db", b"x" * 100 + bytes(400_000) + b"y" * 5000 + bytes(300_000) + b"z")])
# More holes than the header of a member of GNU's own form has room for.
MANY_HOLES = tar([Entry("db", b"".join(b"q" * 4096 + bytes(40_960) for _ in range(30)))])
SPARSE: Mapping[str, tuple[bytes, Sequence[str]]] = {
    "GNU": (HOLES, ["--format=gnu"]),
    "GNU, many holes": (MANY_HOLES, ["--format=gnu"]),
    "pax 0.0": (MANY_HOLES, ["--format=pax", "--sparse-version=0.0"]),
    "pax 0.1": (MANY_HOLES, ["--format=pax", "--sparse-version=0.1"]),
    "pax 1.0": (HOLES, ["--format=pax", "--sparse-version=1.0"]),
    "pax 1.0, many holes": (MANY_HOLES, ["--format=pax", "--sparse-version=1.0"]),
}
SPARSE_HOLDERS: Mapping[str, Callable[[Sequence[NamedImage]], list[Entry]]] = {
    "docker save": old_docker_save,
    "crane tarball": crane_tarball,
}


@pytest.mark.parametrize("holder", SPARSE_HOLDERS)
@pytest.mark.parametrize("name", SPARSE)
def test_files_with_holes(name: str, holder: str, case: ArchiveCase) -> None:
    layer, options = SPARSE[name]
    image = NamedImage(image_of([layer_of("base"), layer]), ("docker.io/kubeflow/db:1",))
    saved = tar(SPARSE_HOLDERS[holder]([image])) + bytes(65_536)
    files = {"db.tar": saved, "jupyter.tar": JUPYTER_TAR}
    work = case.folder / "files"
    work.mkdir()
    content = gnu_tar(files, work, "-S", *options)
    assert is_sparse(content, "db.tar")
    case.require_whole(case.push(gzipped(content)), [image, JUPYTER])


@pytest.mark.parametrize("name", SPARSE)
def test_layers_with_holes(name: str, case: ArchiveCase) -> None:
    layer, options = SPARSE[name]
    image = NamedImage(image_of([layer_of("base"), layer]), ("docker.io/kubeflow/db:1",))
    # Unpacked, and packed again with -S; what is in folders is there for old dockers.
    kept = {each.name: each.content for each in podman_save([image]) if "/" not in each.name}
    work = case.folder / "files"
    work.mkdir()
    content = gnu_tar(kept, work, "-S", *options)
    assert is_sparse(content, f"{image.image.diff_ids[1][7:]}.tar")
    case.require_whole(case.push(gzipped(content)), [image])
    direct = ArchiveCase.like(case)
    direct.require_whole(direct.push(gzipped(tar_of(image=content))), [image])


def test_what_is_passed_over_is_listed(case: ArchiveCase) -> None:
    entries, images = WHOLE["notes and checksums"]
    for answer in (case.push(gzipped(tar(entries))), case.inspect()):
        assert answer.status == 0, answer.said
        for file in ("README.md", "SHA256SUMS", "images.txt", "load.sh"):
            listed = passed_over(answer, file)
            assert listed["may_be_image"] is False
            assert listed["reason"]
    assert {each.image.image_id for each in images} == {
        each["image_id"] for each in case.inspect().document["images"]
    }


def test_inspect_prints_a_table_for_people(case: ArchiveCase) -> None:
    case.path.write_bytes(gzipped(tar_of(jupyter=JUPYTER_TAR, kfam=KFAM_TAR)))
    answer = case.run("inspect", "--images", str(case.path))
    assert answer.status == 0, answer.said
    rows = {
        name: [line for line in answer.output.splitlines() if name in line]
        for name in ("kubeflow/jupyter:1.8", "kubeflow/kfam:2.0")
    }
    assert all(len(lines) == 1 for lines in rows.values()), answer.said
    assert all("amd64" in lines[0] for lines in rows.values()), answer.said

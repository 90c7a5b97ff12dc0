"""What is read of an archive to find where its layers may go."""

import random
from dataclasses import replace
from pathlib import Path

import pytest

from ckf_airgap.archives.byte_stream import READ_SIZE
from ckf_airgap.archives.pack_manifest import (
    PACK_MANIFEST,
    PackedImage,
    PackedLayer,
    PackManifest,
)
from ckf_airgap.archives.sources import FileSource, StoredStream
from ckf_airgap.images.naming import MemberNames
from ckf_airgap.images.reference import ImagePath, ImageReference
from ckf_airgap.push.look_ahead import first_paths
from tests.support.compressed import gzipped
from tests.support.tar_files import Entry, tar

_NAME = "docker.io/kubeflow/jupyter:1.8"
_PATH = ImagePath("kubeflow/jupyter", "1.8")
_LAYER = tar([Entry("large", random.Random(1).randbytes(24 * READ_SIZE))])


@pytest.mark.parametrize(
    ("file_name", "is_named_after_it"),
    [
        ("docker.io-kubeflow-jupyter-1.8.tar", True),
        ("registry-5000-kubeflow-jupyter-1.8.tar", True),
        ("image-0.tar", False),
    ],
)
def test_a_file_named_after_a_wanted_image_is_not_read_for_its_name(
    file_name: str,
    is_named_after_it: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    manifest = b'[{"Config": "c.json", "RepoTags": ["%s"], "Layers": ["a/layer.tar"]}]'
    config = (
        b'{"architecture": "amd64", "os": "linux", "rootfs": '
        b'{"type": "layers", "diff_ids": ["sha256:%s"]}}' % (b"0" * 64)
    )
    saved = tar(
        [
            Entry("a/layer.tar", _LAYER),
            Entry("c.json", config),
            Entry("manifest.json", manifest % _NAME.encode()),
        ]
    )
    path = tmp_path / "images.tar.gz"
    path.write_bytes(gzipped(tar([Entry(file_name, saved)])))
    source = FileSource(path)
    read = 0
    with source.open() as stream:
        kind = type(stream)
    take = kind.read

    def counted(stream: StoredStream, size: int, /) -> bytes:
        nonlocal read
        data = take(stream, size)
        read += len(data)
        return data

    monkeypatch.setattr(kind, "read", counted)
    reference = ImageReference.parse(_NAME)
    assert reference
    found = first_paths(
        source,
        MemberNames([reference]),
        lambda _: True,
        architecture="",
        on_step=lambda: None,
    )
    assert tuple(found) == (_PATH,)
    # The decoder is a few blocks ahead.
    assert (read < source.size * 3 / 4) == is_named_after_it


@pytest.mark.parametrize("layout", ["docker", "oci"])
def test_a_difference_without_a_usable_name_is_read_to_its_end(
    layout: str, tmp_path: Path
) -> None:
    """The registry may refuse the repository of every image that the record names."""
    digest = f"sha256:{'1' * 64}"
    layer = PackedLayer(digest, digest, 5, "", found_in="docker.io/kubeflow/jupyter:1.7")
    image = PackedImage(_NAME, digest, digest, 5, (layer,))
    record = PackManifest(layout, "amd64", (image,), (), stands_on=(digest,))
    # Not compressed: the size in the record does not change the size of the archive.
    size = len(tar([Entry(PACK_MANIFEST, record.encode())]))
    path = tmp_path / "images.tar.gz"
    path.write_bytes(tar([Entry(PACK_MANIFEST, replace(record, archive_size=size).encode())]))
    found = first_paths(
        FileSource(path),
        MemberNames([]),
        lambda _: False,
        architecture="",
        on_step=lambda: None,
    )
    assert tuple(found) == ()

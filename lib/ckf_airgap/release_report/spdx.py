"""Writes an SPDX document for each image with the program syft, from the archive alone.

syft reads an image from an OCI image layout in a directory. While the archive is read, its layers
are stored in a temporary directory. Each complete image gets a layout there, which is removed
after syft has read it. In archives of ``ckf-airgap pack``, each layer is removed as soon as no
later image needs it.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ckf_airgap.archives.byte_stream import READ_SIZE, open_archive
from ckf_airgap.archives.decoding import LONGEST_MAGIC, Compression, compression_of
from ckf_airgap.archives.image_reader import Readings
from ckf_airgap.archives.image_sink import (
    LayerFile,
    NestedArchive,
    PassedOver,
    ReadImage,
    Verdict,
)
from ckf_airgap.archives.inventory import ArchivedImage, InventoryBuilder, read_into
from ckf_airgap.archives.pack_manifest import PackedLayer, PackManifest
from ckf_airgap.archives.sources import Source
from ckf_airgap.errors import ArtifactError, ConfigurationError, disk_error, join_errors
from ckf_airgap.files.new_files import new_file
from ckf_airgap.files.temporary_files import removed_on_exit
from ckf_airgap.images import oci
from ckf_airgap.images.naming import MemberNames

PROGRAM = "syft"
_LONGEST_STEM = 200
_DIGITS = 12
# syft reads only local files, so it gets no proxy settings and no password of a signing key.
_ENVIRONMENT = ("HOME", "PATH", "TMPDIR")


@dataclass(frozen=True)
class _StoredLayer:
    """A layer on the disk.

    Attributes:
        path: The file.
        digest: Its digest.
        size: Its size, in bytes.
        compression: Its compression.
        is_left_out: Whether only an earlier archive has it. The file does not exist then.
    """

    path: Path
    digest: str
    size: int
    compression: Compression
    is_left_out: bool = False

    def describe(self) -> dict[str, Any]:
        """Return its descriptor for a manifest (OCI Image Specification, "Descriptor")."""
        is_plain = self.compression is Compression.NONE
        suffix = "" if is_plain else f"+{self.compression.value}"
        return {
            "mediaType": f"{oci.OCI_LAYER}{suffix}",
            "digest": self.digest,
            "size": self.size,
        }


def write_spdx(
    source: Source,
    names: MemberNames,
    folder: Path,
    say: Callable[[str], None],
    architecture: str = "",
) -> None:
    """Let syft describe each complete image of an archive, if syft is installed.

    Existing documents are kept: their names contain the start of the image ID.

    Args:
        source: images.tar.gz.
        names: Finds names for the images without a name.
        folder: The directory for the documents; created if missing.
        say: Called with a line for each image, or if syft is missing.
        architecture: The CPU architecture to choose among several; empty for any.

    Raises:
        ArtifactError: The archive is damaged, or syft cannot read some images; the message names
            all of them.
        StorageError: The directory, or the one for temporary files, is full or not writable.
        ConfigurationError: syft cannot be started.
    """
    program = shutil.which(PROGRAM)
    if program is None:
        say(f"{PROGRAM} is not installed: no SPDX documents are written")
        return
    # syft runs in another directory, where a relative path would lead elsewhere.
    program = os.path.abspath(program)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="ckf-airgap-") as directory:
            readings = Readings(source.name)
            while True:
                sink = _LayoutSink(names, Path(directory), _Syft(program, folder, say))
                with open_archive(source) as archive:
                    if read_into(sink, sink.builder, source, archive, readings, architecture):
                        break
    except OSError as error:
        raise disk_error(folder, error) from error
    if sink.syft.errors:
        raise join_errors(sink.syft.errors, f"images cannot be read by {PROGRAM}")


class _Syft:
    """Runs syft.

    Attributes:
        say: Called with a line of text.
        errors: An error for each image that syft cannot read.
    """

    def __init__(self, program: str, folder: Path, say: Callable[[str], None]) -> None:
        self._program = program
        self._folder = folder
        self.say = say
        self.errors: list[ArtifactError] = []

    def describe(self, layout: Path, image: ArchivedImage) -> None:
        """Write the document of an image, unless it exists.

        Args:
            layout: The layout, which contains only this image.
            image: The image.
        """
        name = str(image.names[0]) if image.names else image.image_id
        path = self._folder / _file_name(name, image.image_id)
        if path.exists():
            return
        self.say(f"{PROGRAM} reads {name}")
        document = layout.with_suffix(".spdx.json")
        with removed_on_exit(document):
            message = self._run(layout, name, image.image_id, document)
            if document.exists():
                with new_file(path) as target, document.open("rb") as source:
                    shutil.copyfileobj(source, target)
                return
        problem = f"{PROGRAM} cannot read {name} ({message or 'it printed no error'})"
        cure = (
            f"copy the image out of the archive (skopeo copy), and run {PROGRAM} on the copy; the "
            "files of the report other than SPDX are complete"
        )
        self.errors.append(ArtifactError(problem, cure))

    def _run(self, layout: Path, name: str, image_id: str, document: Path) -> str:
        """Run syft; return the end of its error output. If it fails, it leaves no document."""
        environment = {key: os.environ[key] for key in _ENVIRONMENT if key in os.environ}
        environment |= {"SYFT_CHECK_FOR_APP_UPDATE": "false", "TMPDIR": tempfile.gettempdir()}
        command = [
            *(self._program, "scan", "--quiet", f"oci-dir:{layout}"),
            *(f"--source-name={name}", f"--source-version={image_id}"),
            *("--output", f"spdx-json={document}"),
        ]
        try:
            process = subprocess.run(
                command,
                cwd=layout,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                check=False,
            )
        except OSError as error:
            raise ConfigurationError(
                f"{self._program} cannot be run ({error.strerror})",
                "install syft again, or remove it to write the report without SPDX documents",
            ) from error
        if process.returncode:
            document.unlink(missing_ok=True)
        return process.stderr.decode(errors="replace").strip()[-300:]


class _LayoutSink:
    """Stores the layers of an archive, and passes each image to syft."""

    sends = True

    def __init__(self, names: MemberNames, folder: Path, syft: _Syft) -> None:
        """Prepare for one reading of the archive.

        Args:
            names: Finds names for the images without a name.
            folder: The directory for layers and layouts.
            syft: Reads the layouts.
        """
        self.builder = InventoryBuilder(names)
        self.syft = syft
        self._folder = folder
        self._count = 0
        # The images whose manifests were read before their layers, and how many of these images
        # need each layer.
        self._is_packed = False
        self._announced: set[str] = set()
        self._awaited: Counter[str] = Counter()
        # Place and file of each layer whose images are not known yet.
        self._unassigned: list[tuple[str, Path]] = []

    def pack_manifest(self, manifest: PackManifest) -> None:
        """Note that in a layout all manifests come before the layers (``packing.assembly``)."""
        self._is_packed = True

    def has_nested(self, archive: NestedArchive) -> bool:
        """Return False: read every nested archive."""
        return False

    def finished_nested(self, archive: NestedArchive) -> None:
        """Remove the layers of a nested archive whose images are complete."""
        while self._unassigned and self._unassigned[-1][0].startswith(f"{archive.place}/"):
            self._unassigned.pop()[1].unlink()

    def needs_layers(self, image: ReadImage[_StoredLayer]) -> bool:
        """Count an image for each of its layers, none of which is read yet."""
        if image.key not in self._announced:
            self._announced.add(image.key)
            self._awaited.update(_digests(image))
        return True

    def layer(self, layer: LayerFile, image: ReadImage[_StoredLayer] | None) -> _StoredLayer:
        """Store a layer."""
        self._count += 1
        path = self._folder / f"layer-{self._count}"
        digest = hashlib.sha256()
        with path.open("w+b") as file:
            while data := layer.content.read(READ_SIZE):
                digest.update(data)
                file.write(data)
            size = file.tell()
            file.seek(0)
            compression = compression_of(file.read(LONGEST_MAGIC))
        if self._awaited[layer.digest or ""] == 0:
            self._unassigned.append((layer.place, path))
        return _StoredLayer(path, f"sha256:{digest.hexdigest()}", size, compression)

    def left_out(self, digest: str, layer: PackedLayer) -> _StoredLayer:
        """Note a layer that only an earlier archive has."""
        return _StoredLayer(self._folder / "left-out", digest, 0, Compression.NONE, True)

    def image(self, image: ReadImage[_StoredLayer]) -> None:
        """Pass an image to syft, and remove the layers that no other image needs."""
        entry = self.builder.describe(image)
        self.builder.add(entry)
        if any(layer.is_left_out for layer in image.layers):
            self.syft.say(f"{image.label} has layers of an earlier archive: no SPDX document")
        elif not image.artifact_type:
            with self._layout(image) as layout:
                self.syft.describe(layout, entry)
        if self._is_packed and image.key in self._announced:
            self._announced.remove(image.key)
            self._awaited.subtract(_digests(image))
            for layer in image.layers:
                if self._awaited[layer.digest] == 0:
                    layer.path.unlink(missing_ok=True)

    def damaged(self, file: str, error: ArtifactError) -> None:
        """Record an error."""
        self.builder.damaged.append(error)

    def passed_over(self, entry: PassedOver) -> None:
        """Ignore it."""

    def outcome(self, file: str, verdict: Verdict) -> None:
        """Ignore it."""

    @contextmanager
    def _layout(self, image: ReadImage[_StoredLayer]) -> Generator[Path]:
        """Make a layout with one image (OCI Image Specification, "Image Layout")."""
        manifest = image.manifest.content if image.manifest else _manifest(image)
        with tempfile.TemporaryDirectory(prefix="image-", dir=self._folder) as directory:
            layout = Path(directory)
            blobs = layout / "blobs" / "sha256"
            blobs.mkdir(parents=True)
            for layer in image.layers:
                blob = blobs / layer.digest.partition(":")[2]
                if not blob.exists():
                    os.link(layer.path, blob)
            for content in (manifest, image.config):
                (blobs / oci.sha256_of(content).partition(":")[2]).write_bytes(content)
            (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
            described = _descriptor(oci.OCI_MANIFEST, manifest)
            index = {"schemaVersion": 2, "mediaType": oci.OCI_INDEX, "manifests": [described]}
            (layout / "index.json").write_text(json.dumps(index))
            yield layout


def _digests(image: ReadImage[_StoredLayer]) -> set[str]:
    return {layer.digest for layer in image.manifest.layers} if image.manifest else set()


def _manifest(image: ReadImage[_StoredLayer]) -> bytes:
    """Make a manifest for an image that has none in the archive."""
    document: Mapping[str, Any] = {
        "schemaVersion": 2,
        "mediaType": oci.OCI_MANIFEST,
        "config": _descriptor(oci.OCI_CONFIG, image.config),
        "layers": [layer.describe() for layer in image.layers],
    }
    return json.dumps(document).encode()


def _descriptor(media_type: str, content: bytes) -> dict[str, Any]:
    blob = oci.blob_of(content)
    return {"mediaType": media_type, "digest": blob.digest, "size": blob.size}


def _file_name(name: str, image_id: str) -> str:
    """Return the file name of an image's document, from its name and the digest of its config."""
    stem = re.sub("[^A-Za-z0-9._-]", "-", name)[:_LONGEST_STEM]
    return f"{stem}-{image_id.partition(':')[2][:_DIGITS]}.spdx.json"

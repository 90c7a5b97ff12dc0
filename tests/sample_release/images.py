"""images.tar.gz: one gzip stream of ``docker save`` archives, as the public scripts make it."""

import enum
import gzip
import hashlib
import json
import shutil
import tarfile
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backports import zstd

from tests.sample_release.compression import Compressor, gzip_writer
from tests.sample_release.damage import Damage, truncate
from tests.sample_release.layers import (
    ENTRYPOINT,
    Layer,
    add_bytes,
    add_file,
    add_folder,
    add_link,
    base_layer,
    file_digest,
    flip_payload_bit,
    organisation_layer,
    top_layer,
)
from tests.sample_release.naming import (
    RETAG_REGISTRY,
    canonical_name,
    member_name,
    organisation,
    repository,
    repository_tag,
    retagged_name,
    seed_member_name,
)
from tests.sample_release.program import sample_program

_CREATED = "2024-01-01T00:00:00Z"
_PIECE = 1024 * 1024
_OCI = "application/vnd.oci.image"


class Layout(enum.Enum):
    """How a ``docker save`` archive is laid out."""

    LEGACY = "legacy"
    """Before Docker 25: ``<layer id>/layer.tar``."""
    OCI = "oci"
    """Since Docker 25: ``blobs/sha256/<digest>`` with uncompressed layers."""
    OCI_GZIP = "oci-gzip"
    """The same with compressed layers, as Docker's containerd image store gives them."""
    OCI_ZSTD = "oci-zstd"
    """The same with layers that somebody built with Zstandard."""


@dataclass(frozen=True)
class ImageOptions:
    """How to make images.tar.gz.

    Attributes:
        retagged_fraction: The part of the images that are saved under the retagged name, from 0
            to 1; they are spread evenly. The others keep the name of the list, and have no
            RepoTags where that is a digest.
        retag_registry: The registry that they are retagged to.
        layouts: The layouts, which alternate.
        seed_names: Whether the files have names like ``jupyter-web-app.tar``. Where two images
            would share one, the second has its full name.
        left_out: Images that are not packed.
        untagged: Images whose RepoTags are null.
        repeated_layer: An image that has one layer twice; by default the first one in the legacy
            layout, which then holds a symbolic link.
        payload_kib: The size of the content that only one image has.
        architectures: The architecture that an image's config states, where not ``amd64``.
        damage: What is wrong with which image.
        compressor: What compresses; by default the best there is.
        program: The program in the base layer; by default the real one, which Go builds.
    """

    retagged_fraction: float = 0.5
    retag_registry: str = RETAG_REGISTRY
    layouts: tuple[Layout, ...] = (Layout.LEGACY, Layout.OCI)
    seed_names: bool = False
    left_out: frozenset[str] = frozenset()
    untagged: frozenset[str] = frozenset()
    repeated_layer: str | None = None
    payload_kib: int = 4
    architectures: Mapping[str, str] = field(default_factory=dict[str, str])
    damage: Mapping[str, Damage] = field(default_factory=dict[str, Damage])
    compressor: Compressor | None = None
    program: bytes | None = None


@dataclass(frozen=True)
class SavedImage:
    """One image as it stands in images.tar.gz.

    Attributes:
        image: Its name in the release.
        file_name: The name of its ``docker save`` archive.
        repository_tags: Its RepoTags; empty where they are null.
        layout: The layout of the archive.
        diff_ids: The digests of its layers (``sha256:…``), base layer first.
        image_id: The digest of its config (``sha256:…``).
        damage: What is wrong with it.
    """

    image: str
    file_name: str
    repository_tags: tuple[str, ...]
    layout: Layout
    diff_ids: tuple[str, ...]
    image_id: str
    damage: Damage | None


@dataclass(frozen=True)
class ImageArchive:
    """An images.tar.gz that was made.

    Attributes:
        path: Where it is.
        images: What is in it, in its order.
        unpacked_size: The size of all ``docker save`` archives together, in bytes.
        compressor: What compressed it.
    """

    path: Path
    images: tuple[SavedImage, ...]
    unpacked_size: int
    compressor: Compressor


@dataclass(frozen=True)
class _Plan:
    """What one ``docker save`` archive is to be."""

    image: str
    file_name: str
    repository_tag: str | None
    layout: Layout
    architecture: str
    repeats_layer: bool
    damage: Damage | None


def write_image_archive(
    images: Sequence[str], path: Path, options: ImageOptions | None = None
) -> ImageArchive:
    """Write images.tar.gz.

    Args:
        images: The names of the images, in the order of the archive.
        path: The file to write.
        options: How.

    Raises:
        ValueError: An option names an image that is not among the images.
    """
    options = options or ImageOptions()
    compressor = options.compressor or Compressor.best()
    plans = _plan(images, options)
    saved: list[SavedImage] = []
    unpacked_size = 0
    with (
        tempfile.TemporaryDirectory(prefix="sample-images-") as folder,
        gzip_writer(path, compressor) as stream,
        tarfile.open(fileobj=stream, mode="w|", format=tarfile.GNU_FORMAT) as archive,
    ):
        workshop = _Workshop(Path(folder), options)
        for plan in plans:
            member = Path(folder) / "image.tar"
            saved.append(workshop.save(plan, member))
            unpacked_size += member.stat().st_size
            add_file(archive, plan.file_name, member)
    return ImageArchive(path, tuple(saved), unpacked_size, compressor)


def _plan(images: Sequence[str], options: ImageOptions) -> list[_Plan]:
    _check(options, images)
    packed = [image for image in images if image not in options.left_out]
    repeated = options.repeated_layer
    plans: list[_Plan] = []
    taken: set[str] = set()
    for number, image in enumerate(packed):
        layout = options.layouts[number % len(options.layouts)]
        if repeated is None and layout is Layout.LEGACY:
            repeated = image
        # Counted in rounds of the layouts, so that each layout comes with each kind of name.
        position = number // len(options.layouts)
        retagged = int((position + 1) * options.retagged_fraction) > int(
            position * options.retagged_fraction
        )
        name = retagged_name(image, options.retag_registry) if retagged else image
        file_name = seed_member_name(image) if options.seed_names else member_name(name)
        if file_name in taken:
            file_name = member_name(name)
        taken.add(file_name)
        plans.append(
            _Plan(
                image,
                file_name,
                None if image in options.untagged else repository_tag(name),
                layout,
                options.architectures.get(image, "amd64"),
                image == repeated,
                options.damage.get(image),
            )
        )
    return plans


def _check(options: ImageOptions, images: Iterable[str]) -> None:
    named = {*options.left_out, *options.untagged, *options.architectures, *options.damage}
    if options.repeated_layer:
        named.add(options.repeated_layer)
    if unknown := named - set(images):
        raise ValueError(f"not among the images: {', '.join(sorted(unknown))}")


class _Workshop:
    """Makes ``docker save`` archives one after the other, and keeps the layers they share."""

    def __init__(self, folder: Path, options: ImageOptions) -> None:
        self._folder = folder
        self._payload_kib = options.payload_kib
        self._base = base_layer(folder, options.program or sample_program())
        self._organisations: dict[str, Layer] = {}

    def save(self, plan: _Plan, path: Path) -> SavedImage:
        """Write one archive."""
        layers = self._layers(plan)
        config = _config(plan, layers)
        if plan.damage is Damage.FLIPPED_BIT:
            flip_payload_bit(layers[2])
        with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
            if plan.layout is Layout.LEGACY:
                _write_legacy(archive, plan, config, layers)
            else:
                _write_oci(archive, plan, config, layers)
        if plan.damage is Damage.EMPTY:
            truncate(path, 0)
        if plan.damage is Damage.TRUNCATED:
            truncate(path, 0.5)
        return SavedImage(
            plan.image,
            plan.file_name,
            (plan.repository_tag,) if plan.repository_tag else (),
            plan.layout,
            tuple(f"sha256:{layer.diff_id}" for layer in layers),
            f"sha256:{hashlib.sha256(config).hexdigest()}",
            plan.damage,
        )

    def _layers(self, plan: _Plan) -> list[Layer]:
        name = organisation(plan.image)
        if name not in self._organisations:
            self._organisations[name] = organisation_layer(self._folder, name)
        shared = self._organisations[name]
        layers = [self._base, shared, top_layer(self._folder, plan.image, self._payload_kib)]
        return [*layers, shared] if plan.repeats_layer else layers


def _write_legacy(
    archive: tarfile.TarFile, plan: _Plan, config: bytes, layers: Sequence[Layer]
) -> None:
    identities = _legacy_identities(config, layers)
    # Docker writes the folders in the order of their names, not in that of the layers.
    for identity, layer in sorted(zip(identities, layers, strict=True), key=lambda pair: pair[0]):
        add_folder(archive, f"{identity}/")
        add_bytes(archive, f"{identity}/VERSION", b"1.0")
        number = identities.index(identity)
        parent = identities[number - 1] if number else None
        add_bytes(archive, f"{identity}/json", _legacy_layer(identity, parent, plan))
        first = layers.index(layer)
        if first != number:
            add_link(archive, f"{identity}/layer.tar", f"../{identities[first]}/layer.tar")
        elif not (plan.damage is Damage.MISSING_LAYER and number == 2):
            add_file(archive, f"{identity}/layer.tar", layer.path)
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    add_bytes(archive, config_name, config)
    paths = [f"{identity}/layer.tar" for identity in identities]
    add_bytes(archive, "manifest.json", _manifest(config_name, plan, paths))
    _add_repositories(archive, plan, identities[-1])


def _legacy_identities(config: bytes, layers: Sequence[Layer]) -> list[str]:
    """Name the layers by what lies beneath them too, as docker does: a layer may come twice."""
    identities: list[str] = []
    for number, layer in enumerate(layers):
        beneath = identities[-1] if identities else ""
        above = config.decode() if number == len(layers) - 1 else ""
        identities.append(hashlib.sha256((beneath + layer.diff_id + above).encode()).hexdigest())
    return identities


def _legacy_layer(identity: str, parent: str | None, plan: _Plan) -> bytes:
    return _json(
        {"id": identity}
        | ({"parent": parent} if parent else {})
        | {"created": _CREATED, "architecture": plan.architecture, "os": "linux"}
    )


def _write_oci(
    archive: tarfile.TarFile, plan: _Plan, config: bytes, layers: Sequence[Layer]
) -> None:
    blobs = [_blob(plan, layer) for layer in layers]
    # A blob of which a bit was flipped keeps the name that config and manifest have for it.
    names = [_blob_name(plan, layer, blob) for layer, blob in zip(layers, blobs, strict=True)]
    config_digest = hashlib.sha256(config).hexdigest()
    suffix = {Layout.OCI_GZIP: "+gzip", Layout.OCI_ZSTD: "+zstd"}.get(plan.layout, "")
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": f"{_OCI}.manifest.v1+json",
            "config": _descriptor("config.v1+json", config_digest, len(config)),
            "layers": [
                _descriptor(f"layer.v1.tar{suffix}", name, blob.stat().st_size)
                for name, blob in zip(names, blobs, strict=True)
            ],
        }
    )
    manifest_digest = hashlib.sha256(manifest).hexdigest()
    contents: dict[str, bytes | Path] = dict(zip(names, blobs, strict=True))
    if plan.damage is Damage.MISSING_LAYER:
        del contents[names[2]]
    contents |= {config_digest: config, manifest_digest: manifest}
    add_folder(archive, "blobs/")
    add_folder(archive, "blobs/sha256/")
    for name, content in sorted(contents.items()):
        if isinstance(content, bytes):
            add_bytes(archive, f"blobs/sha256/{name}", content)
        else:
            add_file(archive, f"blobs/sha256/{name}", content)
    index = _index(plan, _descriptor("manifest.v1+json", manifest_digest, len(manifest)))
    add_bytes(archive, "index.json", index)
    paths = [f"blobs/sha256/{name}" for name in names]
    add_bytes(archive, "manifest.json", _manifest(f"blobs/sha256/{config_digest}", plan, paths))
    add_bytes(archive, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
    _add_repositories(archive, plan, names[-1])


def _blob(plan: _Plan, layer: Layer) -> Path:
    if plan.layout is Layout.OCI:
        return layer.path
    if plan.layout is Layout.OCI_ZSTD:
        path = layer.path.with_suffix(".tar.zst")
        with layer.path.open("rb") as content, path.open("wb") as output:
            compressor = zstd.ZstdCompressor()
            while data := content.read(_PIECE):
                output.write(compressor.compress(data))
            output.write(compressor.flush())
        return path
    path = layer.path.with_suffix(".tar.gz")
    # A shared layer has the same bytes each time, so making it again changes nothing.
    with (
        layer.path.open("rb") as content,
        path.open("wb") as output,
        gzip.GzipFile("", "wb", fileobj=output, mtime=0) as compressed,
    ):
        shutil.copyfileobj(content, compressed)
    return path


def _blob_name(plan: _Plan, layer: Layer, blob: Path) -> str:
    return layer.diff_id if plan.layout is Layout.OCI else file_digest(blob)


def _descriptor(kind: str, digest: str, size: int) -> dict[str, Any]:
    return {"mediaType": f"{_OCI}.{kind}", "digest": f"sha256:{digest}", "size": size}


def _index(plan: _Plan, descriptor: dict[str, Any]) -> bytes:
    if plan.repository_tag:
        descriptor["annotations"] = {
            "io.containerd.image.name": canonical_name(plan.repository_tag),
            "org.opencontainers.image.ref.name": plan.repository_tag.rpartition(":")[2],
        }
    document = {
        "schemaVersion": 2,
        "mediaType": f"{_OCI}.index.v1+json",
        # Docker 25 writes null for an image without a tag (moby#47210).
        "manifests": [descriptor] if plan.repository_tag else None,
    }
    return _json(document)


def _manifest(config_path: str, plan: _Plan, layer_paths: Sequence[str]) -> bytes:
    tags = [plan.repository_tag] if plan.repository_tag else None
    return _json([{"Config": config_path, "RepoTags": tags, "Layers": list(layer_paths)}])


def _add_repositories(archive: tarfile.TarFile, plan: _Plan, top: str) -> None:
    if plan.repository_tag:
        tag = plan.repository_tag.rpartition(":")[2]
        content = _json({repository(plan.repository_tag): {tag: top}})
        add_bytes(archive, "repositories", content)


def _config(plan: _Plan, layers: Sequence[Layer]) -> bytes:
    return _json(
        {
            "architecture": plan.architecture,
            "config": {
                "Entrypoint": [ENTRYPOINT],
                "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
                "Labels": {"org.opencontainers.image.title": plan.image},
                "WorkingDir": "/",
            },
            "created": _CREATED,
            "history": [{"created": _CREATED, "created_by": "sample release"} for _ in layers],
            "os": "linux",
            "rootfs": {
                "type": "layers",
                "diff_ids": [f"sha256:{layer.diff_id}" for layer in layers],
            },
        }
    )


def _json(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()

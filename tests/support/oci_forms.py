"""OCI image layouts: of skopeo, podman and crane, of buildx, and with what is no image in them."""

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.support.sample_images import (
    GZIP,
    Document,
    LayerStorage,
    NamedImage,
    SampleImage,
    digest_of,
    hex_of,
    json_of,
)
from tests.support.tar_files import Entry

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
CONTAINERD_NAME = "io.containerd.image.name"
REFERENCE_NAME = "org.opencontainers.image.ref.name"
_DOCUMENTS = ("oci-layout", "index.json", "manifest.json")


class Naming(enum.Enum):
    """What a layout calls its images."""

    FULL = "skopeo and podman write the whole name"
    TAG = "oras, regctl and umoci write the tag alone, as the specification recommends"
    NONE = "crane writes no name unless it is told to"
    CONTAINERD = "containerd, docker and buildx write the whole name and the tag"

    def annotations(self, name: str) -> Document:
        """Give the annotations for an image of that whole name."""
        tag = name.rpartition(":")[2]
        match self:
            case Naming.FULL:
                return {REFERENCE_NAME: name}
            case Naming.TAG:
                return {REFERENCE_NAME: tag}
            case Naming.CONTAINERD:
                return {CONTAINERD_NAME: name, REFERENCE_NAME: tag}
            case Naming.NONE:
                return {}


def descriptor(kind: str, content: bytes, **more: object) -> Document:
    """Describe a blob."""
    return {"mediaType": kind, "digest": digest_of(content), "size": len(content), **more}


def annotated(described: Document, annotations: Document) -> Document:
    """Add annotations to a descriptor; without any it stays as it is."""
    return {**described, "annotations": annotations} if annotations else described


def linux(architecture: str) -> Document:
    """Name a platform."""
    return {"architecture": architecture, "os": "linux"}


@dataclass(frozen=True)
class StoredImage:
    """A manifest, and the blobs that it needs.

    Attributes:
        manifest: The manifest.
        blobs: Its config and layers.
        layers: What the manifest says of the layers; None writes ``null``.
    """

    manifest: bytes
    blobs: tuple[bytes, ...]
    layers: tuple[Document, ...] | None

    @classmethod
    def of(
        cls, image: SampleImage, storage: LayerStorage = GZIP, *, layers_are_null: bool = False
    ) -> "StoredImage":
        """Store an image."""
        stored = [storage.store(layer) for layer in image.layers]
        layers = tuple(descriptor(OCI_LAYER + storage.suffix, blob) for blob in stored)
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor(OCI_CONFIG, image.config),
            "layers": None if layers_are_null else layers,
        }
        return cls(json_of(manifest), (image.config, *stored), layers)

    @property
    def descriptor(self) -> Document:
        """What an index says of it."""
        return descriptor(OCI_MANIFEST, self.manifest)


def index_of(manifests: Iterable[Document]) -> bytes:
    return json_of({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(manifests)})


def blob_entries(blobs: Iterable[bytes]) -> list[Entry]:
    """Give blobs their places in a layout, each once, in the order of their digests."""
    contents = {f"blobs/sha256/{hex_of(blob)}": blob for blob in blobs}
    return [Entry(name, content) for name, content in sorted(contents.items())]


def layout(index: bytes, blobs: Iterable[bytes]) -> list[Entry]:
    """Write a layout, documents first."""
    marker = Entry("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
    return [marker, Entry("index.json", index), *blob_entries(blobs)]


def documents_last(entries: Iterable[Entry]) -> list[Entry]:
    """Order entries as ``tar`` of a folder finds them: index and marker behind the blobs."""
    return sorted(entries, key=lambda entry: entry.name in _DOCUMENTS)


def oci_layout(
    images: Sequence[NamedImage],
    naming: Naming = Naming.FULL,
    storage: LayerStorage = GZIP,
    *,
    layers_are_null: bool = False,
) -> list[Entry]:
    """Write a layout of images, each with an entry in the index for each of its names."""
    entries: list[Document] = []
    blobs: list[bytes] = []
    for named in images:
        stored = StoredImage.of(named.image, storage, layers_are_null=layers_are_null)
        blobs += [stored.manifest, *stored.blobs]
        for name in named.names or ("",):
            annotations = naming.annotations(name) if name else {}
            entries.append(annotated(stored.descriptor, annotations))
    return layout(index_of(entries), blobs)


def attestation_of(stored: StoredImage) -> tuple[Document, list[bytes]]:
    """Attest how an image was built, as buildx does unless it is told not to.

    Returns:
        What the index says of it, and its blobs.
    """
    statement = json_of({"_type": "https://in-toto.io/Statement/v0.1", "subject": []})
    config = json_of(
        {
            "architecture": "unknown",
            "os": "unknown",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(statement)]},
        }
    )
    manifest = json_of(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor(OCI_CONFIG, config),
            "layers": [descriptor("application/vnd.in-toto+json", statement)],
        }
    )
    entry = descriptor(
        OCI_MANIFEST,
        manifest,
        annotations={
            "vnd.docker.reference.digest": digest_of(stored.manifest),
            "vnd.docker.reference.type": "attestation-manifest",
        },
        platform={"architecture": "unknown", "os": "unknown"},
    )
    return entry, [manifest, config, statement]


def buildx_layout(images: Sequence[NamedImage]) -> list[Entry]:
    """Write what ``buildx --output type=oci`` does: an index of each image and its attestation."""
    entries: list[Document] = []
    blobs: list[bytes] = []
    for named in images:
        stored = StoredImage.of(named.image)
        attestation, more = attestation_of(stored)
        platform = linux(named.image.architecture)
        own = index_of([{**stored.descriptor, "platform": platform}, attestation])
        blobs += [own, stored.manifest, *stored.blobs, *more]
        described = descriptor(OCI_INDEX, own)
        entries += [annotated(described, Naming.CONTAINERD.annotations(n)) for n in named.names]
    return layout(index_of(entries), blobs)


def platforms_layout(
    name: str, images: Sequence[SampleImage], others: Sequence[NamedImage] = ()
) -> list[Entry]:
    """Write a layout in which one name stands for an image of each of several platforms.

    Args:
        name: The whole name.
        images: The images, one for each platform.
        others: Images beside it, with names and one platform each.
    """
    stored = [StoredImage.of(image) for image in images]
    listed = [
        {**each.descriptor, "platform": linux(image.architecture)}
        for each, image in zip(stored, images, strict=True)
    ]
    own = index_of(listed)
    entries = [annotated(descriptor(OCI_INDEX, own), Naming.CONTAINERD.annotations(name))]
    blobs = [own]
    for named in others:
        other = StoredImage.of(named.image)
        stored.append(other)
        entries += [
            annotated(other.descriptor, Naming.CONTAINERD.annotations(n)) for n in named.names
        ]
    for each in stored:
        blobs += [each.manifest, *each.blobs]
    return layout(index_of(entries), blobs)


@dataclass(frozen=True)
class Artifact:
    """Something that a registry keeps as it keeps an image.

    Attributes:
        config: The content of its config.
        config_type: The media type of that.
        content: What it is there for.
        content_type: The media type of that.
        more: What else stands in its manifest.
    """

    config: bytes
    config_type: str
    content: bytes
    content_type: str
    more: Mapping[str, object] = field(default_factory=dict[str, object])

    @property
    def manifest(self) -> bytes:
        """Its manifest."""
        return json_of(
            {
                "schemaVersion": 2,
                "mediaType": OCI_MANIFEST,
                **self.more,
                "config": descriptor(self.config_type, self.config),
                "layers": [descriptor(self.content_type, self.content)],
            }
        )

    @property
    def blobs(self) -> tuple[bytes, ...]:
        """All that has to be there."""
        return (self.manifest, self.config, self.content)


def cosign_signature(stored: StoredImage) -> Artifact:
    """Sign an image; cosign gives the signature an image's config."""
    digest = digest_of(stored.manifest)
    payload = json_of({"critical": {"image": {"docker-manifest-digest": digest}}})
    config = {
        "architecture": "",
        "os": "",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [digest_of(payload)]},
    }
    kind = "application/vnd.dev.cosign.simplesigning.v1+json"
    return Artifact(json_of(config), OCI_CONFIG, payload, kind)


def helm_chart(name: str) -> Artifact:
    """Make a chart, of which only the media types are those of a chart."""
    return Artifact(
        json_of({"name": name, "version": "0.14.9", "apiVersion": "v2"}),
        "application/vnd.cncf.helm.config.v1+json",
        f"the chart {name}".encode(),
        "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
    )


def bill_of_materials(stored: StoredImage) -> Artifact:
    """Make an SBOM that refers to an image, with the empty config of OCI 1.1."""
    kind = "text/spdx+json"
    return Artifact(
        b"{}",
        "application/vnd.oci.empty.v1+json",
        json_of({"spdxVersion": "SPDX-2.3"}),
        kind,
        {"artifactType": kind, "subject": stored.descriptor},
    )

"""Archives of images as tools save them: docker of three generations, podman, crane, jib."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.support.oci_forms import (
    OCI_INDEX,
    OCI_MANIFEST,
    Naming,
    StoredImage,
    annotated,
    blob_entries,
    buildx_layout,
    descriptor,
    documents_last,
    index_of,
    linux,
    oci_layout,
)
from tests.support.sample_images import (
    GZIP,
    PLAIN,
    Document,
    LayerStorage,
    NamedImage,
    SampleImage,
    digest_of,
    hex_of,
    json_of,
)
from tests.support.tar_files import Entry, folder, symbolic_link


def familiar(name: str) -> str:
    """Shorten the names of docker's own hub, as docker does."""
    return name.removeprefix("docker.io/")


def _once(entries: Sequence[Entry]) -> list[Entry]:
    """Write what images share a single time."""
    return list({entry.name: entry for entry in entries}.values())


def _manifest_entry(
    images: Sequence[tuple[str, NamedImage, Sequence[str]]],
    called: Callable[[str], str] = familiar,
) -> Entry:
    """Write manifest.json.

    Args:
        images: Of each the config's path, the image, and its layers' paths.
        called: Gives the name of an image as the tool writes it.
    """
    document = [
        {
            "Config": config,
            # An image that was saved by its id has null here.
            "RepoTags": [called(name) for name in named.names] or None,
            "Layers": list(layers),
        }
        for config, named, layers in images
    ]
    return Entry("manifest.json", json_of(document))


def _repositories(images: Sequence[NamedImage], top: str) -> Entry:
    """Write what docker read before it had manifest.json."""
    document: dict[str, dict[str, str]] = {}
    for named in images:
        for name in named.names:
            repository, _, tag = familiar(name).rpartition(":")
            document.setdefault(repository, {})[tag] = top
    return Entry("repositories", json_of(document))


def _layer_identities(image: SampleImage) -> list[str]:
    """Name layers by what lies beneath them, as docker did."""
    beneath = ""
    identities: list[str] = []
    for number, diff_id in enumerate(image.diff_ids):
        above = image.image_id if number == len(image.layers) - 1 else ""
        beneath = hex_of(f"{beneath}{diff_id}{above}".encode())
        identities.append(beneath)
    return identities


def _old_layer_documents(image: SampleImage) -> list[bytes]:
    """Describe each layer as docker before 1.10 did; docker 25 to 28 save that as blobs."""
    identities = _layer_identities(image)
    documents: list[bytes] = []
    for identity in identities:
        document: Document = {"id": identity, "created": "1970-01-01T00:00:00Z", "os": "linux"}
        if identity == identities[-1]:
            document |= {"architecture": image.architecture, "config": {"Cmd": ["/srv/run"]}}
        documents.append(json_of(document))
    return documents


def old_docker_save(images: Sequence[NamedImage], storage: LayerStorage = PLAIN) -> list[Entry]:
    """Write what docker did before version 25: a folder for each layer, named by its history."""
    entries: list[Entry] = []
    listed: list[tuple[str, NamedImage, list[str]]] = []
    identities: list[str] = [""]
    for named in images:
        image = named.image
        identities = _layer_identities(image)
        for identity, layer in sorted(zip(identities, image.layers, strict=True)):
            entries += [
                folder(f"{identity}/"),
                Entry(f"{identity}/VERSION", b"1.0"),
                Entry(f"{identity}/json", json_of({"id": identity, "os": "linux"})),
                Entry(f"{identity}/layer.tar", storage.store(layer)),
            ]
        config = f"{hex_of(image.config)}.json"
        entries.append(Entry(config, image.config))
        listed.append((config, named, [f"{identity}/layer.tar" for identity in identities]))
    top = identities[-1] if identities else ""
    return _once([*entries, _manifest_entry(listed), _repositories(images, top)])


def docker_save(images: Sequence[NamedImage], storage: LayerStorage = PLAIN) -> list[Entry]:
    """Write what docker 25 to 28 do: blobs of an OCI layout, and manifest.json beside."""
    blobs: list[bytes] = []
    described: list[Document] = []
    listed: list[tuple[str, NamedImage, list[str]]] = []
    for named in images:
        stored = StoredImage.of(named.image, storage)
        blobs += [stored.manifest, *stored.blobs]
        described += [
            annotated(stored.descriptor, Naming.CONTAINERD.annotations(name))
            for name in named.names
        ]
        listed.append(_oci_paths(named, stored))
        blobs += _old_layer_documents(named.image)
    return _docker_layout(blobs, index_of(described), listed)


def new_docker_save(images: Sequence[NamedImage]) -> list[Entry]:
    """Write what docker 29 does, which keeps images as containerd does.

    The index of an image lists all that its registry has, of which only one platform was pulled
    and saved.
    """
    blobs: list[bytes] = []
    described: list[Document] = []
    listed: list[tuple[str, NamedImage, list[str]]] = []
    for named in images:
        stored = StoredImage.of(named.image)
        own = index_of(_platforms_of_registry(named.image, stored))
        blobs += [own, stored.manifest, *stored.blobs]
        described += [
            annotated(descriptor(OCI_INDEX, own), Naming.CONTAINERD.annotations(name))
            for name in named.names
        ]
        listed.append(_oci_paths(named, stored))
    return _docker_layout(blobs, index_of(described), listed)


def _platforms_of_registry(image: SampleImage, stored: StoredImage) -> list[Document]:
    absent = "arm64" if image.architecture != "arm64" else "amd64"
    other = image.image_id.encode()
    return [
        {**stored.descriptor, "platform": linux(image.architecture)},
        descriptor(OCI_MANIFEST, other + b"absent", platform=linux(absent)),
        descriptor(
            OCI_MANIFEST,
            other + b"attestation",
            annotations={
                "vnd.docker.reference.digest": digest_of(stored.manifest),
                "vnd.docker.reference.type": "attestation-manifest",
            },
            platform={"architecture": "unknown", "os": "unknown"},
        ),
    ]


def _oci_paths(named: NamedImage, stored: StoredImage) -> tuple[str, NamedImage, list[str]]:
    paths = [f"blobs/sha256/{hex_of(blob)}" for blob in stored.blobs]
    return paths[0], named, paths[1:]


def _docker_layout(
    blobs: Sequence[bytes],
    index: bytes,
    listed: Sequence[tuple[str, NamedImage, Sequence[str]]],
) -> list[Entry]:
    """Put a layout and manifest.json together, in the order of the names."""
    return [
        folder("blobs/"),
        folder("blobs/sha256/"),
        *blob_entries(blobs),
        Entry("index.json", index),
        _manifest_entry(listed),
        Entry("oci-layout", b'{"imageLayoutVersion": "1.0.0"}'),
    ]


def podman_save(images: Sequence[NamedImage]) -> list[Entry]:
    """Write what ``podman save -m`` does: layers by their digests, and links for old dockers."""
    entries: list[Entry] = []
    listed: list[tuple[str, NamedImage, list[str]]] = []
    identities: list[str] = [""]
    for named in images:
        image = named.image
        identities = _layer_identities(image)
        paths = [f"{hex_of(layer)}.tar" for layer in image.layers]
        entries += [Entry(path, layer) for path, layer in zip(paths, image.layers, strict=True)]
        for identity, path in zip(identities, paths, strict=True):
            entries += [
                Entry(f"{identity}/VERSION", b"1.0"),
                symbolic_link(f"{identity}/layer.tar", f"../{path}"),
                Entry(f"{identity}/json", json_of({"id": identity})),
            ]
        config = f"{hex_of(image.config)}.json"
        entries.append(Entry(config, image.config))
        listed.append((config, named, paths))
    manifest = _manifest_entry(listed, str)
    return _once([*entries, _repositories(images, identities[-1]), manifest])


def crane_tarball(images: Sequence[NamedImage], storage: LayerStorage = GZIP) -> list[Entry]:
    """Write what ``crane pull`` does: compressed layers, a config without an ending."""
    entries: list[Entry] = []
    listed: list[tuple[str, NamedImage, list[str]]] = []
    for named in images:
        blobs = [storage.store(layer) for layer in named.image.layers]
        paths = [f"{hex_of(blob)}.tar.gz" for blob in blobs]
        entries.append(Entry(named.image.image_id, named.image.config))
        entries += [Entry(path, blob) for path, blob in zip(paths, blobs, strict=True)]
        listed.append((named.image.image_id, named, paths))
    return _once([*entries, _manifest_entry(listed, str)])


def jib_tarball(images: Sequence[NamedImage]) -> list[Entry]:
    """Write what jib does: one image, its config always of the same name."""
    (named,) = images
    blobs = [GZIP.store(layer) for layer in named.image.layers]
    paths = [f"{hex_of(blob)}.tar.gz" for blob in blobs]
    entries = [Entry(path, blob) for path, blob in zip(paths, blobs, strict=True)]
    config = Entry("config.json", named.image.config)
    return [*entries, config, _manifest_entry([("config.json", named, paths)])]


def _oci_layout_blobs_first(images: Sequence[NamedImage]) -> list[Entry]:
    return documents_last(oci_layout(images))


@dataclass(frozen=True)
class Form:
    """A form of archives.

    Attributes:
        make: Writes the entries of one with these images.
        transport: How skopeo reads it.
        selects_by_tag: Whether skopeo finds an image in it by the tag alone.
        holds_several: Whether it may hold several images.
    """

    make: Callable[[Sequence[NamedImage]], list[Entry]]
    transport: str
    selects_by_tag: bool = False
    holds_several: bool = True

    def source(self, path: str, name: str) -> str:
        """Give skopeo's word for an image in an archive of this form."""
        selected = name.rpartition(":")[2] if self.selects_by_tag else name
        return f"{self.transport}:{path}:{selected}"


FORMS: dict[str, Form] = {
    "docker before 25": Form(old_docker_save, "docker-archive"),
    "docker 25 to 28": Form(docker_save, "docker-archive"),
    "docker 29": Form(new_docker_save, "docker-archive"),
    "podman save -m": Form(podman_save, "docker-archive"),
    "crane tarball": Form(crane_tarball, "docker-archive"),
    "jib": Form(jib_tarball, "docker-archive", holds_several=False),
    "buildx": Form(buildx_layout, "oci-archive", selects_by_tag=True),
    "OCI layout": Form(oci_layout, "oci-archive"),
    "OCI layout, blobs first": Form(_oci_layout_blobs_first, "oci-archive"),
}
"""Every form that a file of images comes in."""

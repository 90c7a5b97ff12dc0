"""Archives whose documents are large, many, deep or lead in circles, and what is said of them."""

import hashlib
import tarfile
from itertools import chain
from pathlib import Path

from tests.support.archive_forms import old_docker_save
from tests.support.hostile_parts import (
    LARGEST_DOCUMENT,
    SOUND,
    SOUND_IMAGE,
    joined,
    member,
    saved,
    write_gzip,
)
from tests.support.oci_forms import (
    CONTAINERD_NAME,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    descriptor,
    index_of,
    layout,
    linux,
)
from tests.support.sample_images import Document, image_without_layers, json_of
from tests.support.tar_files import END, Entry, header, tar

# Documents.


def config_of_many(path: Path, size: int) -> None:
    """Let one config, which is large, be that of 200 images."""
    config = json_of({"architecture": "amd64", "rootfs": {"diff_ids": ["a" * size]}})
    entries = [
        {"Config": "c", "RepoTags": [f"docker.io/x/y:{number}"], "Layers": ["l"]}
        for number in range(200)
    ]
    image = saved(entries, Entry("c", config), Entry("l", b"layer"))
    write_gzip(path, [member("image.tar", image), END])


def config_of_many_layers(path: Path, layers: int) -> None:
    """Let one config of many layers be that of 400 images."""
    diff_ids = [f"sha256:{number:064x}" for number in range(layers)]
    config = json_of({"architecture": "amd64", "rootfs": {"diff_ids": diff_ids}})
    entries = [
        {"Config": "c", "RepoTags": [f"docker.io/x/y:{number}"], "Layers": ["l"]}
        for number in range(400)
    ]
    image = saved(entries, Entry("c", config), Entry("l", b"layer"))
    write_gzip(path, [member("image.tar", image), END])


def many_images(path: Path, count: int) -> None:
    """Let one manifest name many images of one config, which has no layers."""
    config = json_of({"architecture": "amd64", "os": "linux", "rootfs": {"diff_ids": []}})
    entries = [
        {"Config": "c", "RepoTags": [f"docker.io/organisation/image-{n}:1"], "Layers": []}
        for n in range(count)
    ]
    write_gzip(path, [member("image.tar", saved(entries, Entry("c", config))), END])


def many_names(path: Path, count: int) -> None:
    """Give one image many names."""
    names = [f"docker.io/organisation/image-{number}:1" for number in range(count)]
    config = json_of({"architecture": "amd64", "os": "linux", "rootfs": {"diff_ids": []}})
    entries = [{"Config": "c", "RepoTags": names, "Layers": []}]
    write_gzip(path, [member("image.tar", saved(entries, Entry("c", config))), END])


def braces(path: Path, count: int) -> None:
    """Let a manifest be a list of empty objects, each of which takes 64 bytes in memory."""
    write_gzip(path, [member("image.tar", saved(b"[" + b"{}," * count + b"{}]")), END])


def braces_and_documents(path: Path) -> None:
    number = b"[" + b"1" * (LARGEST_DOCUMENT - 600)
    more = [Entry(f"document-{count}.json", number) for count in range(6)]
    image = saved(b"[" + b"{}," * 2_700_000 + b"{}]", *more)
    write_gzip(path, [member("image.tar", image), END])


def large_documents(path: Path) -> None:
    """Put 100 JSON documents of 8 MiB beside an image."""
    text = b'{"architecture":"' + b"a" * (LARGEST_DOCUMENT - 20) + b'"}'
    members = (member(f"document-{number}.json", text) for number in range(100))
    write_gzip(path, chain([SOUND], members, [END]))


def small_documents(path: Path) -> None:
    """Put 300,000 JSON documents into a layout, all of which might be manifests."""
    entries = (
        member(f"blobs/sha256/{hashlib.sha256(text).hexdigest()}", text)
        for text in (b'{"layers":[],"config":{"digest":"%d"}}' % n for n in range(300_000))
    )
    index = member("index.json", b'{"manifests":[]}')
    write_gzip(path, chain(joined(entries), [index, SOUND, END]))


def deep_documents(path: Path) -> None:
    """Nest lists as deep as fits, in each place that holds a document."""
    deep = b"[" * 200_000 + b"]" * 200_000
    config = b'{"rootfs":' + deep + b"}"
    entry = [{"Config": "c", "RepoTags": ["docker.io/x/y:1"], "Layers": []}]
    write_gzip(
        path,
        [
            member("manifest.tar", saved(deep)),
            member("config.tar", saved(entry, Entry("c", config))),
            member("layout.tar", tar([Entry("index.json", b'{"manifests":' + deep + b"}")])),
            SOUND,
            END,
        ],
    )


# Links.


def link_chain(path: Path, links: int, layers: int) -> None:
    """Let each of many layers be the first link of a long chain."""
    chain = (
        header(Entry(str(number), kind=tarfile.SYMTYPE, target=str(number + 1)))
        for number in range(links)
    )
    manifest = [{"Config": "c", "RepoTags": ["docker.io/x/y:1"], "Layers": ["0"] * layers}]
    config = Entry("c", b'{"architecture":"amd64","rootfs":{"diff_ids":[]}}')
    image = b"".join(chain) + saved(manifest, Entry(str(links), b"layer"), config)
    write_gzip(path, [member("image.tar", image), END])


def link_ring(path: Path) -> None:
    """Let many links lead around in a ring, and many layers into it."""
    ring = [
        header(Entry(str(number), kind=tarfile.SYMTYPE, target=str((number + 1) % 50_000)))
        for number in range(50_000)
    ]
    manifest = [{"Config": "c", "RepoTags": [], "Layers": [str(n) for n in range(50_000)]}]
    image = b"".join(ring) + saved(manifest, Entry("c", b'{"rootfs":{"diff_ids":[]}}'))
    write_gzip(path, [member("image.tar", image), END])


def links_to_nothing(path: Path) -> None:
    links = (
        header(Entry(f"image-{n}.tar", kind=tarfile.SYMTYPE, target=f"/mnt/{n}.tar"))
        for n in range(100_000)
    )
    write_gzip(path, chain([SOUND], joined(links), [END]))


# Messages.


def long_word(path: Path, **entry: object) -> None:
    """Write a word of megabytes into what a manifest says of an image."""
    manifest = [{"Config": "c", "RepoTags": ["docker.io/x/y:1"], "Layers": [], **entry}]
    config = Entry("c", image_without_layers(diff_ids=[]).config)
    write_gzip(path, [member("image.tar", saved(manifest, config)), SOUND, END])


def many_long_errors(path: Path, size: int) -> None:
    damaged = saved([{"Config": "A" * size}])
    members = (member(f"image-{number}.tar", damaged) for number in range(60))
    write_gzip(path, chain(members, [SOUND, END]))


def long_pack_manifest(path: Path) -> None:
    """Write a large digest where ckf-airgap pack puts a small one."""
    images = [{"name": 5, "digest": "a" * 7_000_000, "image_id": "", "size": 1}]
    document = {
        **{"format": 1, "layout": "docker", "architecture": "amd64", "bundle": ""},
        **{"charms": [], "archive_size": 0, "images": images},
    }
    write_gzip(path, [member("ckf-airgap.json", json_of(document)), SOUND, END])


def long_layout_words(path: Path) -> None:
    """Write a megabyte where an index has a media type, a digest and a name."""
    long = "x" * 1_000_000
    entries: list[Document] = [
        {"mediaType": long, "digest": "sha256:" + "0" * 64, "size": 1},
        {"mediaType": OCI_MANIFEST, "digest": long, "size": 1},
        {"digest": "sha256:" + "1" * 64, "size": 1, "annotations": {CONTAINERD_NAME: long}},
    ]
    content = tar(layout(index_of(entries), []))
    write_gzip(path, [member("layout.tar", content), SOUND, END])


def damaged_members(path: Path) -> None:
    members = (header(Entry(f"image-{number}.tar")) for number in range(3000))
    write_gzip(path, chain([SOUND], members, [END]))


def cut_off_members(path: Path) -> None:
    """Make 3,000 members that each begin as an image and end in the middle."""
    content = tar(old_docker_save([SOUND_IMAGE]))[:1536]
    members = (member(f"image-{number}.tar", content) for number in range(3000))
    write_gzip(path, chain([SOUND], members, [END]))


def lacking_and_damaged(path: Path) -> None:
    """Tell of 10,000 images that are not there, beside 10,000 members that are damaged."""
    count = 10_000
    images = [
        {"name": f"docker.io/some/image-{n}:1", "digest": "", "image_id": "x", "size": 1}
        for n in range(count)
    ]
    document: Document = {
        **{"format": 1, "layout": "docker", "architecture": "amd64", "bundle": ""},
        **{"charms": [], "archive_size": 0, "images": images},
    }
    members = b"".join(header(Entry(f"damaged-image-number-{n}.tar")) for n in range(count))
    # Not compressed: the archive has to be as large as it says.
    text = json_of(document).ljust(len(json_of(document)) + 20)
    size = len(member("ckf-airgap.json", text)) + len(members) + len(END)
    document["archive_size"] = size
    path.write_bytes(member("ckf-airgap.json", json_of(document).ljust(len(text))) + members + END)


# Layouts.


def one_manifest_many_times(path: Path, layers: int) -> None:
    """Let an index name one manifest of many layers 50 times."""
    config = b'{"architecture":"amd64","rootfs":{"diff_ids":[]}}'
    listed = [
        {"mediaType": OCI_LAYER, "digest": f"sha256:{number:064x}", "size": 1}
        for number in range(layers)
    ]
    manifest = json_of({"schemaVersion": 2, "config": descriptor("", config), "layers": listed})
    entries = [
        descriptor(OCI_MANIFEST, manifest, annotations={CONTAINERD_NAME: f"docker.io/x/y:{n}"})
        for n in range(50)
    ]
    write_gzip(path, [tar(layout(index_of(entries), [manifest, config]))])


def many_architectures(path: Path, count: int) -> None:
    """Let one name stand for many architectures, all of which are there."""
    config = image_without_layers(diff_ids=[]).config
    manifests = [
        json_of(
            {
                "schemaVersion": 2,
                "config": descriptor("", config),
                "layers": [],
                "annotations": {"number": str(number)},
            }
        )
        for number in range(count)
    ]
    listed = [
        descriptor(OCI_MANIFEST, manifest, platform=linux(f"cpu-{number}"))
        for number, manifest in enumerate(manifests)
    ]
    own = json_of({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed})
    entry = descriptor(OCI_INDEX, own, annotations={CONTAINERD_NAME: "docker.io/x/y:1"})
    write_gzip(path, [tar(layout(index_of([entry]), [own, *manifests, config]))])


def indexes_in_indexes(path: Path) -> None:
    """Nest indexes 3,000 deep, each of which names the next one twice."""
    own = json_of({"schemaVersion": 2, "manifests": []})
    blobs = [own]
    for _ in range(3000):
        own = json_of(
            {
                "schemaVersion": 2,
                "mediaType": OCI_INDEX,
                "manifests": [descriptor(OCI_INDEX, own)] * 2,
            }
        )
        blobs.append(own)
    entry = descriptor(OCI_INDEX, own, annotations={CONTAINERD_NAME: "docker.io/x/y:1"})
    write_gzip(path, [tar(layout(index_of([entry]), blobs))])

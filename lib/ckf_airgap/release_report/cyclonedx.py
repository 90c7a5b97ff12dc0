"""The content of a release as a software bill of materials: CycloneDX 1.6 (ECMA-424).

The CycloneDX library is not used: it and its dependencies, seven packages, would also be in the
charm, which writes no SBOM. The tests check the document against the library's schema.
"""

import json
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import ckf_airgap
from ckf_airgap.errors import printable
from ckf_airgap.release_report.release_content import CharmEntry, ImageEntry, ReleaseContent

_SCHEMA = "http://cyclonedx.org/schema/bom-1.6.schema.json"
_PROPERTY = "ckf-airgap"


def as_cyclonedx(content: ReleaseContent) -> str:
    """Write a release as CycloneDX JSON.

    Args:
        content: The release. Each image is a component of the type ``container``, each charm one
            of the type ``application``, which depends on the images that it wants.

    Returns:
        The document. It has no time stamp, and its serial number is derived from the content, so
        the same release gives the same document.
    """
    images = {f"image-{number}": image for number, image in enumerate(content.images, 1)}
    charms = {f"charm-{number}": charm for number, charm in enumerate(content.charms, 1)}
    wanted: dict[str, list[str]] = {}
    for reference, image in images.items():
        for user in dict.fromkeys(user.partition("/")[0] for user in image.wanted_by):
            wanted.setdefault(user, []).append(reference)
    body: dict[str, Any] = {
        "metadata": {
            "tools": {
                "components": [
                    {
                        "type": "application",
                        "name": "ckf-airgap",
                        "version": ckf_airgap.__version__,
                    }
                ]
            }
        },
        "components": [
            *(_image(reference, image) for reference, image in images.items()),
            *(_charm(reference, charm) for reference, charm in charms.items()),
        ],
        "dependencies": [
            {"ref": reference, "dependsOn": wanted[charm.user]}
            for reference, charm in charms.items()
            if charm.user in wanted
        ],
    }
    serial = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(body))
    document = {
        "$schema": _SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        **body,
    }
    return json.dumps(document, indent=2) + "\n"


def _image(reference: str, image: ImageEntry) -> dict[str, Any]:
    name = image.names[0] if image.names else None
    properties = [
        *(("name", str(name)) for name in image.names),
        ("member", image.member),
        ("kind", image.kind),
        ("image-id", image.image_id),
        ("layer-bytes", str(image.size)),
        *(("layer", layer.digest) for layer in image.layers),
        ("source", image.source),
        *(("wanted-by", user) for user in image.wanted_by),
    ]
    component: dict[str, Any] = {
        "type": "container",
        "bom-ref": reference,
        "name": printable(name.name if name else image.label),
    }
    if name:
        component["version"] = name.version
    if image.digest:
        component["hashes"] = _hashes(image.digest.partition(":")[2])
        component["purl"] = _purl(image)
    return component | {"properties": list(_properties(properties))}


def _charm(reference: str, charm: CharmEntry) -> dict[str, Any]:
    component: dict[str, Any] = {
        "type": "application",
        "bom-ref": reference,
        "name": printable(charm.name),
    }
    if charm.revision is not None:
        component["version"] = str(charm.revision)
    properties = [
        ("file", charm.file),
        ("channel", charm.channel),
        *(("base", base) for base in charm.bases),
        ("note", charm.note),
    ]
    return component | {
        "hashes": _hashes(charm.sha256),
        "properties": list(_properties(properties)),
    }


def _hashes(sha256: str) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": sha256}]


def _properties(pairs: list[tuple[str, str]]) -> Iterator[dict[str, str]]:
    for name, value in pairs:
        if value:
            yield {"name": f"{_PROPERTY}:{name}", "value": printable(value)}


def _purl(image: ImageEntry) -> str:
    """Make the package URL (purl-spec, type ``oci``)."""
    repository = image.source.partition("@")[0]
    if image.names and not repository:
        repository = image.names[0].name
    name = repository.rpartition("/")[2].lower() or "image"
    qualifiers = {
        "arch": image.architecture,
        "repository_url": repository,
        "tag": image.names[0].version if image.names else "",
    }
    written = "&".join(
        f"{key}={quote(printable(text), safe='/')}" for key, text in qualifiers.items() if text
    )
    return (
        f"pkg:oci/{quote(printable(name))}@{quote(image.digest)}{'?' if written else ''}{written}"
    )

"""The content of an archive, as a document for programs and as tables for people."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ckf_airgap.archives.inventory import ArchivedImage, Inventory
from ckf_airgap.archives.pack_manifest import PackManifest
from ckf_airgap.charms.charm_archive import UnpackedCharms
from ckf_airgap.charms.charm_file import CharmFile
from ckf_airgap.charms.charm_version import known_versions
from ckf_airgap.upgrades.rules import load_rules

UNNAMED_CURE = (
    "save it by its name (docker save NAME), or give the charms that want it with --charms"
)
_WIDEST = 72


def inventory_document(inventory: Inventory) -> dict[str, Any]:
    """List the content of an archive.

    Returns:
        ``images`` (member, names, image_id, architecture), ``artifacts`` (member, names, kind),
        and the keys of ``findings_document``.
    """
    return {
        "images": [
            {
                "member": image.member,
                "names": _names(image),
                "image_id": image.image_id,
                "architecture": image.architecture,
            }
            for image in inventory.images
        ],
        "artifacts": [
            {"member": each.member, "names": _names(each), "kind": each.artifact_type}
            for each in inventory.artifacts
        ],
        **findings_document(inventory),
    }


def record_document(record: PackManifest | None) -> dict[str, Any]:
    """Describe a packed release, and the releases that a difference is based on.

    Args:
        record: The record of the archive, or None.

    Returns:
        ``id`` of the release; ``stands_on``, the ids of the releases that must be in the registry
        before it, the latest first; ``left_out_layers`` and ``left_out_bytes``. Empty for an
        archive without a record.
    """
    if record is None:
        return {}
    return {
        "id": record.identity,
        "stands_on": list(record.stands_on),
        "left_out_layers": len(record.left_out),
        "left_out_bytes": record.left_out_bytes,
    }


def findings_document(inventory: Inventory) -> dict[str, Any]:
    """List the parts of an archive that are not pushed.

    Returns:
        ``passed_over`` (file, reason, may_be_image, and a cure if it may be one), ``conflicts``
        and ``damaged`` (each a text with its cure).
    """
    return {
        "passed_over": [
            {
                "file": entry.file,
                "reason": entry.reason,
                "may_be_image": entry.may_be_image,
                **({"cure": entry.cure} if entry.cure else {}),
            }
            for entry in inventory.passed_over
        ],
        "conflicts": [str(error) for error in inventory.conflicts],
        "damaged": [str(error) for error in inventory.damaged],
    }


def attention(inventory: Inventory) -> Iterator[str]:
    """Yield a line for each problem, with its cure, and for each warning."""
    for error in (*inventory.damaged, *inventory.conflicts):
        yield f"not pushed: {error}"
    for image in inventory.unnamed:
        yield f"not pushed: {image.description} has no name: {UNNAMED_CURE}"
    for entry in inventory.possible_images:
        yield f"not pushed: {entry.file}: {entry.reason}: {entry.cure}"
    for entry in inventory.passed_over:
        if entry.is_warning:
            yield f"warning: {entry.file}: {entry.reason}"


def upgrade_starts(unpacked: UnpackedCharms) -> list[str]:
    """List the releases that can be upgraded to the charms.

    These are the release of the charms, and the previous one if all intermediate charms are there.
    """
    charms = unpacked.readable
    return load_rules().starts_of(known_versions(charms), {charm.name for charm in charms})


def inspection_table(
    unpacked: UnpackedCharms,
    inventory: Inventory | None,
    archive: str,
    record: PackManifest | None = None,
) -> str:
    """Show the content of archives.

    Args:
        unpacked: The charms; empty if they were not requested.
        inventory: The content of the archive of images; None if it was not requested.
        archive: The name of that archive.
        record: The record of a packed release, or None.

    Returns:
        Tables under headings, with a total at the end.
    """
    parts: list[str] = []
    if charms := sorted(unpacked.readable, key=lambda charm: (charm.name, charm.label)):
        rows = ((charm.name, _bases(charm), len(charm.images), charm.label) for charm in charms)
        parts.append(_table("CHARMS", ("charm", "bases", "images", "file"), rows))
    if starts := upgrade_starts(unpacked):
        parts.append(f"Can upgrade from Charmed Kubeflow {' and '.join(starts)}.\n")
    if unpacked.unreadable:
        errors = (charm.error for charm in unpacked.unreadable)
        lines = (f"  {error.problem}\n    {error.cure}" for error in errors)
        parts.append("CHARMS THAT CANNOT BE READ\n" + "\n".join(lines) + "\n")
    if record:
        parts.append(_record_text(record))
    if inventory:
        parts += _image_tables(inventory)
        parts.append(_total_line(inventory, archive))
    return "\n".join(parts)


def _record_text(record: PackManifest) -> str:
    text = f"Packed as release {record.identity}.\n"
    if not record.stands_on:
        return text
    lines = "".join(f"  {identity}\n" for identity in record.stands_on)
    return (
        f"{text}A difference without {len(record.left_out)} layers ({record.left_out_bytes:,} "
        f"bytes), which the registry must have from these releases:\n{lines}"
    )


def _image_tables(inventory: Inventory) -> Iterator[str]:
    images = ((_shown(image), image.architecture, image.member) for image in inventory.images)
    yield _table("IMAGES", ("image", "CPU", "in"), images)
    if inventory.artifacts:
        rows = ((_shown(each), each.artifact_type, each.member) for each in inventory.artifacts)
        yield _table("ARTIFACTS, pushed as they are", ("artifact", "kind", "in"), rows)
    errors = [
        *(("damaged", error.problem, error.cure) for error in inventory.damaged),
        *(("two images, one path", error.problem, error.cure) for error in inventory.conflicts),
        *(("no name", image.description, UNNAMED_CURE) for image in inventory.unnamed),
        *(
            ("perhaps an image", f"{entry.file}: {entry.reason}", entry.cure)
            for entry in inventory.possible_images
        ),
    ]
    if errors:
        lines = [f"  {kind}: {problem}\n    {cure}" for kind, problem, cure in errors]
        yield "NOT PUSHED, and what to do\n" + "\n".join(lines) + "\n"
    harmless = [entry for entry in inventory.passed_over if not entry.may_be_image]
    if harmless:
        rows = ((entry.file, entry.reason) for entry in harmless)
        yield _table("PASSED OVER, no images", ("file", "why"), rows)


def _total_line(inventory: Inventory, archive: str) -> str:
    counts = (
        (len(inventory.images), "images"),
        (len(inventory.artifacts), "artifacts"),
        (len(inventory.damaged), "damaged"),
        (len(inventory.conflicts), "conflicts"),
        (len(inventory.unnamed), "without a name"),
        (len(inventory.possible_images), "perhaps images"),
        (len(inventory.passed_over) - len(inventory.possible_images), "passed over"),
    )
    totals = ", ".join(f"{count} {noun}" for count, noun in counts if count)
    return f"{archive}: {totals or 'nothing'}\n"


def _table(title: str, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    cells = [tuple(heads), *(tuple(map(str, row)) for row in rows)]
    widths = [min(max(map(len, column)), _WIDEST) for column in zip(*cells, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )
    return f"{title}\n" + "\n".join(f"  {line}" for line in lines) + "\n"


def _names(image: ArchivedImage) -> list[str]:
    return [str(name) for name in image.names]


def _shown(image: ArchivedImage) -> str:
    return ", ".join(_names(image)) or f"without a name, {image.image_id[:19]}"


def _bases(charm: CharmFile) -> str:
    return ", ".join(charm.bases) or "-"

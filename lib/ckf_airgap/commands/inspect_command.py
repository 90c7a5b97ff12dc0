"""``ckf-airgap inspect``: prints the content of archives."""

import argparse
from typing import Any

from ckf_airgap.archives.pack_manifest import first_record
from ckf_airgap.charms.charm_file import CharmFile
from ckf_airgap.commands.arguments import (
    AddParser,
    add_archives,
    add_format,
    archive,
    archive_inventory,
    read_charms,
)
from ckf_airgap.commands.inspection import (
    inspection_table,
    inventory_document,
    record_document,
    upgrade_starts,
)
from ckf_airgap.commands.output import NEEDS_ATTENTION, Answer
from ckf_airgap.commands.report_option import add_report, write_report
from ckf_airgap.errors import ConfigurationError
from ckf_airgap.release_report.release_content import ArchivedDetails


def define(add_parser: AddParser) -> None:
    """Define the sub-command."""
    text = "print the content of the archives, including damaged members"
    inspect = add_parser("inspect", help=text, description=f"{text[0].upper()}{text[1:]}.")
    inspect.set_defaults(run=_inspect)
    add_archives(inspect)
    add_report(inspect)
    add_format(inspect, ("table", "yaml", "json"))


def _inspect(arguments: argparse.Namespace) -> Answer:
    if arguments.charms is None and arguments.images is None:
        raise ConfigurationError("nothing to inspect", "give --charms, --images or both")
    if arguments.report and not (arguments.charms and arguments.images):
        raise ConfigurationError("--report needs both archives", "give --charms and --images")
    document: dict[str, Any] = {}
    unpacked = read_charms(arguments)
    charms = unpacked.charms
    if arguments.charms:
        document["charms"] = {charm.name: _charm_document(charm) for charm in charms}
        document["charms_between"] = [
            {"charm": charm.name, **_charm_document(charm)} for charm in unpacked.intermediate
        ]
        document["upgrades"] = upgrade_starts(unpacked)
        document["unreadable_charms"] = [str(charm.error) for charm in unpacked.unreadable]
    details = ArchivedDetails()
    on_image = details.add if arguments.report else None
    inventory = archive_inventory(arguments, unpacked, on_image) if arguments.images else None
    if inventory:
        document |= inventory_document(inventory)
    record = first_record(archive(arguments, "images" if arguments.images else "charms"))
    document |= record_document(record)
    if inventory and arguments.report:
        sources = archive(arguments, "charms"), archive(arguments, "images")
        content = unpacked, inventory, details
        write_report(arguments.report, *sources, content, arguments.architecture)
    needs_attention = bool(unpacked.unreadable or (inventory and inventory.needs_attention))
    return Answer(
        document,
        NEEDS_ATTENTION if needs_attention else 0,
        inspection_table(unpacked, inventory, arguments.images, record),
    )


def _charm_document(charm: CharmFile) -> dict[str, Any]:
    return {
        "file": charm.label,
        "podspec": charm.is_podspec,
        "bases": list(charm.bases),
        "assumes": str(charm.assumes),
        "resources": dict(charm.resources),
        "options": {option.name: list(option.images) for option in charm.image_options},
    }

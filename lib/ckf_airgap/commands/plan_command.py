"""``ckf-airgap plan``: prints what would be deployed, and what is missing."""

import argparse
from pathlib import Path

from ckf_airgap.charms.charm_archive import UnpackedCharms
from ckf_airgap.commands.arguments import (
    AddParser,
    add_archives,
    add_format,
    add_registry,
    archive_inventory,
    read_charms,
    read_text,
)
from ckf_airgap.commands.output import NEEDS_ATTENTION, Answer
from ckf_airgap.errors import ConfigurationError
from ckf_airgap.files.directories import write_files
from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.juju.juju_version import JujuVersion
from ckf_airgap.planning.charm_selection import select_charms
from ckf_airgap.planning.plan import Plan, make_plan
from ckf_airgap.planning.plan_document import plan_document
from ckf_airgap.planning.settings import AUTOMATIC, GATEWAY_SERVICE_TYPES, PlanSettings
from ckf_airgap.planning.terraform import MAIN_FILE, terraform_files, unknown_to_provider
from ckf_airgap.upgrades.from_archives import walk_between
from ckf_airgap.upgrades.rendering import walk_document, walk_markdown

# The newest release of the Juju series in Charmed Kubeflow's documentation.
_DEFAULT_JUJU = "3.6.25"
_TERRAFORM = "terraform"


def define(add_parser: AddParser) -> None:
    """Define the sub-command."""
    text = "print what would be deployed: every image, option and relation, and what is missing"
    plan = add_parser("plan", help=text, description=f"{text[0].upper()}{text[1:]}.")
    plan.set_defaults(run=_plan)
    add_archives(plan, required=("charms", "images"))
    add_registry(plan)
    plan.add_argument(
        "--bundle", type=Path, metavar="FILE", help="your own bundle, instead of the built-in one"
    )
    plan.add_argument("--overlay", type=Path, metavar="FILE", help="a bundle overlay")
    plan.add_argument(
        "--model", default="kubeflow", metavar="NAME", help="the model (default: %(default)s)"
    )
    plan.add_argument(
        "--excluded-charms",
        default=AUTOMATIC,
        metavar="LIST",
        help="charms or applications to deploy outside the bundle, separated by commas "
        "(default: %(default)s, the podspec charms)",
    )
    plan.add_argument(
        "--gateway-service-type",
        default="",
        metavar="TYPE",
        help=f"one of {', '.join(GATEWAY_SERVICE_TYPES)} (default: that of the gateway's charm)",
    )
    plan.add_argument(
        "--upgrade-from",
        metavar="FILE|URL",
        help="the charms.tar.gz of the running release: also print the steps of the upgrade",
    )
    plan.add_argument(
        "--juju-version",
        default=_DEFAULT_JUJU,
        metavar="VERSION",
        help="the version of the controller, for --upgrade-from (default: %(default)s)",
    )
    plan.add_argument(
        "--output",
        type=Path,
        metavar="DIRECTORY",
        help=f"where --format terraform writes its files (default: {_TERRAFORM})",
    )
    add_format(plan, ("yaml", "json", "markdown", _TERRAFORM))


def _plan(arguments: argparse.Namespace) -> Answer:
    is_terraform = arguments.format == _TERRAFORM
    _require_compatible(arguments)
    juju = JujuVersion.of_option(arguments.juju_version).text
    # Check these first: reading an archive may take an hour.
    settings = PlanSettings.parse(
        location=RegistryLocation.parse(arguments.registry),
        model=arguments.model.rpartition("/")[2],
        # Terraform uses no bundle, so there is nothing to exclude from one.
        excluded_charms="" if is_terraform else arguments.excluded_charms,
        gateway_service_type=arguments.gateway_service_type,
        bundle=read_text(arguments.bundle),
        overlay=read_text(arguments.overlay),
    )
    before = read_charms(arguments, "upgrade-from")
    unpacked = read_charms(arguments)
    # Refuse charms that are needed but cannot be read.
    select_charms(unpacked.charms, settings, unpacked.unreadable).require_readable()
    inventory = archive_inventory(arguments, unpacked)
    inventory.require_sound(arguments.images)
    plan = make_plan(
        unpacked.charms, inventory, settings, unpacked.unreadable, unpacked.intermediate
    )
    document = plan_document(plan, settings.location)
    if is_terraform:
        folder = arguments.output or Path(_TERRAFORM)
        return _write_terraform(folder, plan, unpacked, document["warnings"])
    if not arguments.upgrade_from:
        return Answer(document)
    walk = walk_between(before, unpacked, plan, settings, juju)
    return Answer(document | {"upgrade": walk_document(walk)}, markdown=walk_markdown(walk))


def _require_compatible(arguments: argparse.Namespace) -> None:
    """Check that the options fit the format."""
    form = arguments.format
    if form == "markdown" and not arguments.upgrade_from:
        raise ConfigurationError(
            "--format markdown prints the steps of an upgrade",
            "give the charms.tar.gz of the release that runs: --upgrade-from FILE",
        )
    if form == _TERRAFORM and arguments.upgrade_from:
        raise ConfigurationError(
            "--format terraform only deploys: Terraform cannot keep the order of an upgrade",
            "omit --upgrade-from, or choose another format",
        )
    if form != _TERRAFORM and arguments.output:
        raise ConfigurationError(
            f"--output is only for --format terraform, not for --format {form}",
            "redirect the output to a file: > FILE",
        )


def _write_terraform(
    folder: Path, plan: Plan, unpacked: UnpackedCharms, warnings: list[str]
) -> Answer:
    write_files(folder, terraform_files(plan, unpacked.digests), private={MAIN_FILE})
    complete = plan.without_incomplete()
    document = {
        "written": str(folder),
        "applications": len(complete.applications),
        "relations": len(complete.relations),
        "left_out": [item.name for item in plan.incomplete],
        "missing": [str(image) for image in plan.missing],
        "warnings": [*warnings, *unknown_to_provider(plan)],
    }
    return Answer(document, NEEDS_ATTENTION if plan.missing or plan.missing_charms else 0)

"""``ckf-airgap plan``: what would be deployed, and what is missing for it."""

import argparse
from pathlib import Path

from ckf_airgap.commands.arguments import (
    AddParser,
    add_archives,
    add_format,
    add_registry,
    archive_inventory,
    read_charms,
    read_text,
)
from ckf_airgap.commands.output import Answer
from ckf_airgap.names import RegistryLocation
from ckf_airgap.planning.plan import make_plan, select_charms
from ckf_airgap.planning.report import plan_document
from ckf_airgap.planning.settings import AUTOMATIC, GATEWAY_SERVICE_TYPES, PlanSettings


def define(add_parser: AddParser) -> None:
    """Define the sub-command."""
    text = "print what would be deployed: every image, option and relation, and what is missing"
    plan = add_parser("plan", help=text, description=f"{text[0].upper()}{text[1:]}.")
    plan.set_defaults(run=_plan)
    add_archives(plan, required=("charms", "images"))
    add_registry(plan)
    plan.add_argument(
        "--bundle", type=Path, metavar="FILE", help="a bundle of your own, in place of a release's"
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
        help=f"one of {', '.join(GATEWAY_SERVICE_TYPES)} (default: the charm's)",
    )
    add_format(plan)


def _plan(arguments: argparse.Namespace) -> Answer:
    # What is wrong with these must show before an archive is read for an hour.
    settings = PlanSettings.parse(
        location=RegistryLocation.parse(arguments.registry),
        model=arguments.model.rpartition("/")[2],
        excluded_charms=arguments.excluded_charms,
        gateway_service_type=arguments.gateway_service_type,
        bundle=read_text(arguments.bundle),
        overlay=read_text(arguments.overlay),
    )
    unpacked = read_charms(arguments)
    # A charm that is needed and not readable must show as early.
    select_charms(unpacked.charms, settings, unpacked.unreadable).require_readable()
    inventory = archive_inventory(arguments, unpacked)
    inventory.require_sound(arguments.images)
    plan = make_plan(unpacked.charms, inventory, settings, unpacked.unreadable, unpacked.between)
    return Answer(plan_document(plan, settings.location))

"""What the operator should know of a plan."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ckf_airgap.archives.inventory import Inventory
from ckf_airgap.charms.charm_file import CharmFile


@dataclass(frozen=True)
class PlanWarning:
    """What the operator should know although the plan can be carried out.

    Attributes:
        problem: What it is.
        cure: What can be done about it, or an empty string.
        is_fatal: Whether what is deployed would not work.
    """

    problem: str
    cure: str = ""
    is_fatal: bool = False

    def __str__(self) -> str:
        return f"{self.problem}: {self.cure}" if self.cure else self.problem


# What juju deploy does not take for a single charm, and what to do about it; storage it takes.
_LEFT_OUT: Mapping[str, str] = {
    "annotations": "they are for people alone",
    "devices": "to have them, keep {} in the bundle: excluded-charms",
    "expose": "after the deployment, juju expose {}",
}


def left_out_settings(application: str, settings: Mapping[str, object]) -> Iterator[PlanWarning]:
    """Name what a bundle says of an application that is deployed by itself without it.

    Args:
        application: The application.
        settings: Further keys of the application in the bundle.
    """
    for key, cure in _LEFT_OUT.items():
        if settings.get(key):
            yield PlanWarning(
                f"{application} is deployed by itself, which leaves its {key} out",
                cure.format(application),
            )


def not_pushed(inventory: Inventory) -> Iterator[PlanWarning]:
    """Name what images.tar.gz has that may be an image somebody counts on."""
    cure = "save it by its name (docker save NAME) if it is needed"
    for image in inventory.unnamed:
        yield PlanWarning(f"{image.member} has an image without a name: it is not pushed", cure)
    for entry in inventory.perhaps_lost:
        yield PlanWarning(entry.problem, entry.cure)


def wrong_model(charms: Iterable[CharmFile], model: str) -> Iterator[PlanWarning]:
    """Name the charms that do not run in a model of this name.

    Args:
        charms: The charms that are deployed.
        model: The model's name, without its owner.
    """
    for charm in {charm.name: charm for charm in charms}.values():
        if charm.required_model and charm.required_model != model:
            yield PlanWarning(
                f"this {charm.name} runs only in a model of the name {charm.required_model}, and "
                f"the model is {model}",
                f"deploy to a model {charm.required_model} (a model cannot be renamed)",
                is_fatal=True,
            )

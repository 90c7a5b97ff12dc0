"""What the operator should know of a plan."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ckf_airgap.archives.inventory import Inventory
from ckf_airgap.charm_file import CharmFile


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

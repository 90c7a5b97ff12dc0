"""Warnings about a plan."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ckf_airgap.archives.inventory import Inventory
from ckf_airgap.charms.charm_file import CharmFile


@dataclass(frozen=True)
class PlanWarning:
    """A warning about a plan that can be deployed.

    Attributes:
        problem: The problem.
        cure: The cure, or an empty string.
        is_fatal: Whether the deployment would not work.
    """

    problem: str
    cure: str = ""
    is_fatal: bool = False

    def __str__(self) -> str:
        return f"{self.problem}: {self.cure}" if self.cure else self.problem


# Keys of a bundle for which juju deploy has no flag, and the cure.
_LEFT_OUT: Mapping[str, str] = {
    "annotations": "they only inform people",
    "devices": "to have them, keep {} in the bundle: excluded-charms",
    "expose": "after the deployment, juju expose {}",
}


def left_out_settings(application: str, settings: Mapping[str, object]) -> Iterator[PlanWarning]:
    """Warn of keys in a bundle that have no effect on an application outside the bundle.

    Args:
        application: The application.
        settings: Its keys in the bundle that the plan passes on to Juju.
    """
    for key, cure in _LEFT_OUT.items():
        if settings.get(key):
            yield PlanWarning(
                f"{application} is deployed outside the bundle, without its {key}",
                cure.format(application),
            )


def not_pushed(inventory: Inventory) -> Iterator[PlanWarning]:
    """Warn of files in images.tar.gz that may be images, but are not pushed."""
    cure = "save it by its name (docker save NAME) if it is needed"
    for image in inventory.unnamed:
        yield PlanWarning(f"{image.member} has an image without a name: it is not pushed", cure)
    for entry in inventory.possible_images:
        yield PlanWarning(entry.problem, entry.cure)


def wrong_model(charms: Iterable[CharmFile], model: str) -> Iterator[PlanWarning]:
    """Warn of charms that do not work in a model with this name.

    Args:
        charms: The deployed charms.
        model: The model's name, without its owner.
    """
    for charm in {charm.name: charm for charm in charms}.values():
        if charm.required_model and charm.required_model != model:
            yield PlanWarning(
                f"this {charm.name} runs only in a model named {charm.required_model}, and "
                f"the model is {model}",
                f"deploy to a model {charm.required_model} (a model cannot be renamed)",
                is_fatal=True,
            )

"""The outcome of each image of a push: in the registry, damaged, or refused by the registry."""

from dataclasses import dataclass, field

from ckf_airgap.errors import ArtifactError
from ckf_airgap.registry.blob_upload import UploadLostError
from ckf_airgap.registry.registry_errors import RefusedError


@dataclass
class Outcomes:
    """The outcomes of the images so far, over all passes over the archive.

    Attributes:
        references: The references that the push created or moved, in order.
        present: The number of images that the registry had already.
        done: The keys of the images that are in the registry, or have no name to push them under.
        damaged: By key: an error for each image that turned out to be damaged when it was sent.
        refused: By key: an error for each image that the registry refuses.
        lost: Why an image has to be read again; None if this pass has lost none.
    """

    references: dict[str, None] = field(default_factory=dict[str, None])
    present: int = 0
    done: set[str] = field(default_factory=set[str])
    damaged: dict[str, ArtifactError] = field(default_factory=dict[str, ArtifactError])
    refused: dict[str, RefusedError] = field(default_factory=dict[str, RefusedError])
    lost: UploadLostError | None = None

    def __len__(self) -> int:
        return len(self.done) + len(self.damaged) + len(self.refused)

    def has(self, key: str) -> bool:
        """Return whether an image has an outcome."""
        return key in self.done or key in self.damaged or key in self.refused

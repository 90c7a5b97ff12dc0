"""The errors of this package: each says what happened, to what, and what to do."""


class AirgapError(Exception):
    """Base of every error that this package raises on purpose.

    Args:
        problem: What happened, and to what. One sentence without a full stop.
        cure: What the operator can do. One sentence without a full stop.
    """

    def __init__(self, problem: str, cure: str) -> None:
        super().__init__(f"{problem}: {cure}")
        self.problem = problem
        self.cure = cure


class ConfigurationError(AirgapError):
    """An input that the operator gives is missing or not usable."""


class ArtifactError(AirgapError):
    """An artifact (images.tar.gz, charms.tar.gz or a part of one) is damaged or not readable."""


class StorageError(AirgapError):
    """A disk of this machine is full, or cannot be written to."""


class PlanError(AirgapError):
    """No complete plan can be made from the charms and the images."""


class RegistryError(AirgapError):
    """The registry does not answer, refuses, or answers something unexpected."""


class JujuError(AirgapError):
    """The Juju controller or its client refuses or fails."""


class ClusterError(AirgapError):
    """The Kubernetes API refuses or fails."""

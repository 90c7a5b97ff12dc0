"""The state after a verification, stored to detect later changes."""

import hashlib
from collections.abc import Callable, Mapping

import msgspec

from ckf_airgap.deployment.verification import Verification, namespaces_of_kubeflow
from ckf_airgap.juju.juju_model import JujuModel
from ckf_airgap.juju.juju_values import OptionValue
from ckf_airgap.kubernetes import cluster

_DIGEST_LENGTH = 16


class VerifiedState(msgspec.Struct, frozen=True):
    """The part of the verified state that is compared later.

    Attributes:
        agent_images: The repository of Juju's own images, if they do not come from the internet.
        mirrored: The images that a mirror served (``RunningImage.content``).
        options: Application -> its options that name images, with digests of their values.
        namespaces: The namespaces that options of charms name.
    """

    agent_images: str | None = None
    mirrored: tuple[str, ...] = ()
    options: dict[str, dict[str, str]] = {}
    namespaces: tuple[str, ...] = ()

    @classmethod
    def of(cls, verification: Verification) -> "VerifiedState":
        """Return the state of a passed verification."""
        return cls(
            verification.agent_images,
            tuple(sorted({image.content for image in verification.images.mirrored})),
            {
                application: {name: _digest(value) for name, value in options.items()}
                for application, options in verification.image_options.items()
            },
            verification.charm_namespaces,
        )

    @classmethod
    def read(cls, text: str) -> "VerifiedState":
        """Decode the result of ``text``; anything else gives an empty state."""
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.MsgspecError:
            return cls()

    @property
    def text(self) -> str:
        """The state, encoded in one line."""
        return msgspec.json.encode(self).decode()

    def changes(self, login: Callable[[], JujuModel], model_name: str, host: str) -> list[str]:
        """Describe the changes since the verification.

        Lists the pods once, and the options of each application with options that name images.

        Args:
            login: Logs in to the model; called only if there are options to compare.
            model_name: The model's name, which is also its namespace.
            host: Host and port of the registry.

        Returns:
            A clause for each kind of change; empty if nothing changed.

        Raises:
            ClusterError: The Kubernetes API fails.
            JujuError: Juju fails.
        """
        changes: list[str] = []
        images = cluster.running_images(namespaces_of_kubeflow(model_name, self.namespaces))
        foreign = cluster.report_images(images, host, self.agent_images).foreign
        # The content of a starting container is known only to a later call.
        count = sum(
            not image.is_starting and image.content not in self.mirrored for image in foreign
        )
        if count:
            changes.append(f"{count} containers have an image from elsewhere")
        if changed := self._changed_options(login):
            changes.append(f"{changed[0]} was changed")
            if len(changed) > 1:
                changes[-1] = f"{changed[0]} and {len(changed) - 1} more options were changed"
        return changes

    def _changed_options(self, login: Callable[[], JujuModel]) -> list[str]:
        if not self.options:
            return []
        model = login()
        deployed = model.state().applications
        changed: list[str] = []
        for application, digests in self.options.items():
            current: Mapping[str, OptionValue] = {}
            if application in deployed:
                current = model.option_values(application)
            changed += [
                f"the option {name} of {application}"
                for name, digest in digests.items()
                if _digest(current.get(name, "")) != digest
            ]
        return changed


def _digest(value: OptionValue) -> str:
    # A list of images may have thousands of characters, and the state is stored in Juju.
    return hashlib.sha256(str(value).encode()).hexdigest()[:_DIGEST_LENGTH]

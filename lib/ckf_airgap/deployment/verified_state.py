"""What a verification has found, kept to see later whether it still holds."""

import hashlib
from collections.abc import Callable, Mapping

import msgspec

from ckf_airgap.deployment.verification import Verification
from ckf_airgap.juju.juju_model import JujuModel
from ckf_airgap.juju.juju_values import OptionValue
from ckf_airgap.kubernetes import cluster

_LONGEST_DIGEST = 16


class VerifiedState(msgspec.Struct, frozen=True):
    """What was verified, as far as a later look needs it.

    Attributes:
        agent_images: Where Juju takes the images of its agents from, if not from the internet.
        mirrored: The contents (``RunningImage.content``) that came by a mirror.
        options: Digests of the values of the options that name images, by applications.
    """

    agent_images: str | None = None
    mirrored: tuple[str, ...] = ()
    options: dict[str, dict[str, str]] = {}

    @classmethod
    def of(cls, verification: Verification) -> "VerifiedState":
        """Return what to keep of a verification that has passed."""
        return cls(
            verification.agent_images,
            tuple(sorted({image.content for image in verification.images.mirrored})),
            {
                application: {name: _digest(value) for name, value in options.items()}
                for application, options in verification.image_options.items()
            },
        )

    @classmethod
    def read(cls, text: str) -> "VerifiedState":
        """Read what ``text`` has written; of anything else nothing is known."""
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.MsgspecError:
            return cls()

    @property
    def text(self) -> str:
        """The state in one line, to be kept."""
        return msgspec.json.encode(self).decode()

    def changes(self, login: Callable[[], JujuModel], model_name: str, host: str) -> list[str]:
        """Describe what does not hold any more.

        It lists the pods once, and the options of each application that has any for images.

        Args:
            login: Logs in to the model; called where there are options to look at.
            model_name: The model's name, which is its namespace too.
            host: Host and port of the registry.

        Returns:
            A clause for each kind of change; empty if all is as it was.

        Raises:
            ClusterError: The Kubernetes API fails.
            JujuError: Juju fails.
        """
        found: list[str] = []
        namespaces = [model_name, *cluster.knative_namespaces(), *cluster.profile_namespaces()]
        images = cluster.running_images(dict.fromkeys(namespaces))
        foreign = cluster.report_images(images, host, self.agent_images).foreign
        count = sum(image.content not in self.mirrored for image in foreign)
        if count:
            found.append(f"{count} containers have an image from elsewhere")
        if changed := self._changed_options(login):
            found.append(f"{changed[0]} was changed")
            if len(changed) > 1:
                found[-1] = f"{changed[0]} and {len(changed) - 1} more options were changed"
        return found

    def _changed_options(self, login: Callable[[], JujuModel]) -> list[str]:
        if not self.options:
            return []
        model = login()
        there = model.state().applications
        changed: list[str] = []
        for application, digests in self.options.items():
            current: Mapping[str, OptionValue] = {}
            if application in there:
                current = model.option_values(application)
            changed += [
                f"the option {name} of {application}"
                for name, digest in digests.items()
                if _digest(current.get(name, "")) != digest
            ]
        return changed


def _digest(value: OptionValue) -> str:
    # A list of images may have thousands of characters, and the state is kept in Juju.
    return hashlib.sha256(str(value).encode()).hexdigest()[:_LONGEST_DIGEST]

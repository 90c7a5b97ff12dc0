"""The operator's settings of a deployment, parsed once."""

import functools
from dataclasses import dataclass, field

from ckf_airgap.errors import ConfigurationError
from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.planning.bundle_and_overlay import apply_overlay, read_bundle
from ckf_airgap.planning.topology import Topology, load_topology

AUTOMATIC = "auto"
"""The value of excluded-charms that stands for the podspec charms."""
GATEWAY_SERVICE_TYPES = ("ClusterIP", "LoadBalancer", "NodePort")


@dataclass(frozen=True, kw_only=True)
class PlanSettings:
    """The operator's settings of a deployment.

    Attributes:
        location: The registry prefix of the images.
        topology: The applications and relations of this package or of the operator's own bundle,
            changed by an overlay.
        model: The name of the model, which some options contain.
        excluded_charms: The names of charms or applications to deploy outside the bundle; None
            for the podspec charms.
        gateway_service_type: The type of the ingress gateway's service; empty for the charm's
            default.
    """

    location: RegistryLocation
    topology: Topology = field(default_factory=load_topology)
    model: str = "kubeflow"
    excluded_charms: tuple[str, ...] | None = None
    gateway_service_type: str = ""

    @classmethod
    def parse(
        cls,
        *,
        location: RegistryLocation,
        model: str = "kubeflow",
        excluded_charms: str = AUTOMATIC,
        gateway_service_type: str = "",
        bundle: str = "",
        overlay: str = "",
    ) -> "PlanSettings":
        """Parse the settings.

        Args:
            location: As for the attribute.
            model: As for the attribute.
            excluded_charms: ``auto`` for the podspec charms, or names separated by commas.
            gateway_service_type: As for the attribute.
            bundle: The text of the operator's own bundle; empty for the topology of this package.
            overlay: The text of an overlay; empty for none.

        Raises:
            ConfigurationError: One of them is invalid. ``make_plan`` checks what depends on the
                archives.
        """
        names = tuple(filter(None, (name.strip() for name in excluded_charms.split(","))))
        return cls(
            location=location,
            topology=read_topology(bundle, overlay),
            model=model,
            excluded_charms=None if names == (AUTOMATIC,) else names,
            gateway_service_type=read_gateway_type(gateway_service_type),
        )


# Cached, because one run of the charm checks the topology and then uses it.
@functools.lru_cache(maxsize=1)
def read_topology(bundle: str, overlay: str) -> Topology:
    """Read the applications and relations.

    Args:
        bundle: The text of the operator's own bundle; empty for the topology of this package.
        overlay: The text of an overlay; empty for none.

    Raises:
        ConfigurationError: One of them is not valid.
    """
    topology = read_bundle(bundle) if bundle.strip() else load_topology()
    return apply_overlay(topology, overlay) if overlay.strip() else topology


def read_gateway_type(text: str) -> str:
    """Read the type of the ingress gateway's service; empty for the charm's default.

    Raises:
        ConfigurationError: Kubernetes has no such type of service.
    """
    if text and text not in GATEWAY_SERVICE_TYPES:
        raise ConfigurationError(
            f"gateway-service-type is {text!r}",
            f"give one of {', '.join(GATEWAY_SERVICE_TYPES)}, or nothing for the charm's default",
        )
    return text

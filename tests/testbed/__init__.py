"""An air-gapped Kubernetes and a Juju controller, real ones, on one machine without snaps."""

from tests.testbed.host import TestbedError
from tests.testbed.testbed import Testbed

__all__ = ["Testbed", "TestbedError"]

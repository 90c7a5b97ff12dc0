"""An air-gapped Kubernetes and a Juju controller, real ones, on one machine without snaps."""

from testbed.host import TestbedError
from testbed.testbed import Testbed

__all__ = ["Testbed", "TestbedError"]

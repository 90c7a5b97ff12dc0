"""The name under which this charm is deployed, for the commands that messages advise."""

import os

# Juju sets it for every hook and action (Juju documentation, "Hook environment variables").
_UNIT = os.environ.get("JUJU_UNIT_NAME", "")

OWN_APPLICATION = _UNIT.partition("/")[0] or "ckf-airgap"
"""The application of this process's unit; on a workstation, the charm's name."""

"""The CPU architecture of the nodes."""

import platform

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def node_architecture() -> str:
    """Return the CPU architecture of this machine, which is one of the nodes, as images name it.

    Returns:
        The name; an empty string if it is unknown.
    """
    return _ARCHITECTURES.get(platform.machine(), "")

"""The machine that this runs on."""

import platform

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def node_architecture() -> str:
    """Return the CPU architecture of the nodes as images name it: the unit runs on one of them.

    Returns:
        The name; an empty string where it is not known.
    """
    return _ARCHITECTURES.get(platform.machine(), "")

#!/usr/bin/env python3
"""Stands in for istio-pilot: takes no jump over a minor version, and no step back.

The real one compares the control plane in the cluster with its own istioctl in its upgrade hook,
which fails (canonical/istio-operators, ``charms/istio-pilot/src/charm.py``,
``_validate_upgrade_version``). Here the version is kept with the unit in Juju, where it stays when
the pod goes; what a hook that fails has set is not kept.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

# Beside this file: the version that the charm brings, as the real one has an istioctl.
VERSION_FILE = "istio-version"
KEY = "istio-version"
_TAG = re.compile(r"""global-tag["']?\s*:\s*["']?([^"'\s,}]+)""")


def refusal(before: str, after: str) -> str:
    """Say why the charm does not upgrade from one version to another; empty where it does."""
    old, new = (tuple(map(int, version.split("."))) for version in (before, after))
    if new < old:
        return f"cannot downgrade from {before} to {after}"
    if new[0] != old[0] or new[1] - old[1] > 1:
        return f"cannot upgrade from {before} to {after}: one minor version at a time"
    return ""


def main() -> None:
    """Handle one hook."""
    hook = os.environ["JUJU_DISPATCH_PATH"].rpartition("/")[2]
    own = Path(os.environ["JUJU_CHARM_DIR"], VERSION_FILE).read_text().strip()
    runs = _tool("state-get", KEY)
    if hook == "upgrade-charm" and runs and (why := refusal(runs, own)):
        sys.exit(why)
    if hook == "upgrade-charm" or not runs:
        _tool("state-set", f"{KEY}={own}")
    tag = _TAG.search(_tool("config-get", "image-configuration"))
    if tag and tag[1] == own:
        _tool("status-set", "active")
    else:
        # The real one waits in vain for pods of its own version.
        found = tag[1] if tag else "none"
        _tool("status-set", "waiting", f"for pods of {own}: image-configuration has {found}")


def _tool(*words: str) -> str:
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


if __name__ == "__main__":
    main()

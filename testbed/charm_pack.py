"""A real ``charmcraft pack`` without snaps or containers: in a root file system of its own."""

import re
import shutil
import tempfile
from pathlib import Path

from testbed import rootfs
from testbed.host import TestbedError, run, step

_PATH = "/charmcraft/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def pack(project: Path, output: Path) -> Path:
    """Pack a charm.

    Args:
        project: The folder with charmcraft.yaml. Nothing is written there; what git ignores stays
            out.
        output: The folder for the charm.

    Returns:
        The .charm file.

    Raises:
        TestbedError: charmcraft fails; the message holds what it said.
    """
    output.mkdir(parents=True, exist_ok=True)
    with step(f"packing {project.name}"), tempfile.TemporaryDirectory() as name:
        staged = Path(name, "project")
        _copy(project, staged)
        _leave_out_snaps(staged / "charmcraft.yaml")
        rootfs.run_inside(
            rootfs.charm_build(),
            "cd /project && charmcraft pack --destructive-mode --verbosity=brief 2>&1 || "
            "{ cat ~/.local/state/charmcraft/log/*.log 2>/dev/null | tail -60 >&2; exit 1; }",
            mounts={staged: "project"},
            env={"PATH": _PATH, "HOME": "/root", "LANG": "C.UTF-8"},
            with_network=True,
        )
        packed = sorted(staged.glob("*.charm"))
        if not packed:
            raise TestbedError("charmcraft pack wrote no .charm file")
        target = output / packed[0].name
        shutil.copyfile(packed[0], target)
    return target


def _copy(project: Path, target: Path) -> None:
    """Copy what git knows of the project, and what it does not know yet but would take."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = run(command, cwd=project).split("\0")
    for name in filter(None, listed):
        source = project / name
        if source.is_file():
            place = target / name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, place)


def _leave_out_snaps(charmcraft: Path) -> None:
    """Take out build-snaps: there is no snapd, and uv is on the PATH."""
    text = charmcraft.read_text()
    charmcraft.write_text(re.sub(r"^\s+build-snaps:\n(\s+- .*\n)+", "", text, flags=re.M))

"""Root file systems made with mmdebstrap, and running commands inside them."""

import os
import re
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path

from testbed import versions
from testbed.host import TestbedError, cached, run

_SOURCES = Path("/etc/apt")
# What a command mounts after these words ends with it, however it ends.
_OWN_MOUNTS = ("unshare", "--mount", "--propagation", "private")


def charm_base() -> Path:
    """Give the root file system of the containers that charms run in."""

    def make(folder: Path) -> None:
        packages = "python3,python3-venv,ca-certificates,procps,curl"
        _debootstrap(folder, versions.DEBIAN, packages)
        release = folder / "usr/lib/os-release"
        release.write_text(
            'NAME="Ubuntu"\nID=ubuntu\nID_LIKE=debian\n'
            f'VERSION_ID="{versions.CHARM_BASE}"\n'
            f'PRETTY_NAME="Debian {versions.DEBIAN} for Ubuntu {versions.CHARM_BASE}"\n'
        )
        # The users that Juju's own images have: charms run as the first.
        for user, number in (("juju", "170"), ("sjuju", "171")):
            run(["chroot", folder, "groupadd", "--gid", number, user])
            options = ["--uid", number, "--gid", number, "--create-home", "--shell", "/bin/bash"]
            run(["chroot", folder, "useradd", *options, user])
        run(["chroot", folder, "useradd", "--system", "--user-group", "syslog"])
        for kept_by_apt in ("var/lib/apt/lists", "var/cache/apt"):
            shutil.rmtree(folder / kept_by_apt, ignore_errors=True)

    return cached("charm-base", versions.DEBIAN, make)


def charm_build() -> Path:
    """Give the root file system that charms are packed in: the base and what compiles for it."""

    def make(folder: Path) -> None:
        packages = "python3,python3-venv,python3-apt,python3-dev,ca-certificates,git,gcc,libc6-dev"
        _debootstrap(folder, versions.DEBIAN, packages)
        shutil.copy2(charm_base() / "usr/lib/os-release", folder / "usr/lib/os-release")
        pip = "/charmcraft/bin/pip install --quiet --disable-pip-version-check"
        run_inside(
            folder,
            "python3 -m venv --system-site-packages /charmcraft && "
            f"{pip} charmcraft=={versions.CHARMCRAFT} uv && "
            # The distribution's binding to OpenSSL does not go with the newer cryptography.
            f"{pip} --upgrade cryptography pyopenssl",
            env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "HOME": "/root"},
            with_network=True,
        )

    return cached("charm-build", f"{versions.DEBIAN}-{versions.CHARMCRAFT}", make)


def dqlite_build() -> Path:
    """Give the root file system that the controller's agent is built in."""

    def make(folder: Path) -> None:
        packages = "gcc,libc6-dev,libdqlite-dev,libxxhash-dev,ca-certificates"
        _debootstrap(folder, versions.DEBIAN_OF_DQLITE_BUILD, packages)
        newest = versions.DEBIAN_OF_DQLITE
        sources = folder / f"etc/apt/sources.list.d/{newest}.list"
        sources.write_text(f"deb {_mirror()} {newest} main\n")
        run_inside(
            folder,
            # A mirror may be frozen at a day long past; its signature is checked all the same.
            "cd /tmp && apt-get update -qq -o Acquire::Check-Valid-Until=false && "
            f"apt-get download -qq libdqlite-dev/{newest} && "
            "dpkg --unpack --force-depends ./*.deb && rm ./*.deb",
            env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin"},
            with_network=True,
        )

    return cached("dqlite-build", versions.DEBIAN_OF_DQLITE_BUILD, make)


def run_inside(
    root: Path,
    script: str,
    *,
    mounts: Mapping[Path, str] | None = None,
    env: Mapping[str, str] | None = None,
    with_network: bool = False,
) -> str:
    """Run a shell script in a root file system, in a mount namespace that ends with it.

    Args:
        root: The root file system.
        script: The script.
        mounts: Folders of this machine to show inside, at paths below the root.
        env: Its whole environment.
        with_network: Whether it may use this machine's name resolution, certificates and package
            settings.

    Returns:
        Its standard output.
    """
    mounts = {**(mounts or {}), Path("/dev"): "dev"}
    prepare = [f"mount -t proc proc {shlex.quote(str(root / 'proc'))}"]
    for source, target in mounts.items():
        place = root / target
        place.mkdir(parents=True, exist_ok=True)
        prepare.append(f"mount --rbind {shlex.quote(str(source))} {shlex.quote(str(place))}")
    variables = dict(env or {})
    if with_network:
        prepare += _show_network_settings(root)
        variables |= _network_variables()
    assignments = [f"{name}={value}" for name, value in variables.items()]
    inner = shlex.join(["chroot", str(root), "env", "-i", *assignments, "/bin/sh", "-ec", script])
    command = " && ".join([*prepare, inner])
    return run([*_OWN_MOUNTS, "sh", "-ec", command])


def _show_network_settings(root: Path) -> list[str]:
    """Give the mounts of this machine's files that its clients need to reach the outside."""
    commands: list[str] = []
    for file in ("/etc/resolv.conf", "/etc/hosts", "/etc/ssl/certs/ca-certificates.crt"):
        place = root / file[1:]
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.is_symlink() or not place.exists():
            place.unlink(missing_ok=True)
            place.touch()
        commands.append(f"mount --bind {os.path.realpath(file)} {shlex.quote(str(place))}")
    return commands


def _network_variables() -> dict[str, str]:
    names = re.compile(r"(https?|no|all)_proxy|PIP_.*|UV_.*|SSL_CERT_FILE", re.IGNORECASE)
    return {
        name: value
        for name, value in os.environ.items()
        if names.fullmatch(name) and not name.startswith(("PIP_FIND_LINKS", "UV_PROJECT"))
    }


def _debootstrap(folder: Path, release: str, packages: str) -> None:
    # A mirror may be frozen at a day long past; its signature is checked all the same.
    options = ["--variant=minbase", '--aptopt=Acquire::Check-Valid-Until "false"']
    command = ["mmdebstrap", *options, f"--include={packages}", release, folder, _mirror()]
    # It mounts /proc in the folder: killed half way, that must not stay.
    run([*_OWN_MOUNTS, *command])


def _mirror() -> str:
    """Find the Debian mirror that this machine uses, in either format of sources.list(5)."""
    files = [_SOURCES / "sources.list", *sorted(_SOURCES.glob("sources.list.d/*"))]
    for file in files:
        text = file.read_text() if file.is_file() else ""
        for address in re.findall(r"^(?:URIs:|deb(?: \[.*?\])?)\s+(\S+)", text, re.M):
            if address.rstrip("/").endswith("/debian"):
                return address
    raise TestbedError(f"no Debian mirror found in {_SOURCES}: this needs a Debian machine")

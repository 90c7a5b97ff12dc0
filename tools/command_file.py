"""Builds the command as one file, build/ckf-airgap: tox -e command.

The file is a PEX (https://docs.pex-tool.org): a zip archive that Python runs. It contains the code
of the command, the documents as HTML, and the unchanged wheels of its dependencies from uv.lock,
for each version in ``PYTHONS`` and each architecture in ``ARCHITECTURES``. The same sources give
the same file.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from packaging.markers import Environment
from packaging.pylock import PackageWheel, Pylock
from packaging.tags import Tag, compatible_tags, cpython_tags

PYTHONS = ("3.10", "3.11", "3.12", "3.13")
"""The versions in Ubuntu 22.04, Debian 12, Ubuntu 24.04 and Debian 13."""
ARCHITECTURES = ("x86_64", "aarch64")
"""The names in Linux of amd64 and arm64."""
# The minor version of glibc in Ubuntu 22.04, the oldest of these systems (PEP 600).
_GLIBC = 35
_OLDEST_GLIBC = 17
_ROOT = Path(__file__).parents[1]
_BUILD = _ROOT / "build"
_WHEELS = _BUILD / "wheels"
_DOCUMENTS = _BUILD / "docs"
COMMAND = _BUILD / "ckf-airgap"
"""The path of the command's file."""


@dataclass(frozen=True)
class Target:
    """A Python version on an architecture.

    Attributes:
        python: The version, for example ``3.12``.
        architecture: One of ``ARCHITECTURES``.
    """

    python: str
    architecture: str

    @property
    def platforms(self) -> list[str]:
        """The compatible platforms of wheels, the best first (PEP 600)."""
        return [
            f"manylinux_2_{minor}_{self.architecture}"
            for minor in range(_GLIBC, _OLDEST_GLIBC - 1, -1)
        ]

    @property
    def tags(self) -> list[Tag]:
        """The compatible tags of wheels, the best first (PEP 425)."""
        major, minor = map(int, self.python.split("."))
        version, platforms = (major, minor), self.platforms
        interpreter = f"cp{major}{minor}"
        return [
            *cpython_tags(version, platforms=platforms),
            *compatible_tags(version, interpreter, platforms),
        ]

    @property
    def environment(self) -> Environment:
        """The values of environment markers (PEP 508)."""
        return {
            "implementation_name": "cpython",
            "implementation_version": f"{self.python}.0",
            "os_name": "posix",
            "platform_machine": self.architecture,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": f"{self.python}.0",
            "python_version": self.python,
            "sys_platform": "linux",
        }

    def write(self, folder: Path) -> Path:
        """Write the target as a file for pex (PEX manual, "Complete platform").

        Args:
            folder: The directory for the file.

        Returns:
            The path of the file.
        """
        path = folder / f"{self.python}-{self.architecture}.json"
        tags = [str(tag) for tag in self.tags]
        document = {"marker_environment": self.environment, "compatible_tags": tags}
        path.write_text(json.dumps(document))
        return path


TARGETS = tuple(Target(python, each) for python in PYTHONS for each in ARCHITECTURES)


def locked_wheels(lock: Pylock, target: Target) -> Iterator[tuple[str, PackageWheel]]:
    """Select the wheels in uv.lock for a target.

    Args:
        lock: The exported lock file.
        target: The target.

    Yields:
        ``NAME==VERSION`` and the wheel of each package.
    """
    for package, found in lock.select(environment=target.environment, tags=target.tags):
        if not isinstance(found, PackageWheel):
            sys.exit(f"{package.name} {package.version} has no wheel for {target}")
        yield f"{package.name}=={package.version}", found


def _read_lock(folder: Path) -> Pylock:
    path = folder / "pylock.toml"
    options = ("--quiet", "--locked", "--no-emit-project", "--no-default-groups")
    output = ("--format", "pylock.toml", "--output-file", str(path))
    subprocess.run(
        ["uv", "export", *options, *output], check=True, cwd=_ROOT, stdout=subprocess.DEVNULL
    )
    return Pylock.from_dict(tomllib.loads(path.read_text()))


def _fetch(lock: Pylock, folder: Path, target: Target) -> list[Path]:
    """Download the missing wheels of a target with pip, which checks their hashes."""
    wheels = list(locked_wheels(lock, target))
    paths = [_WHEELS / wheel.filename for _, wheel in wheels]
    lacking = [
        f"{name} --hash=sha256:{wheel.hashes['sha256']}\n"
        for (name, wheel), path in zip(wheels, paths, strict=True)
        if not (path.exists() and _is(path, wheel))
    ]
    if lacking:
        requirements = folder / f"{target.python}-{target.architecture}.txt"
        requirements.write_text("".join(lacking))
        platforms = [word for each in target.platforms for word in ("--platform", each)]
        python = ("--implementation", "cp", "--python-version", target.python, *platforms)
        what = ("--no-deps", "--only-binary", ":all:", "--requirement", str(requirements))
        pip = (sys.executable, "-m", "pip", "download", "--quiet", "--require-hashes")
        subprocess.run([*pip, *what, *python, "--dest", str(_WHEELS)], check=True)
    return paths


def _is(path: Path, wheel: PackageWheel) -> bool:
    return hashlib.sha256(path.read_bytes()).hexdigest() == wheel.hashes["sha256"]


def _stage(folder: Path) -> Path:
    """Copy the code and the documents, without caches and hidden files."""
    staged = folder / "content"
    ignored = shutil.ignore_patterns("__pycache__", ".*")
    shutil.copytree(_ROOT / "lib" / "ckf_airgap", staged / "ckf_airgap", ignore=ignored)
    shutil.copytree(_DOCUMENTS, staged / "documents", ignore=ignored)
    for path in staged.rglob("*"):
        # Git records only these modes, whatever the umask is.
        path.chmod(0o755 if path.is_dir() else 0o644)
    return staged


def main() -> None:
    """Build the file."""
    if not (_DOCUMENTS / "index.html").exists():
        sys.exit(f"{_DOCUMENTS} is missing: run tox -e docs, or make command, which runs both")
    _WHEELS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lock = _read_lock(folder)
        with ThreadPoolExecutor(2) as executor:
            fetched = executor.map(partial(_fetch, lock, folder), TARGETS)
            wheels = {path for paths in fetched for path in paths}
        project = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]
        subprocess.run(
            [
                *(sys.executable, "-m", "pex", *project["dependencies"]),
                *(f"--pre-resolved-dist={path}" for path in sorted(wheels)),
                *(f"--complete-platform={target.write(folder)}" for target in TARGETS),
                f"--sources-directory={_stage(folder)}",
                f"--entry-point={project['scripts']['ckf-airgap']}",
                "--python-shebang=/usr/bin/env python3",
                # Keep the wheels unchanged, with the checksums of uv.lock.
                "--no-pre-install-wheels",
                # In a virtual environment of copies, lightkube and its models share a directory.
                "--venv",
                "--venv-site-packages-copies",
                "--no-compile",
                f"--output-file={COMMAND}",
            ],
            check=True,
        )


if __name__ == "__main__":
    main()

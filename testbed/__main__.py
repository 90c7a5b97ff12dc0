"""The testbed's command line: ``python3 -m testbed --help``."""

import argparse
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from testbed import Testbed, TestbedError, builds
from testbed.host import install_packages, say
from testbed.registries import build_registries

_COMMANDS = {
    "packages": "install the Debian packages that are missing",
    "build": "install and build everything that is kept between runs",
    "up": "bring everything up; repairs what died; does nothing where all is well",
    "down": "take everything down, keeping what is built and what the registries hold",
    "destroy": "take everything down and remove its folder; the builds stay in the cache",
    "status": "tell how each part is; the exit status is 0 where all is well",
    "pack": "pack the charm of a project",
    "exec": "run a command inside: python3 -m testbed exec -- juju status",
}


def main() -> int:
    """Run one command; gives the exit status."""
    parser = argparse.ArgumentParser(prog="python3 -m testbed", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in _COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text)
        if name == "pack":
            command.add_argument("--project", type=Path, default=Path.cwd())
            command.add_argument("--output", type=Path, default=Path.cwd() / "build")
        if name == "exec":
            command.add_argument("words", nargs="+", metavar="WORD")
    arguments = parser.parse_args()
    try:
        return _run(arguments)
    except TestbedError as error:
        say(f"error: {error}")
        return 1


def _run(arguments: argparse.Namespace) -> int:
    if arguments.command == "packages":
        install_packages()
        return 0
    testbed = Testbed()
    if arguments.command == "build":
        install_packages()
        with ThreadPoolExecutor(1) as executor:
            others = executor.submit(_build_for_functional_tests)
            testbed.build()
            others.result()
        return 0
    if arguments.command == "exec":
        return subprocess.run(testbed.command(arguments.words)).returncode
    if arguments.command == "pack":
        print(testbed.pack(arguments.project, arguments.output))
        return 0
    if arguments.command == "status":
        parts = testbed.status()
        for name, problem in parts:
            print(f"{name:<20} {problem or 'ok'}")
        return int(any(problem for _, problem in parts))
    {
        "up": testbed.up,
        "down": testbed.down,
        "destroy": testbed.destroy,
    }[arguments.command]()
    return 0


def _build_for_functional_tests() -> None:
    build_registries()
    builds.juju_3_client()


if __name__ == "__main__":
    sys.exit(main())

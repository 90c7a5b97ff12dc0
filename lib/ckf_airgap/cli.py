"""The command ``ckf-airgap``, for a workstation: the same core without a cluster."""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ckf_airgap.artifacts.byte_stream import open_archive, report_reading
from ckf_airgap.artifacts.charms import unpack_charms
from ckf_airgap.artifacts.inventory import Inventory, read_inventory
from ckf_airgap.artifacts.sources import FileSource
from ckf_airgap.charm_file import CharmFile, wanted_images
from ckf_airgap.errors import AirgapError, ArtifactError, ConfigurationError
from ckf_airgap.names import RegistryLocation
from ckf_airgap.planning.plan import (
    AUTOMATIC,
    GATEWAY_SERVICE_TYPES,
    PlanSettings,
    check_settings,
    make_plan,
)
from ckf_airgap.planning.report import plan_document

_DAMAGED = 1
_BAD_INPUT = 2
_INTERRUPTED = 130
_EPILOG = """exit status:
  0  done
  1  inspect: an archive holds damaged members, which are listed
  2  bad input; what is wrong and what to do about it is on standard error
"""


@dataclass(frozen=True)
class _Answer:
    """What a command prints, and its exit status."""

    document: dict[str, Any]
    status: int = 0


def main(words: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        words: Its arguments; those of this process where not given.

    Returns:
        The exit status.
    """
    arguments = _parser().parse_args(words)
    try:
        answer: _Answer = arguments.run(arguments)
        if arguments.format == "json":
            text = json.dumps(answer.document, indent=2) + "\n"
        else:
            text = yaml.safe_dump(answer.document, sort_keys=False, allow_unicode=True, width=100)
        sys.stdout.write(text)
        sys.stdout.flush()
    except AirgapError as error:
        print(f"ckf-airgap: error: {error}", file=sys.stderr)
        return _BAD_INPUT
    except BrokenPipeError:
        # Whoever read the output has had enough of it.
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        return _INTERRUPTED
    return answer.status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "ckf-airgap",
        description="Charmed Kubeflow for air-gapped clusters: what the charm of this name does, "
        "on a workstation.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_plan(commands.add_parser)
    _add_inspect(commands.add_parser)
    return parser


def _add_plan(add: Callable[..., argparse.ArgumentParser]) -> None:
    text = "print what would be deployed: every image, option and relation, and what is missing"
    plan = add("plan", help=text, description=f"{text[0].upper()}{text[1:]}.")
    plan.set_defaults(run=_plan)
    plan.add_argument("--charms", type=Path, required=True, metavar="FILE", help="charms.tar.gz")
    plan.add_argument("--images", type=Path, required=True, metavar="FILE", help="images.tar.gz")
    plan.add_argument(
        "--registry", required=True, metavar="HOST[:PORT][/PATH]", help="the registry prefix"
    )
    plan.add_argument(
        "--bundle", type=Path, metavar="FILE", help="a bundle of your own, in place of a release's"
    )
    plan.add_argument("--overlay", type=Path, metavar="FILE", help="a bundle overlay")
    plan.add_argument(
        "--model", default="kubeflow", metavar="NAME", help="the model (default: %(default)s)"
    )
    plan.add_argument(
        "--excluded-charms",
        default=AUTOMATIC,
        metavar="LIST",
        help="charms or applications to deploy outside the bundle, separated by commas "
        "(default: %(default)s, the podspec charms)",
    )
    plan.add_argument(
        "--gateway-service-type",
        default="",
        metavar="TYPE",
        help=f"one of {', '.join(GATEWAY_SERVICE_TYPES)} (default: the charm's)",
    )
    _add_format(plan)


def _add_inspect(add: Callable[..., argparse.ArgumentParser]) -> None:
    text = "print what the archives hold, damaged members included"
    inspect = add("inspect", help=text, description=f"{text[0].upper()}{text[1:]}.")
    inspect.set_defaults(run=_inspect)
    inspect.add_argument("--charms", type=Path, metavar="FILE", help="charms.tar.gz")
    inspect.add_argument("--images", type=Path, metavar="FILE", help="images.tar.gz")
    _add_format(inspect)


def _add_format(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--format", choices=("yaml", "json"), default="yaml", help="(default: %(default)s)"
    )


def _plan(arguments: argparse.Namespace) -> _Answer:
    settings = PlanSettings(
        location=RegistryLocation.parse(arguments.registry),
        model=arguments.model.rpartition("/")[2],
        excluded_charms=arguments.excluded_charms,
        gateway_service_type=arguments.gateway_service_type,
        bundle=_text(arguments.bundle),
        overlay=_text(arguments.overlay),
    )
    # What is wrong with these must show before an archive is read for an hour.
    check_settings(settings)
    with tempfile.TemporaryDirectory(prefix="ckf-airgap-") as folder:
        charms = _charms(arguments.charms, Path(folder))
        inventory = _inventory(arguments.images, charms)
        if inventory.damaged:
            listed = "; ".join(error.problem for error in inventory.damaged)
            raise ArtifactError(
                f"{arguments.images.name} holds {len(inventory.damaged)} damaged archives: "
                f"{listed}",
                "save these images again (docker save) and make the archive again",
            )
        plan = make_plan(charms, inventory, settings)
    return _Answer(plan_document(plan, settings.location))


def _inspect(arguments: argparse.Namespace) -> _Answer:
    if arguments.charms is None and arguments.images is None:
        raise ConfigurationError("nothing to inspect", "give --charms, --images or both")
    document: dict[str, Any] = {}
    status = 0
    charms: tuple[CharmFile, ...] = ()
    with tempfile.TemporaryDirectory(prefix="ckf-airgap-") as folder:
        if arguments.charms:
            charms = _charms(arguments.charms, Path(folder))
            document["charms"] = {charm.name: _charm_document(charm) for charm in charms}
    if arguments.images:
        inventory = _inventory(arguments.images, charms)
        document["images"] = [
            {
                "member": image.member,
                "names": [str(name) for name in image.names],
                "image_id": image.image_id,
                "architecture": image.architecture,
            }
            for image in inventory.images
        ]
        document["damaged"] = [error.problem for error in inventory.damaged]
        status = _DAMAGED if inventory.damaged else 0
    return _Answer(document, status)


def _charm_document(charm: CharmFile) -> dict[str, Any]:
    return {
        "file": charm.label,
        "podspec": charm.is_podspec,
        "bases": list(charm.bases),
        "assumes": str(charm.assumes),
        "resources": dict(charm.resources),
        "options": {option.name: list(option.images) for option in charm.image_options},
    }


def _charms(path: Path, folder: Path) -> tuple[CharmFile, ...]:
    return unpack_charms(FileSource(_existing(path)), folder)


def _inventory(path: Path, charms: Sequence[CharmFile]) -> Inventory:
    source = FileSource(_existing(path))
    on_read = report_reading(source, lambda text: print(text, file=sys.stderr))
    with open_archive(source, on_read) as archive:
        return read_inventory(archive, path.name, wanted_images(charms))


def _existing(path: Path) -> Path:
    try:
        with path.open("rb"):
            return path
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read ({error.strerror})", "give the path of a file that is there"
        ) from error


def _text(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        return _existing(path).read_text("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is not text", "give a YAML file") from error


if __name__ == "__main__":
    sys.exit(main())

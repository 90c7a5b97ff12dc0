"""The command ``ckf-airgap``, for a workstation: the same core without a cluster."""

import argparse
import dataclasses
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tqdm import tqdm

from ckf_airgap import https
from ckf_airgap.archives.byte_stream import report_reading
from ckf_airgap.archives.charms import unpack_charms
from ckf_airgap.archives.inventory import Inventory, read_inventory
from ckf_airgap.archives.sources import FileSource, Source, UrlSource
from ckf_airgap.auth_file import read_auth_file
from ckf_airgap.charm_file import CharmFile, wanted_images
from ckf_airgap.errors import AirgapError, ConfigurationError, StorageError, disk_error
from ckf_airgap.inspection import (
    attention,
    findings_document,
    inspection_table,
    inventory_document,
)
from ckf_airgap.journal import sealing_key, state_folder
from ckf_airgap.memory import use_one_arena
from ckf_airgap.names import ImageReference, RegistryLocation
from ckf_airgap.packing.archives import FetchProgress
from ckf_airgap.packing.assembly import LAYOUTS
from ckf_airgap.packing.pack import Packer, PackRequest, PackSteps
from ckf_airgap.packing.request import (
    charms_of_bundle,
    charms_of_channel_map,
    images_in,
    parse_image,
)
from ckf_airgap.planning.plan import (
    AUTOMATIC,
    GATEWAY_SERVICE_TYPES,
    PlanSettings,
    check_settings,
    make_plan,
)
from ckf_airgap.planning.report import plan_document
from ckf_airgap.registry.client import RegistryClient
from ckf_airgap.registry.progress import Progress
from ckf_airgap.registry.push import ImagePusher
from ckf_airgap.skopeo import Skopeo, SkopeoSettings

_NEEDS_ATTENTION = 1
_BAD_INPUT = 2
_INTERRUPTED = 130
_LINE_SECONDS = 30.0
_LARGEST_LIST = 16 * 1024 * 1024
_EPILOG = """exit status:
  0  done
  1  inspect, push: something in an archive is damaged, has no name, or is not pushed although it
     may be an image; all of it is listed with what to do
  2  it could not be done; what is wrong and what to do about it is on standard error

FILE|URL is a file, or the https address of one, which is read as a stream.
"""

_PACK_EPILOG = """examples:
  ckf-airgap pack --bundle bundle.yaml --output release --format oci --juju-version 3.6.25
  ckf-airgap pack --charms FOLDER --output release --add-images workloads.txt
  ckf-airgap pack --bundle bundle.yaml --dry-run

Charms are downloaded with juju download, images with skopeo: mirrors, accounts and proxies that
these are configured with count.
"""


@dataclass(frozen=True)
class _Answer:
    """What a command prints, and its exit status.

    Attributes:
        document: The answer.
        status: The exit status.
        table: The part of it that is shown as a table, where that is asked for.
    """

    document: dict[str, Any]
    status: int = 0
    table: str = ""


def main(words: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        words: Its arguments; those of this process where not given.

    Returns:
        The exit status.
    """
    use_one_arena()
    arguments = make_parser().parse_args(words)
    try:
        answer: _Answer = arguments.run(arguments)
        if arguments.format == "table":
            text = answer.table
        elif arguments.format == "json":
            text = json.dumps(answer.document, indent=2) + "\n"
        else:
            # What the output's encoding lacks is escaped, in the way of YAML.
            text = yaml.safe_dump(
                answer.document,
                sort_keys=False,
                allow_unicode=_encoding().startswith("utf"),
                width=100,
            )
        _print(text)
    except AirgapError as error:
        print(f"ckf-airgap: error: {error}", file=sys.stderr)
        return _BAD_INPUT
    except BrokenPipeError:
        # Whoever read the output has had enough of it.
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        print("ckf-airgap: interrupted", file=sys.stderr)
        return _INTERRUPTED
    return answer.status


def _encoding() -> str:
    """Tell the encoding of the output; none matters where that is closed or no file."""
    return str(getattr(sys.stdout, "encoding", None) or "utf-8").lower()


def _print(text: str) -> None:
    shown = text.encode(_encoding(), "backslashreplace").decode(_encoding())
    try:
        print(shown, end="", flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        # What is left in the buffer would fail again at the end of the process.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
        raise disk_error("standard output", error) from error


def make_parser() -> argparse.ArgumentParser:
    """Describe the command: its subcommands and their options."""
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
    _add_push(commands.add_parser)
    _add_pack(commands.add_parser)
    return parser


def _add_plan(add: Callable[..., argparse.ArgumentParser]) -> None:
    text = "print what would be deployed: every image, option and relation, and what is missing"
    plan = add("plan", help=text, description=f"{text[0].upper()}{text[1:]}.")
    plan.set_defaults(run=_plan)
    _add_artifacts(plan, required=("charms", "images"))
    _add_registry(plan)
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
    _add_artifacts(inspect)
    _add_format(inspect, "table", "yaml", "json")


def _add_push(add: Callable[..., argparse.ArgumentParser]) -> None:
    push = add(
        "push",
        help="push the images into the registry",
        description="Push the images that the registry does not have. An interrupted push "
        "continues when it is run again.",
    )
    push.set_defaults(run=_push)
    _add_artifacts(push, required=("images",))
    _add_registry(push)
    push.add_argument(
        "--authfile",
        type=Path,
        metavar="FILE",
        help="where skopeo login or docker login has stored the account (default: where they do)",
    )
    push.add_argument(
        "--state",
        type=Path,
        metavar="FILE",
        help="where to remember what is done (default: beside the archive, FILE.pushed)",
    )
    _add_format(push)


def _add_pack(add: Callable[..., argparse.ArgumentParser]) -> None:
    pack = add(
        "pack",
        help="make images.tar.gz and charms.tar.gz, where the internet is",
        description="Make images.tar.gz and charms.tar.gz: the charms, and the images that they "
        "take. An interrupted pack continues when it is run again.",
        epilog=_PACK_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    pack.set_defaults(run=_pack, format="yaml")
    which = pack.add_mutually_exclusive_group()
    which.add_argument(
        "--bundle", type=Path, metavar="FILE", help="the bundle whose charms are downloaded"
    )
    which.add_argument(
        "--channel-map",
        type=Path,
        metavar="FILE",
        help="YAML with CHARM: CHANNEL, or CHARM: {channel, base, revision}, for each charm",
    )
    pack.add_argument(
        "--charms", type=Path, metavar="FOLDER", help="take the .charm files from this folder"
    )
    pack.add_argument(
        "--output",
        type=Path,
        default=Path(),
        metavar="FOLDER",
        help="where to write the two files (default: here)",
    )
    pack.add_argument(
        "--format",
        dest="layout",
        choices=LAYOUTS,
        default=LAYOUTS[0],
        help="docker: docker save archives, which every tool reads; oci: one OCI image layout, "
        "each layer once: smaller, and quicker to push (default: %(default)s)",
    )
    pack.add_argument(
        "--architecture",
        choices=("amd64", "arm64"),
        default="amd64",
        help="of the cluster's nodes (default: %(default)s)",
    )
    pack.add_argument(
        "--add-image",
        action="append",
        default=[],
        metavar="IMAGE",
        help="an image beside those of the charms; may be given several times",
    )
    pack.add_argument(
        "--add-images",
        action="append",
        default=[],
        metavar="FILE|URL",
        help="images beside those of the charms: a list, or Kubernetes manifests; may be given "
        "several times",
    )
    pack.add_argument(
        "--juju-version",
        default="",
        metavar="VERSION",
        help="add the images of Juju's own agents, for a controller of this version",
    )
    pack.add_argument(
        "--authfile",
        type=Path,
        metavar="FILE",
        help="where skopeo login or docker login has stored the accounts (default: where they do)",
    )
    pack.add_argument(
        "--registry-ca",
        type=Path,
        metavar="FILE",
        help="PEM certificates to trust beside those of the system, for registries and URLs",
    )
    pack.add_argument(
        "--juju", default="juju", metavar="PROGRAM", help="the juju client (default: %(default)s)"
    )
    pack.add_argument(
        "--charmhub-url", default="", metavar="URL", help="another Charmhub than the public one"
    )
    pack.add_argument(
        "--allow-missing",
        action="store_true",
        help="go on although charms of the release are missing",
    )
    pack.add_argument(
        "--dry-run",
        action="store_true",
        help="download the charms, print what would be packed and its size, and stop",
    )


def _add_artifacts(parser: argparse.ArgumentParser, required: Sequence[str] = ()) -> None:
    for name in ("charms", "images"):
        parser.add_argument(
            f"--{name}", required=name in required, metavar="FILE|URL", help=f"{name}.tar.gz"
        )
    parser.add_argument(
        "--registry-ca",
        type=Path,
        metavar="FILE",
        help="PEM certificates to trust beside those of the system",
    )
    parser.add_argument(
        "--architecture",
        default="",
        metavar="CPU",
        help="which to take of an image that is there for several, for example amd64 (default: "
        "such an image is refused)",
    )


def _add_registry(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--registry", required=True, metavar="HOST[:PORT][/PATH]", help="the registry prefix"
    )


def _add_format(parser: argparse.ArgumentParser, *formats: str) -> None:
    formats = formats or ("yaml", "json")
    parser.add_argument(
        "--format", choices=formats, default=formats[0], help="(default: %(default)s)"
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
    charms = _charms(arguments)
    inventory = _inventory(arguments, charms)
    inventory.require_sound(arguments.images)
    plan = make_plan(charms, inventory, settings)
    return _Answer(plan_document(plan, settings.location))


def _inspect(arguments: argparse.Namespace) -> _Answer:
    if arguments.charms is None and arguments.images is None:
        raise ConfigurationError("nothing to inspect", "give --charms, --images or both")
    document: dict[str, Any] = {}
    charms = _charms(arguments)
    if arguments.charms:
        document["charms"] = {charm.name: _charm_document(charm) for charm in charms}
    inventory = _inventory(arguments, charms) if arguments.images else None
    if inventory:
        document |= inventory_document(inventory)
    status = _NEEDS_ATTENTION if inventory and inventory.needs_attention else 0
    return _Answer(document, status, inspection_table(charms, inventory, arguments.images))


def _push(arguments: argparse.Namespace) -> _Answer:
    location = RegistryLocation.parse(arguments.registry)
    credentials = read_auth_file(
        arguments.authfile, location, lambda line: print(f"ckf-airgap: {line}", file=sys.stderr)
    )
    client = RegistryClient(location.host, ca=_certificates(arguments), credentials=credentials)
    images = _source(arguments, "images")
    size = images.size
    client.check()
    wanted = wanted_images(_charms(arguments))
    with tqdm(
        total=size,
        unit="B",
        unit_scale=True,
        disable=not sys.stderr.isatty(),
        desc=images.name,
    ) as bar:
        show = _Bar(bar).show if not bar.disable else _Lines().show
        state = arguments.state or _state_file(images)
        pusher = ImagePusher(
            client,
            location,
            state,
            show,
            architecture=arguments.architecture,
            key=sealing_key(state_folder()),
        )
        result = pusher.push(images, wanted)
    inventory = result.inventory
    for line in (*result.notices, *attention(inventory)):
        print(f"ckf-airgap: {line}", file=sys.stderr)
    document = {
        "pushed": list(result.pushed),
        "present": result.present,
        "uploaded_bytes": result.uploaded_bytes,
        "unnamed": [image.member for image in inventory.unnamed],
        **findings_document(inventory),
    }
    return _Answer(document, _NEEDS_ATTENTION if inventory.needs_attention else 0)


def _pack(arguments: argparse.Namespace) -> _Answer:
    if not (arguments.bundle or arguments.channel_map or arguments.charms):
        raise ConfigurationError(
            "nothing to pack", "give --bundle, --channel-map or --charms (see --help)"
        )
    bundle = _text(arguments.bundle)
    channels = _text(arguments.channel_map)
    if bundle and arguments.charms:
        # Which of them count; where they come from does not matter then.
        origins = charms_of_bundle(bundle, from_files=True)
    else:
        origins = charms_of_bundle(bundle) if bundle else ()
    if channels:
        origins = charms_of_channel_map(channels)
    request = PackRequest(
        output=arguments.output,
        origins=origins,
        folder=arguments.charms,
        bundle=bundle,
        images=_added_images(arguments),
        juju_version=arguments.juju_version,
        layout=arguments.layout,
        architecture=arguments.architecture,
        allow_missing=arguments.allow_missing,
        juju=arguments.juju,
        charmhub_url=arguments.charmhub_url,
    )
    ca = _existing(arguments.registry_ca) if arguments.registry_ca else None
    authfile = _existing(arguments.authfile) if arguments.authfile else None
    with (
        Skopeo(SkopeoSettings(authfile=authfile, certificates=ca)) as skopeo,
        tqdm(unit="B", unit_scale=True, disable=not sys.stderr.isatty(), desc="layers") as bar,
    ):
        show = _FetchBar(bar).show if not bar.disable else _FetchLines().show
        steps = PackSteps(lambda text: tqdm.write(text, file=sys.stderr), show)
        packed = Packer(request, skopeo, steps).pack(dry_run=arguments.dry_run)
    manifest = packed.manifest
    return _Answer(
        {
            "output": None if arguments.dry_run else str(arguments.output.absolute()),
            "format": manifest.layout,
            "architecture": manifest.architecture,
            "images_bytes": packed.image_bytes,
            "charms_bytes": packed.charm_bytes,
            "layer_bytes": packed.layer_bytes,
            "layer_bytes_to_fetch": packed.layer_bytes - packed.fetched_bytes,
            "charms": [
                {
                    key: value
                    for key, value in dataclasses.asdict(charm).items()
                    if value is not None
                }
                for charm in manifest.charms
            ],
            "images": [
                {"name": image.name, "digest": image.digest, "layer_bytes": image.size}
                for image in manifest.images
            ],
            "warnings": list(packed.warnings),
        }
    )


def _added_images(arguments: argparse.Namespace) -> tuple[ImageReference, ...]:
    images = [parse_image(text) for text in arguments.add_image]
    for place in arguments.add_images:
        if "://" in place:
            content = https.fetch(place, _certificates(arguments), largest=_LARGEST_LIST)
            text = content.decode("utf-8", "replace")
        else:
            text = _text(Path(place))
        images += images_in(text, place)
    return tuple(images)


class _FetchBar:
    """Shows on a terminal how far layers are fetched."""

    def __init__(self, bar: "tqdm[Any]") -> None:
        self._bar = bar

    def show(self, progress: FetchProgress) -> None:
        self._bar.total = progress.total
        self._bar.update(progress.fetched - self._bar.n)


class _FetchLines:
    """Writes where there is no terminal how far layers are fetched."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def show(self, progress: FetchProgress) -> None:
        if time.monotonic() - self._last >= _LINE_SECONDS:
            self._last = time.monotonic()
            print(progress, file=sys.stderr, flush=True)


class _Bar:
    """Shows the progress of a push on a terminal."""

    def __init__(self, bar: "tqdm[Any]") -> None:
        self._bar = bar

    def show(self, progress: Progress) -> None:
        self._bar.set_postfix_str(f"{progress.images} images", refresh=False)
        self._bar.update(progress.read_bytes - self._bar.n)


class _Lines:
    """Writes the progress of a push where there is no terminal."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def show(self, progress: Progress) -> None:
        for reference in progress.finished:
            print(f"pushed {reference}", file=sys.stderr, flush=True)
        if time.monotonic() - self._last >= _LINE_SECONDS:
            self._last = time.monotonic()
            print(progress, file=sys.stderr, flush=True)


def _state_file(images: Source) -> Path:
    """Say where to remember a push: beside the archive, or where programs keep their state."""
    if isinstance(images, FileSource) and os.access(images.path.parent, os.W_OK):
        return images.path.with_name(f"{images.name}.pushed")
    folder = state_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"{folder} cannot be made ({error.strerror})", "give another place with --state"
        ) from error
    return folder / f"{images.name}.pushed"


def _charm_document(charm: CharmFile) -> dict[str, Any]:
    return {
        "file": charm.label,
        "podspec": charm.is_podspec,
        "bases": list(charm.bases),
        "assumes": str(charm.assumes),
        "resources": dict(charm.resources),
        "options": {option.name: list(option.images) for option in charm.image_options},
    }


def _charms(arguments: argparse.Namespace) -> tuple[CharmFile, ...]:
    """Read the charms; none where no archive of them is given."""
    if not arguments.charms:
        return ()
    with tempfile.TemporaryDirectory(prefix="ckf-airgap-") as folder:
        return unpack_charms(_source(arguments, "charms"), Path(folder))


def _inventory(arguments: argparse.Namespace, charms: Sequence[CharmFile]) -> Inventory:
    source = _source(arguments, "images")
    on_read = report_reading(source, lambda text: print(text, file=sys.stderr))
    return read_inventory(
        source, wanted_images(charms), architecture=arguments.architecture, on_read=on_read
    )


def _source(arguments: argparse.Namespace, name: str) -> Source:
    text: str = getattr(arguments, name)
    if "://" in text:
        return UrlSource(text, f"--{name}", _certificates(arguments))
    return FileSource(_existing(Path(text)))


def _certificates(arguments: argparse.Namespace) -> str | None:
    return _text(arguments.registry_ca) or None


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

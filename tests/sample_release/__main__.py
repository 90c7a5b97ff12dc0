"""Make a sample release: images.tar.gz and charms.tar.gz, small but real."""

import argparse
import time
from collections import Counter
from pathlib import Path

from tests.sample_release import (
    DEMO_CHARMS,
    CharmOptions,
    Damage,
    ImageOptions,
    Layout,
    Release,
    SampleRelease,
    truncate,
    write_release,
)


def main() -> None:
    """Make both files as the arguments say, and print what was made."""
    arguments = _parser().parse_args()
    started = time.monotonic()
    try:
        made = write_release(
            _release(arguments),
            arguments.output,
            _image_options(arguments),
            CharmOptions(
                podspec_as_sidecar=arguments.podspec_as_sidecar,
                keep_assumes=arguments.keep_assumes,
                left_out=_names(arguments.leave_out_charms),
                without_metadata=_names(arguments.without_metadata),
                duplicated=_names(arguments.duplicated),
            ),
        )
    except ValueError as error:
        raise SystemExit(str(error)) from None
    for path, fraction in (
        (made.images.path, arguments.truncate_images),
        (made.charms.path, arguments.truncate_charms),
    ):
        truncate(path, fraction)
    _print_summary(made, time.monotonic() - started)


def _release(arguments: argparse.Namespace) -> Release:
    charms: tuple[str, ...] | None = None
    if arguments.charms:
        charms = tuple(arguments.charms.split(","))
    elif arguments.facts and not arguments.whole:
        charms = DEMO_CHARMS
    if arguments.facts:
        return Release.from_folder(arguments.facts, charms)
    return Release.builtin(charms)


def _image_options(arguments: argparse.Namespace) -> ImageOptions:
    return ImageOptions(
        retagged_fraction=arguments.retagged,
        retag_registry=arguments.retag_registry,
        layouts=tuple(Layout(name) for name in arguments.layouts.split(",")),
        seed_names=arguments.seed_names,
        left_out=_names(arguments.leave_out_images),
        untagged=_names(arguments.untagged),
        payload_kib=arguments.payload_kib,
        damage=dict(arguments.damage),
    )


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split(",")) if text else frozenset()


def _damage(text: str) -> tuple[str, Damage]:
    image, _, damage = text.rpartition("=")
    return image, Damage(damage)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python3 -m tests.sample_release", description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="the folder to write to")
    source = parser.add_argument_group("what to make them from")
    source.add_argument(
        "--facts",
        type=Path,
        help="a folder with bundle.yaml, images.txt, charms/; the built-in release if not given",
    )
    which = source.add_mutually_exclusive_group()
    which.add_argument("--charms", default="", help="names of charms; the demo set if not given")
    which.add_argument("--whole", action="store_true", help="all charms and all images")
    images = parser.add_argument_group("images.tar.gz")
    defaults = ImageOptions()
    images.add_argument("--payload-kib", type=int, default=defaults.payload_kib, help="per image")
    images.add_argument(
        "--retagged", type=float, default=defaults.retagged_fraction, help="fraction, 0 to 1"
    )
    images.add_argument("--retag-registry", default=defaults.retag_registry)
    images.add_argument(
        "--layouts",
        default=",".join(layout.value for layout in defaults.layouts),
        help=f"of: {', '.join(layout.value for layout in Layout)}",
    )
    images.add_argument("--seed-names", action="store_true", help="files as jupyter-web-app.tar")
    images.add_argument("--leave-out-images", default="", help="names of images")
    images.add_argument("--untagged", default="", help="names of images without RepoTags")
    images.add_argument(
        "--damage",
        type=_damage,
        action="append",
        default=[],
        metavar="IMAGE=DAMAGE",
        help=f"of: {', '.join(damage.value for damage in Damage)}; may be repeated",
    )
    images.add_argument("--truncate-images", type=float, default=1.0, help="fraction to keep")
    charms = parser.add_argument_group("charms.tar.gz")
    charms.add_argument("--podspec-as-sidecar", action="store_true", help="for Juju 4")
    charms.add_argument("--keep-assumes", action="store_true", help="also where it bars Juju 4")
    charms.add_argument("--leave-out-charms", default="", help="names of charms")
    charms.add_argument("--without-metadata", default="", help="names of charms")
    charms.add_argument("--duplicated", default="", help="names of charms to pack twice")
    charms.add_argument("--truncate-charms", type=float, default=1.0, help="fraction to keep")
    return parser


def _print_summary(made: SampleRelease, seconds: float) -> None:
    layouts = Counter(image.layout.value for image in made.images.images)
    print(
        f"{made.images.path}: {len(made.images.images)} images "
        f"({', '.join(f'{count} {name}' for name, count in sorted(layouts.items()))}), "
        f"{_mebibytes(made.images.path.stat().st_size)} packed by {made.images.compressor.value}, "
        f"{_mebibytes(made.images.unpacked_size)} unpacked"
    )
    print(
        f"{made.charms.path}: {len(made.charms.charms)} charms for "
        f"{len(made.release.applications)} applications, "
        f"{_mebibytes(made.charms.path.stat().st_size)}"
    )
    print(f"made from CKF {made.release.name} in {seconds:.1f} s")


def _mebibytes(size: int) -> str:
    return f"{size / 1024**2:.2f} MiB"


if __name__ == "__main__":
    main()

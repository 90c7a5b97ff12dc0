"""How long a plan takes: 40 charms against 100 images, from the two archives.

``python3 -m benchmarks.planning`` makes its own archives and prints a table. The measure is
decoding both archives to their ends, which every plan has to do at least once.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ckf_airgap.archives.byte_stream import READ_SIZE, open_archive
from ckf_airgap.archives.inventory import Inventory, read_inventory
from ckf_airgap.archives.sources import FileSource
from ckf_airgap.charms.charm_archive import unpack_charms
from ckf_airgap.charms.charm_file import CharmFile, wanted_images
from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.planning.plan import make_plan
from ckf_airgap.planning.settings import PlanSettings
from ckf_airgap.planning.topology import load_topology
from tests.sample_release import ImageOptions, Release, SampleRelease, write_release

_IMAGES = 100
_SETTINGS = PlanSettings(location=RegistryLocation("registry.corp:5000", "ckf"))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser("python3 -m benchmarks.planning", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="(default: %(default)s)")
    rounds: int = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="ckf-airgap-benchmark-") as folder:
        made = write_release(_release(), Path(folder), ImageOptions(payload_kib=64))
        _measure(made, Path(folder) / "charms", rounds)


def _release() -> Release:
    """Give a release of all applications there are: real needs, dealt out again and again."""
    builtin = Release.builtin()
    names = sorted({item.charm for item in load_topology().applications})
    charms = tuple(
        replace(builtin.charms[number % len(builtin.charms)], name=name)
        for number, name in enumerate((*names, "mlflow-server", "resource-dispatcher"))
    )
    more = (f"docker.io/more/image-{number}:1" for number in range(_IMAGES))
    images = (*builtin.images, *more)[:_IMAGES]
    return replace(builtin, charms=charms, images=images)


def _measure(made: SampleRelease, folder: Path, rounds: int) -> None:
    charms: tuple[CharmFile, ...] = ()
    inventory = Inventory(())

    def read_charms() -> None:
        nonlocal charms
        charms = unpack_charms(FileSource(made.charms.path), folder).charms

    def read_images() -> None:
        nonlocal inventory
        inventory = read_inventory(FileSource(made.images.path), wanted_images(charms))

    def decode() -> None:
        for path in (made.charms.path, made.images.path):
            with open_archive(FileSource(path)) as archive:
                while archive.read(READ_SIZE):
                    pass

    steps: dict[str, Callable[[], object]] = {
        "decode both archives": decode,
        "read charms.tar.gz (once)": read_charms,
        "read images.tar.gz (once)": read_images,
        "plan": lambda: make_plan(charms, inventory, _SETTINGS),
    }
    times = {name: [_seconds(step) for _ in range(rounds)] for name, step in steps.items()}
    print(f"{len(charms)} charms, {len(inventory.images)} images, {rounds} rounds")
    print(f"{'step':<28} {'median s':>9} {'least s':>9}")
    for name, found in times.items():
        print(f"{name:<28} {statistics.median(found):>9.3f} {min(found):>9.3f}")
    medians = [statistics.median(found) for found in times.values()]
    whole = sum(medians[1:])
    print(f"{'whole plan':<28} {whole:>9.3f}   {whole / medians[0]:.1f} times the decoding")


def _seconds(step: Callable[[], object]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()

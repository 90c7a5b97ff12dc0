"""Releases that are packed as differences to earlier ones, with real registries on both sides."""

import csv
import json
import re
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from ckf_airgap.archives.sources import FileSource
from ckf_airgap.commands.main import main
from ckf_airgap.deployment.release import Inputs
from ckf_airgap.deployment.release import Release as DeployedRelease
from ckf_airgap.errors import RegistryError
from ckf_airgap.planning.settings import PlanSettings
from tests.functional.archive_case import named
from tests.functional.packs import Captured, in_registry, words
from tests.functional.running_registry import RunningRegistry
from tests.sample_release import Release
from tests.support.archive_forms import docker_save
from tests.support.outside import Outside
from tests.support.sample_images import NamedImage, image_of, layer_of
from tests.support.tar_files import tar

BOTH = pytest.mark.parametrize("layout", ["docker", "oci"])
NOTEBOOK, KERNEL, TOOL = "quay.io/team/notebook:1", "quay.io/team/kernel:1", "quay.io/team/tool:1"
LATER = "quay.io/team/later:1"
FIRST = (
    named(NOTEBOOK, "python", "notebook"),
    named(KERNEL, "python", "kernel"),
    named(TOOL, "tool"),
)
# The tag of the first moves; another image comes to what stays.
SECOND = (named(NOTEBOOK, "python", "notebook-2"), *FIRST[1:], named(LATER, "tool", "later"))
DROPPED = named("quay.io/team/dropped:1", "dropped")
THIRD = (named(NOTEBOOK, "python", "notebook-2", "notebook-3"), *SECOND[1:])
Document = Mapping[str, Any]


class Carrier:
    """Packs releases outside, and pushes them inside."""

    def __init__(
        self, outside: Outside, registry: RunningRegistry, folder: Path, capsys: Captured
    ) -> None:
        self._outside = outside
        self._capsys = capsys
        self.registry = registry
        self.folder = folder

    def publish(self, images: Iterable[NamedImage]) -> tuple[str, ...]:
        """Put images outside; gives the options that pack them."""
        options: list[str] = []
        for image in images:
            path = self.folder / "saved.tar"
            path.write_bytes(tar(docker_save([image])))
            place = self._outside.place(image.names[0])
            self._outside.skopeo("copy", "--quiet", f"docker-archive:{path}", f"docker://{place}")
            options += ["--add-image", image.names[0]]
        self._outside.configure()
        return tuple(options)

    def pack(self, name: str, *more: str) -> Document:
        """Pack into a folder of this name."""
        status, said, error = self.try_to_pack(*more, "--output", str(self.folder / name))
        assert status == 0, error
        return yaml.safe_load(said)

    def try_to_pack(self, *more: str) -> tuple[int, str, str]:
        """Pack; gives the exit status, and what was said."""
        return self.run(*words(self._outside, self.folder, *more))

    def archive(self, name: str, archive: str = "images.tar.gz") -> Path:
        """Say where an archive is."""
        return self.folder / name / archive

    def size(self, name: str) -> int:
        """Say how many bytes of images were packed."""
        return sum(path.stat().st_size for path in (self.folder / name).glob("images.tar.gz*"))

    def push(self, name: str, *more: str) -> tuple[int, str, str]:
        """Push what was packed; every push has a journal of its own."""
        ca = str(self.registry.process.ca)
        images, charms = self.archive(name), self.archive(name, "charms.tar.gz")
        place = ("--registry", str(self.registry.location), "--registry-ca", ca)
        state = ("--state", str(self.folder / f"{name}.pushed"))
        return self.run(
            *("push", "--images", str(images), "--charms", str(charms), *place, *state, *more)
        )

    def pushed(self, name: str, *more: str) -> list[str]:
        """Push, and give the references that are new."""
        status, said, error = self.push(name, *more)
        assert status == 0, error
        return sorted(yaml.safe_load(said)["pushed"])

    def inspect(self, name: str, *more: str) -> Document:
        """Inspect the archive of images, in which nothing may need attention."""
        images = ("--images", str(self.archive(name)))
        status, said, error = self.run("inspect", *images, "--format", "yaml", *more)
        assert status == 0, said + error
        return yaml.safe_load(said)

    def run(self, *arguments: str) -> tuple[int, str, str]:
        self._capsys.readouterr()
        status = main(arguments)
        captured = self._capsys.readouterr()
        assert "Traceback" not in captured.err
        return status, captured.out, captured.err

    def reference(self, image: str) -> str:
        return in_registry(self.registry, image)

    def require_whole(self, images: Iterable[str]) -> None:
        """See that images inside are what they are outside."""
        outside = RunningRegistry(self._outside.registry)
        for number, image in enumerate(images):
            folder = self.folder / "pulled" / str(number)
            folder.mkdir(parents=True, exist_ok=True)
            inside = self.registry.pull(self.reference(image), folder)
            assert inside == outside.pull(self._outside.place(image), folder)

    def files(self) -> list[str]:
        """List all that the registry inside has stored."""
        data = self.registry.process.data
        return sorted(str(path.relative_to(data)) for path in data.rglob("*") if path.is_file())


@pytest.fixture
def carrier(
    outside: Outside, registry: RunningRegistry, tmp_path: Path, capsys: Captured
) -> Carrier:
    return Carrier(outside, registry, tmp_path, capsys)


def names_of(release: Release, images: Iterable[NamedImage]) -> list[str]:
    return [*release.images, *(image.names[0] for image in images)]


def image_ids(inspected: Document) -> dict[str, str]:
    return {image["names"][0]: image["image_id"] for image in inspected["images"]}


@BOTH
def test_a_difference_after_its_base(layout: str, release: Release, carrier: Carrier) -> None:
    form = ("--format", layout)
    first = carrier.pack("base", *carrier.publish(FIRST), *form)
    assert (first["stands_on"], first["left_out_layers"]) == ([], 0)
    added = carrier.publish(SECOND)
    second = carrier.pack("second", *added, *form, "--since", str(carrier.archive("base")))
    whole = carrier.pack("whole", *added, *form)
    assert second["stands_on"] == [first["id"]]
    # What is left out does not make it another release.
    assert second["id"] == whole["id"] != first["id"]
    assert second["left_out_bytes"] + second["layer_bytes"] <= whole["layer_bytes"]
    assert carrier.size("second") < carrier.size("whole") // 10
    charms = [carrier.archive(name, "charms.tar.gz") for name in ("second", "whole")]
    assert abs(charms[0].stat().st_size - charms[1].stat().st_size) < 10_000

    inspected = carrier.inspect("second")
    for key in ("id", "stands_on", "left_out_layers", "left_out_bytes"):
        assert inspected[key] == second[key]
    names = names_of(release, SECOND)
    assert len(inspected["images"]) == len(names)
    assert image_ids(inspected) == image_ids(carrier.inspect("whole"))

    assert len(carrier.pushed("base")) == len(names_of(release, FIRST))
    before = carrier.registry.uploads()
    new = sorted(carrier.reference(name) for name in (NOTEBOOK, LATER))
    assert carrier.pushed("second") == new
    # Two images of two blobs and a manifest, and each manifest under the name for mirrors.
    assert carrier.registry.uploads() - before <= 8
    carrier.require_whole(names)
    # Without its journal, it is found that all is there; and the whole of it says the same.
    carrier.folder.joinpath("second.pushed").unlink()
    assert carrier.pushed("second") == []
    assert carrier.pushed("whole") == []
    # A release in which nothing changes is a difference without layers.
    since = ("--since", str(carrier.archive("second", "charms.tar.gz")))
    same = carrier.pack("same", *added, *form, *since)
    assert (same["id"], same["layer_bytes"]) == (second["id"], 0)
    assert carrier.pushed("same") == []


@BOTH
@pytest.mark.usefixtures("release")
def test_two_differences_on_one_base(layout: str, carrier: Carrier) -> None:
    """The first moves the tag of the image whose layer a new image of the second has too."""
    form = ("--format", layout)
    carrier.pack("base", *carrier.publish((named(NOTEBOOK, "python", "notebook"),)), *form)
    since = ("--since", str(carrier.archive("base")))
    moved = (named(NOTEBOOK, "other"),)
    carrier.pack("one", *carrier.publish(moved), *form, *since)
    both = (*moved, named(LATER, "python", "later"))
    carrier.pack("two", *carrier.publish(both), *form, *since)
    assert carrier.pushed("base")
    assert carrier.pushed("one") == [carrier.reference(NOTEBOOK)]
    assert carrier.pushed("two") == [carrier.reference(LATER)]
    carrier.require_whole((NOTEBOOK, LATER))


@BOTH
def test_a_chain_with_parts_and_a_signature(
    layout: str, release: Release, carrier: Carrier
) -> None:
    public, secret = carrier.folder / "key.pub", carrier.folder / "key.key"
    subprocess.run(["minisign", "-G", "-W", "-p", public, "-s", secret], check=True)
    form = ("--format", layout, "--sign", str(secret), "--part-size")
    verify = ("--verify-key", str(public))
    first = carrier.pack("base", *carrier.publish(FIRST), *form, "1MB")
    # Of a base in parts, its first part is enough: the others were carried away.
    for part in (carrier.folder / "base").glob("images.tar.gz.*"):
        if not part.name.endswith("001"):
            part.rename(carrier.folder / part.name)
    since = ("--since", str(carrier.archive("base")))
    second = carrier.pack("second", *carrier.publish(SECOND), *form, "150kB", *since)
    for part in carrier.folder.glob("images.tar.gz.*"):
        part.rename(carrier.folder / "base" / part.name)
    script = f"cat {carrier.archive('second', 'charms.tar.gz')}* | tar -xzO ckf-airgap.json"
    record = subprocess.run(["sh", "-c", script], check=True, capture_output=True).stdout
    since_record = carrier.folder / "second.json"
    since_record.write_bytes(record)
    third = carrier.pack(
        "third", *carrier.publish(THIRD), *form, "40kB", "--since", str(since_record)
    )
    assert len(list((carrier.folder / "third").glob("images.tar.gz.*"))) > 1
    assert third["stands_on"] == [second["id"], first["id"]]
    assert carrier.inspect("third", *verify)["stands_on"] == third["stands_on"]

    assert carrier.pushed("base", *verify)
    before = carrier.files()
    status, said, error = carrier.push("third", *verify)
    assert (status, said) == (2, "")
    assert error.count("\n") <= 2
    assert f"first push the archive that it is based on, whose id is {second['id']}" in error
    assert f"(and before it {first['id']})" in error
    assert carrier.files() == before
    assert len(carrier.pushed("second", *verify)) == 2
    assert carrier.pushed("third", *verify) == [carrier.reference(NOTEBOOK)]
    carrier.require_whole(names_of(release, THIRD))


@BOTH
@pytest.mark.usefixtures("release")
def test_a_base_that_is_not_in_the_registry(layout: str, carrier: Carrier) -> None:
    form = ("--format", layout)
    first = carrier.pack("base", *carrier.publish(FIRST), *form)
    second = carrier.pack(
        "second", *carrier.publish(SECOND), *form, "--since", str(carrier.archive("base"))
    )
    before = carrier.files()
    status, said, error = carrier.push("second")
    assert (status, said) == (2, "")
    count = second["left_out_layers"]
    assert f"leaves out {count} layers, and the registry lacks {count} of them" in error
    assert f"first push the archive that it is based on, whose id is {first['id']}" in error
    assert len(error.encode()) < 2048
    assert carrier.files() == before
    # The check before a deployment says the same, and the plan lacks nothing.
    location = carrier.registry.location
    inputs = Inputs(
        images=FileSource(carrier.archive("second")),
        charms=FileSource(carrier.archive("second", "charms.tar.gz")),
        settings=PlanSettings.parse(location=location),
        registry_ca=carrier.registry.process.ca.read_text(),
    )
    deployed = DeployedRelease(inputs, folder=carrier.folder / "unit", templates=Path("templates"))
    with pytest.raises(RegistryError, match=f"lacks {count} of them"):
        deployed.check_left_out()
    plans = [
        carrier.run(
            *("plan", "--images", str(carrier.archive(name)), "--registry", str(location)),
            *("--charms", str(carrier.archive(name, "charms.tar.gz"))),
        )[:2]
        for name in ("base", "second")
    ]
    assert plans[0] == plans[1]
    assert plans[0][0] == 0

    assert carrier.pushed("base")
    assert deployed.check_left_out() == count
    # One that was lost is named; nothing else is.
    lost = remove_layer(carrier, TOOL)
    before = carrier.files()
    status, _, error = carrier.push("second")
    assert status == 2
    assert f"the registry lacks 1 of them below {location}: sha256:" in error
    assert " of quay.io/team/" in error
    assert layout == "docker" or lost in error
    assert carrier.files() == before


def remove_layer(carrier: Carrier, image: str) -> str:
    """Take the only layer of an image from all repositories; gives its digest."""
    repository = carrier.reference(image).partition("/")[2].rpartition(":")[0]
    kind = "application/vnd.docker.distribution.manifest.v2+json"
    headers = {"Accept": f"{kind}, application/vnd.oci.image.manifest.v1+json"}
    _, body = carrier.registry.request("GET", f"/v2/{repository}/manifests/1", headers=headers)
    digest = str(json.loads(body)["layers"][0]["digest"])
    folder = carrier.registry.process.data / "docker/registry/v2/repositories"
    for link in folder.glob(f"**/_layers/sha256/{digest.removeprefix('sha256:')}/link"):
        link.unlink()
    return digest


@pytest.mark.thorough
@pytest.mark.parametrize("layout", ["docker", "oci"])
def test_three_of_a_hundred_images(layout: str, release: Release, carrier: Carrier) -> None:
    """A patch release that changes three images is at most a twentieth of the whole."""

    def image(number: int, version: int = 1) -> NamedImage:
        layers = [layer_of("system", 100_000), layer_of(f"{number} of {version}", 400_000)]
        return NamedImage(image_of(layers), (f"quay.io/many/image-{number}:1",))

    count = 100 - len(release.images)
    form = ("--format", layout)
    added = carrier.publish(image(number) for number in range(count))
    assert len(carrier.pack("base", *added, *form)["images"]) == 100
    carrier.publish(image(number, 2) for number in range(3))
    since = ("--since", str(carrier.archive("base", "charms.tar.gz")))
    carrier.pack("patch", *added, *form, *since)
    assert carrier.size("patch") <= carrier.size("base") * 0.05
    assert len(carrier.pushed("base")) == 100
    assert len(carrier.pushed("patch")) == 3
    carrier.require_whole(image(number).names[0] for number in (0, 1, 2, 3, count - 1))


@pytest.mark.usefixtures("release")
def test_what_is_no_earlier_pack(carrier: Carrier) -> None:
    carrier.pack("base", "--format", "oci")
    base, other = carrier.archive("base"), carrier.folder / "other.tar.gz"
    subprocess.run(["tar", "-czf", other, "-C", carrier.folder, "charms"], check=True)
    old = carrier.folder / "old.json"
    subprocess.run(
        ["sh", "-c", f"tar -xzOf {base} --occurrence=1 ckf-airgap.json > {old}"], check=True
    )
    document = json.loads(old.read_text())
    for image in document["images"]:
        del image["layers"]
    old.write_text(json.dumps(document))
    cases = (
        (("--format", "docker", "--since", str(base)), "has the format oci, so a difference to"),
        (("--architecture", "arm64", "--since", str(base)), "arm64"),
        (("--since", str(base), "--output", str(base.parent)), "is in the directory of --output"),
        (("--since", str(other)), "has no record of ckf-airgap pack"),
        (("--since", str(old)), "was packed by an earlier version of ckf-airgap"),
        (("--since", str(base.with_name("none"))), "cannot be read"),
        (("--since", str(base.parent)), "cannot be opened"),
    )
    for options, problem in cases:
        arguments = ["--output", str(carrier.folder / "second"), "--format", "oci", *options]
        status, _, error = carrier.try_to_pack(*arguments)
        assert status == 2
        assert re.search(problem, error), error
    assert base.exists()


@BOTH
@pytest.mark.usefixtures("release")
def test_papers_and_the_registry_after_a_difference(layout: str, carrier: Carrier) -> None:
    """Both count all images of the release, also those whose layers only the base has."""
    form = ("--format", layout)
    carrier.pack("base", *carrier.publish([*FIRST, DROPPED]), *form)
    since = str(carrier.archive("base"))
    later = [image for image in SECOND if image.names != (TOOL,)]
    report = carrier.folder / "report"
    more = (*carrier.publish(later), *form, "--since", since, "--report", str(report))
    carrier.pack("patch", *more)
    table = csv.DictReader((report / "images.csv").read_text().splitlines())
    sizes = {row["image"]: int(row["layer bytes"]) for row in table}
    assert {NOTEBOOK, KERNEL, LATER} <= sizes.keys()
    assert TOOL not in sizes
    assert all(sizes.values())
    for name in ("base", "patch"):
        carrier.pushed(name)
    deleted = prune(carrier, "patch")
    # The layer of the tool is that of the later image.
    assert carrier.reference(DROPPED.names[0]) in deleted
    assert carrier.reference(TOOL) not in deleted
    carrier.require_whole([NOTEBOOK, KERNEL, LATER])


@BOTH
@pytest.mark.usefixtures("release")
def test_prune_before_the_difference_is_pushed(layout: str, carrier: Carrier) -> None:
    """The layers that a kept difference leaves out are kept, whatever images have them."""
    form = ("--format", layout)
    carrier.pack("base", *carrier.publish([FIRST[2], DROPPED]), *form)
    since = ("--since", str(carrier.archive("base")))
    later = SECOND[3]
    carrier.pack("patch", *carrier.publish([later]), *form, *since)
    assert carrier.pushed("base")
    deleted = prune(carrier, "patch")
    assert carrier.reference(DROPPED.names[0]) in deleted
    assert carrier.reference(TOOL) not in deleted
    collect_garbage(carrier)
    assert carrier.reference(LATER) in carrier.pushed("patch")
    carrier.require_whole([LATER])


def prune(carrier: Carrier, kept: str) -> list[str]:
    """Prune all but one release; gives what was deleted."""
    registry = ("--registry", str(carrier.registry.location))
    ca = ("--registry-ca", str(carrier.registry.process.ca))
    keep = ("--keep", str(carrier.archive(kept)))
    status, said, error = carrier.run("prune", *keep, *registry, *ca, "--format", "yaml", "--yes")
    assert status == 0, error
    return yaml.safe_load(said)["deleted"]


def collect_garbage(carrier: Carrier) -> None:
    data = carrier.registry.process.data
    configuration = data.with_name(f"{data.name}.json")
    command = ["docker-registry", "garbage-collect", configuration]
    subprocess.run(command, check=True, capture_output=True)

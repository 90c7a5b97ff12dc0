"""``ckf-airgap inspect``: what it prints, and with which status it ends."""

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from ckf_airgap.archives import byte_stream
from ckf_airgap.commands.main import main
from tests.sample_release import (
    Release,
    SampleRelease,
    istio_version,
    stated_release,
    truncate,
    with_charms_between,
    write_charm_archive,
    write_release,
)
from tests.support.archive_forms import old_docker_save
from tests.support.sample_images import NamedImage, sample_image
from tests.support.tar_files import Entry, symbolic_link, tar
from tests.unit.command_line import printed


def test_inspect_shows_what_the_archives_hold(
    builtin: SampleRelease, capsys: pytest.CaptureFixture[str]
) -> None:
    archives = ["--charms", str(builtin.charms.path), "--images", str(builtin.images.path)]
    assert main(["inspect", *archives, "--format", "yaml"]) == 0
    document = printed(capsys)
    assert set(document["charms"]) == {charm.charm for charm in builtin.charms.charms}
    assert document["charms"]["minio"]["podspec"] is True
    assert document["charms"]["kfp-api"]["options"]["cache-image"] == [
        "gcr.io/google-containers/busybox"
    ]
    assert len(document["images"]) == len(builtin.images.images)
    assert {image["architecture"] for image in document["images"]} == {"amd64"}
    assert document["damaged"] == []


def test_inspect_of_a_truncated_archive(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = write_release(Release.builtin(("kfp-api",)), tmp_path)
    truncate(made.images.path, 0.5)
    assert main(["inspect", "--images", str(made.images.path)]) == 2
    assert "ends in the middle" in capsys.readouterr().err


def test_inspect_of_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect"]) == 2
    assert "give --charms, --images or both" in capsys.readouterr().err


def test_reading_for_long_is_shown(
    builtin: SampleRelease, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(byte_stream, "_REPORT_SECONDS", 0.0)
    # Images saved by digest have no name but in the charms, which are not given here.
    assert main(["inspect", "--images", str(builtin.images.path)]) == 1
    captured = capsys.readouterr()
    assert "reading images.tar.gz: 100%" in captured.err
    assert "give the charms that want it with --charms" in captured.out


def test_inspect_shows_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sound = NamedImage(sample_image("base", "app"), ("docker.io/team/app:1",))
    other = NamedImage(sample_image("base", "other"), ("quay.io/team/app:1",))
    entries = [
        Entry("app.tar", tar(old_docker_save([sound]))),
        Entry("other.tar", tar(old_docker_save([other]))),
        Entry("broken.tar", b""),
        symbolic_link("elsewhere.tar", "/mnt/usb/elsewhere.tar"),
        Entry("._app.tar", b"attributes"),
    ]
    path = tmp_path / "images.tar"
    path.write_bytes(tar(entries))
    assert main(["inspect", "--images", str(path)]) == 1
    out = capsys.readouterr().out
    rows = [line.split() for line in out.splitlines()]
    assert ["team/app:1", "amd64", "app.tar"] in rows
    assert ["._app.tar", "a", "file", "that", "desktops", "add"] in rows
    for told in (
        "damaged: broken.tar is empty",
        "two images, one path: two different images have the path team/app:1 in the registry",
        "perhaps an image: elsewhere.tar: a link to /mnt/usb/elsewhere.tar",
        "2 images, 1 damaged, 1 conflicts, 1 perhaps images, 1 passed over",
    ):
        assert told in out


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_ends_it_leaves_no_unpacked_charm_behind(
    number: signal.Signals, tmp_path: Path
) -> None:
    archive, folder = tmp_path / "charms.tar", tmp_path / "temporary"
    folder.mkdir()
    charm = tarfile.TarInfo("some.charm")
    charm.size = 4 * 2**30
    with archive.open("wb") as file:
        file.write(charm.tobuf())
        # A hole: it takes no room here, and takes a while to be unpacked.
        file.truncate(charm.size)
    # A shell that runs the tests in the background has them ignore the interrupt.
    program = ["env", f"--default-signal={number.name}", sys.executable, "-m", "ckf_airgap"]
    command = [*program, "inspect", "--charms", str(archive)]
    environment = {**os.environ, "PYTHONPATH": ":".join(sys.path), "TMPDIR": str(folder)}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    while not list(folder.glob("*/.incoming-0")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(number)
    _, error = process.communicate()
    assert (process.returncode, error) == (130, "ckf-airgap: interrupted\n")
    assert not os.listdir(folder)


@pytest.mark.parametrize(
    ("lacking", "upgrades"),
    [(None, ["1.8", "1.9"]), ("1.20", ["1.9"])],
)
def test_what_an_archive_upgrades_is_told(
    lacking: str | None, upgrades: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    release = with_charms_between(stated_release("1.8"), stated_release("1.9"))
    charms = [
        charm
        for charm in release.charms
        if not (
            lacking and charm.name == "istio-pilot" and istio_version(charm).startswith(lacking)
        )
    ]
    archive = write_charm_archive(charms, tmp_path / "charms.tar.gz")
    assert main(["inspect", "--charms", str(archive.path), "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["upgrades"] == upgrades
    assert {each["charm"] for each in document["charms_between"]} == {"istio-pilot"}
    assert len(document["charms_between"]) == (3 if lacking else 4)
    assert main(["inspect", "--charms", str(archive.path)]) == 0
    line = f"Can upgrade from Charmed Kubeflow {' and '.join(upgrades)}.\n"
    assert line in capsys.readouterr().out


def test_an_archive_with_another_mesh_upgrades_only_its_own_release(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = write_charm_archive(Release.ambient().charms, tmp_path / "charms.tar.gz")
    assert main(["inspect", "--charms", str(archive.path)]) == 0
    assert "Can upgrade from Charmed Kubeflow 1.11.\n" in capsys.readouterr().out


def test_images_of_options_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (pilot,) = (each for each in stated_release("1.9").charms if each.name == "istio-pilot")
    archive = write_charm_archive([pilot], tmp_path / "charms.tar.gz")
    assert main(["inspect", "--charms", str(archive.path)]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [row[-2] for row in rows if row[:1] == ["istio-pilot"]] == ["2"]

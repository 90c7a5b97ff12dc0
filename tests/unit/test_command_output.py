"""The command ckf-airgap: a wrong call, and outputs that take less than it prints."""

import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Generator
from pathlib import Path

import pytest
import yaml

from ckf_airgap.archives import byte_stream
from ckf_airgap.commands import inspect_command
from ckf_airgap.commands.main import main
from tests.sample_release import Release, SampleRelease, write_release
from tests.support.tar_files import Entry, tar
from tests.unit.command_line import plan_arguments


@pytest.mark.parametrize("words", [[], ["plan"], ["no-such-command"]])
def test_a_wrong_call_has_status_2(words: list[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(words)
    assert raised.value.code == 2


def test_what_the_encoding_of_the_output_lacks_is_escaped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = write_release(Release.builtin(("kfp-api",)), tmp_path)
    path = tmp_path / "renamed.tar"
    with tarfile.open(made.images.path) as source, tarfile.open(path, "w") as target:
        for number, member in enumerate(source):
            content = source.extractfile(member)
            member.name = f"ż-{number}.tar"
            target.addfile(member, content)

    def inspected(encoding: str, *words: str) -> str:
        output = io.TextIOWrapper(io.BytesIO(), encoding)
        monkeypatch.setattr(sys, "stdout", output)
        assert main(["inspect", "--images", str(path), *words]) == 0
        output.seek(0)
        return output.read()

    texts = [inspected(encoding, "--format", "yaml") for encoding in ("utf-8", "latin-1", "ascii")]
    assert "ż-0.tar" in texts[0]
    documents = [yaml.safe_load(text) for text in texts]
    assert documents[1] == documents[2] == documents[0]
    # What is for people has no escapes of its own.
    assert "\\u017c-0.tar" in inspected("ascii").lower()


def test_an_output_on_a_full_disk_is_one_error(builtin: SampleRelease) -> None:
    # A process of its own: what is left to write must not fail again at its end.
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "ckf_airgap", *plan_arguments(builtin)],
            env={"PYTHONPATH": ":".join(sys.path)},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    (error,) = done.stderr.splitlines()
    assert error.startswith(
        "ckf-airgap: error: standard output cannot be written (No space left on device): "
    )


def test_an_output_that_is_closed_is_none(builtin: SampleRelease) -> None:
    done = subprocess.run(
        [
            "sh",
            "-c",
            'exec "$@" >&-',
            "sh",
            sys.executable,
            "-m",
            "ckf_airgap",
            *plan_arguments(builtin),
        ],
        env={"PYTHONPATH": ":".join(sys.path)},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def pipe() -> Generator[int]:
    """A pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


@pytest.fixture
def damaged(tmp_path: Path) -> list[str]:
    """What inspects an archive with a damaged image."""
    path = tmp_path / "images.tar"
    path.write_bytes(tar([Entry("broken.tar", b"")]))
    return ["inspect", "--images", str(path)]


def test_an_output_that_nobody_reads_does_not_change_the_status(
    pipe: int, damaged: list[str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ckf_airgap", *damaged],
        env={"PYTHONPATH": ":".join(sys.path)},
        stdout=pipe,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "")


def test_a_command_that_ends_before_its_answer_has_status_2(
    pipe: int, damaged: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(byte_stream, "_REPORT_SECONDS", 0.0)
    with open(pipe, "w", buffering=1, closefd=False) as error:
        monkeypatch.setattr(sys, "stderr", error)
        assert main(damaged) == 2


@pytest.mark.parametrize(("is_interrupted", "status"), [(False, 2), (True, 130)])
def test_an_error_that_nobody_reads_does_not_change_the_status(
    is_interrupted: bool, status: int, pipe: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    if is_interrupted:
        monkeypatch.setattr(inspect_command, "_inspect", interrupt)
    with open(pipe, "w", buffering=1, closefd=False) as error:
        monkeypatch.setattr(sys, "stderr", error)
        assert main(["inspect", "--images", str(tmp_path / "none.tar")]) == status

"""A charm from Charmhub: what the juju client is told, and what its failures mean."""

from pathlib import Path

import pytest

from ckf_airgap.errors import ConfigurationError, DownloadError
from ckf_airgap.juju.charm_download import CharmOrigin, download_charm


def client(folder: Path, script: str) -> str:
    path = folder / "juju"
    path.write_text(f'#!/bin/sh\necho "$@" > {folder}/arguments\n{script}\n')
    path.chmod(0o755)
    return str(path)


def download(program: str, origin: CharmOrigin, folder: Path) -> int | None:
    return download_charm(program, origin, folder / "a.charm", architecture="amd64")


def test_the_revision_is_what_the_client_says(tmp_path: Path) -> None:
    juju = client(tmp_path, "echo 'Fetching charm \"minio\" revision 347 using stable' >&2")
    origin = CharmOrigin("minio", "1.10/stable", "ubuntu@22.04")
    assert download(juju, origin, tmp_path) == 347
    assert (tmp_path / "arguments").read_text().split() == [
        *("download", "minio", "--no-progress", "--filepath", str(tmp_path / "a.charm")),
        *("--arch", "amd64", "--channel", "1.10/stable", "--base", "ubuntu@22.04"),
    ]


@pytest.mark.parametrize("output", ["", "revision unknown", f"revision {'9' * 5_000}", r"\351"])
def test_a_client_may_say_no_revision(output: str, tmp_path: Path) -> None:
    juju = client(tmp_path, f"printf '{output}' >&2")
    assert download(juju, CharmOrigin("minio"), tmp_path) is None


def test_a_failure_is_told_without_what_stands_before_it(tmp_path: Path) -> None:
    juju = client(
        tmp_path,
        "echo 'Fetching charm minio' >&2; printf 'ERROR no such revision \\351\\n' >&2; exit 1",
    )
    problem = r"downloaded \(no such revision .\): check the channel or revision with juju info"
    with pytest.raises(DownloadError, match=problem):
        download(juju, CharmOrigin("minio", revision=3), tmp_path)


@pytest.mark.parametrize("name", ["--help", "-x", "", "a b", "a\0"])
def test_no_name_is_taken_for_a_flag(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is not a valid name of a Juju"):
        download(client(tmp_path, ""), CharmOrigin(name), tmp_path)
    assert not (tmp_path / "arguments").exists()

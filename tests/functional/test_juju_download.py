"""Charms from Charmhub, fetched by the client of Juju 3.6 from a stand-in."""

from collections.abc import Generator
from pathlib import Path

import pytest

from ckf_airgap.errors import DownloadError
from ckf_airgap.juju.charm_download import CharmOrigin, download_charm
from testbed.pki import Authority
from tests.sample_release import Charm
from tests.support.charmhub import Charmhub, serving

ARCHITECTURE = "amd64"


@pytest.fixture
def charmhub(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Generator[Charmhub]:
    charmhub = Charmhub()
    charmhub.add([Charm("minio")])
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    with serving(charmhub, authority):
        yield charmhub


@pytest.mark.parametrize(
    ("origin", "asked"),
    [
        (CharmOrigin("minio"), ("minio", "stable", None, ARCHITECTURE)),
        (CharmOrigin("minio", "1.10/stable"), ("minio", "1.10/stable", None, ARCHITECTURE)),
        (CharmOrigin("minio", "edge"), ("minio", "edge", None, ARCHITECTURE)),
        (
            CharmOrigin("minio", "1.10/stable", "ubuntu@22.04"),
            ("minio", "1.10/stable", None, ARCHITECTURE),
        ),
        (CharmOrigin("minio", revision=101), ("minio", None, 101, None)),
    ],
    ids=str,
)
def test_a_charm_is_asked_for_as_it_is_wanted(
    origin: CharmOrigin,
    asked: tuple[str, str | None, int | None, str | None],
    charmhub: Charmhub,
    juju_client: Path,
    tmp_path: Path,
) -> None:
    target = tmp_path / "minio.charm"
    revision = download_charm(
        str(juju_client),
        origin,
        target,
        architecture=ARCHITECTURE,
        charmhub_url=charmhub.url,
    )
    assert charmhub.asked[-1] == asked
    assert revision == charmhub.revisions["minio"]
    assert target.read_bytes() == charmhub.charms["minio"]


@pytest.mark.parametrize(
    ("origin", "words"),
    [
        (CharmOrigin("gone"), "gone"),
        (CharmOrigin("minio", "stable", "@x"), "not valid"),
    ],
    ids=str,
)
def test_what_the_client_says_of_a_failure_is_told(
    origin: CharmOrigin, words: str, charmhub: Charmhub, juju_client: Path, tmp_path: Path
) -> None:
    with pytest.raises(DownloadError, match=f"cannot be downloaded .*{words}"):
        download_charm(
            str(juju_client),
            origin,
            tmp_path / "a.charm",
            architecture=ARCHITECTURE,
            charmhub_url=charmhub.url,
        )
    assert charmhub.downloads == []

"""Registries that refer to other addresses: storage elsewhere, and where an upload goes on."""

import base64
import re
import socket
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from testbed.pki import Authority
from testbed.registry import Registry, free_port
from tests.functional.archive_case import KFAM
from tests.functional.front import BOTH, Front, use_account
from tests.functional.running_registry import RunningRegistry
from tests.functional.servers import Answer, QuietHandler, Request, passed_on, proxy, serve
from tests.support.archive_forms import docker_save
from tests.support.compressed import gzipped
from tests.support.sample_images import NamedImage, image_of, layer_of
from tests.support.tar_files import tar, tar_of

_NAME = "registry.test"
# One of its layers is sent in several requests.
_LARGE = NamedImage(image_of([layer_of("large", 200_000)]), ("docker.io/kubeflow/large:1",))


@pytest.fixture(scope="module")
def closed(
    authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Generator[RunningRegistry]:
    """A registry that wants an account, for many cases."""
    process = Registry.on_loopback(tmp_path_factory.mktemp("closed"), authority, "pusher")
    process.start()
    yield RunningRegistry(process)
    process.stop()


def _use_account_of(
    registry: RunningRegistry, host: str, folder: Path, patch: pytest.MonkeyPatch
) -> str:
    """Let the product and skopeo use the registry's account; gives what tells it."""
    process = registry.process
    assert process.username and process.password
    hosts = [host, process.host]
    use_account(process.username, process.password, hosts, folder / "auth.json", patch)
    return base64.b64encode(f"{process.username}:{process.password}".encode()).decode()


@contextmanager
def _in_the_clear() -> Generator[tuple[str, list[object]]]:
    """Listen without TLS; gives host and port, and a list of those who have connected."""
    heard: list[object] = []

    class Handler(QuietHandler):
        def handle(self) -> None:
            heard.append(self.client_address)

    with serve(Handler, None) as host:
        yield host, heard


class _Referring:
    """A registry whose blobs and manifests are elsewhere; it does not mount.

    Attributes:
        place: Where they are: the start of an address, or nothing for the registry itself.
        asked: What was location_in there: a method, and blobs or manifests.
    """

    def __init__(self, status: int, place: str, kinds: tuple[str, ...]) -> None:
        self._status = status
        self._kinds = kinds
        self.place = place
        self.asked: set[tuple[str, str]] = set()

    def __call__(self, request: Request) -> Answer | None:
        request.path = request.path.partition("?mount=")[0]
        kind = "manifests" if "/manifests/" in request.path else "blobs"
        is_meant = kind in self._kinds and "/uploads/" not in request.path
        if request.method not in ("GET", "HEAD") or f"/{kind}/" not in request.path:
            return None
        if not is_meant or request.path.endswith("?there"):
            return None
        self.asked.add((request.method, kind))
        return Answer(self._status, b"", {"Location": f"{self.place}{request.path}?there"})


@pytest.mark.parametrize(
    ("status", "elsewhere"), [*((each, True) for each in (301, 302, 303, 307, 308)), (307, False)]
)
def test_blobs_and_manifests_elsewhere(
    status: int,
    elsewhere: bool,
    closed: RunningRegistry,
    authority: Authority,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown: list[str | None] = []
    refer = _Referring(status, "", ("blobs", "manifests"))

    def store(request: Request) -> None:
        """Serve as storage does: what an address tells is enough for it."""
        shown.append(request.headers.get("Authorization"))
        request.headers["Authorization"] = f"Basic {account}"

    with (
        proxy(closed, authority, store) as storage,
        proxy(closed, authority, refer) as host,
    ):
        account = _use_account_of(closed, host, tmp_path, monkeypatch)
        refer.place = f"https://{storage}" if elsewhere else ""
        case = Front(closed, tmp_path, capsys, host)
        case.require_whole(case.push(), BOTH)
        # Another workstation: it looks up what is there.
        case.forget()
        again = case.push()
        assert (again.status, again.document["uploaded_bytes"]) == (0, 0), again.said
        kinds = {(method, kind) for method in ("GET", "HEAD") for kind in ("blobs", "manifests")}
        assert refer.asked == kinds
        assert set(shown) == ({None} if elsewhere else set())
        assert case.skopeo_pushes(KFAM)


@pytest.mark.parametrize("kind", ["blobs", "manifests"])
def test_blobs_and_manifests_in_the_clear(
    kind: str,
    shared_registry: RunningRegistry,
    authority: Authority,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with _in_the_clear() as (plain, heard):
        refer = _Referring(307, f"HTTP://{plain}", (kind,))
        with proxy(shared_registry, authority, refer) as host:
            case = Front(shared_registry, tmp_path, capsys, host)
            case.error(f"HTTP://{plain}/v2/{case.place}/kubeflow/", "not an HTTPS address")
            assert heard == []
            # It looks no manifest up; after blobs it goes there, and fails at what answers.
            assert kind == "manifests" or not case.skopeo_pushes(KFAM)


class _Located:
    """A registry that says in another way where an upload goes on.

    Attributes:
        place: What stands before the path there.
    """

    def __init__(self, place: str) -> None:
        self.place = place
        self.count = 0

    def __call__(self, request: Request) -> Answer:
        answer = passed_on(request)
        headers = dict(answer.headers)
        if "/blobs/uploads/" in request.path and "Location" in headers:
            self.count += 1
            path = headers["Location"].partition("://")[2].partition("/")[2]
            headers["Location"] = f"{self.place}/{path}"
        return replace(answer, headers=headers)


def _known_as(
    name: str, ports: dict[int, int], authority: Authority, patch: pytest.MonkeyPatch
) -> None:
    """Let a name and its ports stand for ports of the loopback address, in this process."""
    find = socket.getaddrinfo

    def find_name(host: Any, port: Any, *words: Any, **more: Any) -> Any:
        if host == name:
            host, port = "127.0.0.1", ports[port]
        return find(host, port, *words, **more)

    patch.setattr("socket.getaddrinfo", find_name)
    # The certificate that the proxy is going to take.
    authority.issue("server-127.0.0.1", "127.0.0.1", name)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize(
    ("host", "place"),
    [
        (_NAME, ""),
        (_NAME, f"https://{_NAME}:443"),
        (f"{_NAME}:443", f"https://{_NAME}"),
        (_NAME, "HTTPS://Registry.TEST"),
        (_NAME, f"http://{_NAME}"),
        (f"{_NAME}:443", f"http://{_NAME}"),
        (f"{_NAME}:5000", "HTTP://Registry.Test:5000"),
    ],
)
def test_an_upload_at_the_registry_itself(
    host: str,
    place: str,
    closed: RunningRegistry,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However it is written, it is the same server, which is told the account."""
    own = Authority(tmp_path / "pki")
    ports: dict[int, int] = {}
    _known_as(_NAME, ports, own, monkeypatch)
    locate = _Located(place)
    with proxy(closed, own, locate) as address:
        ports[443] = ports[5000] = int(address.rpartition(":")[2])
        _use_account_of(closed, host, tmp_path, monkeypatch)
        case = Front(closed, tmp_path, capsys, host)
        case.path.write_bytes(gzipped(tar_of(large=tar(docker_save([_LARGE])))))
        answer = case.push(None, "--registry-ca", str(own.certificate))
        case.require_whole(answer, [_LARGE])
        assert locate.count


@pytest.mark.usefixtures("no_pauses")
def test_an_upload_without_the_port(
    shared_registry: RunningRegistry,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A proxy leaves the port out of the host: nothing listens where the registry refers to."""
    own = Authority(tmp_path / "pki")
    ports = {443: free_port()}
    _known_as(_NAME, ports, own, monkeypatch)
    with proxy(shared_registry, own, _Located(f"https://{_NAME}")) as address:
        ports[5000] = int(address.rpartition(":")[2])
        case = Front(shared_registry, tmp_path, capsys, f"{_NAME}:5000")
        answer = case.push(None, "--registry-ca", str(own.certificate))
        assert answer.status == 2, answer.said
        assert f"refers to https://{_NAME}/v2/{case.place}/" in answer.error
        assert "Host and X-Forwarded-Proto" in answer.error


def test_an_upload_in_the_clear(
    shared_registry: RunningRegistry,
    authority: Authority,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with _in_the_clear() as (plain, heard):
        locate = _Located(f"http://{plain}")
        with proxy(shared_registry, authority, locate) as host:
            case = Front(shared_registry, tmp_path, capsys, host)
            case.error(f"http://{plain}/v2/{case.place}/kubeflow/", "X-Forwarded-Proto")
            assert locate.count
            assert heard == []
            assert not case.skopeo_pushes(KFAM)


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize(
    ("trusted", "problem"),
    [(True, "cannot be reached"), (False, "has a certificate that is not trusted")],
)
def test_storage_that_does_not_answer(
    trusted: bool,
    problem: str,
    registry: RunningRegistry,
    authority: Authority,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    refer = _Referring(307, "", ("blobs",))
    other = Authority(tmp_path / "other")
    with (
        proxy(registry, other, lambda _: None) as storage,
        proxy(registry, authority, refer) as host,
    ):
        place = f"127.0.0.1:{free_port()}" if trusted else storage
        refer.place = f"https://{place}"
        answer = Front(registry, tmp_path, capsys, host).push()
    assert answer.status == 2, answer.said
    assert re.search(rf"refers to https://{place}/\S+, which {problem}", answer.error), answer.said

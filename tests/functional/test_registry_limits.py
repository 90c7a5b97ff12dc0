"""Registries that do not mount, that are full, that limit: real ones, or a proxy before one."""

import json
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import pytest

from ckf_airgap.accounts.credentials import Credentials
from ckf_airgap.errors import RegistryError
from ckf_airgap.network import https
from testbed.pki import Authority
from tests.functional.access_log import log_of
from tests.functional.pushes import IMAGES, archive, check_all, large_layers, push_to
from tests.functional.running_registry import RunningRegistry
from tests.functional.servers import Answer, InTurn, Request, proxy

QUOTA = (
    "adding 1.0 MiB of storage resource, which when updated to current usage of 9.5 MiB will "
    "exceed the configured upper limit of 10.0 MiB: quota exceeded"
)


def test_a_registry_that_does_not_mount(
    registry: RunningRegistry, authority: Authority, tmp_path: Path
) -> None:
    images = archive(tmp_path)
    mounts: list[str] = []

    def forget_mount(request: Request) -> None:
        path = urlsplit(request.path)
        if "mount=" in path.query:
            mounts.append(request.path)
            request.path = path.path

    with proxy(registry, authority, forget_mount) as host:
        assert len(push_to(host, authority, images).pushed) == len(IMAGES)
    assert mounts
    check_all(registry, images, tmp_path)
    # What is shared is brought into a repository once.
    assert len(set(mounts)) == len(mounts)


@pytest.mark.usefixtures("no_pauses")
def test_a_registry_whose_disk_is_full(
    registry: RunningRegistry, authority: Authority, tmp_path: Path
) -> None:
    images = archive(tmp_path)
    script = 'mount -t tmpfs -o size=$0k none "$1" && shift && exec "$@"'

    def with_disk(kilobytes: int) -> RunningRegistry:
        def wrap(args: Sequence[str | Path]) -> list[str]:
            words = [str(arg) for arg in args]
            if words[0] != "docker-registry":
                return words
            data = str(registry.process.data)
            # The mount is in a namespace of the process, and ends with it.
            return ["unshare", "--mount", "sh", "-c", script, str(kilobytes), data, *words]

        return RunningRegistry(replace(registry.process, wrap=wrap))

    registry.process.stop()
    small = with_disk(160)
    small.process.start()
    # It may also confirm a blob of which it cannot write where it is.
    with pytest.raises(RegistryError, match=r"has no space left|has lost a blob") as raised:
        push_to(small.process.host, authority, images)
    assert re.search("make space|its disk", raised.value.cure)
    small.process.stop()
    large = with_disk(50_000)
    large.process.start()
    assert len(push_to(large.process.host, authority, images).pushed) == len(IMAGES)
    check_all(large, images, tmp_path)
    large.process.stop()


def test_a_registry_that_is_slow(
    registry: RunningRegistry, authority: Authority, tmp_path: Path
) -> None:
    """Each answer takes a while, as from the other side of the world."""
    images = archive(tmp_path)
    with proxy(registry, authority, lambda _: time.sleep(0.1)) as host:
        assert len(push_to(host, authority, images).pushed) == len(IMAGES)
    check_all(registry, images, tmp_path)


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize("status", [403, 412, 413, 507, 500])
def test_a_quota_that_is_used_up(
    status: int, registry: RunningRegistry, authority: Authority, tmp_path: Path
) -> None:
    body = json.dumps({"errors": [{"code": "DENIED", "message": QUOTA}]}).encode()
    asked: list[str] = []

    def refuse(request: Request) -> Answer | None:
        if request.method != "PUT":
            return None
        asked.append(request.path)
        return Answer(status, body, {"Content-Type": "application/json"})

    with (
        proxy(registry, authority, refuse) as host,
        pytest.raises(RegistryError, match="quota is used up") as raised,
    ):
        push_to(host, authority, archive(tmp_path))
    assert "10.0 MiB" in raised.value.problem
    assert "raise the quota" in raised.value.cure
    # Asking again would not help.
    assert len(set(asked)) == len(asked)


@pytest.mark.usefixtures("no_pauses", "small_chunks")
@pytest.mark.parametrize("status", [403, 413, 507])
def test_a_quota_that_is_used_up_in_the_middle_of_a_stream(
    status: int, registry: RunningRegistry, authority: Authority, tmp_path: Path
) -> None:
    body = json.dumps({"errors": [{"code": "DENIED", "message": QUOTA}]}).encode()
    asked: list[str] = []

    def refuse(request: Request) -> Answer | None:
        if request.method != "PATCH":
            return None
        asked.append(request.path)
        return Answer(status, body)

    images = large_layers(tmp_path)
    with (
        proxy(registry, authority, refuse) as host,
        pytest.raises(RegistryError, match="quota is used up"),
    ):
        push_to(host, authority, images)
    # Those that were under way, and no other way of sending them.
    assert len(asked) <= 4


def test_a_registry_that_limits_the_rate(
    registry: RunningRegistry,
    authority: Authority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("ckf_airgap.network.https.time.sleep", pauses.append)
    images = archive(tmp_path)
    limit = InTurn(None, None, None, None, Answer(429, b"", {"Retry-After": "7"}))
    with proxy(registry, authority, limit) as host:
        assert len(push_to(host, authority, images).pushed) == len(IMAGES)
    check_all(registry, images, tmp_path)
    # What is asked for is waited, and a little more, not the same for everybody.
    asked = [pause for pause in pauses if pause >= 7]
    assert asked and all(pause <= 8 for pause in asked)
    assert len(set(asked)) == len(asked)


def test_a_registry_that_does_not_tell_digests(
    registry: RunningRegistry, authority: Authority, tmp_path: Path
) -> None:
    hidden = ("docker-content-digest", "content-length", "connection")

    def hide(request: Request) -> Answer | None:
        if "/manifests/" not in request.path:
            return None
        upstream = request.upstream
        upstream.request(request.method, request.path, request.body, request.headers)
        response = upstream.getresponse()
        body = response.read()
        headers = {k: v for k, v in response.getheaders() if k.lower() not in hidden}
        return Answer(response.status, body, headers)

    images = archive(tmp_path)
    with proxy(registry, authority, hide) as host:
        assert len(push_to(host, authority, images).pushed) == len(IMAGES)
        again = push_to(host, authority, images)
    assert (again.pushed, again.present) == ((), len(IMAGES))


@pytest.mark.parametrize("place", ["https://[::1/upload", "//[/x"])
def test_a_registry_that_refers_to_nowhere(
    place: str, registry: RunningRegistry, authority: Authority, tmp_path: Path
) -> None:
    def refer(request: Request) -> Answer | None:
        return Answer(202, b"", {"Location": place}) if request.method == "POST" else None

    with (
        proxy(registry, authority, refer) as host,
        pytest.raises(RegistryError, match="where nothing is sent") as raised,
    ):
        push_to(host, authority, archive(tmp_path))
    assert "proxy in front of it" in raised.value.cure


@pytest.mark.parametrize("asked", ["\xb2", "86400", "Fri, 31 Dec 2099 23:59:59 GMT", "-1", "soon"])
def test_a_pause_is_never_too_long(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("ckf_airgap.network.https.time.sleep", pauses.append)
    https.pause(0, asked)
    assert 0 < pauses[0] <= 121


@pytest.mark.parametrize("method", ["POST", "PUT", "HEAD"])
def test_credentials_that_are_asked_for_again(
    method: str, closed_registry: RunningRegistry, authority: Authority, tmp_path: Path
) -> None:
    process = closed_registry.process
    assert process.username and process.password
    asked: list[str] = []

    def ask(request: Request) -> Answer | None:
        if request.method != method or asked:
            return None
        asked.append(request.path)
        return Answer(401, b"", {"WWW-Authenticate": 'Basic realm="x"'})

    credentials = Credentials(process.username, process.password)
    with proxy(closed_registry, authority, ask) as host:
        result = push_to(host, authority, archive(tmp_path), credentials)
    assert asked
    assert len(result.pushed) == len(IMAGES)


def test_an_account_that_is_withdrawn_in_the_middle(
    closed_registry: RunningRegistry, authority: Authority, tmp_path: Path
) -> None:
    process = closed_registry.process
    assert process.username and process.password
    count = 0

    def withdraw(request: Request) -> Answer | None:
        nonlocal count
        count += request.method == "PUT"
        return Answer(401, b"", {"WWW-Authenticate": 'Basic realm="x"'}) if count > 4 else None

    credentials = Credentials(process.username, process.password)
    images = archive(tmp_path)
    with (
        proxy(closed_registry, authority, withdraw) as host,
        pytest.raises(RegistryError, match="refused the credentials") as raised,
    ):
        push_to(host, authority, images, credentials)
    assert process.password not in str(raised.value)
    before = log_of(closed_registry).count('"PUT /v2/')
    with proxy(closed_registry, authority, lambda _: None) as host:
        push_to(host, authority, images, credentials)
    assert before


def test_redirected_uploads_are_not_shown_the_credentials(
    closed_registry: RunningRegistry, authority: Authority, tmp_path: Path
) -> None:
    """Storage elsewhere, to which a registry refers by Location."""
    process = closed_registry.process
    assert process.username and process.password
    shown: list[str | None] = []
    hosts: list[str] = []

    def elsewhere(request: Request) -> int | Literal["cut"] | Answer | None:
        shown.append(request.headers.get("Authorization"))
        return 403

    def refer(request: Request) -> Answer | None:
        if request.method != "POST":
            return None
        return Answer(202, b"", {"Location": f"https://{hosts[0]}/upload"})

    credentials = Credentials(process.username, process.password)
    with (
        proxy(closed_registry, authority, elsewhere) as other_host,
        proxy(closed_registry, authority, refer) as host,
        pytest.raises(RegistryError),
    ):
        hosts.append(other_host)
        push_to(host, authority, archive(tmp_path), credentials)
    assert shown
    assert set(shown) == {None}

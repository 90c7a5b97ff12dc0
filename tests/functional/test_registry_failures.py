"""A registry that refuses, fails or is not one: what the operator is told."""

import json
import logging
from pathlib import Path

import pytest
import trustme

from ckf_airgap.accounts.credentials import Credentials
from ckf_airgap.archives.sources import FileSource
from ckf_airgap.errors import ConfigurationError, RegistryError
from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.push.pusher import ImagePusher
from ckf_airgap.registry.client import RegistryClient
from ckf_airgap.registry.registry_errors import NoSpaceError, RefusedError
from testbed.pki import Authority
from tests.functional.pushes import IMAGES, archive, path_in_registry
from tests.functional.running_registry import RunningRegistry
from tests.functional.servers import Answer, InTurn, proxy


def test_an_authority_that_is_not_known(registry: RunningRegistry) -> None:
    for ca in (None, trustme.CA().cert_pem.bytes().decode()):
        with pytest.raises(RegistryError, match="not trusted") as raised:
            registry.client(ca=ca).check()
        assert "registry-ca=@ca.crt" in raised.value.cure


def test_an_authority_that_is_no_certificate(registry: RunningRegistry) -> None:
    with pytest.raises(ConfigurationError, match="registry-ca is not a PEM certificate"):
        registry.client(ca="not a certificate")


def test_an_account(
    closed_registry: RunningRegistry, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG)
    process = closed_registry.process
    assert process.username and process.password
    wrong = Credentials(process.username, "not-the-password")
    for credentials in (None, wrong):
        with pytest.raises(RegistryError, match="refused the credentials") as raised:
            closed_registry.client(credentials=credentials).check()
        assert "registry-credentials=secret:" in raised.value.cure
        assert "not-the-password" not in str(raised.value)
    client = closed_registry.client(credentials=Credentials(process.username, process.password))
    client.check()
    state = tmp_path / "push.json"
    pusher = ImagePusher(client, closed_registry.location, state)
    assert len(pusher.push(FileSource(archive(tmp_path).path)).pushed) == len(IMAGES)
    for text in (caplog.text, state.read_text(), repr(wrong)):
        assert process.password not in text
        assert "not-the-password" not in text


@pytest.mark.usefixtures("no_pauses")
def test_a_registry_that_is_stopped(registry: RunningRegistry) -> None:
    registry.process.stop()
    with pytest.raises(RegistryError, match="cannot be reached") as raised:
        registry.client().check()
    assert "run it again" in raised.value.cure


def test_a_name_that_is_not_known() -> None:
    with pytest.raises(RegistryError, match="cannot be resolved"):
        RegistryClient("registry.invalid:5000").check()


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize(
    "fault",
    [
        InTurn(None, None, 503),
        InTurn(None, None, None, 429),
        InTurn(None, None, "cut"),
        InTurn(None, "cut", None, 500, None, None, 502),
    ],
)
def test_a_push_survives_what_passes(
    fault: InTurn,
    registry: RunningRegistry,
    authority: Authority,
    tmp_path: Path,
) -> None:
    images = archive(tmp_path)
    with proxy(registry, authority, fault) as host:
        client = RegistryClient(host, ca=authority.certificate.read_text())
        location = RegistryLocation.parse(f"{host}/ckf")
        pusher = ImagePusher(client, location, tmp_path / "push.json")
        assert len(pusher.push(FileSource(images.path)).pushed) == len(IMAGES)
    for saved in images.images:
        repository, tag = path_in_registry(saved.repository_tags[0])
        pulled = registry.pull(f"{registry.location}/{repository}:{tag}", tmp_path)
        assert pulled.diff_ids == saved.diff_ids


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize(
    ("status", "problem"),
    [
        (403, "forbids this account to push"),
        (404, "not a registry"),
        (413, "takes no upload of this size"),
        (500, "answered 500"),
        (507, "has no space left"),
    ],
)
def test_what_does_not_pass_is_told(
    status: int,
    problem: str,
    registry: RunningRegistry,
    authority: Authority,
    tmp_path: Path,
) -> None:
    with proxy(registry, authority, lambda _: status) as host:
        client = RegistryClient(host, ca=authority.certificate.read_text())
        location = RegistryLocation.parse(f"{host}/ckf")
        pusher = ImagePusher(client, location, tmp_path / "push.json")
        with pytest.raises(RegistryError, match=problem):
            pusher.push(FileSource(archive(tmp_path).path))


def test_a_manifest_that_may_not_be_read(registry: RunningRegistry, authority: Authority) -> None:
    with proxy(registry, authority, lambda _: 403) as host:
        client = RegistryClient(host, ca=authority.certificate.read_text())
        with pytest.raises(RegistryError, match="forbids this account to read ckf/x:1") as raised:
            client.manifest_digest("ckf/x", "1")
    assert "may read" in raised.value.cure


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("project quota-team, repository quota-team/x: no permission", RefusedError),
        ("project quota-team: quota exceeded", NoSpaceError),
    ],
)
def test_a_project_whose_name_is_about_quotas(
    message: str, kind: type[RegistryError], registry: RunningRegistry, authority: Authority
) -> None:
    body = json.dumps({"errors": [{"code": "DENIED", "message": message}]}).encode()
    with proxy(registry, authority, lambda _: Answer(403, body)) as host:
        client = RegistryClient(host, ca=authority.certificate.read_text())
        with pytest.raises(RegistryError) as raised:
            client.upload_blob("quota-team/x", [b"x"])
    assert isinstance(raised.value, kind)


def test_a_status_for_insufficient_storage(
    registry: RunningRegistry, authority: Authority
) -> None:
    with proxy(registry, authority, lambda _: 507) as host:
        client = RegistryClient(host, ca=authority.certificate.read_text())
        with pytest.raises(NoSpaceError):
            client.upload_blob("ckf/x", [b"x"])

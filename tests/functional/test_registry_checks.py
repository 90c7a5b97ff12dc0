"""What preflight asks a registry: whether it takes pushes, and whether everybody may pull."""

import pytest

from ckf_airgap.accounts.credentials import Credentials
from ckf_airgap.errors import RegistryError
from ckf_airgap.registry.client import RegistryClient
from tests.functional.running_registry import RunningRegistry


def account(registry: RunningRegistry) -> RegistryClient:
    process = registry.process
    assert process.username and process.password
    return registry.client(credentials=Credentials(process.username, process.password))


def test_a_check_for_pushes_stores_nothing(registry: RunningRegistry) -> None:
    registry.client().check_write("ckf/some-repository")
    assert registry.uploads() == 0
    assert registry.tags("some-repository") == []
    assert not list(registry.process.data.rglob("blobs"))


def test_whoever_may_not_push_is_told(closed_registry: RunningRegistry) -> None:
    with pytest.raises(RegistryError, match="refused the credentials"):
        closed_registry.client().check_write("ckf/some-repository")
    account(closed_registry).check_write("ckf/some-repository")


def test_everybody_may_pull_from_an_open_registry(registry: RunningRegistry) -> None:
    assert registry.client().allows_anonymous_pull("ckf/not-there", "1")


def test_nobody_may_pull_from_a_closed_one(closed_registry: RunningRegistry) -> None:
    assert not account(closed_registry).allows_anonymous_pull("ckf/not-there", "1")

"""The model that the tests of the juju client are logged in to."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ckf_airgap.accounts.credentials import Credentials
from ckf_airgap.juju.juju_controller import Controller
from ckf_airgap.juju.juju_model import JujuModel
from tests.unit.juju.fake_juju import CONTROLLER, CREDENTIALS, FakeJuju


@pytest.fixture
def fake(tmp_path: Path) -> FakeJuju:
    return FakeJuju(tmp_path / "client")


def _answers(_: Controller) -> None:
    """Stand in the place of the attempt to reach a controller."""


@pytest.fixture
def login(
    fake: FakeJuju, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., JujuModel]:
    # The login sets it; monkeypatch has to know of it to take it back.
    monkeypatch.setenv("JUJU_DATA", "to be replaced")
    # Nothing listens at the controller's addresses.
    monkeypatch.setattr("ckf_airgap.juju.juju_client.require_reachable", _answers)

    def login(
        model: str = "kubeflow",
        client: Path = fake.path,
        credentials: Credentials = CREDENTIALS,
    ) -> JujuModel:
        return JujuModel.login(
            client=client,
            folder=tmp_path / "unit" / "juju",
            controller=CONTROLLER,
            credentials=credentials,
            model=model,
        )

    return login


@pytest.fixture
def model(login: Callable[..., JujuModel]) -> JujuModel:
    return login()

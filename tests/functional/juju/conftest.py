"""A controller that is a stand-in, and a model of it, logged in to."""

from collections.abc import Generator
from pathlib import Path

import pytest

from ckf_airgap.accounts.credentials import Credentials
from ckf_airgap.juju.juju_controller import Controller
from ckf_airgap.juju.juju_model import JujuModel
from testbed.pki import Authority
from tests.functional.juju.charms import PASSWORD, Charms, Login
from tests.functional.juju_api import serving
from tests.functional.juju_model import Model


@pytest.fixture
def juju() -> Model:
    """A model of Juju 3.6, empty."""
    return Model("deployer", PASSWORD)


@pytest.fixture
def controller(juju: Model, authority: Authority) -> Generator[Controller]:
    with serving(juju.api, authority) as controller:
        yield controller


@pytest.fixture
def login(
    juju_client: Path, controller: Controller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Login:
    # The login sets it; monkeypatch has to know of it to take it back.
    monkeypatch.setenv("JUJU_DATA", "to be replaced")

    def login(
        model: str = "kubeflow", password: str = PASSWORD, at: Controller = controller
    ) -> JujuModel:
        return JujuModel.login(
            client=juju_client,
            folder=tmp_path / "juju",
            controller=at,
            credentials=Credentials("deployer", password),
            model=model,
        )

    return login


@pytest.fixture
def model(login: Login, juju: Model) -> JujuModel:
    """The model, logged in to; the calls of the login are forgotten."""
    model = login()
    juju.api.forget()
    return model


@pytest.fixture
def charms(tmp_path: Path) -> "Charms":
    return Charms(tmp_path)

"""The secret of a model that keeps what was deployed."""

from collections.abc import Callable

import pytest

from ckf_airgap.errors import ConfigurationError
from ckf_airgap.juju.juju_model import JujuModel
from tests.unit.juju.fake_juju import MODEL, PASSWORD, FakeJuju

LISTED_SECRET = {
    "revision": 3,
    "owner": "<model>",
    "name": "ckf-airgap-record",
    "created": "2026-11-26T08:00:00Z",
    "updated": "2026-11-26T08:00:00Z",
}


class TestSecret:
    """A user secret of the model, made at the first write."""

    def test_that_is_not_there_is_empty_and_is_added(
        self, fake: FakeJuju, login: Callable[..., JujuModel]
    ) -> None:
        fake.answer("secrets", {"d4": {**LISTED_SECRET, "name": "another"}})
        fake.answer("add-secret", "secret:d5")
        secret = login().secret("ckf-airgap-record")
        assert secret.read() == {}
        secret.write({"record": PASSWORD}, "what was deployed")
        listed = ["secrets", "--model", MODEL, "--format", "json"]
        added = fake.commands[-1]
        assert fake.commands == [listed, listed, added]
        assert added[:-1] == [
            *("add-secret", "--model", MODEL, "ckf-airgap-record"),
            *("--info", "what was deployed", "--file"),
        ]
        secret.write({"record": PASSWORD}, "what was deployed")
        assert fake.commands[-1][0] == "update-secret"
        # The value is in a file, never in an argument.
        assert PASSWORD not in str(fake.calls)

    def test_that_is_there_is_read_and_updated(
        self, fake: FakeJuju, login: Callable[..., JujuModel]
    ) -> None:
        fake.answer("secrets", {"d4": LISTED_SECRET})
        fake.answer("show-secret", {"d4": {**LISTED_SECRET, "content": {"Data": {"record": "x"}}}})
        secret = login().secret("ckf-airgap-record")
        assert secret.read() == {"record": "x"}
        secret.write({"record": PASSWORD}, "what was deployed")
        assert fake.commands[-1][:-1] == [
            *("update-secret", "--model", MODEL, "ckf-airgap-record"),
            *("--info", "what was deployed", "--auto-prune", "--file"),
        ]

    def test_that_the_user_may_not_see_names_the_right(
        self, fake: FakeJuju, login: Callable[..., JujuModel]
    ) -> None:
        fake.answer("secrets", stderr="ERROR permission denied", status=1)
        with pytest.raises(ConfigurationError, match="juju grant USER admin MODEL"):
            login().secret("ckf-airgap-record").read()

"""The version: one for the charm, the command, the distribution, and what servers see."""

import pytest
from ops import testing

from charm import CkfAirgapCharm
from ckf_airgap import __version__
from ckf_airgap.commands.main import main
from ckf_airgap.network import https
from tests.support.operator_steps import PROJECT


def test_the_command_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"ckf-airgap {__version__}\n"


def test_servers_see_it() -> None:
    assert https.HEADERS["User-Agent"] == f"ckf-airgap/{__version__}"


@pytest.mark.parametrize("hook", ["start", "upgrade_charm"])
def test_juju_status_shows_it(hook: str) -> None:
    context = testing.Context(CkfAirgapCharm)
    before = testing.State(model=testing.Model(type="kubernetes"))
    state = context.run(getattr(context.on, hook)(), before)
    assert state.workload_version == __version__


def test_the_newest_entry_of_the_changelog_is_about_it() -> None:
    changelog = PROJECT.joinpath("CHANGELOG.md").read_text()
    newest = next(line for line in changelog.splitlines() if line.startswith("## "))
    assert newest.split()[1] == __version__

"""``ckf-airgap plan --upgrade-from``: the steps from the charms of one release to another."""

import re
from pathlib import Path

import pytest

from ckf_airgap.commands.main import main
from tests.sample_release import (
    SampleRelease,
    stated_release,
)
from tests.support.documented_upgrade import (
    changes_of,
    documented,
    words_of_table,
    write_carried,
)
from tests.unit.command_line import plan_arguments, printed

RELEASES = {name: stated_release(name) for name in ("1.8", "1.9", "1.10")}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SampleRelease]:
    return write_carried(RELEASES, tmp_path_factory.mktemp("release"), "1.8")


def test_the_steps_stand_in_the_plan(
    made: dict[str, SampleRelease], capsys: pytest.CaptureFixture[str]
) -> None:
    old = str(made["1.8"].charms.path)
    assert main(plan_arguments(made["1.9"], "--upgrade-from", old)) == 0
    upgrade = printed(capsys)["upgrade"]
    assert (upgrade["from"], upgrade["to"]) == ("1.8", "1.9")
    assert upgrade["steps"][0]["command"] == "juju scale-application istio-ingressgateway 0"
    assert [each["application"] for each in upgrade["backups"] if each["is_lost"]] == ["mlmd"]


def test_the_change_request_has_table_and_diagram(
    made: dict[str, SampleRelease], capsys: pytest.CaptureFixture[str]
) -> None:
    old = str(made["1.8"].charms.path)
    words = plan_arguments(made["1.9"], "--upgrade-from", old, "--format", "markdown")
    assert main(words) == 0
    text = capsys.readouterr().out
    assert re.match(r"# From 1\.8 to 1\.9: \d+ steps\n", text)
    table, diagram = re.findall(r"```(?:text|mermaid)\n(.*?)\n```", text, re.DOTALL)
    expected = documented(RELEASES["1.8"], made["1.9"].release, {"mlmd"})
    assert changes_of(words_of_table(table)) == expected
    assert diagram.startswith("flowchart TD\n")
    assert diagram.count(" --> ") == diagram.count('["') - diagram.count("subgraph") - 1


def test_of_the_same_release_there_is_nothing_to_do(
    made: dict[str, SampleRelease], capsys: pytest.CaptureFixture[str]
) -> None:
    old = str(made["1.9"].charms.path)
    words = plan_arguments(made["1.9"], "--upgrade-from", old, "--format", "markdown")
    assert main(words) == 0
    assert "nothing to do: the model is as planned" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--format", "markdown"], "give the charms.tar.gz of the release that runs"),
        (["--upgrade-from", "1.8"], "1.8"),
        (["--juju-version", "three"], "'three' is not a version of Juju"),
    ],
)
def test_what_is_no_release_that_runs_is_refused(
    words: list[str],
    said: str,
    made: dict[str, SampleRelease],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(plan_arguments(made["1.9"], *words)) == 2
    assert said in capsys.readouterr().err


def test_a_jump_over_a_release_is_refused(
    made: dict[str, SampleRelease], capsys: pytest.CaptureFixture[str]
) -> None:
    old = str(made["1.8"].charms.path)
    assert main(plan_arguments(made["1.10"], "--upgrade-from", old)) == 2
    assert "an upgrade goes only from one release to the next" in capsys.readouterr().err


def test_another_controller_is_told(
    made: dict[str, SampleRelease], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    old = str(made["1.8"].charms.path)
    words = plan_arguments(made["1.9"], "--upgrade-from", old, "--juju-version", "2.9.0")
    assert main(words) == 2
    assert "Charmed Kubeflow 1.9 needs Juju 3.4.3 or newer" in capsys.readouterr().err

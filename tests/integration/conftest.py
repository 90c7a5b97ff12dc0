"""The site that the integration tests run on: the testbed, or a controller that is there."""

import subprocess
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from testbed import Testbed
from tests.sample_release import SampleRelease
from tests.support.operator_steps import PROJECT, Operator, Site, make_artifacts, site_of_testbed


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("site", "where to test; the testbed unless a controller is named")
    group.addoption("--current-controller", action="store_true", help="use the current controller")
    group.addoption("--registry", help="its registry prefix, HOST[:PORT][/PATH]")
    group.addoption("--registry-ca", type=Path, help="the certificate of the registry's authority")
    group.addoption("--juju-client", type=Path, default=Path("/snap/juju/current/bin/juju"))
    group.addoption("--charm", type=Path, help="the packed charm; packed here if not given")
    group.addoption("--keep-models", action="store_true", help="leave the models for a look")


@pytest.fixture(scope="session")
def testbed(request: pytest.FixtureRequest) -> Testbed | None:
    """The testbed, up; None on another site."""
    if request.config.getoption("--current-controller"):
        return None
    testbed = Testbed()
    testbed.up()
    return testbed


@pytest.fixture(scope="session")
def site(request: pytest.FixtureRequest, testbed: Testbed | None) -> Site:
    if testbed:
        return site_of_testbed(testbed)
    registry = request.config.getoption("--registry")
    if not registry:
        pytest.fail(
            "--current-controller needs --registry: the prefix that its cluster pulls from"
        )
    ca: Path | None = request.config.getoption("--registry-ca")
    client = Path(str(request.config.getoption("--juju-client")))
    return Site("juju", client, registry, ca)


@pytest.fixture(scope="session")
def charm(
    request: pytest.FixtureRequest,
    testbed: Testbed | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The packed charm."""
    given: Path | None = request.config.getoption("--charm")
    if given:
        return given.resolve()
    if testbed is None:
        pytest.fail("--current-controller needs --charm: the file that charmcraft pack made")
    return testbed.pack(PROJECT, tmp_path_factory.mktemp("charm"))


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> SampleRelease:
    return make_artifacts(tmp_path_factory.mktemp("artifacts"))


@pytest.fixture(scope="session")
def leave(request: pytest.FixtureRequest) -> Generator[Callable[[Operator], None]]:
    """Removes the model of an operator, while the tests of the next one run."""
    leaving: list[subprocess.Popen[bytes]] = []

    def leave(operator: Operator) -> None:
        if not request.config.getoption("--keep-models"):
            leaving.append(operator.begin_to_destroy_model())

    yield leave
    assert [process.wait() for process in leaving] == [0] * len(leaving)


@pytest.fixture(scope="module")
def operator(
    request: pytest.FixtureRequest,
    site: Site,
    charm: Path,
    artifacts: SampleRelease,
    leave: Callable[[Operator], None],
) -> Generator[Operator]:
    """An operator who has deployed the charm into a model of the test module's own."""
    model = request.path.stem.replace("_", "-")
    operator = Operator(site, model)
    operator.add_model()
    operator.deploy_charm(charm, artifacts)
    yield operator
    leave(operator)

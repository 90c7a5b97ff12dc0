"""What the unit tests share: the artifacts of the built-in release, made once."""

import functools
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import charm as charm_module
import operator_inputs
from ckf_airgap.deployment import verification
from ckf_airgap.kubernetes import cluster
from ckf_airgap.kubernetes.cluster import RunningImage
from tests.sample_release import ImageOptions, Release, SampleRelease, write_release
from tests.unit.charm_unit import FakeCore, FakeDeployer, FakeJujuModel, FakeRelease, Unit

# How long an example takes says more of the machine than of what is tested.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def builtin(tmp_path_factory: pytest.TempPathFactory) -> SampleRelease:
    """Both files of the built-in release. Tests must not change them."""
    return write_release(
        Release.builtin(),
        tmp_path_factory.mktemp("builtin"),
        ImageOptions(program=b"not a program, and quick to make"),
    )


@pytest.fixture
def unit(tmp_path: Path, model: FakeJujuModel) -> Unit:
    """The unit under test, whose charm finds the model in the place of a real one."""
    return Unit(tmp_path)


@pytest.fixture
def core(monkeypatch: pytest.MonkeyPatch) -> FakeCore:
    fake = FakeCore()
    monkeypatch.setattr(charm_module, "Release", functools.partial(FakeRelease, fake))
    monkeypatch.setattr(charm_module, "Deployer", FakeDeployer)
    return fake


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> FakeJujuModel:
    fake = FakeJujuModel()
    monkeypatch.setattr(operator_inputs, "JujuModel", fake)
    monkeypatch.setattr(verification, "_POLL_SECONDS", 0)
    return fake


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> list[RunningImage]:
    """What runs in the cluster; tests change the list."""
    images = [RunningImage("kubeflow", "minio-0", "minio", "registry.corp:5000/ckf/minio:1")]
    asked: list[list[str]] = []

    def running_images(namespaces: list[str]) -> list[RunningImage]:
        asked.append(namespaces)
        return [image for image in images if image.namespace in namespaces]

    monkeypatch.setattr(cluster, "running_images", running_images)
    monkeypatch.setattr(cluster, "knative_namespaces", list[str])
    monkeypatch.setattr(cluster, "profile_namespaces", lambda: ["ann", "bob"])
    return images

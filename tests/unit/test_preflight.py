"""The checks before a deployment: each finds its kind of trouble, whatever the others find."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

from ckf_airgap.archives.inventory import ArchivedImage, Inventory
from ckf_airgap.charms.assumes import Assumption
from ckf_airgap.charms.charm_archive import UnpackedCharms
from ckf_airgap.charms.charm_file import UnreadableCharm
from ckf_airgap.deployment import preflight as preflight_module
from ckf_airgap.deployment.preflight import Level
from ckf_airgap.deployment.requirements import require_matching_client, require_supported_charms
from ckf_airgap.errors import ArtifactError, ClusterError, ConfigurationError, RegistryError
from ckf_airgap.juju.juju_model import JujuVersions
from ckf_airgap.kubernetes.cluster import ClusterFacts
from ckf_airgap.planning.settings import PlanSettings
from tests.sample_release import Charm, Option, Resource
from tests.unit.artifacts import charm_files
from tests.unit.preflight_checks import (
    BUNDLE,
    NODE,
    Checks,
    FakeRegistry,
    FakeRelease,
    charm,
    image,
)


@pytest.fixture
def checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checks:
    return Checks(tmp_path, monkeypatch)


def test_all_in_order(checks: Checks) -> None:
    assert checks.found(Level.ERROR) == []
    assert checks.found(Level.WARNING) == []
    assert [line.partition(":")[0] for line in checks.found(Level.OK)] == [
        "ok  registry",
        "ok  juju",
        "ok  juju",
        "ok  disk",
        "ok  charms",
        "ok  images",
        "ok  kubernetes",
        "ok  kubernetes",
        "ok  plan",
        "ok  pull",
    ]


def test_what_a_difference_leaves_out(checks: Checks) -> None:
    checks.release.left_out_ = 3
    text = "ok  images: the registry has the 3 layers that images.tar.gz leaves out"
    assert text in checks.found(Level.OK)
    checks.release.left_out_ = RegistryError("the registry lacks 1 of them", "push the base")
    assert checks.found(Level.ERROR) == [
        "error  images: the registry lacks 1 of them: push the base"
    ]


def test_no_failure_hides_another(checks: Checks) -> None:
    checks.release.registry_failure = RegistryError("no registry", "start it")
    checks.login_failure = ConfigurationError("no login", "log in")
    checks.cluster = ClusterError("no cluster", "trust")
    checks.release.inventory_ = ArtifactError("no images", "attach them")
    checks.release.charms_ = checks.release.charms_[:1]
    assert checks.found(Level.ERROR) == [
        "error  registry: no registry: start it",
        "error  juju: no login: log in",
        "error  charms: charms.tar.gz lacks the charm mysql-k8s (for db; the bundle has it): "
        + preflight_module._ADD_CHARM,  # pyright: ignore[reportPrivateUsage]
        "error  images: no images: attach them",
        "error  kubernetes: no cluster: trust",
    ]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"access_": "read"}, "the user deployer has only read access to the model: juju grant d"),
        ({"access_": "write"}, "the user deployer has only write access to the model: juju grant"),
        (
            {"versions_": JujuVersions("3.6.8", "4.0.1")},
            "the juju client is 3.6.8, and the model is 4.0.1: attach a client of the model's "
            "major version",
        ),
    ],
)
def test_what_juju_does_not_allow(checks: Checks, change: Mapping[str, object], text: str) -> None:
    for name, value in change.items():
        setattr(checks.model, name, value)
    (error,) = checks.found(Level.ERROR)
    assert text in error


@pytest.mark.parametrize(
    ("exceptions", "level"),
    [
        ("127.0.0.1,localhost", Level.ERROR),
        ("", Level.ERROR),
        # Networks, which the HTTP client of lightkube does not know.
        ("10.0.0.0/8,localhost", Level.WARNING),
        ("localhost,10.152.183.1", None),
    ],
)
def test_a_proxy_between_the_charms_and_kubernetes(
    exceptions: str, level: Level | None, checks: Checks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.152.183.1")
    checks.model.settings_ = {
        "https-proxy": "http://ann:secret@proxy.corp:3128",
        "no-proxy": exceptions,
    }
    found = {each: checks.found(each) for each in (Level.ERROR, Level.WARNING)}
    expected = f"{exceptions},10.152.183.1".lstrip(",")
    for each, lines in found.items():
        assert lines == (
            []
            if each is not level
            else [
                f"{each.value}  juju: charms reach the Kubernetes API (10.152.183.1) through the "
                "model's proxy http://proxy.corp:3128: juju model-config --model admin/kubeflow "
                f"no-proxy={expected}"
            ]
        )


@pytest.mark.parametrize("proxy", ["", None])
def test_a_model_without_a_proxy(
    proxy: str | None, checks: Checks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.152.183.1")
    checks.model.settings_ = {"https-proxy": proxy, "no-proxy": "127.0.0.1"}
    assert checks.found(Level.ERROR) == checks.found(Level.WARNING) == []


def test_a_podspec_charm_is_an_error_on_juju_4_only(checks: Checks) -> None:
    podspec = charm("mysql-k8s", "a/db:1", is_podspec=True)
    checks.release.charms_ = (charm("kfp-api", "a/api:1"), podspec)
    assert checks.found(Level.ERROR) == []
    checks.model.versions_ = JujuVersions("4.0.1", "4.1-beta2")
    (error,) = checks.found(Level.ERROR)
    assert "mysql-k8s is a podspec charm, which Juju 4.1-beta2 no longer deploys" in error
    with pytest.raises(Exception, match="mysql-k8s is a podspec charm"):
        require_supported_charms(checks.release.selected_charms.deployed, "4.1-beta2")


def test_a_charm_that_nothing_is_deployed_from_is_not_judged(checks: Checks) -> None:
    checks.model.versions_ = JujuVersions("4.0.1", "4.0.1")
    checks.release.charms_ += (charm("other", is_podspec=True),)
    assert checks.found(Level.ERROR) == []
    (warning,) = checks.found(Level.WARNING)
    assert "charm other belongs to no application" in warning


def test_a_charm_that_assumes_another_juju(checks: Checks) -> None:
    assumes = Assumption.of_charm({"assumes": ["juju >= 3.4.3", "juju < 3.5"]})
    database = charm("mysql-k8s", "a/db:1", assumes=assumes)
    checks.release.charms_ = (charm("kfp-api", "a/api:1"), database)
    (error,) = checks.found(Level.ERROR)
    assert "mysql-k8s requires (juju >= 3.4.3 and juju < 3.5), and this is Juju 3.6.8" in error


def test_a_base_that_juju_has_no_image_for(checks: Checks) -> None:
    old = charm("mysql-k8s", "a/db:1", bases=("ubuntu@22.04",))
    checks.release.charms_ = (charm("kfp-api", "a/api:1"), old)
    (error,) = checks.found(Level.ERROR)
    assert "registry.corp:5000/juju lacks charm-base:ubuntu-22.04, in which Juju runs" in error


def test_the_operator_of_a_podspec_charm_runs_on_an_old_base(
    checks: Checks, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = FakeRegistry.held - {("juju/charm-base", "ubuntu-20.04")}
    monkeypatch.setattr(FakeRegistry, "held", held)
    podspec = charm("mysql-k8s", "a/db:1", is_podspec=True, bases=())
    checks.release.charms_ = (charm("kfp-api", "a/api:1"), podspec)
    (error,) = checks.found(Level.ERROR)
    assert "lacks charm-base:ubuntu-20.04, in which Juju runs" in error


def test_an_agent_of_another_version_than_the_model(checks: Checks) -> None:
    checks.model.versions_ = JujuVersions("3.6.25", "3.6.25")
    (error,) = checks.found(Level.ERROR)
    assert "lacks jujud-operator:3.6.25, in which Juju runs its agents" in error
    assert "ghcr.io/juju" in error
    (warning,) = checks.found(Level.WARNING)
    assert "lacks juju-db:4.4.30, which the controller needs if its pod moves" in warning


def test_agents_that_come_from_elsewhere(checks: Checks) -> None:
    checks.model.agent_images_ = "other.corp/juju"
    images = "jujud-operator:3.6.8, charm-base:ubuntu-24.04"
    assert f"ok  juju: Juju's agent images come from other.corp/juju ({images})" in checks.found(
        Level.OK
    )
    for repository, who in (
        ("", "  juju: "),
        (None, "  juju: cannot read caas-image-repo with this account; by default "),
    ):
        checks.model.agent_images_ = repository
        (warning,) = checks.found(Level.WARNING)
        assert (
            f"{who}the controller pulls the images of its agents from the internet "
            "(docker.io/jujusolutions: jujud-operator:3.6.8, charm-base" in warning
        )


def test_storage_without_a_default_class(checks: Checks) -> None:
    checks.cluster = ClusterFacts((NODE,), "")
    assert checks.found(Level.ERROR) == []
    database = charm("mysql-k8s", "a/db:1", has_storage=True)
    checks.release.charms_ = (charm("kfp-api", "a/api:1"), database)
    (error,) = checks.found(Level.ERROR)
    assert "there is no default storage class, and mysql-k8s need storage" in error


def test_images_for_another_cpu(checks: Checks) -> None:
    checks.cluster = ClusterFacts((dataclasses.replace(NODE, architecture="arm64"),), "standard")
    (error,) = checks.found(Level.ERROR)
    assert (
        "2 images are for a different architecture than the nodes (arm64): a-api:1.tar (amd64)"
        in error
    )


def test_a_node_in_trouble(checks: Checks) -> None:
    node = dataclasses.replace(NODE, problems=("DiskPressure",))
    checks.cluster = ClusterFacts((node,), "standard")
    assert "the node one reports DiskPressure" in checks.found(Level.WARNING)[0]


def test_damage_is_named_member_by_member(checks: Checks) -> None:
    whole = (image("a/api:1"), image("a/db:1"), ArchivedImage("x.tar", (), "sha256:1", "amd64"))
    damaged = (ArtifactError("y.tar is damaged", "save it again"),)
    checks.release.inventory_ = Inventory(whole, damaged)
    assert checks.found(Level.ERROR) == ["error  images: y.tar is damaged: save it again"]
    (warning,) = checks.found(Level.WARNING)
    assert "images: x.tar has an image without a name: it is not pushed" in warning


def test_an_option_that_the_client_reads_as_a_file(checks: Checks) -> None:
    (api, database) = checks.release.charms_
    checks.release.charms_ = (api, dataclasses.replace(database, options={"profile": ""}))
    settings = PlanSettings.parse(
        location=checks.release.inputs.settings.location,
        bundle=BUNDLE,
        overlay="applications: {db: {options: {profile: '@x'}}}",
        excluded_charms="db",
    )
    checks.release.inputs = dataclasses.replace(checks.release.inputs, settings=settings)
    (error,) = checks.found(Level.ERROR)
    assert error.startswith("error  plan: the option profile of db begins with @")


def test_a_name_that_is_too_long_below_the_prefix(checks: Checks) -> None:
    long = image(f"{'a' * 126}/{'b' * 126}:1")
    checks.release.inventory_ = Inventory((image("a/api:1"), image("a/db:1"), long))
    (error,) = checks.found(Level.ERROR)
    assert "its repository below the prefix has a name of" in error
    assert "give the option registry a shorter path" in error


def test_options_that_name_images_carry_no_credentials(checks: Checks, tmp_path: Path) -> None:
    """Juju makes pull secrets for resources alone."""
    checks.release.wants_credentials = True
    assert checks.found(Level.WARNING) == []
    api = Charm(
        "kfp-api",
        (Resource("oci-image", "oci-image", "a/api:1"),),
        (Option("launcher-image", "string", "a/db:1"),),
    )
    (_, database) = checks.release.charms_
    checks.release.charms_ = (*charm_files((api,), tmp_path / "charms"), database)
    (warning,) = checks.found(Level.WARNING)
    assert warning == (
        "warning  pull: registry.corp:5000 requires credentials, which images in options "
        "cannot have (kfp-api): give the nodes' container runtime credentials for "
        "registry.corp:5000, or allow anonymous pulls"
    )


def test_a_charm_that_cannot_be_read_is_named_once(checks: Checks) -> None:
    damaged = ArtifactError("db.charm is not a readable charm", "download it again")
    (api, _) = checks.release.charms_
    checks.release.charms_ = (api,)
    checks.release.unreadable_ = (UnreadableCharm("db.charm", "mysql-k8s", damaged),)
    assert checks.found(Level.ERROR) == [f"error  charms: {damaged}"]


def test_charms_that_cannot_be_unpacked_are_no_error_of_the_registry(
    checks: Checks, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(_: FakeRelease) -> UnpackedCharms:
        raise ArtifactError("charms.tar.gz is damaged", "copy it again")

    monkeypatch.setattr(FakeRelease, "unpacked_charms", property(damaged))
    monkeypatch.setattr(FakeRelease, "selected_charms", property(damaged))
    assert checks.found(Level.ERROR) == ["error  charms: charms.tar.gz is damaged: copy it again"]


def test_missing_images_and_what_cannot_be_deployed_without_them(checks: Checks) -> None:
    checks.release.inventory_ = Inventory((image("a/api:1"),))
    errors = checks.found(Level.ERROR)
    assert "images.tar.gz lacks a/db:1 (for db/image)" in errors[0]
    assert "db cannot be deployed: no image for image" in errors[1]


def test_a_full_disk(checks: Checks, monkeypatch: pytest.MonkeyPatch) -> None:
    def disk_usage(_: Path) -> SimpleNamespace:
        return SimpleNamespace(free=1_000_000)

    monkeypatch.setattr(preflight_module.shutil, "disk_usage", disk_usage)
    (error,) = checks.found(Level.ERROR)
    assert "the unit has 1 MB free, and needs 105 MB" in error


def test_a_model_that_a_charm_does_not_run_in(checks: Checks) -> None:
    database = charm("mysql-k8s", "a/db:1", required_model="other")
    checks.release.charms_ = (charm("kfp-api", "a/api:1"), database)
    (error,) = checks.found(Level.ERROR)
    assert "mysql-k8s runs only in a model named other, and the model is kubeflow" in error


def test_operators_without_a_default_storage_class(checks: Checks) -> None:
    database = charm("mysql-k8s", "a/db:1", is_podspec=True, needs_operator_storage=True)
    checks.release.charms_ = (charm("kfp-api", "a/api:1"), database)
    assert checks.found(Level.WARNING) == []
    checks.cluster = ClusterFacts((NODE,), "")
    (warning,) = checks.found(Level.WARNING)
    assert "the operators of mysql-k8s need storage" in warning
    assert "juju model-config operator-storage" in warning


def test_a_version_of_juju_that_is_none(checks: Checks) -> None:
    checks.model.versions_ = JujuVersions("x", "x")
    (error,) = checks.found(Level.ERROR)
    assert "the controller gives 'x' as its version, which is not a version of Juju" in error


@pytest.mark.parametrize(
    ("client", "model"),
    [("3.6.25-genericlinux-amd64", "4.1-beta2"), ("4.1-beta2", "3.6.25"), ("4.0", "40.1")],
)
def test_a_client_of_another_major_version_is_refused(client: str, model: str) -> None:
    problem = f"the juju client is {client}, and the model is {model}"
    with pytest.raises(ConfigurationError, match=problem):
        require_matching_client(JujuVersions(client, model))


def test_a_client_of_the_same_major_version_fits() -> None:
    require_matching_client(JujuVersions("3.6.25-ubuntu-amd64", "3.6.8"))

"""Original names tried on the nodes, and the files for them, through the charm's actions."""

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest

from ckf_airgap.archives.inventory import Inventory
from ckf_airgap.deployment import mirror_trial, verification
from ckf_airgap.deployment import preflight as preflight_module
from ckf_airgap.deployment.mirror_trial import MirrorTrial, try_mirrors
from ckf_airgap.deployment.preflight import Level, Preflight
from ckf_airgap.images.naming import mirror_paths
from ckf_airgap.images.oci import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, sha256_of
from ckf_airgap.images.reference import ImageReference
from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.kubernetes.cluster import ClusterFacts, Node, RunningImage
from ckf_airgap.kubernetes.image_trial import TriedImage
from ckf_airgap.mirrors.original_names import OriginalNames
from ckf_airgap.registry.client import RegistryClient
from tests.unit.charm_unit import FakeCore, FakeRelease, Unit
from tests.unit.preflight_checks import Checks

LOCATION = RegistryLocation("registry.corp:5000", "ckf")
FAILED = TriedImage("one", "busybox:1", "ErrImagePull: not found")
PULLED = TriedImage("two", "busybox:1", "")


def names_of(*texts: str) -> OriginalNames:
    references = [each for each in map(ImageReference.parse, texts) if each]
    return OriginalNames(LOCATION, mirror_paths(references, (), LOCATION.host), ())


def manifest(size: int) -> bytes:
    def blob(media_type: str, size: int) -> dict[str, object]:
        return {"mediaType": media_type, "digest": f"sha256:{'c' * 64}", "size": size}

    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": blob(OCI_CONFIG, 2),
        "layers": [blob(f"{OCI_LAYER}+gzip", size)],
    }
    return json.dumps(document).encode()


class FakeRegistry:
    """A registry with manifests by repository and version."""

    def __init__(self, manifests: Mapping[str, bytes]) -> None:
        self._manifests = manifests

    def read_manifest(self, repository: str, version: str) -> bytes | None:
        return self._manifests.get(f"{repository}:{version}")


def test_each_node_is_to_pull_the_smallest_image_of_each_registry(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nodes = tuple(Node(name, "v1.33.1", "amd64", ()) for name in ("one", "two"))
    monkeypatch.setattr(mirror_trial.cluster, "describe", lambda: ClusterFacts(nodes, ""))
    asked: list[tuple[str, list[str], Mapping[str, str]]] = []

    def try_images(
        namespace: str, names: list[str], expected: Mapping[str, str], *, timeout: float
    ) -> tuple[TriedImage, ...]:
        asked.append((namespace, names, expected))
        return (FAILED, PULLED)

    monkeypatch.setattr(mirror_trial, "try_images", try_images)
    names = names_of("big/app:1", "busybox:1", "gcr.io/a/b:1", "quay.io/a/bad:1", "quay.io/a/no:1")
    registry: Any = FakeRegistry(
        {
            "ckf/docker.io/big/app:1": manifest(9),
            "ckf/docker.io/library/busybox:1": manifest(5),
            "ckf/gcr.io/a/b:1": manifest(7),
            "ckf/quay.io/a/bad:1": b"not a manifest",
        }
    )
    said: list[str] = []
    trial = try_mirrors(names, registry, "kubeflow", said.append)
    assert asked == [
        (
            "kubeflow",
            ["one", "two"],
            {"busybox:1": sha256_of(manifest(5)), "gcr.io/a/b:1": sha256_of(manifest(7))},
        )
    ]
    assert said == ["testing whether 2 nodes pull busybox:1, gcr.io/a/b:1"]
    assert trial.not_tried == ("quay.io",)
    assert trial.failed == (FAILED,)
    empty: Any = FakeRegistry({})
    assert try_mirrors(names, empty, "kubeflow", said.append).tried == ()
    assert len(asked) == 1


@pytest.fixture
def trial(monkeypatch: pytest.MonkeyPatch) -> list[MirrorTrial]:
    """What the nodes make of it, in turn."""
    chosen: list[MirrorTrial] = []

    def tried(
        names: OriginalNames, registry: RegistryClient, namespace: str, report: object
    ) -> MirrorTrial:
        assert namespace == "kubeflow"
        return chosen.pop(0)

    monkeypatch.setattr(verification, "try_mirrors", tried)
    monkeypatch.setattr(preflight_module, "try_mirrors", tried)
    return chosen


@pytest.fixture
def checks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Checks:
    return Checks(request.getfixturevalue("tmp_path"), monkeypatch)


def findings(checks: Checks, *, mirrors: bool = True) -> list[str]:
    preflight = Preflight(
        checks.release,
        checks.login,
        preflight_module.Permissions(),
        mirrors=mirrors,
    )
    return [str(each) for each in preflight.run().findings if each.check == "mirrors"]


def test_preflight_names_the_node_that_does_not_find_an_image(
    checks: Checks, trial: list[MirrorTrial], monkeypatch: pytest.MonkeyPatch
) -> None:
    trial += [MirrorTrial((FAILED, PULLED), ("quay.io",)), MirrorTrial((PULLED,), ())]
    assert findings(checks) == [
        f"{Level.WARNING.value}  mirrors: the registry has no image of quay.io under its "
        "original name: run push-images, then preflight again",
        f"{Level.ERROR.value}  mirrors: {FAILED}: configure the nodes with the output of the "
        "action mirrors",
    ]
    # An archive that was not pushed takes an hour to read.
    reads: list[Inventory] = []
    inventory = checks.release.inventory

    def read() -> Inventory:
        reads.append(inventory())
        return reads[-1]

    monkeypatch.setattr(checks.release, "inventory", read)
    assert findings(checks) == ["ok  mirrors: 1 nodes pull busybox:1 from the registry"]
    assert len(reads) == 1
    assert findings(checks, mirrors=False) == []


def test_verify_fails_where_a_node_does_not_find_an_image(
    unit: Unit, core: FakeCore, running: list[RunningImage], trial: list[MirrorTrial]
) -> None:
    unit.run("push-images")
    trial += [MirrorTrial((PULLED, FAILED), ("quay.io",)), MirrorTrial((PULLED,), ())]
    message = unit.fail("verify", mirrors=True)
    assert message.startswith("1 images are not found by their original names")
    assert unit.results["mirrors"] == (
        f"two: busybox:1: pulled\n{FAILED}\nquay.io: the registry has no image from this host"
    )
    assert unit.run("verify", mirrors=True)["mirrors"] == "two: busybox:1: pulled"
    assert "mirrors" not in unit.run("verify")


def test_the_action_shows_the_files(
    unit: Unit, core: FakeCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = names_of("busybox:1", "registry.k8s.io/pause:3.9")
    chosen: list[OriginalNames] = [names]

    def original_names(_: object, inventory: Inventory) -> OriginalNames:
        return chosen[-1]

    monkeypatch.setattr(FakeRelease, "original_names", original_names)
    core.digests = {("ckf/docker.io/library/busybox", "1"): "sha256:0"}
    results = unit.run("mirrors", runtime="all")
    assert results["registries"] == "docker.io, registry.k8s.io"
    assert results["found-images"] == 1
    assert str(results["not-found"]).startswith("registry.k8s.io/pause:3.9: the registry has no ")
    for runtime in ("containerd", "k3s", "rke2", "openshift"):
        assert re.search(r"^==> README.md <==$", results[runtime], re.M)
    assert "==> certs.d/registry.k8s.io/hosts.toml <==" in results["containerd"]
    only = unit.run("mirrors", runtime="k3s")
    assert "k3s" in only
    assert "containerd" not in only
    # Where the results would be too long, a workstation writes them.
    many = names_of(*(f"host{number}.example/a:1" for number in range(200)))
    chosen.append(many)
    words = "ckf-airgap mirrors --images images.tar.gz --registry registry.corp:5000/ckf"
    assert words in unit.run("mirrors", runtime="containerd")["containerd"]
    chosen.append(names_of())
    assert "a name with its original registry" in unit.fail("mirrors", runtime="all")

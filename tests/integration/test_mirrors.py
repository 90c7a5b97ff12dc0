"""Original names in the air gap: nodes with the written configuration find what was pushed."""

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping
from pathlib import Path

import jubilant
import pytest

from testbed import Testbed
from tests.sample_release import (
    CharmOptions,
    ImageOptions,
    Release,
    SampleRelease,
    write_image_archive,
    write_release,
)
from tests.support.operator_steps import PROJECT, Operator, Site

NAMESPACE = "original-names"
CHARMS = ("argo-controller", "kubeflow-profiles")
# By the names in pods, as archives have them: docker saves those of its own hub without the host.
NAMES = {
    "docker.io/team/app:1": "team/app:1",
    "gcr.io/team/tools/tool:1": "gcr.io/team/tools/tool:1",
    "registry.k8s.io/pause:3.9": "registry.k8s.io/pause:3.9",
    "busybox:1.36": "busybox:1.36",
    # Named by the code of charms: istio-k8s, and training-operator for its init containers.
    "docker.io/ubuntu/istio-pilot:1.29-24.04_stable": "ubuntu/istio-pilot:1.29-24.04_stable",
    "docker.io/library/alpine:3.10": "alpine:3.10",
}
BY_DIGEST = "ghcr.io/team/kept"
# The node keeps what earlier runs pulled, and would tell the digests of those: no two runs push
# the same images.
OPTIONS = ImageOptions(retagged_fraction=0, payload_kib=200 + int(time.time()) % 1_000)
_FAILED = ("ErrImagePull", "ImagePullBackOff")


@pytest.fixture(scope="module")
def own_testbed(testbed: Testbed | None) -> Testbed:
    if testbed is None:
        pytest.skip("the nodes are configured by hand, which only the testbed is for")
    return testbed


@pytest.fixture
def nodes(own_testbed: Testbed) -> Generator["Nodes"]:
    nodes = Nodes(own_testbed)
    yield nodes
    nodes.restore()


class Nodes:
    """The configuration of the testbed's one node."""

    def __init__(self, testbed: Testbed) -> None:
        self._folder = testbed.folder / "kubernetes/certs.d"
        self._made: list[Path] = []

    def configure(self, files: Mapping[str, str]) -> None:
        """Give the node what was written for containerd, and nothing else."""
        for name, content in files.items():
            path = self._folder / name.removeprefix("certs.d/")
            if not path.parent.exists():
                self._made.append(path.parent)
            path.parent.mkdir(exist_ok=True)
            path.write_text(content)

    def restore(self) -> None:
        """Take it back."""
        for path in self._made:
            shutil.rmtree(path)


def ckf_airgap(testbed: Testbed, *words: str | Path) -> str:
    core = f"PYTHONPATH={PROJECT / 'lib'}"
    return testbed.run(["env", core, sys.executable, "-m", "ckf_airgap", *words])


def push(testbed: Testbed, names: tuple[str, ...], path: Path, prefix: str) -> list[str | Path]:
    """Push images under names; gives the arguments that name the archive and the registry."""
    archive = write_image_archive(names, path, OPTIONS)
    words: list[str | Path] = ["--images", archive.path, "--registry", prefix]
    words += ["--registry-ca", testbed.registry.ca]
    ckf_airgap(testbed, "push", *words)
    return words


def files_in(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "README.md"
    }


def test_pods_run_by_original_names_only_with_the_configuration(
    own_testbed: Testbed, nodes: Nodes, tmp_path: Path
) -> None:
    testbed = own_testbed
    prefix = f"{testbed.registry.host}/mirrors-{int(time.time())}"
    archived = (*NAMES.values(), f"{BY_DIGEST}:1")
    words = push(testbed, archived, tmp_path / "images.tar.gz", prefix)
    output = tmp_path / "mirrors"
    document = ckf_airgap(testbed, "mirrors", *words, "--output", output, "--format", "json")
    written = json.loads(document)
    assert written["not_found"] == []
    digest = digest_in_registry(testbed, prefix, f"{BY_DIGEST}:1")
    images = [*NAMES, f"{BY_DIGEST}@{digest}"]
    kubectl(testbed, "create", "namespace", NAMESPACE)
    try:
        started = [start(testbed, f"before-{n}", image) for n, image in enumerate(images)]
        wait_until(lambda: all(waiting(testbed, pod) in _FAILED for pod in started))
        nodes.configure(files_in(output / "containerd"))
        pods = [start(testbed, f"after-{n}", image) for n, image in enumerate(images)]
        ready = [f"pod/{pod}" for pod in pods]
        words_of_wait = ["--for=condition=Ready", *ready, "-n", NAMESPACE, "--timeout=300s"]
        kubectl(testbed, "wait", *words_of_wait)
        found = json.loads(kubectl(testbed, "get", "pods", *pods, "-o", "json", "-n", NAMESPACE))
        for image, pod in zip(images, found["items"], strict=True):
            (status,) = pod["status"]["containerStatuses"]
            assert pod["spec"]["containers"][0]["image"] == image
            expected = digest_in_registry(testbed, prefix, image)
            assert status["imageID"].rpartition("@")[2] == expected, image
    finally:
        kubectl(testbed, "delete", "namespace", NAMESPACE, "--wait=false")


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> SampleRelease:
    """In place of those of the other tests."""
    return write_release(
        Release.builtin(CHARMS),
        tmp_path_factory.mktemp("mirrors"),
        ImageOptions(),
        CharmOptions(podspec_as_sidecar=True),
    )


@pytest.fixture(scope="module")
def operator(
    own_testbed: Testbed,
    site: Site,
    charm: Path,
    artifacts: SampleRelease,
    leave: Callable[[Operator], None],
) -> Generator[Operator]:
    operator = Operator(site, "mirrors")
    operator.add_model()
    operator.deploy_charm(charm, artifacts)
    place = f"{site.registry}/mirrors-{int(time.time())}"
    operator.configure(**{"excluded-charms": "argo-controller", "registry": place})
    operator.give_juju_user()
    yield operator
    leave(operator)


def test_the_charm_proves_the_mirrors_and_tells_what_they_served(
    own_testbed: Testbed, nodes: Nodes, operator: Operator, tmp_path: Path
) -> None:
    testbed = own_testbed
    operator.run("deploy")
    with pytest.raises(jubilant.TaskError) as failure:
        operator.run("preflight", mirrors=True)
    findings = failure.value.task.results["findings"]
    assert re.search(r"error {2}mirrors: airgap: \S+: \w+: .*failed to resolve", findings), (
        findings
    )
    assert trial_pods(testbed, operator.model) == []

    shown = operator.run("mirrors", runtime="containerd").results
    assert shown["not-found"] == "none"
    nodes.configure(files_shown(shown["containerd"], testbed.registry.ca.read_text()))
    findings = operator.run("preflight", mirrors=True).results["findings"]
    found = re.search(r"ok {2}mirrors: 1 nodes pull ([^\s,]+)", findings)
    assert found, findings
    assert trial_pods(testbed, operator.model) == []

    # What a mirror served, and what came from elsewhere, are told apart.
    elsewhere = f"{testbed.registry.host}/elsewhere-{int(time.time())}"
    words = push(testbed, ("outside.example/team/app:1",), tmp_path / "other.tar.gz", elsewhere)
    output = tmp_path / "elsewhere"
    ckf_airgap(testbed, "mirrors", *words, "--output", output)
    nodes.configure(files_in(output / "containerd"))
    kubectl(testbed, "run", "served", f"--image={found[1]}", "-n", operator.model)
    operator.run("verify", timeout=300, mirrors=True)
    kubectl(testbed, "run", "outside", "--image=outside.example/team/app:1", "-n", operator.model)
    pods = ["pod/served", "pod/outside"]
    kubectl(
        testbed, "wait", "--for=condition=Ready", *pods, "-n", operator.model, "--timeout=300s"
    )
    with pytest.raises(jubilant.TaskError) as failure:
        operator.run("verify", timeout=300, mirrors=True)
    results = failure.value.task.results
    assert f"{operator.model}/served" in results["mirrored-images"]
    assert f"{operator.model}/served" not in results["foreign-images"]
    assert f"{operator.model}/outside" in results["foreign-images"]
    assert f"{operator.model}/outside" not in results["mirrored-images"]
    assert "airgap: " in results["mirrors"]
    assert "ErrImagePull" not in results["mirrors"]


def files_shown(text: str, ca: str) -> dict[str, str]:
    """Take the files from an action's result; the certificate is only named there."""
    parts = re.split(r"^==> (\S+) <==\n", text, flags=re.MULTILINE)[1:]
    files = dict(zip(parts[::2], parts[1::2], strict=True))
    return {
        name: ca if name.endswith(".crt") else content
        for name, content in files.items()
        if name.startswith("certs.d/")
    }


def trial_pods(testbed: Testbed, namespace: str) -> list[str]:
    label = "app.kubernetes.io/component=image-trial"
    return kubectl(testbed, "get", "pods", "-n", namespace, "-l", label, "-o", "name").split()


def digest_in_registry(testbed: Testbed, prefix: str, image: str) -> str:
    """Ask the registry for an image as a mirror does, past the program."""
    name, at, digest = image.partition("@")
    if at:
        return digest
    path = name if "." in name.partition("/")[0] else f"docker.io/library/{name}"
    repository, _, tag = path.rpartition(":")
    _, _, place = prefix.partition("/")
    url = f"https://{testbed.registry.host}/v2/{place}/{repository}/manifests/{tag}"
    types = "application/vnd.docker.distribution.manifest.v2+json"
    accept = f"Accept: {types}, application/vnd.oci.image.manifest.v1+json"
    ca = ["--cacert", testbed.registry.ca]
    answer = testbed.run(["curl", "--silent", "--fail", "--head", *ca, "--header", accept, url])
    found = re.search(r"docker-content-digest: (\S+)", answer, re.IGNORECASE)
    assert found, f"{url}\n{answer}"
    return found[1]


def start(testbed: Testbed, pod: str, image: str) -> str:
    # What an earlier run has left on the node must not count.
    words = ["--image-pull-policy=Always", "--namespace", NAMESPACE]
    kubectl(testbed, "run", pod, f"--image={image}", *words)
    return pod


def waiting(testbed: Testbed, pod: str) -> str:
    path = "jsonpath={.status.containerStatuses[0].state.waiting.reason}"
    return kubectl(testbed, "get", "pod", pod, "-n", NAMESPACE, "-o", path)


def wait_until(is_so: Callable[[], bool], seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(2)


def kubectl(testbed: Testbed, *words: str) -> str:
    command = [str(testbed.kubectl_wrapper), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout

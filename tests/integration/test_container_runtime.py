"""What was pushed runs: the cluster's container runtime pulls every kind of image."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from testbed import Testbed
from tests.sample_release import ImageOptions, Layout, write_image_archive
from tests.support.operator_steps import PROJECT

NAMESPACE = "container-runtime"
IMAGES = {layout: f"docker.io/runtime/{layout.value}:1" for layout in Layout}


def test_every_kind_of_image_is_pulled_and_runs(testbed: Testbed | None, tmp_path: Path) -> None:
    if testbed is None:
        pytest.skip("the pods are started by hand, which only the testbed is for")
    options = ImageOptions(retagged_fraction=0, layouts=tuple(Layout), payload_kib=20_000)
    archive = write_image_archive(tuple(IMAGES.values()), tmp_path / "images.tar.gz", options)
    prefix = f"{testbed.registry.host}/runtime-{tmp_path.name.replace('_', '-')}"
    words: list[str | Path] = ["push", "--images", archive.path, "--registry", prefix]
    ca: list[str | Path] = ["--registry-ca", testbed.registry.ca]
    core = f"PYTHONPATH={PROJECT / 'lib'}"
    testbed.run(["env", core, sys.executable, "-m", "ckf_airgap", *words, *ca])
    kubectl(testbed, "create", "namespace", NAMESPACE)
    try:
        for layout in Layout:
            image = f"{prefix}/runtime/{layout.value}:1"
            kubectl(testbed, "run", layout.value, f"--image={image}", "--namespace", NAMESPACE)
        pods = [f"pod/{layout.value}" for layout in Layout]
        kubectl(testbed, "wait", "--for=condition=Ready", *pods, "-n", NAMESPACE, "--timeout=900s")
        found = json.loads(kubectl(testbed, "get", "pods", "-o", "json", "-n", NAMESPACE))
        statuses: list[dict[str, Any]] = [
            status for pod in found["items"] for status in pod["status"]["containerStatuses"]
        ]
        assert len(statuses) == len(Layout)
        assert all("running" in status["state"] for status in statuses)
    finally:
        kubectl(testbed, "delete", "namespace", NAMESPACE, "--wait=false")


def kubectl(testbed: Testbed, *words: str) -> str:
    command = [str(testbed.kubectl_wrapper), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout

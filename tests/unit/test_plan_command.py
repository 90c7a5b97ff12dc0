"""``ckf-airgap plan``: what it prints, and with which status it ends."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from ckf_airgap.commands.main import main
from tests.sample_release import (
    CharmOptions,
    Damage,
    ImageOptions,
    Release,
    SampleRelease,
    write_release,
)
from tests.unit.command_line import REGISTRY, plan_arguments, printed


def test_a_plan_has_all_that_would_be_deployed(
    builtin: SampleRelease, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(plan_arguments(builtin)) == 0
    document = printed(capsys)
    assert list(document) == [
        *("applications", "relations", "missing", "resolved", "fixed_images", "warnings"),
    ]
    assert [(item["image"], item["required"]) for item in document["fixed_images"]] == [
        ("docker.io/tensorflow/tensorflow:latest", False)
    ]
    assert set(document["applications"]) == set(builtin.release.applications)
    files = {charm.charm: charm.file_name for charm in builtin.charms.charms}
    assert document["applications"]["kubeflow-profiles"] == {
        "charm": "kubeflow-profiles",
        "file": files["kubeflow-profiles"],
        "excluded": False,
        "trust": True,
        "scale": 1,
        "resources": {
            "profile-image": f"{REGISTRY}/kubeflownotebookswg/profile-controller:v1.8.0",
            "kfam-image": f"{REGISTRY}/kubeflownotebookswg/kfam:v1.8.0",
        },
        "options": {},
    }
    assert document["applications"]["minio"]["excluded"] is True
    assert ["kfp-api:relational-db", "kfp-db:database"] in document["relations"]
    assert document["missing"] == []
    assert {
        "image": "gcr.io/ml-pipeline/frontend:2.0.3",
        "by": "repository",
        "to": f"{REGISTRY}/ml-pipeline/frontend:2.0.5",
    } in document["resolved"]
    assert any("lacks the charm dex-auth" in warning for warning in document["warnings"])


def test_json_is_the_same(builtin: SampleRelease, capsys: pytest.CaptureFixture[str]) -> None:
    main(plan_arguments(builtin))
    document = printed(capsys)
    assert main(plan_arguments(builtin, "--format", "json")) == 0
    assert json.loads(capsys.readouterr().out) == document


def test_what_the_operator_says_counts(
    builtin: SampleRelease, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text("applications: {kfp-api: {scale: 3}, kfp-ui: }")
    words = ("--bundle", str(builtin.bundle), "--overlay", str(overlay), "--model", "ann/mine")
    more = ("--excluded-charms", "kfp-api", "--gateway-service-type", "NodePort")
    assert main(plan_arguments(builtin, *words, *more)) == 0
    applications = printed(capsys)["applications"]
    assert applications["kfp-api"]["scale"] == 3
    assert "kfp-ui" not in applications
    assert [name for name, body in applications.items() if body["excluded"]] == ["kfp-api"]
    assert applications["istio-ingressgateway"]["options"]["gateway_service_type"] == "NodePort"


def test_missing_images_are_listed_and_no_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = ImageOptions(left_out=frozenset({"gcr.io/google-containers/busybox"}))
    made = write_release(Release.builtin(("kfp-api",)), tmp_path, images)
    assert main(plan_arguments(made)) == 0
    assert printed(capsys)["missing"] == [
        {"image": "gcr.io/google-containers/busybox", "wanted_by": ["kfp-api/cache-image"]}
    ]


def bad_registry(words: list[str], _: Path) -> None:
    words[words.index(REGISTRY)] = f"https://{REGISTRY}"


def no_such_file(words: list[str], _: Path) -> None:
    words[words.index("--images") + 1] = "/no/such/file"


def a_folder(words: list[str], folder: Path) -> None:
    words[words.index("--charms") + 1] = str(folder)


def another_file(words: list[str], folder: Path) -> None:
    path = folder / "text"
    path.write_text("no archive")
    words[words.index("--charms") + 1] = str(path)


def not_text(words: list[str], folder: Path) -> None:
    path = folder / "overlay"
    path.write_bytes(b"\xff\xfe\x00")
    words += ["--overlay", str(path)]


def no_plain_file(option: str, place: str) -> Any:
    """Name a pipe that nobody writes to, or what never ends."""

    def spoil(words: list[str], folder: Path) -> None:
        path = Path(place) if place != "pipe" else folder / "pipe"
        if place == "pipe":
            os.mkfifo(path)
        if option in words:
            words[words.index(option) + 1] = str(path)
        else:
            words += [option, str(path)]

    return spoil


def a_large_text(words: list[str], folder: Path) -> None:
    path = folder / "overlay"
    path.touch()
    os.truncate(path, 2**40)
    words += ["--overlay", str(path)]


def bad_bundle(words: list[str], folder: Path) -> None:
    path = folder / "bundle"
    path.write_text("[1, 2]")
    words += ["--bundle", str(path)]


def bad_gateway(words: list[str], _: Path) -> None:
    words += ["--gateway-service-type", "nodeport"]


def unknown_excluded(words: list[str], _: Path) -> None:
    words += ["--excluded-charms", "minoi"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (bad_registry, "has a scheme in front"),
        (no_such_file, "/no/such/file cannot be read (No such file or directory)"),
        (a_folder, "cannot be read (Is a directory)"),
        (another_file, "text"),
        (not_text, "is not text"),
        *(
            (no_plain_file(option, place), "cannot be read (it is not a regular file)")
            for option in ("--bundle", "--overlay", "--images", "--charms")
            for place in ("pipe", "/dev/zero")
        ),
        (a_large_text, "cannot be read (it has more than 16,777,216 bytes)"),
        (bad_bundle, "the bundle is not a map"),
        (bad_gateway, "gateway-service-type is 'nodeport'"),
        (unknown_excluded, "excluded-charms names minoi"),
    ],
)
def test_bad_input_has_one_line_and_status_2(
    spoil: Any,
    message: str,
    builtin: SampleRelease,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = plan_arguments(builtin)
    spoil(words, tmp_path)
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    error = captured.err.splitlines()[-1]
    assert error.startswith("ckf-airgap: error: ")
    assert message in error


def test_a_damaged_archive_is_no_base_for_a_plan(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage = {"gcr.io/google-containers/busybox": Damage.EMPTY}
    made = write_release(
        Release.builtin(("kfp-api",)), tmp_path, ImageOptions(damage=damage), CharmOptions()
    )
    assert main(plan_arguments(made)) == 2
    assert "contains 1 damaged images" in capsys.readouterr().err
    # To look at it is what inspect is for.
    assert main(["inspect", "--images", str(made.images.path), "--format", "yaml"]) == 1
    document = printed(capsys)
    assert len(document["damaged"]) == 1
    assert len(document["images"]) == len(made.images.images) - 1

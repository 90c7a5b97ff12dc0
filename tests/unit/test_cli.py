"""The command ckf-airgap: what it prints, and with which status it ends."""

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from ckf_airgap.archives import byte_stream
from ckf_airgap.cli import main
from tests.sample_release import (
    CharmOptions,
    Damage,
    ImageOptions,
    Release,
    SampleRelease,
    truncate,
    write_release,
)
from tests.support.archive_forms import old_docker_save
from tests.support.sample_images import NamedImage, sample_image
from tests.support.tar_files import Entry, symbolic_link, tar

REGISTRY = "registry.corp:5000/ckf"


def plan(made: SampleRelease, *words: str) -> list[str]:
    archives = ["--charms", str(made.charms.path), "--images", str(made.images.path)]
    return ["plan", *archives, "--registry", REGISTRY, *words]


def printed(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    return yaml.safe_load(capsys.readouterr().out)


def test_a_plan_has_all_that_would_be_deployed(
    builtin: SampleRelease, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(plan(builtin)) == 0
    document = printed(capsys)
    assert list(document) == ["applications", "relations", "missing", "resolved", "warnings"]
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
    main(plan(builtin))
    document = printed(capsys)
    assert main(plan(builtin, "--format", "json")) == 0
    assert json.loads(capsys.readouterr().out) == document


def test_what_the_operator_says_counts(
    builtin: SampleRelease, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text("applications: {kfp-api: {scale: 3}, kfp-ui: }")
    words = ("--bundle", str(builtin.bundle), "--overlay", str(overlay), "--model", "ann/mine")
    more = ("--excluded-charms", "kfp-api", "--gateway-service-type", "NodePort")
    assert main(plan(builtin, *words, *more)) == 0
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
    assert main(plan(made)) == 0
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
    words = plan(builtin)
    spoil(words, tmp_path)
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    error = captured.err.splitlines()[-1]
    assert error.startswith("ckf-airgap: error: ")
    assert message in error


@pytest.mark.parametrize("words", [[], ["plan"], ["no-such-command"]])
def test_a_wrong_call_has_status_2(words: list[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(words)
    assert raised.value.code == 2


def test_a_damaged_archive_is_no_base_for_a_plan(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage = {"gcr.io/google-containers/busybox": Damage.EMPTY}
    made = write_release(
        Release.builtin(("kfp-api",)), tmp_path, ImageOptions(damage=damage), CharmOptions()
    )
    assert main(plan(made)) == 2
    assert "holds 1 damaged images" in capsys.readouterr().err
    # To look at it is what inspect is for.
    assert main(["inspect", "--images", str(made.images.path), "--format", "yaml"]) == 1
    document = printed(capsys)
    assert len(document["damaged"]) == 1
    assert len(document["images"]) == len(made.images.images) - 1


def test_inspect_shows_what_the_archives_hold(
    builtin: SampleRelease, capsys: pytest.CaptureFixture[str]
) -> None:
    archives = ["--charms", str(builtin.charms.path), "--images", str(builtin.images.path)]
    assert main(["inspect", *archives, "--format", "yaml"]) == 0
    document = printed(capsys)
    assert set(document["charms"]) == {charm.charm for charm in builtin.charms.charms}
    assert document["charms"]["minio"]["podspec"] is True
    assert document["charms"]["kfp-api"]["options"]["cache-image"] == [
        "gcr.io/google-containers/busybox"
    ]
    assert len(document["images"]) == len(builtin.images.images)
    assert {image["architecture"] for image in document["images"]} == {"amd64"}
    assert document["damaged"] == []


def test_inspect_of_a_truncated_archive(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = write_release(Release.builtin(("kfp-api",)), tmp_path)
    truncate(made.images.path, 0.5)
    assert main(["inspect", "--images", str(made.images.path)]) == 2
    assert "ends in the middle" in capsys.readouterr().err


def test_inspect_of_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect"]) == 2
    assert "give --charms, --images or both" in capsys.readouterr().err


def test_reading_for_long_is_shown(
    builtin: SampleRelease, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(byte_stream, "_REPORT_SECONDS", 0.0)
    # Images saved by digest have no name but in the charms, which are not given here.
    assert main(["inspect", "--images", str(builtin.images.path)]) == 1
    captured = capsys.readouterr()
    assert "reading images.tar.gz: 100%" in captured.err
    assert "give the charms that want it with --charms" in captured.out


def test_inspect_shows_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sound = NamedImage(sample_image("base", "app"), ("docker.io/team/app:1",))
    other = NamedImage(sample_image("base", "other"), ("quay.io/team/app:1",))
    entries = [
        Entry("app.tar", tar(old_docker_save([sound]))),
        Entry("other.tar", tar(old_docker_save([other]))),
        Entry("broken.tar", b""),
        symbolic_link("elsewhere.tar", "/mnt/usb/elsewhere.tar"),
        Entry("._app.tar", b"attributes"),
    ]
    path = tmp_path / "images.tar"
    path.write_bytes(tar(entries))
    assert main(["inspect", "--images", str(path)]) == 1
    out = capsys.readouterr().out
    rows = [line.split() for line in out.splitlines()]
    assert ["team/app:1", "amd64", "app.tar"] in rows
    assert ["._app.tar", "a", "file", "that", "desktops", "add"] in rows
    for told in (
        "damaged: broken.tar is empty",
        "two images, one path: two different images would be team/app:1 in the registry",
        "perhaps an image: elsewhere.tar: a link to /mnt/usb/elsewhere.tar",
        "2 images, 1 damaged, 1 conflicts, 1 perhaps images, 1 passed over",
    ):
        assert told in out


def test_what_the_encoding_of_the_output_lacks_is_escaped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = write_release(Release.builtin(("kfp-api",)), tmp_path)
    path = tmp_path / "renamed.tar"
    with tarfile.open(made.images.path) as source, tarfile.open(path, "w") as target:
        for number, member in enumerate(source):
            content = source.extractfile(member)
            member.name = f"ż-{number}.tar"
            target.addfile(member, content)

    def inspected(encoding: str, *words: str) -> str:
        output = io.TextIOWrapper(io.BytesIO(), encoding)
        monkeypatch.setattr(sys, "stdout", output)
        assert main(["inspect", "--images", str(path), *words]) == 0
        output.seek(0)
        return output.read()

    texts = [inspected(encoding, "--format", "yaml") for encoding in ("utf-8", "latin-1", "ascii")]
    assert "ż-0.tar" in texts[0]
    documents = [yaml.safe_load(text) for text in texts]
    assert documents[1] == documents[2] == documents[0]
    # What is for people has no escapes of its own.
    assert "\\u017c-0.tar" in inspected("ascii").lower()


def test_an_output_on_a_full_disk_is_one_error(builtin: SampleRelease) -> None:
    # A process of its own: what is left to write must not fail again at its end.
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "ckf_airgap", *plan(builtin)],
            env={"PYTHONPATH": ":".join(sys.path)},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    (error,) = done.stderr.splitlines()
    assert error.startswith(
        "ckf-airgap: error: standard output cannot be written (No space left on device): "
    )


def test_an_output_that_is_closed_is_none(builtin: SampleRelease) -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-m", "ckf_airgap", *plan(builtin)],
        env={"PYTHONPATH": ":".join(sys.path)},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")

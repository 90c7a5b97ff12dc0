"""A plan as a directory for Terraform. What OpenTofu makes of it is in the functional tests."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckf_airgap.commands.main import main
from ckf_airgap.errors import ArtifactError
from ckf_airgap.juju.juju_values import OptionValue, Relation, Side
from ckf_airgap.planning.plan import Plan, PlannedApplication
from ckf_airgap.planning.terraform import terraform_files, unknown_to_provider
from tests.conftest import PROJECT
from tests.sample_release import ImageOptions, Release, SampleRelease, write_release
from tests.unit.command_line import plan_arguments, printed

IMAGE = "registry.corp:5000/ckf/minio:1"
# The only expressions that the writer makes.
OURS = re.compile(
    r"(?<!\$)\$\{(?:var\.charms|var\.model_uuid|local\.applications\[.*|filesha256\(local.*"
    r"|juju_application\.[a-z0-9-]+\.name|var\.registry_account == null .*)\}"
)


def planned(
    name: str = "minio",
    *,
    label: str = "minio.charm",
    resources: Mapping[str, str] | None = None,
    options: Mapping[str, OptionValue] | None = None,
    lacking: tuple[str, ...] = (),
    passed_on: Mapping[str, Any] | None = None,
) -> PlannedApplication:
    return PlannedApplication(
        name=name,
        charm=name,
        file=Path("/charms/minio.charm"),
        base=None,
        is_excluded=False,
        resources=resources or {},
        options=options or {},
        lacking=lacking,
        settings=passed_on or {},
        label=label,
    )


def plan_of(*applications: PlannedApplication, relations: tuple[Relation, ...] = ()) -> Plan:
    return Plan(applications, relations, resolved=(), missing=())


def main_document(plan: Plan) -> dict[str, Any]:
    digests = {item.label: "0" * 64 for item in plan.applications}
    return json.loads(terraform_files(plan, digests)["main.tf.json"])


def resources(plan: Plan, kind: str) -> dict[str, Any]:
    return main_document(plan)["resource"][kind]


def texts(document: object) -> list[str]:
    """List all texts and keys."""
    if isinstance(document, dict):
        entries = cast(dict[str, object], document).items()
        return [text for key, value in entries for text in (key, *texts(value))]
    if isinstance(document, list):
        return [text for each in cast(list[object], document) for text in texts(each)]
    return [document] if isinstance(document, str) else []


HOSTILE = (
    st.text(max_size=12)
    | st.text('$%{}"\\~ax', max_size=8)
    | st.sampled_from(
        ['${file("/etc/passwd")}', "%{ for x in y }", "$${var.x}", "%%{if true}", "${~ x ~}"]
    )
)


@given(
    values=st.dictionaries(HOSTILE, HOSTILE, max_size=4),
    images=st.dictionaries(HOSTILE, HOSTILE.map(lambda text: f"host/{text}"), max_size=2),
    storage=st.dictionaries(HOSTILE, HOSTILE, max_size=2),
    label=st.text("ab${}%\"'", min_size=1, max_size=8),
)
def test_nothing_of_the_plan_is_evaluated(
    values: Mapping[str, str], images: Mapping[str, str], storage: Mapping[str, str], label: str
) -> None:
    item = planned(
        label=f"{label}.charm", options=values, resources=images, passed_on={"storage": storage}
    )
    document = main_document(plan_of(item))
    for text in texts(document):
        # "$${" and "%%{" are texts to Terraform.
        rest = OURS.sub("", text).replace("$${", "-").replace("%%{", "-")
        assert not re.search(r"(?<!\$)\$\{|(?<!%)%\{", rest)
    body = document["resource"]["juju_application"]["minio"]

    def plain(entries: Mapping[str, str]) -> dict[str, str]:
        def back(text: str) -> str:
            return text.replace("$${", "${").replace("%%{", "%{")

        return {back(key): back(value) for key, value in entries.items()}

    assert plain(body.get("config", {})) == values
    assert plain(body.get("resources", {})) == images
    assert plain(body.get("storage_directives", {})) == storage


@pytest.mark.parametrize(
    ("value", "text"),
    [(True, "true"), (False, "false"), (3, "3"), (-1, "-1"), (2.5, "2.5"), ("True", "True")],
)
def test_options_are_texts_as_juju_reads_them(value: OptionValue, text: str) -> None:
    item = planned(options={"option": value})
    assert resources(plan_of(item), "juju_application")["minio"]["config"] == {"option": text}


def test_what_is_not_set_is_left_out() -> None:
    body = resources(plan_of(planned()), "juju_application")["minio"]
    assert set(body) == {"model_uuid", "name", "local_charm", "units", "trust", "lifecycle"}
    assert set(body["local_charm"]) == {"name", "path"}


def test_relations_that_read_alike_have_names_of_their_own() -> None:
    def relation(*sides: str) -> Relation:
        first, second = map(Side.parse, sides)
        return first, second

    relations = (
        relation("a:x_b", "c:y"),
        relation("a:x", "b-c:y"),
        relation("a:x", "b:c_y"),
        relation("a:x-b", "c:y"),
    )
    plan = plan_of(*map(planned, ("a", "b", "b-c", "c")), relations=relations)
    assert len(resources(plan, "juju_integration")) == len(relations)


def test_what_cannot_be_deployed_is_left_out_with_its_relations() -> None:
    relation = (Side("one", "a"), Side("two", "b"))
    plan = plan_of(planned("one"), planned("two", lacking=("oci-image",)), relations=(relation,))
    assert set(resources(plan, "juju_application")) == {"one"}
    assert resources(plan, "juju_integration") == {}


@pytest.mark.parametrize(
    "label", ["/etc/minio.charm", "../minio.charm", "a/../../minio.charm", "a\nb.charm"]
)
def test_a_charm_that_would_not_be_unpacked_there_is_refused(label: str) -> None:
    with pytest.raises(ArtifactError, match="tar -czf"):
        main_document(plan_of(planned(label=label)))


def test_devices_are_named_because_the_provider_does_not_know_them() -> None:
    plan = plan_of(planned(passed_on={"devices": {"gpu": "1,nvidia.com/gpu"}}), planned("other"))
    (line,) = unknown_to_provider(plan)
    assert line.startswith("minio is deployed without its devices")


def test_it_needs_the_same_provider_as_the_module_of_this_charm() -> None:
    written = terraform_files(plan_of(planned()), {"minio.charm": "0" * 64})
    assert written["versions.tf"] == PROJECT.joinpath("terraform/versions.tf").read_text()
    # Nothing else has a source, so that nothing else is downloaded.
    sources = re.findall(r'\bsource"?\s*[=:]\s*"([^"]*)"', "\n".join(written.values()))
    assert sources == ["juju/juju"]


def test_the_command_writes_the_directory_and_says_so(
    builtin: SampleRelease, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "new" / "folder"
    words = ("--format", "terraform", "--output", str(folder))
    # The release is a part of a whole one: charms are missing.
    assert main(plan_arguments(builtin, *words)) == 1
    document = printed(capsys)
    assert {path.name for path in folder.iterdir()} == {
        *("README.md", "main.tf.json", "variables.tf", "versions.tf"),
    }
    # Options may contain passwords.
    assert folder.joinpath("main.tf.json").stat().st_mode & 0o777 == 0o600
    written = json.loads(folder.joinpath("main.tf.json").read_text())["resource"]
    assert set(written["juju_application"]) == set(builtin.release.applications)
    assert document["written"] == str(folder)
    assert document["applications"] == len(written["juju_application"])
    assert document["relations"] == len(written["juju_integration"])
    assert document["left_out"] == document["missing"] == []
    assert any("lacks the charm dex-auth" in warning for warning in document["warnings"])


def test_missing_images_are_named_and_their_applications_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    release = Release.builtin(("minio", "kfp-api"))
    (image,) = {
        resource.upstream_source
        for charm in release.charms
        if charm.name == "minio"
        for resource in charm.resources
    }
    made = write_release(release, tmp_path, ImageOptions(left_out=frozenset({image})))
    folder = tmp_path / "terraform"
    words = ("--format", "terraform", "--output", str(folder))
    assert main(plan_arguments(made, *words)) == 1
    document = printed(capsys)
    assert document["left_out"] == ["minio"]
    assert any(image in each for each in document["missing"])
    written = json.loads(folder.joinpath("main.tf.json").read_text())["resource"]
    assert set(written["juju_application"]) == {"kfp-api"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--format", "terraform", "--upgrade-from", "old.tar.gz"), "the order of an upgrade"),
        (("--output", "folder"), "--output is only for --format terraform"),
        (("--format", "json", "--output", "folder"), "redirect the output to a file"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    words: tuple[str, ...],
    message: str,
    builtin: SampleRelease,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(plan_arguments(builtin, *words)) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_cannot_be_written_is_an_error_with_its_cure(
    builtin: SampleRelease, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.touch()
    words = ("--format", "terraform", "--output", str(file))
    assert main(plan_arguments(builtin, *words)) == 2
    assert f"{file}" in capsys.readouterr().err.splitlines()[-1]

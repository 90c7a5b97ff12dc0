"""One ``.charm`` file: the images it takes, by rule, and what is refused as no charm."""

import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from ckf_airgap.charms.charm_file import CharmFile
from ckf_airgap.charms.image_options import Find, HubImageOption, ImageListOption, OptionImages
from ckf_airgap.errors import ArtifactError
from ckf_airgap.images.reference import ImageReference
from tests.sample_release import Release, charm_file

REGISTRY = "registry.corp:5000/ckf"
ISTIO = {
    "pilot-image": "pilot",
    "global-tag": "1.17.3",
    "global-hub": "docker.io/istio",
    "global-proxy-image": "proxyv2",
    "global-proxy-init-image": "proxyv2",
    "grpc-bootstrap-init": "busybox:1.28",
}

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Give a function that writes a charm out of documents."""

    def write(
        metadata: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        files: Mapping[str, str | bytes] | None = None,
    ) -> Path:
        path = tmp_path / "some_r12.charm"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(
                "metadata.yaml", yaml.safe_dump({"name": "some"} | dict(metadata or {}))
            )
            if options is not None:
                archive.writestr("config.yaml", yaml.safe_dump({"options": dict(options)}))
            for name, content in (files or {}).items():
                archive.writestr(name, content)
        return path

    return write


def string(default: object) -> dict[str, Any]:
    return {"type": "string", "default": default}


def found(image: str) -> ImageReference | None:
    """Find each image at its last component, beneath the registry."""
    return ImageReference.parse(f"{REGISTRY}/{image.rpartition('/')[2]}")


def missing(*images: str) -> Find:
    return lambda image: None if image in images else found(image)


def value_of(charm: CharmFile, find: Find = found) -> OptionImages | None:
    (option,) = charm.image_options
    return option.value(find)


def test_resources_of_images_are_needs_and_files_are_not(write: Write) -> None:
    charm = CharmFile.read(
        write(
            {
                "resources": {
                    "oci-image": {"type": "oci-image", "upstream-source": "a/b:1"},
                    "side": {"type": "oci-image", "upstream-source": f"c/d@sha256:{'0' * 64}"},
                    "unsaid": {"type": "oci-image"},
                    "empty": {"type": "oci-image", "upstream-source": ""},
                    "binary": {"type": "file", "filename": "x", "upstream-source": "e/f:1"},
                }
            }
        )
    )
    assert charm.name == "some"
    assert charm.resources == {
        "oci-image": "a/b:1",
        "side": f"c/d@sha256:{'0' * 64}",
        "unsaid": "",
        "empty": "",
    }
    assert charm.images == ("a/b:1", f"c/d@sha256:{'0' * 64}")


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("executor-image", "charmedkubeflow/argoexec:3.3.10-c88862f"),
        ("cache-image", "gcr.io/google-containers/busybox"),
        ("driver-image", f"gcr.io/ml-pipeline/kfp-driver@sha256:{'8e' * 32}"),
        ("kernel_image", "localhost:32000/x:1"),
    ],
)
def test_a_plain_option_is_a_need(name: str, image: str, write: Write) -> None:
    charm = CharmFile.read(write(options={name: string(image), "other": string("a/b:1")}))
    assert [(option.name, option.images) for option in charm.image_options] == [(name, (image,))]
    assert charm.options == {name: image, "other": "a/b:1"}
    assert value_of(charm) == str(found(image))
    assert value_of(charm, missing(image)) is None


@pytest.mark.parametrize(
    "default",
    [
        "- a/one:1\n- b/two:2\n",
        '["a/one:1", "b/two:2"]',
        "# the first is the default\n- a/one:1\n- b/two:2\n",
    ],
)
def test_a_list_is_a_need_of_each_image(default: str, write: Write) -> None:
    charm = CharmFile.read(write(options={"jupyter-images": string(default)}))
    assert charm.images == ("a/one:1", "b/two:2")
    assert value_of(charm) == [f"{REGISTRY}/one:1", f"{REGISTRY}/two:2"]


def test_a_list_leaves_out_what_is_missing() -> None:
    option = ImageListOption("jupyter-images", ("a/one:1", "b/two:2"))
    assert option.value(missing("a/one:1")) == [f"{REGISTRY}/two:2"]
    assert option.value(missing("a/one:1", "b/two:2")) is None


def test_a_map_is_a_need_of_each_image_and_leaves_out_what_is_missing(write: Write) -> None:
    default = yaml.safe_dump({"one": "a/one:1", "two": "b/two:2", "empty": "", "number": 3})
    charm = CharmFile.read(write(options={"custom_images": string(default)}))
    assert charm.images == ("a/one:1", "b/two:2")
    assert value_of(charm) == {
        "one": f"{REGISTRY}/one:1",
        "two": f"{REGISTRY}/two:2",
    }
    value = value_of(charm, missing("a/one:1"))
    assert value == {"two": f"{REGISTRY}/two:2"}
    assert value_of(charm, missing("a/one:1", "b/two:2")) is None


def test_a_hub_applies_to_its_names(write: Write) -> None:
    charm = CharmFile.read(
        write(options={"image-configuration": string(yaml.safe_dump(ISTIO, sort_keys=False))})
    )
    assert charm.images == ("docker.io/istio/pilot:1.17.3", "docker.io/istio/proxyv2:1.17.3")
    value = value_of(
        charm, lambda image: ImageReference.parse(image.replace("docker.io", REGISTRY))
    )
    assert value == ISTIO | {"global-hub": f"{REGISTRY}/istio"}


@pytest.mark.parametrize(
    "places",
    [
        {"pilot": f"{REGISTRY}/istio/pilot:1.17.3", "proxyv2": f"{REGISTRY}/other/proxyv2:1.17.3"},
        {"pilot": f"{REGISTRY}/istio/pilot:1.17.3", "proxyv2": f"{REGISTRY}/istio/proxyv2:1.17.4"},
        {"pilot": f"{REGISTRY}/istio/pilot:1.17.3", "proxyv2": None},
        {"pilot": None, "proxyv2": None},
    ],
)
def test_a_hub_with_images_in_different_places_gives_nothing(
    places: dict[str, str | None],
) -> None:
    option = HubImageOption("image-configuration", tuple(ISTIO.items()))

    def find(image: str) -> ImageReference | None:
        place = places["pilot" if "pilot" in image else "proxyv2"]
        return ImageReference.parse(place) if place else None

    assert option.value(find) is None


def test_a_hub_follows_images_that_all_have_another_tag_and_name() -> None:
    option = HubImageOption("image-configuration", tuple(ISTIO.items()))
    value = option.value(lambda image: ImageReference.parse(f"{REGISTRY}/m/{image[17:18]}:2"))
    assert value
    assert value["global-hub"] == f"{REGISTRY}/m"
    assert value["global-tag"] == "2"
    assert (value["pilot-image"], value["global-proxy-image"]) == ("i", "r")


@pytest.mark.parametrize("suffix", ["json", "yaml", "yml"])
@pytest.mark.parametrize("option", ["custom_images", "custom-images"])
def test_the_keys_of_a_default_file_count_and_not_those_of_the_option(
    option: str, suffix: str, write: Write
) -> None:
    charm = CharmFile.read(
        write(
            options={option: string("visualization_server : ''\nfrontend_image : ''\n")},
            files={
                f"src/default-custom-images.{suffix}": json.dumps(
                    {"visualization_server": "g/viz:1", "frontend": "g/frontend:1"}
                ),
                "src/default-other.json": '{"a": "b/c:1"}',
                "tests/src/default-custom-images.json": '{"a": "b/c:1"}',
            },
        )
    )
    assert charm.images == ("g/viz:1", "g/frontend:1")
    assert value_of(charm) == {
        "visualization_server": f"{REGISTRY}/viz:1",
        "frontend": f"{REGISTRY}/frontend:1",
    }


@pytest.mark.parametrize(
    ("name", "details"),
    [
        ("image-pull-policy", string("Always")),
        ("image_pull_policy", string("IfNotPresent")),
        ("istio.gateway.namespace", string("kubeflow/gateway")),
        ("default-gateway", string("istio-gateway")),
        ("some-image", string("")),
        ("some-image", {"type": "string"}),
        ("some-image", string("not an image/at all")),
        ("some-image", string("Upper/Case:1")),
        ("show-images", {"type": "boolean", "default": True}),
        ("image-count", {"type": "int", "default": 3}),
        ("some-images", string("[]")),
        ("some-images", string("{}")),
        ("some-images", string("a: ''\nb: ''\n")),
        ("some-images", string("- ''\n")),
        ("some-images", string("- 'two words'\n- a/b:1\n")),
        ("some-images", string("a: [unclosed")),
        ("some-image", "no map"),
    ],
)
def test_what_is_no_image_is_no_need(name: str, details: object, write: Write) -> None:
    charm = CharmFile.read(write(options={name: details}))
    assert charm.image_options == ()
    assert charm.images == ()


@pytest.mark.parametrize(
    ("metadata", "is_podspec"),
    [
        ({"series": ["kubernetes"]}, True),
        ({"series": ["kubernetes"], "deployment": {"type": "stateful"}}, True),
        ({"series": ["kubernetes"], "containers": {"c": {"resource": "r"}}}, False),
        ({"containers": {"c": {"resource": "r"}}}, False),
        ({"series": ["focal"]}, False),
        ({"series": None}, False),
        ({}, False),
    ],
)
def test_podspec_charms_are_told_by_their_metadata(
    metadata: dict[str, Any], is_podspec: bool, write: Write
) -> None:
    assert CharmFile.read(write(metadata)).is_podspec is is_podspec


@pytest.mark.parametrize(
    ("manifest", "bases", "base"),
    [
        ({"bases": [{"name": "ubuntu", "channel": "24.04"}]}, ("ubuntu@24.04",), "ubuntu@24.04"),
        (
            {
                "bases": [
                    {"name": "ubuntu", "channel": "22.04/stable"},
                    {"name": "ubuntu", "channel": "20.04"},
                ]
            },
            ("ubuntu@22.04", "ubuntu@20.04"),
            "ubuntu@22.04",
        ),
        ({"bases": [{"name": "ubuntu", "channel": 20.04}, "ubuntu"]}, None, None),
        ({"bases": []}, (), None),
        ({"bases": None}, (), None),
        ({}, (), None),
    ],
)
def test_the_newest_base_of_the_manifest_counts(
    manifest: dict[str, Any], bases: tuple[str, ...] | None, base: str | None, write: Write
) -> None:
    charm = CharmFile.read(write(files={"manifest.yaml": yaml.safe_dump(manifest)}))
    if bases is None:
        bases, base = ("ubuntu@20.04",), "ubuntu@20.04"
    assert (charm.bases, charm.base) == (bases, base)


def test_a_charm_without_a_manifest_has_no_base(write: Write) -> None:
    assert CharmFile.read(write()).base is None


def test_endpoints_are_those_to_relate_with(write: Write) -> None:
    charm = CharmFile.read(
        write(
            {
                "provides": {"a": {"interface": "x"}, "bare": "no map"},
                "requires": {"b": {"interface": "y", "limit": 1}},
                "peers": {"c": {"interface": "z"}},
            }
        )
    )
    assert [(e.name, e.role, e.interface) for e in charm.endpoints] == [
        ("a", "provides", "x"),
        ("b", "requires", "y"),
    ]


@pytest.mark.parametrize("empty", ["", "options:\n", "{}", "options: []\n"])
def test_a_config_without_options_is_none(empty: str, write: Write) -> None:
    assert CharmFile.read(write(files={"config.yaml": empty})).options == {}


def test_a_file_that_is_no_zip_is_refused_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "broken_r1.charm"
    path.write_bytes(b"<html>502 Bad Gateway</html>")
    with pytest.raises(ArtifactError, match=r"broken_r1\.charm is not a readable charm"):
        CharmFile.read(path)
    with pytest.raises(ArtifactError, match=r"charms/broken\.charm is not a readable charm"):
        CharmFile.read(path, "charms/broken.charm")


def test_a_file_that_is_not_there_is_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"gone\.charm is not a readable charm"):
        CharmFile.read(tmp_path / "gone.charm")


def test_a_damaged_member_is_refused_by_the_charms_name(write: Write) -> None:
    path = write(files={"config.yaml": "options: {}\n#" + "x" * 100})
    data = path.read_bytes()
    path.write_bytes(data.replace(b"xxxx", b"xxxy", 1))
    with pytest.raises(ArtifactError, match=r"some_r12\.charm is not a readable charm .*CRC"):
        CharmFile.read(path)


def test_a_damaged_compressed_member_is_refused_by_the_charms_name(tmp_path: Path) -> None:
    path = tmp_path / "broken_r1.charm"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("metadata.yaml", "name: some\n")
    data = bytearray(path.read_bytes())
    start = data.index(b"metadata.yaml") + len("metadata.yaml")
    data[start] = 0x07  # RFC 1951, section 3.2.3: the reserved block type.
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match=r"broken_r1\.charm is not a readable charm"):
        CharmFile.read(path)


def test_a_charm_without_metadata_is_refused_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "broken_r1.charm"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.yaml", "options: {}")
    with pytest.raises(ArtifactError, match=r"broken_r1\.charm has no metadata\.yaml"):
        CharmFile.read(path)


@pytest.mark.parametrize(
    ("document", "content", "problem"),
    [
        ("metadata.yaml", "- a\n- list\n", "is not a map"),
        ("metadata.yaml", "just words", "is not a map"),
        ("metadata.yaml", "a: [unclosed", "is not valid YAML"),
        ("metadata.yaml", b"\xff\xfe\x00name", "is not valid YAML"),
        ("metadata.yaml", "summary: nameless\n", "names no valid charm"),
        ("metadata.yaml", "name: 12\n", "names no valid charm"),
        ("metadata.yaml", "", "names no valid charm"),
        ("config.yaml", "- a\n", "is not a map"),
        ("config.yaml", "\t", "is not valid YAML"),
        ("manifest.yaml", "words", "is not a map"),
        ("manifest.yaml", "x" * (4 * 2**20 + 1), "is too large"),
    ],
)
def test_documents_that_cannot_be_right_are_refused_by_name(
    document: str, content: str | bytes, problem: str, tmp_path: Path
) -> None:
    path = tmp_path / "broken_r1.charm"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in {"metadata.yaml": "name: some", document: content}.items():
            archive.writestr(name, text)
    with pytest.raises(ArtifactError, match=rf"{document} of broken_r1\.charm {problem}"):
        CharmFile.read(path)


@pytest.mark.parametrize(
    ("suffix", "content", "problem"),
    [
        ("json", '{"a": ', r"JSON \(line 1\)"),
        ("json", '{"a": "b/c:1"}\n# a note', r"JSON \(line 2\)"),
        ("json", "[" * 10_000, r"JSON \(it is nested too deeply\)"),
        ("json", "[" + "{}," * 300_000 + "0]", r"JSON \(it has more than 50000 values\)"),
        ("json", b'{"a": "\xff"}', r"JSON \(it is not in UTF-8\)"),
        ("yaml", "\ta: b/c:1", r"YAML \(line 1\)"),
    ],
)
def test_a_default_file_that_is_not_valid_is_refused_by_name(
    suffix: str, content: str | bytes, problem: str, write: Write
) -> None:
    name = f"src/default-custom-images.{suffix}"
    path = write(options={"custom_images": string("")}, files={name: content})
    with pytest.raises(ArtifactError, match=rf"{name} of some_r12\.charm is not valid {problem}"):
        CharmFile.read(path)


TABS = '{\n\t"viz": "g/viz:1",\n\t"number": 1.10,\n\t"frontend": "g/frontend:1"\n}\n'


def test_json_is_read_as_json_wherever_it_stands(write: Write) -> None:
    """As in KFP 2.16: JSON that is indented with tabs is not YAML."""
    in_file = write(
        options={"custom_images": string("")}, files={"src/default-custom-images.json": TABS}
    )
    in_option = write(options={"custom_images": string(TABS)})
    for path in (in_file, in_option):
        assert CharmFile.read(path).images == ("g/viz:1", "g/frontend:1")


def test_the_builtin_release_has_every_kind_of_need(tmp_path: Path) -> None:
    kinds: dict[str, set[str]] = {}
    release = Release.builtin()
    images: set[str] = set()
    for charm in release.charms:
        path = tmp_path / f"{charm.name}.charm"
        path.write_bytes(charm_file(charm))
        read = CharmFile.read(path)
        assert read.is_podspec == charm.podspec
        assert set(read.options) == {option.name for option in charm.options}
        kinds |= {f"{charm.name}/{o.name}": set(o.images) for o in read.image_options}
        images |= set(read.images)
    assert set(kinds) == {
        "argo-controller/executor-image",
        "istio-gateway/proxy-image",
        "istio-pilot/image-configuration",
        "jupyter-ui/jupyter-images",
        "jupyter-ui/vscode-images",
        "jupyter-ui/rstudio-images",
        "katib-controller/custom_images",
        "kfp-api/cache-image",
        "kfp-api/driver-image",
        "kfp-api/launcher-image",
        "kfp-profile-controller/custom_images",
        "kubeflow-volumes/volume-viewer-image",
    }
    assert kinds["kfp-profile-controller/custom_images"] == {
        "gcr.io/ml-pipeline/visualization-server:2.0.3",
        "gcr.io/ml-pipeline/frontend:2.0.3",
    }
    assert images - set(release.images) == kinds["kfp-profile-controller/custom_images"]


@pytest.mark.parametrize(
    ("metadata", "needs"),
    [
        ("series: [kubernetes]\n", True),
        ("series: [kubernetes]\nmin-juju-version: 2.7.9\n", True),
        ("series: [kubernetes]\nmin-juju-version: 2.8.0\n", False),
        ("series: [kubernetes]\nmin-juju-version: 2.10\n", False),
        ("containers: {a: {}}\n", False),
    ],
)
def test_the_operator_of_a_podspec_charm_for_an_old_juju_needs_storage(
    metadata: str, needs: bool, tmp_path: Path
) -> None:
    path = tmp_path / "a.charm"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.yaml", f"name: a\n{metadata}")
    assert CharmFile.read(path).needs_operator_storage == needs


@pytest.mark.parametrize("written", ["true", "True", "yes", "false", "no"])
def test_an_endpoint_is_optional_in_every_spelling_of_yaml(written: str, write: Write) -> None:
    charm = CharmFile.read(write({"requires": {"db": {"interface": "x", "optional": written}}}))
    assert charm.endpoints[0].is_optional == (written not in ("false", "no"))

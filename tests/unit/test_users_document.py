"""The examples for users: every document is valid, and has only what its schema knows."""

import configparser
import re
from typing import Any

import pytest
import yaml
from lightkube.models.core_v1 import EnvVar, Volume, VolumeMount
from lightkube.models.meta_v1 import LabelSelector, ObjectMeta
from lightkube.resources.core_v1 import ConfigMap, Secret, ServiceAccount

from ckf_airgap.kubernetes.user_pull_secrets import SECRET_NAME
from ckf_airgap.packing.user_images import PURPOSES, read_user_images
from tests.support.operator_steps import PROJECT

TEXT = PROJECT.joinpath("docs/users.md").read_text()
BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
RESOURCES: list[dict[str, Any]] = [
    document for block in BLOCKS[1:] for document in yaml.safe_load_all(block)
]
CORE = {"ConfigMap": ConfigMap, "Secret": Secret, "ServiceAccount": ServiceAccount}


def of_kind(kind: str) -> dict[str, Any]:
    (found,) = (each for each in RESOURCES if each["kind"] == kind)
    return found


def require_schema(kind: Any, content: dict[str, Any]) -> None:
    """Check that a kind knows all of some content: what it does not know is lost in it."""
    assert kind.from_dict(content).to_dict() == content


def test_there_are_examples() -> None:
    assert len(BLOCKS) == 3
    assert {each["kind"] for each in RESOURCES} == {*CORE, "PodDefault", "InferenceService"}


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda each: each["kind"])
def test_each_has_what_its_schema_knows(resource: dict[str, Any]) -> None:
    require_schema(ObjectMeta, resource["metadata"])
    if resource["kind"] in CORE:
        require_schema(CORE[resource["kind"]], resource)


def test_the_pod_default() -> None:
    """Its keys are those of kubeflow.org/v1alpha1, poddefault_types.go."""
    spec = of_kind("PodDefault")["spec"]
    assert set(spec) == {"desc", "selector", "env", "volumes", "volumeMounts"}
    require_schema(LabelSelector, spec["selector"])
    assert spec["selector"]["matchLabels"]
    for key, kind in (("env", EnvVar), ("volumes", Volume), ("volumeMounts", VolumeMount)):
        for each in spec[key]:
            require_schema(kind, each)
    (volume,), (mount,) = spec["volumes"], spec["volumeMounts"]
    files = of_kind("ConfigMap")
    assert volume["configMap"]["name"] == files["metadata"]["name"]
    assert mount["name"] == volume["name"]
    for variable in spec["env"]:
        folder, _, name = variable["value"].rpartition("/")
        assert (folder, name in files["data"]) == (mount["mountPath"], True)


def test_the_configuration_of_pip_and_conda() -> None:
    data = of_kind("ConfigMap")["data"]
    pip = configparser.ConfigParser()
    pip.read_string(data["pip.conf"])
    conda = yaml.safe_load(data["condarc"])
    assert pip["global"]["cert"] == conda["ssl_verify"] == "/etc/packages/ca.crt"
    assert pip["global"]["index-url"].startswith("https://")
    assert all(channel.startswith("https://") for channel in conda["channels"])


def test_a_model_is_served_with_what_stands_beside_it() -> None:
    predictor = of_kind("InferenceService")["spec"]["predictor"]
    account = of_kind("ServiceAccount")
    assert predictor["serviceAccountName"] == account["metadata"]["name"]
    assert account["secrets"] == [{"name": of_kind("Secret")["metadata"]["name"]}]
    assert account["imagePullSecrets"] == [{"name": SECRET_NAME}]
    assert predictor["model"]["storageUri"].startswith("s3://")


def test_the_file_of_images_is_one() -> None:
    found = read_user_images(BLOCKS[0], "users.yaml")
    assert found
    assert list(found.images) == list(PURPOSES)
    assert found.with_default

"""The names that Juju takes, and the time that it takes to tell."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckf_airgap.juju import juju_names
from ckf_airgap.juju.juju_names import LONGEST_NAME

# As Juju writes it. It tries more ways than there are atoms where a long text does not fit.
JUJU_WORDS = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]*[a-z][a-z0-9]*)*")
GRAMMARS = [
    juju_names.is_charm,
    juju_names.is_application,
    juju_names.is_storage,
    juju_names.is_endpoint,
    juju_names.is_resource,
    juju_names.is_option,
    juju_names.is_interface,
]


@given(st.text("ab1-", max_size=12))
def test_applications_charms_and_storage_are_named_as_juju_says(name: str) -> None:
    expected = JUJU_WORDS.fullmatch(name) is not None
    assert juju_names.is_application(name) is expected
    assert juju_names.is_charm(name) is expected
    assert juju_names.is_storage(name) is expected


@pytest.mark.parametrize("is_name", GRAMMARS)
@pytest.mark.parametrize(
    "name",
    [
        "",
        "-model",
        "--model=x",
        "a/b",
        "../a",
        "a b",
        "a\n",
        "a\nb: c",
        "a: b",
        "é",
        "1a",
        "a\x00",
    ],
)
def test_no_name_is_a_flag_a_path_or_a_line(is_name: juju_names.Grammar, name: str) -> None:
    assert not is_name(name)


@pytest.mark.parametrize("is_name", GRAMMARS)
def test_names_end_somewhere(is_name: juju_names.Grammar) -> None:
    assert is_name("a" * LONGEST_NAME)
    assert not is_name("a" * (LONGEST_NAME + 1))


@pytest.mark.parametrize("is_name", GRAMMARS)
@pytest.mark.parametrize("end", ["!", "-", "_", "\n"])
def test_a_long_name_that_nearly_fits_is_refused_at_once(
    is_name: juju_names.Grammar, end: str
) -> None:
    name = f"a{'-aaaa' * 25}{end}"
    assert len(name) <= LONGEST_NAME
    assert not is_name(name) or end in "-_"


@pytest.mark.parametrize(
    ("is_name", "name"),
    [
        (juju_names.is_charm, "mysql-k8s"),
        (juju_names.is_application, "katib-db"),
        (juju_names.is_storage, "minio-data"),
        (juju_names.is_endpoint, "relational_db-2"),
        (juju_names.is_resource, "tensorboards-web-app-image"),
        (juju_names.is_option, "istio.gateway.name"),
        (juju_names.is_option, "queue_sidecar_image"),
        (juju_names.is_interface, "kubeflow_dashboard_links"),
    ],
)
def test_names_as_charms_have_them(is_name: juju_names.Grammar, name: str) -> None:
    assert is_name(name)

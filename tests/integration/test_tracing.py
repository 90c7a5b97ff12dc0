"""Traces of the charm at a real collector, which another charm names."""

import json
import time
import zipfile
from collections.abc import Callable, Generator
from pathlib import Path
from secrets import token_urlsafe

import jubilant
import pytest
import yaml

from testbed import Testbed
from testbed.collector import Collector
from tests.sample_release import CharmOptions, ImageOptions, Release, SampleRelease, write_release
from tests.support.operator_steps import APPLICATION, UNIT, Operator, Site

pytestmark = pytest.mark.interop

CHARMS = ("argo-controller", "kubeflow-profiles")
PROVIDER = "tracing-provider"
PASSWORD = token_urlsafe(24)

# Provides both interfaces with what its options say, as tempo and self-signed-certificates do.
_DISPATCH = """#!/bin/sh
set -e
for id in $(relation-ids tracing); do
    relation-set -r "$id" --app receivers="$(config-get receivers)"
done
for id in $(relation-ids send-ca-cert); do
    relation-set -r "$id" --app version=1 certificates="$(config-get certificates)"
done
status-set active
"""
_OPTION = {"type": "string", "default": "[]", "description": "JSON, as it stands in the databag."}
_FILES = {
    "metadata.yaml": {
        "name": PROVIDER,
        "summary": "Names a collector and its authority.",
        "description": "Stands in for tempo and self-signed-certificates.",
        "provides": {
            "tracing": {"interface": "tracing"},
            "send-ca-cert": {"interface": "certificate_transfer"},
        },
    },
    "config.yaml": {"options": {"receivers": _OPTION, "certificates": _OPTION}},
    "manifest.yaml": {
        "charmcraft-version": "3.5.0",
        "bases": [{"name": "ubuntu", "channel": "24.04", "architectures": ["amd64"]}],
    },
}


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> SampleRelease:
    """In place of those of the other tests."""
    return write_release(
        Release.builtin(CHARMS),
        tmp_path_factory.mktemp("tracing"),
        ImageOptions(),
        CharmOptions(podspec_as_sidecar=True),
    )


@pytest.fixture(scope="module")
def collector(testbed: Testbed | None) -> Generator[Collector]:
    if testbed is None:
        pytest.skip("this site has no collector")
    with testbed.collector() as collector:
        yield collector


@pytest.fixture(scope="module")
def operator(
    site: Site,
    charm: Path,
    artifacts: SampleRelease,
    leave: Callable[[Operator], None],
    collector: Collector,
    tmp_path_factory: pytest.TempPathFactory,
) -> Generator[Operator]:
    """An operator who has the charm and the provider in one model, not related yet."""
    operator = Operator(site, "tracing")
    operator.add_model()
    operator.juju.deploy(_provider(tmp_path_factory.mktemp("provider")), PROVIDER)
    operator.deploy_charm(charm, artifacts)
    operator.configure(**{"excluded-charms": "argo-controller"})
    operator.give_juju_user(PASSWORD)
    operator.wait_until_says("ready")
    _name_collector(operator, collector.url)
    operator.juju.config(PROVIDER, {"certificates": json.dumps([_authority(site)])})
    yield operator
    leave(operator)


def test_without_the_relation_nothing_is_sent(operator: Operator, collector: Collector) -> None:
    operator.run("render-bundle")
    assert collector.traces.count("Span #") == 0


def test_an_action_is_traced(operator: Operator, collector: Collector) -> None:
    operator.juju.integrate(f"{APPLICATION}:charm-tracing", f"{PROVIDER}:tracing")
    operator.juju.integrate(f"{APPLICATION}:receive-ca-cert", f"{PROVIDER}:send-ca-cert")
    operator.juju.wait(jubilant.all_agents_idle, successes=3)
    operator.run("push-images")
    _wait_for(lambda: "push_images_action: CkfAirgapCharm" in collector.traces)
    traces = collector.traces
    assert f"-> juju_unit: Str({UNIT})" in traces
    assert f"-> juju_model: Str({operator.model})" in traces
    # The action has read it.
    assert "Name           : secret-get" in traces
    assert PASSWORD not in traces


def test_over_plain_http_nothing_is_sent(operator: Operator, collector: Collector) -> None:
    _name_collector(operator, collector.clear_url)
    operator.juju.wait(jubilant.all_agents_idle, successes=3)
    before = collector.traces
    operator.run("preflight")
    assert collector.traces == before
    log = operator.juju.cli("debug-log", "--replay", "--no-tail", "--include", UNIT)
    assert f"no traces are sent: the collector of {PROVIDER} has a plain HTTP address" in log


def test_what_was_kept_is_sent_when_the_collector_has_a_certificate(
    operator: Operator, collector: Collector
) -> None:
    assert "preflight_action" not in collector.traces
    _name_collector(operator, collector.url)
    operator.juju.wait(jubilant.all_agents_idle, successes=3)
    operator.run("render-bundle")
    _wait_for(lambda: "preflight_action" in collector.traces)


def _provider(folder: Path) -> Path:
    """Pack the charm that provides both interfaces."""
    path = folder / f"{PROVIDER}.charm"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in _FILES.items():
            archive.writestr(name, yaml.safe_dump(content))
        dispatch = zipfile.ZipInfo("dispatch")
        dispatch.external_attr = 0o100755 << 16
        archive.writestr(dispatch, _DISPATCH)
    return path


def _authority(site: Site) -> str:
    """Give the authority of the testbed, which has signed the certificates of all its servers."""
    assert site.registry_ca
    return site.registry_ca.read_text()


def _name_collector(operator: Operator, url: str) -> None:
    """Have the provider name a collector."""
    receivers = [{"protocol": {"name": "otlp_http", "type": "http"}, "url": url}]
    operator.juju.config(PROVIDER, {"receivers": json.dumps(receivers)})


def _wait_for(is_so: Callable[[], bool]) -> None:
    """Wait until something is so: the collector writes what it takes a moment later."""
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.5)

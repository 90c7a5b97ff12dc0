"""The relations: authorities beside those of the option, and where traces go."""

import dataclasses
import json
from collections.abc import Sequence

import ops
import pytest
from ops import testing
from trustme import CA

from tests.unit.charm_unit import JUJU_PASSWORD, READY, REGISTRY_PASSWORD, FakeCore, Unit

CA_RELATION = "receive-ca-cert"


def pem(authority: CA) -> str:
    return authority.cert_pem.bytes().decode()


def relate(unit: Unit, *relations: testing.Relation) -> None:
    unit.state = dataclasses.replace(unit.state, relations=relations)


def authorities(certificates: Sequence[str]) -> testing.Relation:
    databag = {"version": "1", "certificates": json.dumps(certificates)}
    return testing.Relation(CA_RELATION, remote_app_data=databag)


def collector(url: str) -> testing.Relation:
    receivers = [{"protocol": {"name": "otlp_http", "type": "http"}, "url": url}]
    return testing.Relation("charm-tracing", remote_app_data={"receivers": json.dumps(receivers)})


def test_without_a_relation_no_authority_is_added(unit: Unit, core: FakeCore) -> None:
    unit.run("push-images")
    assert core.inputs
    assert core.inputs.registry_ca is None


def test_authorities_of_the_option_and_of_the_relation_are_trusted(
    unit: Unit, core: FakeCore
) -> None:
    option, first, second = (pem(CA()) for _ in range(3))
    unit.configure(registry_ca=option)
    relate(unit, authorities([first, second]))
    unit.run("push-images")
    assert core.inputs
    trusted = core.inputs.registry_ca or ""
    assert all(each in trusted for each in (option, first, second))
    assert trusted.count("BEGIN CERTIFICATE") == 3


def test_a_certificate_that_is_not_pem_is_refused_with_the_cure(unit: Unit) -> None:
    relate(unit, authorities(["-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"]))
    status = unit.status()
    assert isinstance(status, ops.BlockedStatus)
    assert CA_RELATION in status.message
    assert "remove the relation" in status.message


@pytest.mark.parametrize("text", ["", "nonsense", "[1]", '{"a": 1}', "null"])
def test_a_databag_that_is_not_of_the_interface_adds_nothing(unit: Unit, text: str) -> None:
    relate(unit, testing.Relation(CA_RELATION, remote_app_data={"certificates": text}))
    assert unit.status() == ops.ActiveStatus(READY)


def test_new_authorities_are_inputs_for_auto_deploy(unit: Unit, core: FakeCore) -> None:
    related = authorities([pem(CA())])
    relate(unit, related)
    unit.configure(auto_deploy=True)
    unit.state = unit.context.run(unit.context.on.relation_changed(related), unit.state)
    assert core.calls[-1] == "refresh"


def test_the_other_side_is_told_which_version_is_understood(unit: Unit) -> None:
    related = testing.Relation(CA_RELATION)
    relate(unit, related)
    unit.state = unit.context.run(unit.context.on.relation_created(related), unit.state)
    assert unit.state.get_relation(related.id).local_app_data["version"] == "1"


def destinations(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str | None, str | None]]:
    """Give the destinations of traces that are set from now on: address and authorities."""
    found: list[tuple[str | None, str | None]] = []

    def remember(url: str | None, ca: str | None) -> None:
        found.append((url, ca))

    monkeypatch.setattr("ops.tracing.set_destination", remember)
    return found


def test_traces_go_to_the_collector_that_is_related(
    unit: Unit, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, authority = destinations(monkeypatch), pem(CA())
    related = collector("https://tempo.corp:4318")
    relate(unit, related, authorities([authority]))
    unit.context.run(unit.context.on.relation_changed(related), unit.state)
    assert found == [("https://tempo.corp:4318/v1/traces", authority)]


@pytest.mark.parametrize(
    "url", ["http://tempo.corp:4318", "HTTP://tempo.corp:4318", "http:tempo.corp"]
)
@pytest.mark.parametrize("event", ["start", "relation_changed", "update_status"])
def test_traces_never_go_over_plain_http(
    unit: Unit,
    monkeypatch: pytest.MonkeyPatch,
    url: str,
    event: str,
) -> None:
    found = destinations(monkeypatch)
    related = collector(url)
    relate(unit, related, authorities([pem(CA())]))
    on = unit.context.on
    events = {
        "start": on.start(),
        "update_status": on.update_status(),
        "relation_changed": on.relation_changed(related),
    }
    unit.context.run(events[event], unit.state)
    assert set(found) == {(None, None)}
    (line,) = {log.message for log in unit.context.juju_log if "plain HTTP" in log.message}
    assert line.startswith("no traces are sent: the collector of remote")


def test_other_protocols_of_the_collector_may_be_in_the_clear(
    unit: Unit, monkeypatch: pytest.MonkeyPatch
) -> None:
    receivers = [
        {"protocol": {"name": "zipkin", "type": "http"}, "url": "http://tempo.corp:9411"},
        {"protocol": {"name": "otlp_http", "type": "http"}, "url": "https://tempo.corp:4318"},
    ]
    related = testing.Relation(
        "charm-tracing", remote_app_data={"receivers": json.dumps(receivers)}
    )
    authority = pem(CA())
    relate(unit, related, authorities([authority]))
    found = destinations(monkeypatch)
    unit.context.run(unit.context.on.start(), unit.state)
    assert found == [("https://tempo.corp:4318/v1/traces", authority)]


def test_a_collector_that_gets_a_certificate_gets_the_traces(
    unit: Unit, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = pem(CA())
    related = collector("http://tempo.corp:4318")
    relate(unit, related, authorities([authority]))
    unit.state = unit.context.run(unit.context.on.relation_changed(related), unit.state)
    changed = dataclasses.replace(collector("https://tempo.corp:4318"), id=related.id)
    relate(unit, changed, authorities([authority]))
    found = destinations(monkeypatch)
    unit.context.run(unit.context.on.relation_changed(changed), unit.state)
    assert found == [("https://tempo.corp:4318/v1/traces", authority)]


def test_when_the_relation_to_plain_http_ends_nothing_is_sent(
    unit: Unit, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = destinations(monkeypatch)
    related = collector("http://tempo.corp:4318")
    relate(unit, related)
    unit.context.run(unit.context.on.relation_broken(related), unit.state)
    assert set(found) == {(None, None)}


@pytest.mark.parametrize(
    "text", ["", "nonsense", "null", "3", "{}", "[1]", "[{}]", '["http://a"]', "[" * 100_000]
)
def test_receivers_that_are_not_of_the_interface_get_nothing(
    unit: Unit, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    found = destinations(monkeypatch)
    related = testing.Relation("charm-tracing", remote_app_data={"receivers": text})
    relate(unit, related, authorities([pem(CA())]))
    unit.context.run(unit.context.on.start(), unit.state)
    assert set(found) == {(None, None)}


def test_without_the_relation_traces_go_nowhere(
    unit: Unit, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = destinations(monkeypatch)
    unit.context.run(unit.context.on.start(), unit.state)
    assert found == [(None, None)]


def test_traces_name_the_action_and_hold_no_password(unit: Unit, core: FakeCore) -> None:
    relate(unit, collector("https://tempo.corp:4318"), authorities([pem(CA())]))
    unit.run("push-images")
    spans = "\n".join(str(span.to_json()) for span in unit.context.trace_data)
    assert core.calls[-1] == "push"
    assert "push_images_action" in spans
    assert "collect_unit_status" in spans
    assert JUJU_PASSWORD not in spans
    assert REGISTRY_PASSWORD not in spans

"""What is read of a model: its state, its options, its versions, the sizes of resources."""

import pytest

from ckf_airgap.juju.juju_model import JujuModel, JujuVersions
from ckf_airgap.juju.juju_values import DeployedCharm, Side
from tests.unit.juju.fake_juju import MODEL, RELATION, FakeJuju, app, status


def test_the_state_of_a_model_is_read(fake: FakeJuju, model: JujuModel) -> None:
    active = {"current": "active", "message": "ready"}
    fake.answer(
        "status",
        status(
            kfp_api=app(
                {"kfp-api/0": active}, {"relational-db": ["kfp-db"], "peers": ["kfp-api"]}
            ),
            kfp_db=app({"kfp-db/0": {"current": "maintenance"}}, {"database": ["kfp-api", "x"]}),
            minio=app({"minio/0": active, "minio/1": {"current": "blocked", "message": "no key"}}),
            argo=app(message="installing agent") | {"scale": 1},
            envoy=app() | {"scale": 1},
            # Juju leaves out a scale of 0.
            gateway=app(),
        ),
    )
    state = model.state()
    assert fake.commands == [["status", "--model", MODEL, "--format", "json"]]
    assert state.applications == {"kfp-api", "kfp-db", "minio", "argo", "envoy", "gateway"}
    assert state.not_active == {
        "kfp-db/0": "maintenance",
        "minio/1": "blocked: no key",
        "argo": "no unit yet (installing agent)",
        "envoy": "no unit yet (waiting)",
    }
    assert state.has_relation(RELATION)
    assert state.has_relation((RELATION[1], RELATION[0]))
    assert not state.has_relation((RELATION[0], Side("kfp-db", "mysql")))
    assert not state.has_relation((Side("kfp-api", "mysql"), RELATION[1]))
    assert not state.has_relation((RELATION[0], Side("katib-db", "database")))


@pytest.mark.parametrize(
    ("answer", "repository"),
    [
        ("registry.corp:5000/juju\n", "registry.corp:5000/juju"),
        ('{"serveraddress": "h", "repository": "h:5/juju", "password": "secret"}', "h:5/juju"),
        ("docker.io/jujusolutions", ""),
        ("ghcr.io/juju", ""),
        ("\n", ""),
    ],
)
def test_where_the_agents_images_come_from(
    answer: str, repository: str, fake: FakeJuju, model: JujuModel
) -> None:
    fake.answer("controller-config", answer)
    assert model.agent_images() == repository
    assert fake.commands == [["controller-config", "--controller", "airgap", "caas-image-repo"]]


def test_a_controller_that_does_not_say_so_counts_as_none(
    fake: FakeJuju, model: JujuModel
) -> None:
    fake.answer("controller-config", stderr="permission denied", status=1)
    assert model.agent_images() is None


def test_an_agent_of_another_charm_than_the_application_is_starting(
    fake: FakeJuju, model: JujuModel
) -> None:
    running = {"workload-status": {"current": "active"}, "juju-status": {"current": "idle"}}
    old, new, missing = app(), app(), app()
    for body, upgrading in ((old, "local:x-0"), (new, "")):
        body["scale"] = 1
        body["charm-rev"] = 1
        body["units"] = {"a/0": running | ({"upgrading-from": upgrading} if upgrading else {})}
    missing["scale"] = 1
    fake.answer("status", status(old=old, new=new, missing=missing))
    state = model.state()
    assert state.starting == {"old", "missing"}
    assert state.charms["new"] == DeployedCharm("x", 1)


def test_an_application_that_is_being_removed_is_told_apart(
    fake: FakeJuju, model: JujuModel
) -> None:
    staying, dying, dead = app(), app(), app()
    dying["life"], dead["life"] = "dying", "dead"
    fake.answer("status", status(staying=staying, dying=dying, dead=dead))
    assert model.state().leaving == {"dying", "dead"}


def test_access_and_versions_are_told(fake: FakeJuju, model: JujuModel) -> None:
    information = {
        "name": "admin/kubeflow",
        "short-name": "kubeflow",
        "model-uuid": "uuid",
        "model-type": "caas",
        "controller-uuid": "c0ffee",
        "controller-name": "airgap",
        "is-controller": False,
        "cloud": "k8s",
        "life": "alive",
        "agent-version": "3.6.8",
        "users": {"deployer": {"access": "write", "last-connection": "now"}},
    }
    fake.answer("show-model", {"kubeflow": information})
    fake.answer("version", "3.6.9-ubuntu-amd64\n")
    assert model.versions() == JujuVersions("3.6.9-ubuntu-amd64", "3.6.8")
    assert (model.user, model.access) == ("deployer", "write")


def test_bases_are_told_as_charms_name_them(fake: FakeJuju, model: JujuModel) -> None:
    plain, with_risk, none = app(), app(), app({"none/0": {"current": "active"}})
    plain["base"] = {"name": "ubuntu", "channel": "20.04"}
    with_risk["base"] = {"name": "ubuntu", "channel": "24.04/stable"}
    with_risk["scale"] = 1
    fake.answer("status", status(plain=plain, with_risk=with_risk, none=none))
    state = model.state()
    assert state.bases == {"plain": "ubuntu@20.04", "with-risk": "ubuntu@24.04"}
    assert state.scales == {"plain": 0, "with-risk": 1, "none": 0}
    assert state.units == {"plain": 0, "with-risk": 0, "none": 1}


def test_the_status_of_juju_3_is_read(fake: FakeJuju, model: JujuModel) -> None:
    """It says nothing of ``life`` while an application lives, and has keys that Juju 4 lacks."""
    since = "26 Nov 2026 10:00:00Z"
    fake.answer(
        "status",
        {
            "model": {
                "name": "kubeflow",
                "type": "caas",
                "controller": "airgap",
                "cloud": "k8s",
                "version": "3.6.25",
                "model-status": {"current": "available", "since": since},
                "sla": "unsupported",
            },
            "machines": {},
            "applications": {
                "pod": {
                    "charm": "local:pod-0",
                    "base": {"name": "ubuntu", "channel": "20.04"},
                    "charm-origin": "local",
                    "charm-name": "pod",
                    "charm-rev": 0,
                    "scale": 1,
                    "exposed": False,
                    "application-status": {
                        "current": "waiting",
                        "message": "installing agent",
                        "since": since,
                    },
                    "relations": {
                        "p": [{"related-application": "one", "interface": "i", "scope": "global"}]
                    },
                    "units": {
                        "pod/0": {
                            "workload-status": {
                                "current": "waiting",
                                "message": "installing agent",
                                "since": since,
                            },
                            "juju-status": {"current": "allocating", "since": since},
                            "leader": True,
                        }
                    },
                    "endpoint-bindings": {"": "alpha"},
                }
            },
            "storage": {},
            "controller": {"timestamp": "14:00:00Z"},
        },
    )
    state = model.state()
    assert state.starting == {"pod"}
    assert state.leaving == frozenset()
    assert state.charms == {"pod": DeployedCharm("pod", 0)}
    assert state.bases == {"pod": "ubuntu@20.04"}
    assert state.not_active == {"pod/0": "waiting: installing agent"}
    assert state.relations == {Side("pod", "p"): frozenset({"one"})}
    assert state.interfaces == {Side("pod", "p"): "i"}
    assert state.unsettled == {
        "pod": "pod/0 is waiting: installing agent; pod/0 is allocating; an agent is starting"
    }


def test_the_options_of_juju_3_are_read(fake: FakeJuju, model: JujuModel) -> None:
    setting = {"default": 1, "description": "", "source": "default", "type": "int", "value": 1}
    fake.answer(
        "config",
        {
            "application": "pod",
            "application-config": {"trust": {"value": True}},
            "charm": "pod",
            "settings": {"n": setting, "unset": {"description": "", "type": "string"}},
        },
    )
    assert model.option_values("pod").get("n") == 1
    assert model.option_values("pod").get("unset") is None


def test_sizes_of_resources(fake: FakeJuju, model: JujuModel) -> None:
    """The file of a resource that nobody has given has no bytes (Juju 4.1), or no size."""
    listed = [{"name": "images", "size": 5}, {"name": "bundle", "size": 0}, {"name": "charms"}]
    fake.answer("resources", {"resources": listed})
    assert model.resource_sizes("c0ffee-uuid", "ckf-airgap") == {
        "images": 5,
        "bundle": 0,
        "charms": 0,
    }
    assert fake.commands[-1] == [
        *("resources", "ckf-airgap", "--model", "c0ffee-uuid", "--format", "json")
    ]
    fake.answer("resources", {"resources": None})
    assert model.resource_sizes("c0ffee-uuid", "ckf-airgap") == {}
    fake.answer("resources", stderr="ERROR permission denied", status=1)
    assert model.resource_sizes("c0ffee-uuid", "ckf-airgap") is None

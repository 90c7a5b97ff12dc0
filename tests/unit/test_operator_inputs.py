"""What the charm asks its operator for, and where it finds it."""

import base64
import dataclasses
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ops
import pytest
from ops import testing

from ckf_airgap.accounts.credentials import Credentials
from ckf_airgap.archives.minisign import SecretKey
from ckf_airgap.archives.parts import ServedArchive
from ckf_airgap.archives.sources import FileSource
from ckf_airgap.deployment.release import Inputs
from ckf_airgap.errors import ConfigurationError, JujuError, StorageError
from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.juju.juju_model import Controller
from ckf_airgap.kubernetes.cluster import RunningImage
from ckf_airgap.planning.settings import PlanSettings
from tests.unit.charm_unit import (
    ACTIONS,
    JUJU_PASSWORD,
    READY,
    REGISTRY_PASSWORD,
    FakeCore,
    FakeJujuModel,
    Unit,
    absent,
    configured,
    empty,
    secret_content,
    with_secrets,
)

NEEDS_ARTIFACTS = tuple(name for name in ACTIONS if name != "verify")
_ATTACH = "waiting for the resource {0}: juju attach-resource ckf-airgap {0}="
LACKS = [
    pytest.param(
        configured(registry=None),
        "waiting for registry: juju config ckf-airgap registry=HOST[:PORT][/PATH]",
        id="registry-unset",
    ),
    pytest.param(
        configured(registry="https://registry.corp"),
        "registry 'https://registry.corp' has a scheme in front: give it as HOST[:PORT][/PATH], "
        "for example registry.corp:5000/ckf",
        id="registry-invalid",
    ),
    pytest.param(
        with_secrets("juju"),
        "the secret of registry-credentials cannot be read: juju grant-secret NAME ckf-airgap",
        id="registry-secret-not-granted",
    ),
    pytest.param(
        secret_content("registry", {"username": "pusher"}),
        "the secret of registry-credentials has no password: "
        "juju update-secret NAME username=... password=...",
        id="registry-secret-incomplete",
    ),
    pytest.param(
        configured(juju_credentials=None),
        "waiting for juju-credentials: juju config ckf-airgap juju-credentials=secret:...",
        id="juju-credentials-unset",
    ),
    pytest.param(
        with_secrets("registry"),
        "the secret of juju-credentials cannot be read: juju grant-secret NAME ckf-airgap",
        id="juju-secret-not-granted",
    ),
    pytest.param(
        secret_content("juju", {"password": JUJU_PASSWORD}),
        "the secret of juju-credentials has no username: "
        "juju update-secret NAME username=... password=...",
        id="juju-secret-incomplete",
    ),
    pytest.param(empty("charms"), _ATTACH.format("charms") + "./charms.tar.gz", id="charms-empty"),
    pytest.param(
        absent("charms"), _ATTACH.format("charms") + "./charms.tar.gz", id="charms-missing"
    ),
    pytest.param(
        empty("juju"), _ATTACH.format("juju") + "/snap/juju/current/bin/juju", id="juju-empty"
    ),
    pytest.param(
        configured(overlay="applications: []"),
        "the overlay has applications, which is not a map: "
        "correct it (juju config ckf-airgap overlay=@overlay.yaml; on a workstation the file of "
        "--overlay)",
        id="plan-overlay",
    ),
    pytest.param(
        configured(gateway_service_type="nodeport"),
        "gateway-service-type is 'nodeport': give one of ClusterIP, LoadBalancer, NodePort, or "
        "nothing for the charm's default",
        id="plan-gateway",
    ),
    pytest.param(
        absent("juju"), _ATTACH.format("juju") + "/snap/juju/current/bin/juju", id="juju-missing"
    ),
]
# What verify does not use, so that it does not ask for it.
NOT_FOR_VERIFY = ("registry-secret", "charms", "plan")


@pytest.mark.parametrize(("lack", "message"), LACKS)
def test_the_status_asks_for_what_is_lacking(
    lack: Callable[[Unit, pytest.MonkeyPatch], None],
    message: str,
    unit: Unit,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lack(unit, monkeypatch)
    assert unit.status() == ops.BlockedStatus(message)


def test_the_status_asks_in_the_order_in_which_inputs_are_given(
    unit: Unit, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = dict(unit.state.config)
    unit.configure(registry=None, juju_credentials=None, registry_credentials=None)
    empty("charms")(unit, monkeypatch)
    empty("juju")(unit, monkeypatch)
    steps: list[Callable[[], object]] = [
        lambda: unit.configure(registry=str(given["registry"])),
        lambda: unit.configure(juju_credentials=str(given["juju-credentials"])),
        lambda: unit.paths["charms"].write_text("content"),
        lambda: unit.paths["juju"].write_text("content"),
    ]
    asked = [unit.status().message]
    for step in steps:
        step()
        asked.append(unit.status().message)
    assert [text.partition(":")[0] for text in asked] == [
        "waiting for registry",
        "waiting for juju-credentials",
        "waiting for the resource charms",
        "waiting for the resource juju",
        "ready",
    ]


def test_the_status_is_ready_when_all_is_given(unit: Unit) -> None:
    assert unit.status() == ops.ActiveStatus(READY)
    unit.configure(registry_credentials=None)
    assert unit.status() == ops.ActiveStatus(READY)


class TestTheResourceImages:
    """The resource images is not fetched to see whether it is there: Juju is asked."""

    MISSING = ops.BlockedStatus(_ATTACH.format("images") + "./images.tar.gz")

    @pytest.fixture(autouse=True)
    def fetched(self, monkeypatch: pytest.MonkeyPatch) -> None:
        fetch = ops.Resources.fetch

        def fetch_others(self: ops.Resources, name: str) -> Path:
            assert name != "images"
            return fetch(self, name)

        monkeypatch.setattr(ops.Resources, "fetch", fetch_others)

    @pytest.mark.parametrize("sizes", [{}, {"images": 0}, {"charms": 7}])
    def test_a_resource_without_a_file_is_asked_for(
        self, sizes: dict[str, int], unit: Unit, model: FakeJujuModel
    ) -> None:
        model.resource_sizes_ = sizes
        assert unit.status() == self.MISSING
        # It is asked again until it is there.
        model.resource_sizes_ = {"images": 7}
        assert unit.status() == ops.ActiveStatus(READY)

    def test_what_is_there_is_asked_for_once_in_a_pod(
        self, unit: Unit, model: FakeJujuModel
    ) -> None:
        for _ in range(3):
            assert unit.status() == ops.ActiveStatus(READY)
        assert len(model.logins) == 1

    def test_an_address_needs_no_resource(self, unit: Unit, model: FakeJujuModel) -> None:
        model.resource_sizes_ = {}
        unit.configure(images_url="https://files.corp/images.tar.gz")
        assert unit.status() == ops.ActiveStatus(READY)
        assert model.logins == []

    @pytest.mark.parametrize(
        "failure",
        [
            JujuError("unreachable", "look"),
            ConfigurationError("wrong", "correct it"),
            StorageError("the disk is full", "make space"),
            OSError(errno.ENOSPC, "No space left on device"),
        ],
    )
    def test_where_juju_cannot_be_asked_it_counts_as_there(
        self, failure: Exception, unit: Unit, model: FakeJujuModel
    ) -> None:
        model.failure = failure
        assert unit.status() == ops.ActiveStatus(READY)

    def test_a_user_who_may_not_ask_is_no_obstacle(self, unit: Unit, model: FakeJujuModel) -> None:
        """The charm may be in a model that the user of juju-credentials does not see."""
        model.resource_sizes_ = None
        assert unit.status() == ops.ActiveStatus(READY)


def _verify_cases() -> list[Any]:
    return [
        pytest.param("verify", *param.values, id=f"verify-{param.id}")
        for param in LACKS
        if not str(param.id).startswith(NOT_FOR_VERIFY)
    ]


@pytest.mark.parametrize(
    ("action", "lack", "message"),
    [
        *(
            pytest.param(action, *param.values, id=f"{action}-{param.id}")
            for action in NEEDS_ARTIFACTS
            for param in LACKS
        ),
        *_verify_cases(),
    ],
)
def test_an_action_fails_with_what_is_lacking(
    action: str,
    lack: Callable[[Unit, pytest.MonkeyPatch], None],
    message: str,
    unit: Unit,
    core: FakeCore,
    model: FakeJujuModel,
    running: list[RunningImage],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lack(unit, monkeypatch)
    assert unit.fail(action) == message
    assert core.calls == []
    assert model.logins == []
    assert unit.results == {}


@pytest.mark.parametrize("lack", [empty("images"), absent("images")])
@pytest.mark.parametrize("action", NEEDS_ARTIFACTS)
def test_an_action_that_reads_the_images_asks_for_them(
    action: str,
    lack: Callable[[Unit, pytest.MonkeyPatch], None],
    unit: Unit,
    core: FakeCore,
    model: FakeJujuModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lack(unit, monkeypatch)
    assert unit.fail(action) == _ATTACH.format("images") + "./images.tar.gz"
    assert core.calls == []


def test_a_login_that_fails_shows_before_the_images_are_fetched(
    unit: Unit, core: FakeCore, model: FakeJujuModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whoever asked for the images would fail with another message.
    absent("images")(unit, monkeypatch)
    model.failure = ConfigurationError("the password is wrong", "fix it")
    for action in ("deploy", "add-relations"):
        assert unit.fail(action) == "the password is wrong: fix it"


def test_a_bundle_that_is_something_else_is_told_and_not_read_whole(unit: Unit) -> None:
    os.truncate(unit.paths["bundle"], 2**40)
    status = unit.status()
    assert isinstance(status, ops.BlockedStatus)
    assert status.message == (
        "the bundle cannot be read (it has more than 1,048,576 bytes): juju attach-resource "
        "ckf-airgap bundle=./bundle.yaml"
    )


def test_the_core_is_given_the_inputs(unit: Unit, core: FakeCore, model: FakeJujuModel) -> None:
    overlay = "applications: {kfp-api: {scale: 2}}"
    unit.configure(
        registry_ca="PEM",
        model="ann/mine",
        excluded_charms="minio",
        gateway_service_type="NodePort",
        overlay=overlay,
    )
    bundle = "applications: {kfp-api: {charm: kfp-api}}"
    unit.paths["bundle"].write_text(bundle)
    unit.run("deploy")
    assert core.inputs == Inputs(
        images=FileSource(unit.paths["images"]),
        charms=FileSource(unit.paths["charms"]),
        settings=PlanSettings.parse(
            location=RegistryLocation("registry.corp:5000", "ckf"),
            model="mine",
            excluded_charms="minio",
            gateway_service_type="NodePort",
            bundle=bundle,
            overlay=overlay,
        ),
        registry_ca="PEM",
        registry_credentials=Credentials("pusher", REGISTRY_PASSWORD),
    )
    # Beside the charm, which an upgrade replaces.
    assert core.folders == (unit.folder / "ckf-airgap", unit.folder / "charm" / "templates")
    assert model.logins[-1] == {
        "client": unit.paths["juju"],
        "folder": unit.folder / "ckf-airgap" / "juju",
        "controller": Controller("1", ("10.0.0.1:17070",), "CA"),
        "credentials": Credentials("deployer", JUJU_PASSWORD),
        "model": "ann/mine",
    }
    assert unit.paths["juju"].stat().st_mode & 0o777 == 0o755


def test_the_core_is_given_what_holds_where_nothing_is_said(unit: Unit, core: FakeCore) -> None:
    unit.configure(registry_credentials=None)
    unit.run("push-images")
    assert core.inputs is not None
    assert core.inputs.registry_credentials is None
    assert core.inputs.registry_ca is None
    assert core.inputs.settings == PlanSettings.parse(
        location=RegistryLocation("registry.corp:5000", "ckf")
    )


def test_the_latest_content_of_a_secret_counts(unit: Unit, core: FakeCore) -> None:
    changed = {"username": "pusher", "password": "changed"}
    secret = testing.Secret(
        unit.registry.tracked_content, latest_content=changed, id=unit.registry.id
    )
    unit.give_secrets(unit.juju, secret)
    unit.run("push-images")
    assert core.inputs is not None
    assert core.inputs.registry_credentials == Credentials("pusher", "changed")


def test_a_password_that_was_read_from_a_file_has_no_line_break(
    unit: Unit, core: FakeCore
) -> None:
    content = {"username": "pusher\n", "password": " of a file \r\n"}
    unit.give_secrets(unit.juju, testing.Secret(content, id=unit.registry.id))
    unit.run("push-images")
    assert core.inputs is not None
    assert core.inputs.registry_credentials == Credentials("pusher", " of a file ")


def test_an_agent_without_a_configuration_of_its_own_is_told(unit: Unit, core: FakeCore) -> None:
    (unit.folder / "agent.conf").unlink()
    assert "agent.conf cannot be read" in unit.fail("add-relations")


def test_the_key_of_the_archives(unit: Unit, core: FakeCore) -> None:
    key = SecretKey(b"12345678", bytes(32)).public
    unit.configure(artifact_key=base64.b64encode(b"Ed" + key.number + key.key).decode())
    unit.run("push-images")
    assert core.inputs is not None
    assert core.inputs.artifact_key == key
    unit.configure(artifact_key="nonsense")
    assert unit.status().message.startswith("artifact-key is not a minisign public key: give")


class TestSources:
    """Where the archives are taken from."""

    @pytest.fixture
    def volume(self, unit: Unit) -> Path:
        """A volume that is attached, empty."""
        storage = testing.Storage("artifacts")
        unit.state = dataclasses.replace(unit.state, storages={storage})
        return Path(storage.get_filesystem(unit.context))

    def test_an_address_goes_before_all_else(
        self, unit: Unit, core: FakeCore, volume: Path
    ) -> None:
        (volume / "images.tar.gz").write_text("content")
        unit.configure(images_url="https://files.corp/ckf/images.tar.gz")
        unit.run("push-images")
        assert core.inputs is not None
        address = "https://files.corp/ckf/images.tar.gz"
        assert core.inputs.images == ServedArchive(address, "images-url")
        assert core.inputs.charms == FileSource(unit.paths["charms"])
        assert core.push_state == unit.folder / "ckf-airgap" / "images.pushed"

    def test_the_volume_goes_before_the_resources(
        self, unit: Unit, core: FakeCore, volume: Path
    ) -> None:
        for name in ("images.tar.zst", "charms.tar"):
            (volume / name).write_text("content")
        # What is not there yet, or is something else, does not count.
        (volume / "images.tar.gz").touch()
        (volume / "images.txt").write_text("content")
        unit.run("push-images")
        assert core.inputs is not None
        assert [source.name for source in (core.inputs.images, core.inputs.charms)] == [
            "images.tar.zst",
            "charms.tar",
        ]
        assert core.push_state is not None
        # It outlives the pod there.
        assert core.push_state.name == "images.tar.zst.pushed"
        assert core.push_state.parent != unit.folder / "ckf-airgap"

    def test_parts_on_the_volume_are_one_archive(
        self, unit: Unit, core: FakeCore, volume: Path
    ) -> None:
        for name in ("images.tar.gz.002", "images.tar.gz.001"):
            (volume / name).write_text("content")
        unit.run("push-images")
        assert core.inputs is not None
        images = core.inputs.images
        assert (images.name, images.size) == ("images.tar.gz", 14)
        assert core.push_state is not None
        assert core.push_state.name == "images.tar.gz.pushed"
        assert core.push_state.parent == volume

    def test_parts_beside_the_whole_are_one_archive_too_many(
        self, unit: Unit, volume: Path
    ) -> None:
        for name in ("images.tar.gz", "images.tar.gz.001"):
            (volume / name).write_text("content")
        message = unit.status().message
        assert message.startswith("images.tar.gz exists both as one file and in parts: remove")

    def test_two_archives_on_the_volume_are_one_too_many(self, unit: Unit, volume: Path) -> None:
        for name in ("charms.tar.gz", "charms.tar"):
            (volume / name).write_text("content")
        assert unit.status() == ops.BlockedStatus(
            "the volume has several charms archives: charms.tar, charms.tar.gz: remove all "
            "but one of them"
        )

    @pytest.mark.parametrize("name", ["charms.tar.gz", "images.tar.gz"])
    def test_a_link_to_nothing_on_the_volume_is_told(
        self, name: str, unit: Unit, volume: Path
    ) -> None:
        (volume / name).symlink_to("nowhere")
        problem = f"{name} on the volume cannot be read (No such file or directory)"
        assert unit.status() == ops.BlockedStatus(
            f"{problem}: remove it, or replace the link by the archive itself"
        )

    def test_an_empty_volume_is_to_be_filled(
        self, unit: Unit, volume: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        absent("charms")(unit, monkeypatch)
        message = unit.status().message
        assert message.startswith("waiting for charms.tar.gz on the volume, or for the resource")
        assert "juju scp ./charms.tar.gz ckf-airgap/0:/" in message

    @pytest.mark.parametrize(
        ("address", "problem"),
        [
            ("http://files.corp/images.tar.gz", "images-url is not the HTTPS address of a file"),
            ("https://ann:word@files.corp/images.tar.gz", "images-url has an account in it"),
            ("https://files.corp", "images-url is not the HTTPS address of a file"),
        ],
    )
    def test_an_address_that_is_not_usable_is_told(
        self, address: str, problem: str, unit: Unit, core: FakeCore
    ) -> None:
        unit.configure(images_url=address)
        message = unit.status().message
        assert unit.fail("push-images") == message
        assert message.startswith(problem)
        assert "word" not in message.replace("password", "")
        assert core.calls == []

"""The account for a registry, as the usual tools have stored it."""

import json
from base64 import b64encode
from pathlib import Path

import pytest

from ckf_airgap.credentials import Credentials, read_auth_file
from ckf_airgap.errors import ConfigurationError
from ckf_airgap.names import RegistryLocation

LOCATION = RegistryLocation.parse("registry.corp:5000/ckf/team")


def auth(text: str) -> dict[str, str]:
    return {"auth": b64encode(text.encode()).decode()}


def write(path: Path, document: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize(
    ("entries", "found"),
    [
        ({"registry.corp:5000": "ann:word"}, Credentials("ann", "word")),
        ({"https://registry.corp:5000": "ann:word"}, Credentials("ann", "word")),
        ({"registry.corp:5000": "ann:a:b"}, Credentials("ann", "a:b")),
        (
            {
                "registry.corp:5000": "ann:word",
                "registry.corp:5000/ckf": "bob:word",
                "registry.corp:5000/ck": "eve:word",
            },
            Credentials("bob", "word"),
        ),
        ({"registry.corp:5000/ckf/team": "bob:word"}, Credentials("bob", "word")),
        ({"registry.corp:5000/ckf/team/more": "bob:word"}, None),
        ({"registry.corp": "ann:word"}, None),
        ({}, None),
    ],
)
def test_the_entry_that_fits_best_counts(
    entries: dict[str, str], found: Credentials | None, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.json", {"auths": {k: auth(v) for k, v in entries.items()}})
    assert read_auth_file(path, LOCATION) == found


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ([], "is not an auth file"),
        ("text", "is not an auth file"),
        ({"auths": ["registry.corp:5000"]}, "is not an auth file"),
        ({"auths": {"registry.corp:5000": {}}, "credsStore": "desktop"}, "credential helper"),
        ({"credHelpers": {"registry.corp:5000": "ecr"}}, "credential helper"),
        ({"auths": {"registry.corp:5000": "word"}}, "without an account"),
        ({"auths": {"registry.corp:5000": {"auth": "!"}}}, "without an account"),
        ({"auths": {"registry.corp:5000": auth("ann")}}, "without an account"),
        ({"auths": {"registry.corp:5000": {"auth": 5}}}, "without an account"),
    ],
)
def test_a_file_without_an_account_in_it_is_told(
    document: object, problem: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=problem) as raised:
        read_auth_file(write(tmp_path / "a.json", document), LOCATION)
    assert "skopeo login" in raised.value.cure
    assert "word" not in str(raised.value)


def test_a_file_that_is_not_json_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("the-secret-word")
    with pytest.raises(ConfigurationError, match="is not an auth file") as raised:
        read_auth_file(path, LOCATION)
    assert "secret" not in str(raised.value)


def test_a_file_that_is_named_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_auth_file(tmp_path / "none.json", LOCATION)


def test_the_places_of_the_usual_tools_are_tried_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "DOCKER_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read_auth_file(None, LOCATION) is None
    places = [
        tmp_path / ".docker/config.json",
        tmp_path / ".config/containers/auth.json",
        tmp_path / "run/containers/auth.json",
        tmp_path / "named.json",
    ]
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "named.json"))
    for number, place in enumerate(places):
        user = f"user{number}"
        write(place, {"auths": {"registry.corp:5000": auth(f"{user}:word")}})
        assert read_auth_file(None, LOCATION) == Credentials(user, "word")

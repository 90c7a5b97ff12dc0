"""The account for a registry, as the usual tools have stored it."""

import json
import os
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from ckf_airgap.accounts.auth_file import LARGEST_FILE, read_auth_file
from ckf_airgap.accounts.credentials import Credentials
from ckf_airgap.errors import ConfigurationError
from ckf_airgap.images.registry_location import RegistryLocation

LOCATION = RegistryLocation.parse("registry.corp:5000/ckf/team")
ANN = Credentials("ann", "word")
BOB = Credentials("bob", "word")


def auth(text: str) -> dict[str, str]:
    return {"auth": b64encode(text.encode()).decode()}


def write(path: Path, document: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize(
    ("entries", "found"),
    [
        ({"registry.corp:5000": "ann:word"}, ANN),
        ({"https://registry.corp:5000": "ann:word"}, ANN),
        ({"registry.corp:5000": "ann:a:b"}, Credentials("ann", "a:b")),
        (
            {
                "registry.corp:5000": "ann:word",
                "registry.corp:5000/ckf": "bob:word",
                "registry.corp:5000/ck": "eve:word",
            },
            BOB,
        ),
        ({"registry.corp:5000/ckf/team": "bob:word"}, BOB),
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
    "key",
    [
        "registry.corp:5000",
        "registry.corp:5000/",
        "registry.corp:5000/v2",
        "registry.corp:5000/v1/",
        "registry.corp:5000/ckf/",
        "REGISTRY.corp:5000",
        "http://registry.corp:5000",
        "http://registry.corp:5000/v2/",
        "https://registry.corp:5000/",
        "https://registry.corp:5000/v1/",
        "https://registry.corp:5000/v2/",
        "https://registry.corp:5000/v2/ckf",
        "https://registry.corp:5000/ckf",
        "HTTPS://registry.corp:5000/ckf/team/",
        "https://registry.corp:5000/another",
    ],
)
def test_a_key_is_taken_in_each_form_that_the_tools_write(key: str, tmp_path: Path) -> None:
    others = {"registry.corp": auth("eve:word"), "https://registry.corp/": auth("eve:word")}
    path = write(tmp_path / "a.json", {"auths": {**others, key: auth("ann:word")}})
    assert read_auth_file(path, LOCATION) == ANN


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/",
        "https://",
        "https:///ckf",
        "registry.corp",
        "registry.corp:500",
        "registry.corp:50000",
        "registry.corp:5000.evil",
        "registry.corp:5000@evil/ckf",
        "evil/registry.corp:5000",
        "https://evil/registry.corp:5000",
        "ftp://registry.corp:5000",
        "registry.corp:5000/c",
        "registry.corp:5000/ckf/tea",
        "registry.corp:5000/another",
        "registry.corp:5000/v3",
    ],
)
def test_a_key_for_something_else_is_not_taken(key: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", {"auths": {key: auth("eve:word")}})
    assert read_auth_file(path, LOCATION) is None


@pytest.mark.parametrize(
    ("worse", "better"),
    [
        ("https://registry.corp:5000", "registry.corp:5000"),
        ("https://registry.corp:5000/v2/", "registry.corp:5000"),
        ("https://registry.corp:5000/another", "https://registry.corp:5000"),
        ("registry.corp:5000/v2", "registry.corp:5000"),
        ("registry.corp:5000", "https://registry.corp:5000/ckf"),
        ("https://registry.corp:5000/ckf", "registry.corp:5000/ckf"),
        ("registry.corp:5000/ckf", "registry.corp:5000/ckf/team"),
    ],
)
def test_of_two_keys_the_one_that_says_more_counts(
    worse: str, better: str, tmp_path: Path
) -> None:
    for order in ((worse, better), (better, worse)):
        entries = {key: auth("ann:word" if key == better else "eve:word") for key in order}
        path = write(tmp_path / "a.json", {"auths": entries})
        assert read_auth_file(path, LOCATION) == ANN


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        ({"auth": auth("ann:word")["auth"] + "\n"}, ANN),
        ({"auth": "\r\n".join(auth("ann:word")["auth"])}, ANN),
        (auth("ann:word\0\0"), ANN),
        (auth("ann:wörd"), Credentials("ann", "wörd")),
        ({"username": "ann", "password": "word"}, ANN),
        ({"username": "ann", "password": "a:b\n"}, Credentials("ann", "a:b\n")),
        ({"username": "eve", "password": "word", **auth("ann:word")}, ANN),
        ({"username": "ann", "password": "word", "auth": ""}, ANN),
        ({"identitytoken": "token", **auth("ann:word")}, ANN),
    ],
)
def test_an_account_is_taken_in_each_form_that_the_tools_write(
    entry: dict[str, str], found: Credentials, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.json", {"auths": {"registry.corp:5000": entry}})
    assert read_auth_file(path, LOCATION) == found


@pytest.mark.parametrize("mark", [None, {}, {"auth": ""}, {"email": "ann@corp"}])
def test_an_entry_that_holds_nothing_is_passed_over(mark: object, tmp_path: Path) -> None:
    entries = {"registry.corp:5000/ckf": mark, "registry.corp:5000": auth("ann:word")}
    assert read_auth_file(write(tmp_path / "a.json", {"auths": entries}), LOCATION) == ANN


@pytest.mark.parametrize(
    "entry",
    [{"identitytoken": "word"}, {"identitytoken": "word", **auth("0000-0000:")}],
)
def test_an_identity_token_is_told(entry: dict[str, str], tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", {"auths": {"https://registry.corp:5000/v1/": entry}})
    with pytest.raises(ConfigurationError, match=r"identity token.*not supported") as raised:
        read_auth_file(path, LOCATION)
    assert "an account with a password: skopeo login" in raised.value.cure
    assert "'word" not in str(raised.value)


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({"auths": {"registry.corp:5000": auth("ann:word")}}, False),
        ({"auths": {"elsewhere.corp": auth("ann:word")}}, True),
        ({"auths": {"registry.corp:5000/another": auth("ann:word")}}, True),
        ({"auths": {"registry.corp:5000": {}}}, True),
        ({"credHelpers": {"elsewhere.corp": "ecr"}}, True),
        ({"auths": {}}, True),
        ({"auths": None, "credHelpers": None, "credsStore": ""}, True),
    ],
)
def test_that_no_entry_fits_is_told(document: object, told: bool, tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", document)
    lines: list[str] = []
    read_auth_file(path, LOCATION, lines.append)
    word = f"{path} has no account for registry.corp:5000/ckf/team: going on without one"
    assert lines == ([word] if told else [])


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ([], "is not an auth file"),
        ("text", "is not an auth file"),
        ({"auths": ["registry.corp:5000"]}, "is not an auth file"),
        ({"auths": "word"}, "its auths are not an object"),
        ({"credHelpers": ["word"]}, "its credHelpers are not an object"),
        ({"auths": {"registry.corp:5000": "word"}}, "without an account"),
        ({"auths": {"registry.corp:5000": {"auth": "!"}}}, "without an account"),
        ({"auths": {"registry.corp:5000": auth("ann")}}, "without an account"),
        ({"auths": {"registry.corp:5000": {"auth": 5}}}, "without an account"),
        ({"auths": {"registry.corp:5000": {"auth": "/////w=="}}}, "without an account"),
        ({"auths": {"registry.corp:5000": {"auth": "wörd"}}}, "without an account"),
        ({"auths": {"registry.corp:5000": auth(":word")}}, "without an account"),
        ({"auths": {"registry.corp:5000": auth("ann:\0")}}, "without an account"),
        ({"auths": {"registry.corp:5000": {"username": "ann"}}}, "without an account"),
        (
            {"auths": {"registry.corp:5000": {"username": "ann", "password": ["word"]}}},
            "without an account",
        ),
        (
            {"auths": {"registry.corp:5000": {"username": "a:b", "password": "word"}}},
            "without an account",
        ),
        (
            {"auths": {"registry.corp:5000": {"username": "ann", "password": "word\ud800"}}},
            "without an account",
        ),
    ],
)
def test_a_file_without_an_account_in_it_is_told(
    document: object, problem: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=problem) as raised:
        read_auth_file(write(tmp_path / "a.json", document), LOCATION)
    assert "skopeo login" in raised.value.cure
    assert "word" not in str(raised.value)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"the-secret-word",
        b"\xff\xfe\xfdthe-secret-word",
        b'{"auths": {"registry.corp:5000": {"auth": "the-secret-word\xff"}}}',
        b"[" * 100_000,
        b'{"auths": ' * 100_000,
        b'{"auths": ' + b"9" * 5_000 + b"}",
        b'{"auths": {"registry.corp:5000": ' + b"9" * 5_000 + b"}}",
        b'{"auths": [' + b"0," * 300_000 + b"0]}",
        b'{"auths": {}}' + b" " * LARGEST_FILE,
    ],
    ids=[
        "empty",
        "text",
        "bytes",
        "not UTF-8",
        "brackets",
        "braces",
        "a long number",
        "a long number for an entry",
        "many values",
        "large",
    ],
)
def test_a_file_that_is_no_auth_file_is_told(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="is not an auth file") as raised:
        read_auth_file(path, LOCATION)
    assert "skopeo login" in raised.value.cure
    assert "secret" not in str(raised.value)


def test_a_file_that_never_ends_is_told() -> None:
    with pytest.raises(
        ConfigurationError, match=r"/dev/zero cannot be read \(it is not a regular"
    ):
        read_auth_file(Path("/dev/zero"), LOCATION)


def test_a_pipe_that_nobody_writes_to_is_told(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigurationError, match=r"pipe cannot be read \(it is not a regular"):
        read_auth_file(tmp_path / "pipe", LOCATION)


def test_a_file_that_is_named_has_to_be_there(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(ConfigurationError, match="cannot be read"):
            read_auth_file(path, LOCATION)


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Where the usual tools look for accounts, the first at the end; nothing is there."""
    for name in ("XDG_CONFIG_HOME", "DOCKER_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "named.json"))
    return [
        tmp_path / ".docker/config.json",
        tmp_path / ".config/containers/auth.json",
        tmp_path / "run/containers/auth.json",
        tmp_path / "named.json",
    ]


def account(user: str, host: str = "registry.corp:5000") -> dict[str, Any]:
    return {"auths": {host: auth(f"{user}:word")}}


def test_the_places_of_the_usual_tools_are_tried_in_their_order(places: list[Path]) -> None:
    lines: list[str] = []
    assert read_auth_file(None, LOCATION, lines.append) is None
    for number, place in enumerate(places):
        write(place, account(f"user{number}"))
        found = read_auth_file(None, LOCATION, lines.append)
        assert found == Credentials(f"user{number}", "word")
    assert not lines


def test_what_the_first_of_the_usual_places_lacks_is_in_a_later_one(places: list[Path]) -> None:
    write(places[0], account("ann"))
    write(places[1], {})
    write(places[2], account("eve", "elsewhere.corp"))
    assert read_auth_file(None, LOCATION) == ANN


def test_without_a_runtime_directory_skopeo_stores_accounts_by_user(
    places: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = places[0].parents[1] / "run"
    monkeypatch.setattr("ckf_airgap.accounts.auth_file._RUNTIME", run)
    write(places[1], account("ann"))
    write(run / str(os.getuid()) / "auth.json", account("bob"))
    assert read_auth_file(None, LOCATION) == ANN
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert read_auth_file(None, LOCATION) == BOB


@pytest.mark.parametrize("named", ["{}/named.json", "./named.json", "{}//named.json"])
def test_the_file_that_the_environment_names_counts_alone(
    named: str, places: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = places[-1].parent
    monkeypatch.chdir(folder)
    monkeypatch.setenv("REGISTRY_AUTH_FILE", named.format(folder))
    write(places[0], account("ann"))
    write(places[-1], account("eve", "elsewhere.corp"))
    lines: list[str] = []
    assert read_auth_file(None, LOCATION, lines.append) is None
    (line,) = lines
    assert Path(line.partition(" has no account")[0]).samefile(places[-1])


def test_all_places_that_have_no_entry_that_fits_are_told(places: list[Path]) -> None:
    for place in places[:2]:
        write(place, account("eve", "elsewhere.corp"))
    write(places[2], {})
    lines: list[str] = []
    assert read_auth_file(None, LOCATION, lines.append) is None
    assert lines == [
        f"{places[1]}, {places[0]} have no account for {LOCATION}: going on without one"
    ]


def test_a_usual_place_that_cannot_be_read_is_told(places: list[Path]) -> None:
    places[2].mkdir(parents=True)
    with pytest.raises(ConfigurationError, match="cannot be read") as raised:
        read_auth_file(None, LOCATION)
    assert "--authfile" in raised.value.cure


def test_a_usual_place_that_must_not_be_read_is_told(places: list[Path]) -> None:
    write(places[2], account("ann"))
    places[2].parent.chmod(0)
    user = os.geteuid()
    if user == 0:
        # Root may read everything; this is the user "nobody".
        os.seteuid(65534)
    try:
        with pytest.raises(ConfigurationError, match="Permission denied"):
            read_auth_file(None, LOCATION)
    finally:
        os.seteuid(user)
        places[2].parent.chmod(0o700)


def test_what_is_told_makes_no_lines_of_its_own(tmp_path: Path) -> None:
    lines: list[str] = []
    read_auth_file(
        write(tmp_path / "a\x1b[0m\nb.json", account("eve", "x")), LOCATION, lines.append
    )
    assert len(lines) == 1
    assert lines[0].isprintable()

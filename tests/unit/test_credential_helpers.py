"""The account for a registry, as a credential helper keeps it: each helper here is a program."""

import json
import os
import shlex
import sys
import time
from base64 import b64encode
from pathlib import Path

import pytest

from ckf_airgap.accounts.auth_file import read_auth_file
from ckf_airgap.accounts.credential_helpers import LARGEST_ANSWER, ask_helper
from ckf_airgap.accounts.credentials import Credentials
from ckf_airgap.errors import ConfigurationError
from ckf_airgap.images.registry_location import RegistryLocation

LOCATION = RegistryLocation.parse("registry.corp:5000/ckf")
HOST = LOCATION.host
ANN = Credentials("ann", "the-word")
BOB = Credentials("bob", "the-word")
ANSWER = json.dumps({"ServerURL": HOST, "Username": "ann", "Secret": "the-word"})
NONE_KEPT = "echo 'credentials not found in native keychain'; exit 1"


class Helpers:
    """A folder of PATH for the programs, and the file that names them."""

    def __init__(self, folder: Path) -> None:
        self.programs = folder / "programs"
        self.programs.mkdir()
        self.file = folder / "auth.json"
        self.asked = folder / "asked"

    def add(self, name: str, commands: str) -> None:
        """Write a helper that notes what it is asked, and then runs commands of the shell."""
        program = self.programs / f"docker-credential-{name}"
        note = f'printf "%s|%s\\n" "$*" "$(cat)" >> {shlex.quote(str(self.asked))}'
        program.write_text(f"#!/bin/sh\n{note}\n{commands}\n")
        program.chmod(0o700)

    def find(self, document: object) -> tuple[Credentials | None, list[str]]:
        """Find the account in an auth file, and what is told."""
        self.file.write_text(json.dumps(document))
        lines: list[str] = []
        return read_auth_file(self.file, LOCATION, lines.append), lines

    @property
    def questions(self) -> list[str]:
        return self.asked.read_text().splitlines() if self.asked.exists() else []


@pytest.fixture
def helpers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Helpers:
    found = Helpers(tmp_path)
    monkeypatch.setenv("PATH", str(found.programs), prepend=os.pathsep)
    return found


def answering(answer: str) -> str:
    return f"printf %s {shlex.quote(answer)}"


def entry(user: str) -> dict[str, str]:
    return {"auth": b64encode(f"{user}:the-word".encode()).decode()}


@pytest.mark.parametrize(
    "document",
    [
        {"credHelpers": {HOST: "corp"}},
        {"credHelpers": {f"https://{HOST}": "corp"}},
        {"credHelpers": {f"https://{HOST}/v2/": "other", HOST: "corp"}},
        {"credsStore": "corp"},
        {"credsStore": "corp", "auths": {HOST: {}}},
        {"credsStore": "corp", "auths": {f"https://{HOST}/": {}, "elsewhere": entry("eve")}},
        {"credsStore": "corp", "credHelpers": {"elsewhere": "other"}},
        # A helper for the registry counts before an entry, however long its path is.
        {"credHelpers": {HOST: "corp"}, "auths": {str(LOCATION): entry("eve")}},
        {"credHelpers": {HOST: "corp"}, "credsStore": "other"},
    ],
)
def test_a_helper_is_asked_for_the_registry(document: object, helpers: Helpers) -> None:
    helpers.add("corp", answering(ANSWER))
    helpers.add("other", "exit 3")
    assert helpers.find(document) == (ANN, [])
    assert helpers.questions == [f"get|{HOST}"]


@pytest.mark.parametrize(
    "document",
    [
        {"auths": {HOST: entry("bob")}, "credsStore": "corp"},
        {"auths": {HOST: entry("bob")}, "credHelpers": {"registry.corp": "corp"}},
        {"auths": {HOST: entry("bob")}, "credHelpers": {str(LOCATION): "corp"}},
        {"auths": {HOST: entry("bob")}, "credHelpers": {HOST: ""}},
    ],
)
def test_an_entry_counts_before_the_store(document: object, helpers: Helpers) -> None:
    helpers.add("corp", answering(ANSWER))
    assert helpers.find(document) == (BOB, [])
    assert not helpers.questions


@pytest.mark.parametrize(
    "document",
    [
        {"credsStore": "corp"},
        {"credHelpers": {HOST: "corp"}},
        # Where a helper is for the registry, nothing else counts for it.
        {"credHelpers": {HOST: "corp"}, "auths": {HOST: entry("eve")}, "credsStore": "other"},
    ],
)
def test_a_helper_that_keeps_no_account(document: object, helpers: Helpers) -> None:
    helpers.add("corp", NONE_KEPT)
    helpers.add("other", answering(ANSWER))
    account, lines = helpers.find(document)
    assert account is None
    assert lines == [
        f"{helpers.file} (docker-credential-corp) has no account for {LOCATION}: "
        "going on without one"
    ]
    assert helpers.questions == [f"get|{HOST}"]


def test_a_helper_without_a_name_means_no_store_for_this_registry(helpers: Helpers) -> None:
    helpers.add("corp", answering(ANSWER))
    account, lines = helpers.find({"credHelpers": {HOST: ""}, "credsStore": "corp"})
    assert account is None
    assert len(lines) == 1
    assert not helpers.questions


@pytest.mark.parametrize(
    ("commands", "problem"),
    [
        ("echo the-word; echo the-word >&2; exit 3", r"has failed \(exit status 3\)"),
        ("echo credentials for the-word; exit 1", r"has failed \(exit status 1\)"),
        ("kill -9 $$", r"has failed \(ended by signal 9\)"),
        (f"{answering(ANSWER)}; exit 1", r"has failed \(exit status 1\)"),
        ("true", "does not answer with a user name and a password"),
        ("echo the-word", "does not answer with"),
        ("echo credentials not found in native keychain", "does not answer with"),
        ("printf '\\377\\376the-word'", "does not answer with"),
        (answering(f"[{ANSWER}]"), "does not answer with"),
        (answering('{"Username": "ann"}'), "does not answer with"),
        (answering('{"Secret": "the-word"}'), "does not answer with"),
        (answering('{"Username": "", "Secret": "the-word"}'), "does not answer with"),
        (answering('{"Username": "a:b", "Secret": "the-word"}'), "does not answer with"),
        (answering('{"Username": "ann", "Secret": ["the-word"]}'), "does not answer with"),
        (answering('{"Username": 5, "Secret": "the-word"}'), "does not answer with"),
        (answering('{"Username": "ann", "Secret": "the-word\\ud800"}'), "does not answer with"),
        (answering('{"Username": ' + "9" * 5_000 + "}"), "does not answer with"),
        (answering("[" * 50_000), "does not answer with"),
        (answering('{"Username":' * 5_000), "does not answer with"),
        ("yes the-word", "does not answer with"),
        (answering(ANSWER) + f"; printf '%{LARGEST_ANSWER}s' ''", "does not answer with"),
        (answering('{"Username": "<token>", "Secret": "the-word"}'), "has an identity token"),
    ],
)
def test_a_helper_that_gives_no_account_is_told_without_its_words(
    commands: str, problem: str, helpers: Helpers
) -> None:
    helpers.add("corp", commands)
    with pytest.raises(ConfigurationError, match=problem) as raised:
        helpers.find({"credsStore": "corp"})
    message = str(raised.value)
    assert message.startswith(f"docker-credential-corp, which {helpers.file} names for {HOST}, ")
    assert "skopeo login" in raised.value.cure
    assert "the-word" not in message


def test_a_helper_that_does_not_read_its_question(helpers: Helpers) -> None:
    program = helpers.programs / "docker-credential-corp"
    program.write_text(f"#!/bin/sh\nexec <&-\n{answering(ANSWER)}\n")
    program.chmod(0o700)
    for _ in range(5):
        assert helpers.find({"credsStore": "corp"})[0] == ANN


def test_neither_its_arguments_nor_its_environment_have_a_secret(
    helpers: Helpers, tmp_path: Path
) -> None:
    helpers.add("corp", f"env > {tmp_path}/environment; {answering(ANSWER)}")
    document = {"credHelpers": {HOST: "corp"}, "auths": {"elsewhere": entry("eve")}}
    assert helpers.find(document)[0] == ANN
    assert helpers.questions == [f"get|{HOST}"]
    seen = (tmp_path / "environment").read_text()
    assert "the-word" not in seen
    assert entry("eve")["auth"] not in seen


@pytest.mark.parametrize(
    "name",
    [
        "/bin/sh",
        "../sh",
        "a/b",
        "a b",
        "a\n",
        "-\x00",
        "é",
        "a;reboot",
        "a" * 101,
        5,
        True,
        ["corp"],
        {"corp": "corp"},
    ],
)
@pytest.mark.parametrize("where", ["helper", "store"])
def test_what_is_no_name_is_not_run(name: object, where: str, helpers: Helpers) -> None:
    helpers.add("corp", answering(ANSWER))
    document = {"credsStore": name} if where == "store" else {"credHelpers": {HOST: name}}
    with pytest.raises(
        ConfigurationError, match="an invalid name of a credential helper"
    ) as raised:
        helpers.find(document)
    assert "skopeo login" in raised.value.cure
    assert not helpers.questions


def test_a_helper_that_is_not_there_is_told(helpers: Helpers) -> None:
    with pytest.raises(ConfigurationError, match=r"docker-credential-none-such.*cannot be run"):
        helpers.find({"credsStore": "none-such"})


@pytest.mark.parametrize(
    ("content", "mode"),
    [(b"\x7fELF, but no more", 0o700), (b"#!/none/such\n", 0o700), (b"#!/bin/sh\n", 0o600)],
)
def test_a_helper_that_is_no_program_is_told(
    content: bytes, mode: int, helpers: Helpers, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = helpers.programs / "docker-credential-corp"
    program.write_bytes(content)
    program.chmod(mode)
    monkeypatch.setenv("PATH", str(helpers.programs))
    with pytest.raises(ConfigurationError, match="cannot be run") as raised:
        helpers.find({"credsStore": "corp"})
    assert "PATH" in raised.value.cure


@pytest.mark.parametrize(
    "commands",
    [
        "sleep 300",
        # One that has ended, but has left somebody who holds its output.
        f"sleep 300 & {answering(ANSWER)}",
        f"{answering(ANSWER)}; exec >&-; sleep 300",
        "while :; do echo; sleep 0.05; done",
    ],
)
def test_a_helper_that_does_not_end_is_ended_with_all_it_started(
    commands: str, helpers: Helpers, tmp_path: Path
) -> None:
    helpers.add("corp", f"echo $$ > {tmp_path}/group; {commands}")
    begin = time.monotonic()
    with pytest.raises(ConfigurationError, match=r"has not finished within 0\.5 s") as raised:
        ask_helper("corp", HOST, helpers.file, timeout_seconds=0.5)
    assert time.monotonic() - begin < 30
    assert "the-word" not in str(raised.value)
    group = int((tmp_path / "group").read_text())
    end = time.monotonic() + 30
    while running(group) and time.monotonic() < end:
        time.sleep(0.05)
    assert not running(group)


def running(group: int) -> list[str]:
    """List the processes of a group that have not ended."""
    if sys.platform != "linux":
        pytest.skip("it looks into /proc")
    found: list[str] = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(its_group) == group and state not in "ZX":
            found.append(stat.parent.name)
    return found

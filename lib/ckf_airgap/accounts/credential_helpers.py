"""Credential helpers: the programs that keep passwords for docker and skopeo.

Their protocol is described under "Credential helper protocol" of ``docker login``: the program is
``docker-credential-NAME``, its one argument ``get``; it is told the registry on its input, and
answers on its output.
"""

import os
import re
import selectors
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from ckf_airgap.accounts.credentials import Credentials
from ckf_airgap.errors import ArtifactError, ConfigurationError
from ckf_airgap.files.untrusted_json import parse_object

PATIENCE_SECONDS = 60.0
"""How long a helper has: a person may have to unlock what it keeps the passwords in."""
LARGEST_ANSWER = 64 * 1024
"""The most bytes that a helper may answer."""

_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}", re.ASCII)
# What a helper answers, beside an exit status, where it keeps no account for a registry.
_NONE_KEPT = b"credentials not found in native keychain"
# The user name beside a secret that is no password.
_IDENTITY_TOKEN = "<token>"
_OTHER_FILE = "skopeo login --authfile OTHER-FILE HOST, and give that file with --authfile"


def helper_program(name: object, origin: Path) -> str:
    """Return the program of a helper's name.

    Args:
        name: The name, as it stands in an auth file.
        origin: That file.

    Returns:
        The name of a program, without a path.

    Raises:
        ConfigurationError: It is not the name of a helper.
    """
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        raise ConfigurationError(
            f"{origin} names a credential helper by what is not the name of one",
            f"give what follows docker-credential- in the program's name, or: {_OTHER_FILE}",
        )
    return f"docker-credential-{name}"


def ask_helper(
    name: object, host: str, origin: Path, *, patience_seconds: float = PATIENCE_SECONDS
) -> Credentials | None:
    """Ask a credential helper for the account for a registry.

    Nothing that the helper says goes into a message: it may be the password.

    Args:
        name: The helper's name, as it stands in an auth file.
        host: The registry, with its port.
        origin: That file.
        patience_seconds: How long the helper has.

    Returns:
        The account, or None where the helper keeps none for this registry.

    Raises:
        ConfigurationError: It cannot be run, fails, or does not answer with an account.
    """
    program = helper_program(name, origin)
    who = f"{program}, which {origin} names for {host},"
    try:
        status, answer = _run(program, host, patience_seconds)
    except TimeoutError:
        problem = f"{who} has not answered within {patience_seconds:g} s"
        raise ConfigurationError(problem, _see_that_it_works(host)) from None
    except OSError as error:
        raise ConfigurationError(
            f"{who} cannot be run ({error.strerror})",
            f"install it where PATH leads to, or: {_OTHER_FILE}",
        ) from error
    if status and _NONE_KEPT in answer:
        return None
    if status:
        how = f"exit status {status}" if status > 0 else f"ended by signal {-status}"
        raise ConfigurationError(f"{who} has failed ({how})", _see_that_it_works(host))
    return _account_in(answer, who, host)


def _account_in(answer: bytes, who: str, host: str) -> Credentials | None:
    document: dict[str, Any] = {}
    if len(answer) <= LARGEST_ANSWER:
        with suppress(ArtifactError):
            document = parse_object(answer, who, "")
    username = document.get("Username")
    if username == _IDENTITY_TOKEN:
        raise ConfigurationError(
            f"{who} keeps an identity token, which is not supported",
            f"use an account with a password: {_OTHER_FILE}",
        )
    credentials = Credentials.checked(username, document.get("Secret"))
    if credentials is None:
        problem = f"{who} does not answer with a user name and a password"
        raise ConfigurationError(problem, _see_that_it_works(host))
    return credentials


def _see_that_it_works(host: str) -> str:
    return f"see that docker login {host} works with it, or: {_OTHER_FILE}"


def _run(program: str, host: str, patience_seconds: float) -> tuple[int, bytes]:
    """Run a helper.

    Returns:
        The exit status, and what it has answered: at most one byte more than is allowed.

    Raises:
        TimeoutError: It takes too long.
        OSError: It cannot be run.
    """
    deadline = time.monotonic() + patience_seconds
    with subprocess.Popen(
        [program, "get"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        start_new_session=True,
    ) as process:
        try:
            answer = _exchange(process, host.encode(), deadline)
            if len(answer) > LARGEST_ANSWER:
                # It may wait for ever for somebody who reads the rest.
                return 0, answer
            return process.wait(max(0.0, deadline - time.monotonic())), answer
        except subprocess.TimeoutExpired:
            raise TimeoutError from None
        finally:
            if process.returncode is None:
                # With all that it has started.
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)


def _exchange(process: subprocess.Popen[bytes], request: bytes, deadline: float) -> bytes:
    if process.stdin is None or process.stdout is None:
        raise AssertionError(process)
    # One that does not read is judged by what it answers.
    with suppress(BrokenPipeError):
        process.stdin.write(request)
    process.stdin.close()
    answer = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while len(answer) <= LARGEST_ANSWER:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise TimeoutError
            part = os.read(process.stdout.fileno(), LARGEST_ANSWER + 1 - len(answer))
            if not part:
                break
            answer += part
    return bytes(answer)

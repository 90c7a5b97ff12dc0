"""Credential helpers: programs that store passwords for docker and skopeo.

The protocol is described in docker's reference for ``docker login``, "Credential helper protocol":
``docker-credential-NAME get`` reads the registry from its standard input and writes the account
to its standard output.
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

TIMEOUT_SECONDS = 60.0
"""How long to wait for an answer: somebody may have to unlock the password store."""
LARGEST_ANSWER = 64 * 1024
"""The maximum size of a helper's answer, in bytes."""

_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}", re.ASCII)
# The output of a helper that fails because it has no account for a registry.
_NOT_FOUND = b"credentials not found in native keychain"
# Helpers answer with this user name if the secret is an identity token.
_IDENTITY_TOKEN = "<token>"  # noqa: S105
_OTHER_FILE = "skopeo login --authfile OTHER-FILE HOST, and give that file with --authfile"


def helper_program(name: object, origin: Path) -> str:
    """Return the file name of a helper's program.

    Args:
        name: The value in the auth file.
        origin: The auth file.

    Raises:
        ConfigurationError: The value is not the name of a helper.
    """
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        raise ConfigurationError(
            f"{origin} has an invalid name of a credential helper",
            f"give NAME of the program docker-credential-NAME, or: {_OTHER_FILE}",
        )
    return f"docker-credential-{name}"


def ask_helper(
    name: object, host: str, origin: Path, *, timeout_seconds: float = TIMEOUT_SECONDS
) -> Credentials | None:
    """Ask a credential helper for the account for a registry.

    Messages never quote its output: it may be the password.

    Args:
        name: The helper's name in the auth file.
        host: The registry, with its port.
        origin: The auth file.
        timeout_seconds: How long to wait for the helper to finish.

    Returns:
        The account, or None if the helper has none for this registry.

    Raises:
        ConfigurationError: The name is invalid, or the helper cannot be run, fails, or does not
            answer with an account.
    """
    program = helper_program(name, origin)
    subject = f"{program}, which {origin} names for {host},"
    try:
        status, answer = _run(program, host, timeout_seconds)
    except TimeoutError:
        problem = f"{subject} has not finished within {timeout_seconds:g} s"
        raise ConfigurationError(problem, _try_docker_login(host)) from None
    except OSError as error:
        raise ConfigurationError(
            f"{subject} cannot be run ({error.strerror})",
            f"install it in a directory of PATH, or: {_OTHER_FILE}",
        ) from error
    if status and _NOT_FOUND in answer:
        return None
    if status:
        ending = f"exit status {status}" if status > 0 else f"ended by signal {-status}"
        raise ConfigurationError(f"{subject} has failed ({ending})", _try_docker_login(host))
    return _account_in(answer, subject, host)


def _account_in(answer: bytes, subject: str, host: str) -> Credentials:
    document: dict[str, Any] = {}
    if len(answer) <= LARGEST_ANSWER:
        with suppress(ArtifactError):
            document = parse_object(answer, subject, "")
    username = document.get("Username")
    if username == _IDENTITY_TOKEN:
        raise ConfigurationError(
            f"{subject} has an identity token, which is not supported",
            f"use an account with a password: {_OTHER_FILE}",
        )
    credentials = Credentials.checked(username, document.get("Secret"))
    if credentials is None:
        problem = f"{subject} does not answer with a user name and a password"
        raise ConfigurationError(problem, _try_docker_login(host))
    return credentials


def _try_docker_login(host: str) -> str:
    return f"check that docker login {host} works with it, or: {_OTHER_FILE}"


def _run(program: str, host: str, timeout_seconds: float) -> tuple[int, bytes]:
    """Run a helper; return its exit status and at most ``LARGEST_ANSWER + 1`` bytes of output.

    Raises:
        TimeoutError: The helper has not finished in time.
        OSError: The helper cannot be run.
    """
    deadline = time.monotonic() + timeout_seconds
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
                # The helper may wait forever for a reader of the rest.
                return 0, answer
            return process.wait(max(0.0, deadline - time.monotonic())), answer
        except subprocess.TimeoutExpired:
            raise TimeoutError from None
        finally:
            if process.returncode is None:
                # Kill its child processes, too.
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)


def _exchange(process: subprocess.Popen[bytes], request: bytes, deadline: float) -> bytes:
    if process.stdin is None or process.stdout is None:
        raise AssertionError(process)
    # A helper that does not read its input may still answer.
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

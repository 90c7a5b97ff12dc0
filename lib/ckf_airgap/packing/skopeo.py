"""Reads images from registries through skopeo: the only module that runs it.

Manifests come from ``skopeo inspect --raw``; configs and layers from ``skopeo
experimental-image-proxy``. It returns single blobs, so a layer that images share is fetched once;
through a pipe, so nothing is written to disk. skopeo's own configuration applies: mirrors in
registries.conf, accounts in the auth file, certificates.
"""

import json
import os
import re
import select
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

from ckf_airgap.errors import ConfigurationError, DownloadError
from ckf_airgap.images.oci import Blob
from ckf_airgap.images.reference import registry_host
from ckf_airgap.network.https import Attempts

Fetched = TypeVar("Fetched")

_OLDEST = (1, 6)
_ATTEMPTS = 5
_READ_SIZE = 1024 * 1024
# The protocol of the image proxy allows 32 KiB in either direction.
_MESSAGE_SIZE = 32 * 1024
_STOP_SECONDS = 5
# skopeo itself waits forever on a connection that sends nothing.
_TIMEOUT_SECONDS = 120.0
_INSTALL = "install skopeo 1.6 or newer (apt install skopeo, snap install skopeo)"


@dataclass(frozen=True)
class SkopeoSettings:
    """The settings of skopeo.

    Attributes:
        program: The executable.
        authfile: The auth file with the accounts; None for skopeo's default.
        certificates: A file of PEM certificates to trust besides those of the system, or None.
    """

    program: str = "skopeo"
    authfile: Path | None = None
    certificates: Path | None = None


class Skopeo:
    """Reads images from registries. A failed read raises DownloadError."""

    def __init__(self, settings: SkopeoSettings) -> None:
        """Store the arguments; nothing is run yet."""
        self._settings = settings
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> "Skopeo":
        if self._settings.certificates:
            self._folder = tempfile.TemporaryDirectory(prefix="ckf-airgap-")
            shutil.copyfile(self._settings.certificates, Path(self._folder.name) / "ca.crt")
        return self

    def __exit__(self, *_: object) -> None:
        if self._folder:
            self._folder.cleanup()

    def check(self) -> None:
        """Check that skopeo is installed and not too old.

        Raises:
            ConfigurationError: It is missing, or too old.
        """
        try:
            output = subprocess.run(
                [self._settings.program, "--version"], check=True, capture_output=True, text=True
            ).stdout
        except (OSError, subprocess.CalledProcessError) as error:
            raise ConfigurationError(
                f"{self._settings.program} cannot be run ({error})", _INSTALL
            ) from error
        found = re.search(r"(\d+)\.(\d+)", output)
        if found is None:
            raise ConfigurationError(
                f"{self._settings.program} --version tells no version: {output.strip()!r:.200}",
                _INSTALL,
            )
        if tuple(map(int, found.groups())) < _OLDEST:
            raise ConfigurationError(f"{output.strip()} is too old", _INSTALL)

    def manifest(self, image: str) -> bytes:
        """Fetch a manifest or an index, byte for byte.

        Args:
            image: A reference with a tag or a digest.
        """
        return retried(lambda: self._inspect(image))

    def _inspect(self, image: str) -> bytes:
        try:
            done = subprocess.run(
                [self._settings.program, "inspect", *self._flags(), "--raw", f"docker://{image}"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                timeout=_TIMEOUT_SECONDS,
            )
        except subprocess.TimeoutExpired as error:
            raise _failure(image, _no_data()) from error
        if done.returncode:
            raise _failure(image, _last_message(done.stderr.decode(errors="replace")))
        return done.stdout

    @contextmanager
    def blobs(self) -> Generator["BlobReader"]:
        """Provide a reader of blobs, whose process starts with the first read and ends on exit.

        Yields:
            The reader, for one thread.
        """
        command = [self._settings.program, "experimental-image-proxy", *self._flags()]
        with tempfile.TemporaryFile() as error_output:
            reader = BlobReader(command, error_output)
            try:
                yield reader
            finally:
                reader.stop()

    def _flags(self) -> list[str]:
        flags: list[str] = []
        if self._settings.authfile:
            flags += ["--authfile", str(self._settings.authfile)]
        if self._folder:
            flags += ["--cert-dir", self._folder.name]
        return flags


class BlobReader:
    """Reads blobs of images.

    It uses the protocol of skopeo's image proxy (skopeo, cmd/skopeo/proxy.go): requests and
    replies in JSON, one packet each; a blob arrives through a pipe whose descriptor comes with the
    reply.
    """

    def __init__(self, command: list[str], error_output: IO[bytes]) -> None:
        """Store the arguments; the process starts when it is needed.

        Args:
            command: The command that starts the image proxy.
            error_output: A file for the error output of the proxy.
        """
        self._command = command
        self._error_output = error_output
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._images: dict[str, int] = {}

    def read(self, image: str, blob: Blob) -> Iterator[bytes]:
        """Fetch a blob.

        Args:
            image: A reference ``NAME@DIGEST`` of an image that contains the blob.
            blob: The blob.

        Yields:
            Its bytes, in pieces of at most 1 MiB, which the caller must check.

        Raises:
            DownloadError: The blob cannot be fetched. Some pieces may have been yielded.
        """
        is_complete = False
        try:
            opened = self._open(image)
            _, pipe, number = self._call(image, "GetBlob", opened, blob.digest, blob.size)
            if pipe is None:
                raise _failure(image, "skopeo gave no pipe")
            # Not buffered: a read returns the available bytes.
            with os.fdopen(pipe, "rb", buffering=0) as stream:
                # The proxy closes its end when the whole blob is sent, and only then replies.
                self._send(image, "FinishPipe", number)
                while data := self._next(image, stream):
                    yield data
            self._receive(image)
            is_complete = True
        finally:
            if not is_complete:
                # The process may still be sending the blob.
                self.stop()

    def _next(self, image: str, stream: IO[bytes]) -> bytes:
        poll = select.poll()
        poll.register(stream, select.POLLIN)
        if not poll.poll(_TIMEOUT_SECONDS * 1000):
            raise _failure(image, _no_data())
        return stream.read(_READ_SIZE)

    def interrupt(self) -> None:
        """Stop a read in progress; from another thread."""
        if process := self._process:
            process.terminate()

    def _open(self, image: str) -> int:
        if self._process is None:
            self._start()
            self._call(image, "Initialize")
        if image not in self._images:
            value, _, _ = self._call(image, "OpenImage", f"docker://{image}")
            self._images[image] = int(value)
        return self._images[image]

    def _start(self) -> None:
        # A message of an earlier process must not be reported for this one.
        self._error_output.seek(0)
        self._error_output.truncate()
        own, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with other:
            self._socket = own
            own.settimeout(_TIMEOUT_SECONDS)
            self._process = subprocess.Popen(
                [*self._command, "--sockfd", str(other.fileno())],
                pass_fds=[other.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._error_output,
                # An interrupt (Ctrl-C) must reach this program, but not skopeo.
                start_new_session=True,
            )

    def stop(self) -> None:
        """Stop the process; the next request starts it again."""
        if self._socket:
            self._socket.close()
        if self._process:
            self._process.terminate()
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = self._socket = None
        self._images.clear()

    def _call(self, image: str, method: str, *arguments: object) -> tuple[Any, int | None, int]:
        """Send a request; return the value, a pipe's descriptor, and the number of that pipe."""
        self._send(image, method, *arguments)
        return self._receive(image)

    def _send(self, image: str, method: str, *arguments: object) -> None:
        if self._socket is None:
            raise AssertionError
        try:
            self._socket.send(json.dumps({"method": method, "args": arguments}).encode())
        except OSError as error:
            raise self._ended(image, error) from error

    def _receive(self, image: str) -> tuple[Any, int | None, int]:
        if self._socket is None:
            raise AssertionError
        try:
            answer, descriptors, _, _ = socket.recv_fds(self._socket, _MESSAGE_SIZE, 1)
            document: dict[str, Any] = json.loads(answer)
        except TimeoutError as error:
            raise _failure(image, _no_data()) from error
        except (OSError, ValueError) as error:
            raise self._ended(image, error) from error
        if not document["success"]:
            raise _failure(image, str(document["error"]))
        pipe = descriptors[0] if descriptors else None
        return document["value"], pipe, int(document["pipeid"])

    def _ended(self, image: str, error: Exception) -> DownloadError:
        self._error_output.seek(0)
        message = _last_message(self._error_output.read().decode(errors="replace"))
        return _failure(image, f"skopeo ended: {message or error}")


def retried(fetch: Callable[[], Fetched]) -> Fetched:
    """Fetch something, with retries after transient failures.

    Args:
        fetch: Fetches it.

    Returns:
        The result of ``fetch``.

    Raises:
        DownloadError: The last attempt failed, or the failure is permanent.
    """
    attempts = Attempts(_ATTEMPTS)
    while True:
        try:
            return fetch()
        except DownloadError as error:
            if not error.is_transient or attempts.is_last:
                raise
        attempts.wait()


def digest_mismatch(what: str) -> DownloadError:
    """Return the error for content that does not match its digest.

    Args:
        what: The name of the content.
    """
    return DownloadError(
        what,
        "cannot be fetched: its registry sends content that does not match its digest",
        "check for a proxy or a mirror in between, then run it again: it continues",
        is_transient=True,
    )


def _no_data() -> str:
    return f"no data for {_TIMEOUT_SECONDS:g} s"


def _last_message(output: str) -> str:
    """Return the last message of skopeo, without its level and time."""
    lines = output.strip().splitlines()
    if not lines:
        return ""
    found = re.search(r'msg="((?:[^"\\]|\\.)*)"', lines[-1])
    return found[1].replace('\\"', '"') if found else lines[-1]


# Patterns in messages of registries and skopeo, each with its problem and cure; the first match
# counts.
_CAUSES: tuple[tuple[str, str, str], ...] = (
    (
        r"no space left",
        "the disk for temporary files is full",
        "make space there, or set TMPDIR to another directory; then run it again: it continues",
    ),
    (
        r"toomanyrequests|too many requests|rate limit",
        "its registry has had too many requests",
        "log in (skopeo login {host}), or wait, and run it again: it continues",
    ),
    (
        r"unauthorized|authentication required|denied|\b40[13]\b|credentials|invalid username",
        "its registry demands an account, refuses the account, or has no such image",
        "log in (skopeo login {host}), or give the auth file with --authfile; check the image's "
        "name too",
    ),
    (
        r"manifest unknown|name unknown|repository name not known|not found|\b404\b",
        "its registry does not have it",
        "correct its name or tag, or leave it out",
    ),
    (
        r"x509|certificate|tls:",
        "its registry is not trusted",
        "give the certificate of its CA with --registry-ca",
    ),
)


def _failure(image: str, message: str) -> DownloadError:
    host = registry_host(image)
    # The error starts with the image already.
    message = re.sub(r'^Error parsing image name "[^"]*": ', "", message)
    searched = _without_names(message, image)
    if re.search("corrupted blob|does not match digest", searched):
        return digest_mismatch(image)
    for pattern, problem, cure in _CAUSES:
        if re.search(pattern, searched, re.IGNORECASE):
            return DownloadError(
                image,
                f"cannot be fetched: {problem} ({message[-300:]})",
                cure.format(host=host),
            )
    return DownloadError(
        image,
        f"cannot be fetched ({message[-300:]})",
        f"see that {host} can be reached, then run it again: it continues",
        is_transient=True,
    )


def _without_names(message: str, image: str) -> str:
    """Return a message without the host, repository, tag and digest of its image."""
    host = registry_host(image)
    name, _, digest = image.removeprefix(f"{host}/").partition("@")
    repository, _, tag = name.partition(":")
    names = "|".join(re.escape(part) for part in (host, repository, tag, digest) if part)
    return re.sub(rf"(?<![\w.-])(?:{names})(?![\w-]|\.\w)", "", message)

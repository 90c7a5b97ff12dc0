"""Where artifacts are read from: files, or an HTTPS file server inside the air gap."""

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from ckf_airgap.errors import ArtifactError, ConfigurationError
from ckf_airgap.files.regular_files import open_regular
from ckf_airgap.network import https
from ckf_airgap.network.addresses import without_query

# To skip fewer bytes than this, reading them is faster than another request.
_SHORTEST_JUMP = 16 * 1024 * 1024
_INVALID_IN_URL = re.compile(r"[^!-~]")
_SIZE = re.compile("[0-9]{1,18}")
# The answers to HEAD after which GET is tried.
_NO_HEAD = (403, 405, 501)
# Object stores also answer 403 for an object that they do not have.
_ABSENT = (403, 404, 410)


class StoredStream(Protocol):
    """The bytes of an artifact in order, as they are stored: not decompressed.

    Attributes:
        position: The number of bytes that were read or skipped so far.
    """

    position: int

    def read(self, size: int, /) -> bytes:
        """Read between one and ``size`` bytes; none at the end."""
        ...

    def skip(self, size: int, /) -> int:
        """Skip ``size`` bytes, or fewer at the end; return how many."""
        ...


class Source(ABC):
    """An artifact.

    Attributes:
        name: Its name, for messages.
    """

    name: str

    @property
    @abstractmethod
    def size(self) -> int:
        """Its size, in bytes.

        Raises:
            ArtifactError: It cannot be opened.
        """

    @property
    @abstractmethod
    def version(self) -> str:
        """A text that changes with its content.

        Raises:
            ArtifactError: It cannot be opened.
        """

    @abstractmethod
    def open(self) -> AbstractContextManager[StoredStream]:
        """Open it at its start.

        Raises:
            ArtifactError: It cannot be opened. Reading the stream raises this as well.
        """


def read_at(source: Source, position: int, size: int) -> bytes:
    """Return some bytes of an artifact.

    Args:
        source: The artifact.
        position: Where to begin, in bytes.
        size: How many bytes; fewer are read only at the end.

    Raises:
        ArtifactError: It cannot be read.
    """
    with source.open() as stream:
        stream.skip(position)
        return read_up_to(stream, size)


class Readable(Protocol):
    """A stream whose reads may return fewer bytes than they are asked for."""

    def read(self, size: int, /) -> bytes:
        """Read at most ``size`` bytes; none only at the end."""
        ...


def read_up_to(stream: Readable, size: int) -> bytes:
    """Read ``size`` bytes of a stream, or fewer at its end."""
    content = stream.read(size)
    while len(content) < size and (data := stream.read(size - len(content))):
        content += data
    return content


class FileSource(Source):
    """A file."""

    def __init__(self, path: Path) -> None:
        """Set the path; the file need not exist yet."""
        self.path = path
        self.name = path.name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FileSource) and other.path == self.path

    def __hash__(self) -> int:
        return hash(self.path)

    @property
    def size(self) -> int:
        """Its size, in bytes."""
        with self._open_errors():
            return self.path.stat().st_size

    @property
    def version(self) -> str:
        """Its size and modification time."""
        with self._open_errors():
            stat = self.path.stat()
        return f"{stat.st_size} {stat.st_mtime_ns}"

    @contextmanager
    def open(self) -> Generator[StoredStream]:
        """Open it at its start."""
        with self._open_errors():
            file = os.fdopen(open_regular(self.path), "rb")
        with file:
            yield _FileStream(file, self)

    @contextmanager
    def _open_errors(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            raise ArtifactError(
                f"{self.name} cannot be opened ({error.strerror})", "give the file again"
            ) from error


class _FileStream:
    def __init__(self, file: BinaryIO, source: FileSource) -> None:
        self._file = file
        self._name = source.name
        self._size = source.size
        self.position = 0

    def read(self, size: int, /) -> bytes:
        try:
            data = self._file.read(size)
        except OSError as error:
            raise ArtifactError(
                f"{self._name} cannot be read ({error.strerror})",
                "check the disk, or copy the file again",
            ) from error
        self.position += len(data)
        return data

    def skip(self, size: int, /) -> int:
        skipped = max(0, min(size, self._size - self.position))
        self.position = self._file.seek(self.position + skipped)
        return skipped


class UrlSource(Source):
    """A file on an HTTPS server, read as a stream.

    After a broken connection, reading resumes at the same position (RFC 9110, section 14, "Range
    Requests"), unless the file has changed.
    """

    def __init__(self, url: str, option: str, ca: str | None = None) -> None:
        """Check the address; nothing is sent yet.

        Args:
            url: Its address.
            option: The option that sets the address, for messages.
            ca: CA certificates in PEM format, trusted in addition to the system's.

        Raises:
            ConfigurationError: The address is not the HTTPS URL of a file, or contains
                credentials; or ``ca`` is not a certificate.
        """
        try:
            parts = urlsplit(url)
            # An invalid port raises ValueError.
            is_file = bool(parts.hostname and parts.path.strip("/")) and parts.port != 0
            is_usable = is_file and parts.scheme == "https" and not _INVALID_IN_URL.search(url)
            has_account = bool(parts.username or parts.password)
        except ValueError:
            is_usable = has_account = False
            parts = urlsplit("")
        if has_account:
            raise ConfigurationError(
                f"{option} has an account in it, and anybody can read options",
                "let the file server serve the file without credentials, and remove them from the "
                "address",
            )
        if not is_usable:
            raise ConfigurationError(
                f"{option} is not the HTTPS address of a file: {without_query(url)!r}",
                f"give {option} as https://HOST[:PORT]/PATH",
            )
        self.url = url
        self.name = parts.path.rstrip("/").rpartition("/")[2]
        self._option = option
        self._connections = https.Connections(ca)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UrlSource) and other.url == self.url

    def __hash__(self) -> int:
        return hash(self.url)

    @property
    def size(self) -> int:
        """Its size according to the server, in bytes."""
        return self._size_and_validator[0]

    @property
    def version(self) -> str:
        """Its size, and the server's validator (RFC 9110, section 8.8)."""
        return " ".join(map(str, self._size_and_validator))

    @contextmanager
    def open(self) -> Generator[StoredStream]:
        """Open it at its start."""
        stream = _UrlStream(self)
        try:
            yield stream
        finally:
            stream.close()

    @property
    def is_there(self) -> bool:
        """Whether the server has the file: its answer is not 403, 404 or 410."""
        return self._answer.status not in _ABSENT

    @cached_property
    def _answer(self) -> urllib3.BaseHTTPResponse:
        response = self.request("HEAD")
        if response.status in _NO_HEAD:
            response.close()
            response = self.request("GET")
        response.close()
        return response

    @cached_property
    def _size_and_validator(self) -> tuple[int, str]:
        self.require(self._answer, 200)
        return self.read_headers(self._answer)

    def read_headers(self, response: urllib3.BaseHTTPResponse) -> tuple[int, str]:
        """Read the size of the file and its ``ETag`` or ``Last-Modified`` from an answer.

        Raises:
            ArtifactError: The answer does not give the size.
        """
        headers = response.headers
        _, _, total = headers.get("Content-Range", "").rpartition("/")
        size = total if response.status == 206 else headers.get("Content-Length", "")
        if not _SIZE.fullmatch(size):
            raise ArtifactError(
                f"the server of {self._option} does not give the size of {self.name}",
                "use a server that serves files unchanged and with Content-Length",
            )
        return int(size), headers.get("ETag") or headers.get("Last-Modified", "")

    def request(self, method: str, position: int = 0) -> urllib3.BaseHTTPResponse:
        """Request the file from a position, with retries; return the answer, whatever its status.

        Raises:
            ArtifactError: The server does not answer.
        """
        headers = dict(https.HEADERS)
        if position:
            headers["Range"] = f"bytes={position}-"

        def send() -> urllib3.BaseHTTPResponse:
            return self._connections.request(
                method,
                self.url,
                headers=headers,
                preload_content=False,
                redirect=False,
                timeout=https.QUICK_ANSWER,
            )

        try:
            return https.retry(send)
        except HTTPError as error:
            raise self.no_answer(https.Failure.of(error)) from error

    def require(self, response: urllib3.BaseHTTPResponse, *expected: int) -> None:
        """Require that an answer has an expected status; close it if not.

        Raises:
            ArtifactError: It has another status.
        """
        if response.status in expected:
            return
        response.close()
        cure = "check that the file exists, and that the server serves it without an account"
        if target := response.headers.get("Location"):
            cure = f"give the address to which the server redirects: {without_query(target)}"
        raise ArtifactError(
            f"the server of {self._option} answered {response.status} for "
            f"{without_query(self.url)}",
            cure,
        )

    def no_answer(self, failure: https.Failure) -> ArtifactError:
        """Return the error for a request without an answer."""
        problem, cure = _FAILURES[failure.cause]
        note = https.proxy_note(self.url)
        return ArtifactError(
            f"the server of {self._option} {problem}{note} ({failure.detail})",
            cure.format(option=self._option),
        )


_FAILURES = {
    **https.CERTIFICATE_FAILURES,
    https.Cause.NO_TLS: (
        "does not speak TLS as expected",
        "give the port at which it serves HTTPS in {option}",
    ),
    https.Cause.UNKNOWN_NAME: (
        "has a name that cannot be resolved",
        "correct it in {option}, or add it to the DNS",
    ),
    https.Cause.UNREACHABLE: (
        "cannot be reached",
        "check that the server runs and that the cluster can reach it, then run it again",
    ),
    https.Cause.SLOW: (
        "does not answer in time",
        "check whether the server is overloaded, then run it again",
    ),
}


class _UrlStream:
    def __init__(self, source: UrlSource) -> None:
        self._source = source
        self._response: urllib3.BaseHTTPResponse | None = None
        self._pieces: Iterator[bytes] = iter(())
        self._rest = memoryview(b"")
        self._attempts = https.Attempts()
        # Before the first request, a long skip costs nothing: the request starts after it.
        self._can_jump = True
        self.position = 0

    def read(self, size: int, /) -> bytes:
        while self.position < self._source.size:
            try:
                data = self._next_piece(size)
            except HTTPError as error:
                self.close()
                failure = https.Failure.of(error)
                if self._attempts.must_stop(failure):
                    raise self._source.no_answer(failure) from error
                self._attempts.wait()
            else:
                if self._attempts.failures:
                    self._attempts = https.Attempts()
                self.position += len(data)
                return data
        return b""

    def skip(self, size: int, /) -> int:
        skipped = min(size, self._source.size - self.position)
        if self._can_jump and skipped >= _SHORTEST_JUMP:
            self.close()
            self.position += skipped
            return skipped
        left = skipped
        while left:
            left -= len(self.read(left))
        return skipped

    def close(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None
            self._rest = memoryview(b"")

    def _next_piece(self, size: int) -> bytes:
        """Return the next bytes, at most ``size``.

        Raises:
            HTTPError: The connection broke.
        """
        self._connect()
        if not self._rest:
            self._rest = memoryview(next(self._pieces, b""))
        if not self._rest:
            raise urllib3.exceptions.ProtocolError("the connection was closed")
        data, self._rest = self._rest[:size], self._rest[size:]
        return bytes(data)

    def _connect(self) -> None:
        if self._response is not None:
            return
        response = self._source.request("GET", self.position)
        self._source.require(response, 200, 206)
        self._require_same(response)
        self._response, self._pieces = response, https.pieces(response)
        self._can_jump = response.headers.get("Accept-Ranges") == "bytes"
        # A server that ignores ranges starts from the beginning: drop what was already read.
        left = self.position if response.status == 200 else 0
        while left:
            left -= len(self._next_piece(left))

    def _require_same(self, response: urllib3.BaseHTTPResponse) -> None:
        is_at_position = response.status == 200 or response.headers.get(
            "Content-Range", ""
        ).startswith(f"bytes {self.position}-")
        version = " ".join(map(str, self._source.read_headers(response)))
        if version != self._source.version or not is_at_position:
            response.close()
            raise ArtifactError(
                f"{self._source.name} was replaced on its server while it was read",
                "run it again",
            )

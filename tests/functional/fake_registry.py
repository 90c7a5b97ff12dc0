"""A registry in memory that answers each request as a test has it, and pushes to it."""

import hashlib
import json
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

import pytest

from ckf_airgap.commands.main import main
from testbed.pki import Authority
from tests.functional.archive_case import JUPYTER_TAR, KFAM_TAR, MINIO_TAR
from tests.functional.servers import QuietHandler, serve
from tests.support.compressed import gzipped
from tests.support.measured import run_measured
from tests.support.tar_files import tar_of

MOST_MEMORY = 200
"""In MiB."""
MOST_MESSAGE_BYTES = 2_000
IMAGES = gzipped(tar_of(jupyter=JUPYTER_TAR, kfam=KFAM_TAR, minio=MINIO_TAR))
TOKEN = "the-bearer-token-of-the-tests"
_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
# Does not wait between attempts; the status tells its parent whether it ended in an error.
_COMMAND = """
import contextlib, sys
from ckf_airgap.network import https
from ckf_airgap.commands import main
https.pause = lambda *_: None
with open(sys.argv[1], "w") as said, contextlib.redirect_stderr(said):
    status = main.main(sys.argv[2:])
    said.write(f"\\nexit {status}")
"""
BEARER = 'Bearer realm="https://{host}/token",service="x"'


@dataclass
class Store:
    """What a registry has.

    Attributes:
        blobs: The digests of its blobs.
        manifests: By their paths.
    """

    blobs: set[str] = field(default_factory=set[str])
    manifests: dict[str, bytes] = field(default_factory=dict[str, bytes])


class FakeRegistry(QuietHandler):
    """A registry in memory: each request can be answered otherwise.

    Attributes:
        store: What it has.
        fault: Answers a request in its own way, or leaves it to the registry; told by the method
            and by what it asks for (``kind``). The connection is closed then.
        challenge: What a request without ``Authorization`` is asked for, with ``{host}`` for it.
    """

    protocol_version = "HTTP/1.1"
    store: ClassVar[Store]
    fault: ClassVar["Fault"]
    challenge: ClassVar[str] = ""
    body = b""

    @property
    def kind(self) -> str:
        """What is asked for: ``POST uploads``, ``GET token``, ``GET /v2/`` and so on."""
        path = urlsplit(self.path).path
        for kind in ("uploads", "blobs", "manifests", "tags", "token"):
            if f"/{kind}" in path:
                return f"{self.command} {kind}"
        return f"{self.command} {path}"

    def raw(self, *parts: bytes) -> None:
        """Send bytes as they are."""
        self.wfile.write(b"".join(parts))

    def answer(
        self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> None:
        """Send an answer as it should be."""
        self.send_response_only(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _serve(self) -> None:
        self.body = self._read()
        with suppress(OSError):
            if type(self).fault(self):
                self.close_connection = True
                return
            self._behave()

    def _read(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _behave(self) -> None:
        path, _, query = self.path.partition("?")
        if self.kind == "GET token":
            self.answer(200, json.dumps({"token": TOKEN}).encode())
        elif self.challenge and "Authorization" not in self.headers:
            value = self.challenge.format(host=self.headers["Host"])
            self.answer(401, b"", {"WWW-Authenticate": value})
        elif self.kind in ("POST uploads", "PATCH uploads"):
            self.answer(202, b"", {"Location": path})
        elif self.kind == "PUT uploads":
            self.store.blobs.add(query.partition("digest=")[2])
            self.answer(201)
        elif self.kind == "HEAD blobs":
            self.answer(200 if path.rpartition("/")[2] in self.store.blobs else 404)
        elif self.kind == "PUT manifests":
            self.store.manifests[path] = self.body
            self.answer(201)
        elif path in self.store.manifests:
            content = self.store.manifests[path]
            digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
            self.answer(200, content, {"Docker-Content-Digest": digest, "Content-Type": _MANIFEST})
        else:
            self.answer(200 if path == "/v2/" else 404)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815


Fault = Callable[[FakeRegistry], bool]


@contextmanager
def fake_registry(authority: Authority, fault: Fault, challenge: str = "") -> Generator[str]:
    """Run one; gives its host and port."""
    members = {"store": Store(), "fault": staticmethod(fault), "challenge": challenge}
    with serve(type("Handler", (FakeRegistry,), members), authority) as host:
        yield host


@dataclass(frozen=True)
class Pusher:
    """Pushes the same archive into registries; each push is to end as it should."""

    authority: Authority
    folder: Path
    capsys: pytest.CaptureFixture[str]

    def words(self, host: str) -> list[str]:
        """Give the command's words."""
        path = self.folder / "images.tar.gz"
        path.write_bytes(IMAGES)
        given = ["push", "--images", str(path), "--state", str(self.folder / "pushed")]
        ca = str(self.authority.certificate)
        return [*given, "--registry", f"{host}/ckf", "--registry-ca", ca]

    def error(self, fault: Fault, *, challenge: str = "") -> str:
        """Push, and see that it ends in one error; gives it."""
        with fake_registry(self.authority, fault, challenge) as host:
            return self.error_at(host)

    def error_at(self, host: str) -> str:
        """Push to some other place, and see that it ends in one error; gives it."""
        status = main(self.words(host))
        said = self.capsys.readouterr().err
        assert status == 2, said
        return require_one_error(said)

    def measured(self, fault: Fault, *, challenge: str = "", status: int) -> str:
        """Push as a program of its own, in bounded memory; gives what it says."""
        kept = self.folder / "said"
        with fake_registry(self.authority, fault, challenge) as host:
            usage = run_measured(
                ["-c", _COMMAND, kept, *self.words(host)], {"PYTHONPATH": ":".join(sys.path)}
            )
        print(f"\n{usage.peak_mib:>5} MiB {usage.seconds:>6.1f} s")
        said, _, ended = kept.read_text().rpartition("\nexit ")
        assert int(ended) == status, said
        assert usage.peak_mib < MOST_MEMORY
        return require_one_error(said) if status else said


def require_one_error(said: str) -> str:
    """See that a program has said one error, and nothing that a user should not see."""
    assert said.count("error: ") == 1, said
    assert "Traceback" not in said
    error = said.partition("ckf-airgap: error: ")[2].rstrip("\n")
    assert error.isprintable(), ascii(error)
    assert len(error.encode()) <= MOST_MESSAGE_BYTES
    return error


def answering(
    kind: str, status: int, body: bytes, headers: Mapping[str, str] | None = None
) -> Fault:
    """Answer one kind of request with this."""

    def fault(handler: FakeRegistry) -> bool:
        if handler.kind == kind:
            handler.answer(status, body, headers)
        return handler.kind == kind

    return fault

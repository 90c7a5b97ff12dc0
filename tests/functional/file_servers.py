"""An HTTPS file server that does what is asked of it, or anything but that."""

import hashlib
import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from testbed.pki import Authority
from tests.functional.servers import QuietHandler, serve

_RANGE = re.compile(r"bytes=(\d+)-$")


@dataclass
class Faults:
    """What a file server does wrong.

    Attributes:
        cuts: After how many bytes of an answer to close the connection, one for each answer.
        statuses: What to answer first, one for each request.
        has_ranges: Whether it gives parts of files.
        has_head: Whether it knows HEAD.
        has_length: Whether it tells how long a file is.
        location: Where it sends everybody to.
        on_request: Called before each answer.
    """

    cuts: list[int] = field(default_factory=list[int])
    statuses: list[int] = field(default_factory=list[int])
    has_ranges: bool = True
    has_head: bool = True
    has_length: bool = True
    location: str = ""
    on_request: Callable[[], None] = lambda: None


@dataclass
class Served:
    """A file that is served.

    Attributes:
        content: The file.
        faults: What the server does wrong.
        host: The server.
        starts: Where in the file each answer began.
        sent: How many bytes it has sent.
    """

    content: bytes
    faults: Faults
    host: str = ""
    starts: list[int] = field(default_factory=list[int])
    sent: int = 0

    def url(self, name: str = "images.tar.gz") -> str:
        return f"https://{self.host}/ckf/{name}"

    @property
    def etag(self) -> str:
        return f'"{hashlib.sha256(self.content).hexdigest()}"'


@contextmanager
def serving(  # noqa: C901
    authority: Authority, content: bytes, faults: Faults
) -> Generator[Served]:
    """Serve a file, under whatever name it is asked for.

    Args:
        authority: Signs the certificate of the server.
        content: The file.
        faults: What the server does wrong.
    """
    served = Served(content, faults)

    class Handler(QuietHandler):
        def do_HEAD(self) -> None:  # noqa: N802
            if not faults.has_head:
                self.send_error(405)
                return
            self._start(0)

        def do_GET(self) -> None:  # noqa: N802
            match = _RANGE.match(self.headers.get("Range", ""))
            start = int(match[1]) if match and faults.has_ranges else 0
            if not self._start(start):
                return
            served.starts.append(start)
            part = served.content[start:]
            if faults.cuts:
                part = part[: faults.cuts.pop(0)]
            # Counted first: whoever has got the last of it may look at once.
            served.sent += len(part)
            self.wfile.write(part)
            self.close_connection = True

        def _refuse(self) -> None:
            self.send_response(faults.statuses.pop(0) if faults.statuses else 302)
            self.send_header("Location", faults.location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _start(self, start: int) -> bool:
            faults.on_request()
            if faults.statuses or faults.location:
                self._refuse()
                return False
            size = len(served.content)
            self.send_response(206 if start else 200)
            if faults.has_length:
                self.send_header("Content-Length", str(size - start))
            if faults.has_ranges:
                self.send_header("Accept-Ranges", "bytes")
            if start:
                self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
            self.send_header("ETag", served.etag)
            self.end_headers()
            return True

    with serve(Handler, authority) as served.host:
        yield served

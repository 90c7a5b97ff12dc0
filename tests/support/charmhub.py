"""A stand-in for Charmhub: as much of its API as ``juju download`` uses.

The client is the real one. Charmhub itself cannot be reached from where the tests run.
"""

import hashlib
import http.server
import json
import ssl
import threading
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from testbed.pki import Authority
from tests.sample_release import Charm, CharmOptions, charm_file


@dataclass
class Charmhub:
    """What it has, and what it was asked for.

    Attributes:
        charms: Each charm's file, by name.
        revisions: Each charm's revision, by name.
        channels: Further revisions of charms, by name and channel: number and file.
        asked: Name, channel, revision and architecture of each request.
        downloads: The name of each charm that was downloaded.
        url: Its address.
    """

    charms: dict[str, bytes] = field(default_factory=dict[str, bytes])
    revisions: dict[str, int] = field(default_factory=dict[str, int])
    channels: dict[tuple[str, str], tuple[int, bytes]] = field(
        default_factory=dict[tuple[str, str], tuple[int, bytes]]
    )
    asked: list[tuple[str, str | None, int | None, str | None]] = field(
        default_factory=list[tuple[str, str | None, int | None, str | None]]
    )
    downloads: list[str] = field(default_factory=list[str])
    url: str = ""

    def add(self, charms: Iterable[Charm], options: CharmOptions | None = None) -> None:
        """Publish charms."""
        for number, charm in enumerate(charms, 101):
            self.charms[charm.name] = charm_file(charm, options or CharmOptions())
            self.revisions[charm.name] = number

    def refresh(self, action: dict[str, Any]) -> dict[str, Any]:
        """Answer one action of a refresh request (POST /v2/charms/refresh)."""
        name = str(action["name"])
        base = cast(dict[str, Any], action.get("base") or {})
        self.asked.append(
            (name, action.get("channel"), action.get("revision"), base.get("architecture"))
        )
        answer: dict[str, Any] = {"instance-key": action["instance-key"], "name": name, "id": name}
        channel = str(action.get("channel"))
        revision, content = self.channels.get(
            (name, channel), (self.revisions.get(name, 0), self.charms.get(name))
        )
        if content is None:
            message = f"Name {name} was not found in the charm namespace"
            return answer | {
                "result": "error",
                "error": {"code": "name-not-found", "message": message, "extra": {}},
            }
        return answer | {
            "result": "install",
            "effective-channel": action.get("channel"),
            "charm": {
                "type": "charm",
                "name": name,
                "id": name,
                "revision": revision,
                "version": "1",
                "bases": [base],
                "resources": [],
                "download": {
                    "url": f"{self.url}/download/{revision}/{name}",
                    "hash-sha-256": hashlib.sha256(content).hexdigest(),
                    "size": len(content),
                },
            },
        }


@contextmanager
def serving(charmhub: Charmhub, authority: Authority) -> Generator[Charmhub]:
    """Run it over TLS on the loopback address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            results = [charmhub.refresh(action) for action in request["actions"]]
            self._give(json.dumps({"results": results}).encode(), "application/json")

        def do_GET(self) -> None:
            name = self.path.rpartition("/")[2]
            charmhub.downloads.append(name)
            revision = int(self.path.split("/")[-2])
            files = {number: content for number, content in charmhub.channels.values()}
            content = files.get(revision, charmhub.charms.get(name, b""))
            self._give(content, "application/octet-stream")

        def _give(self, content: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    pair = authority.issue("charmhub", "127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    charmhub.url = f"https://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield charmhub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

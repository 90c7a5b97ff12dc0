"""What is sent to a registry, and what it confirms, seen from between."""

import re
import threading
from typing import Literal

from tests.functional.servers import Answer, Gate, Request, passed_on

_DIGEST = re.compile(r"[?&]digest=(sha256(?::|%3A)[0-9a-f]{64})")
_REPOSITORY = re.compile("/(?:blobs|manifests)/")


class Watch:
    """A fault that passes everything on and keeps what was sent, and what was answered 201.

    Attributes:
        gate: What may hold a request back before it is passed on.
        requests: The method and path of each request that came.
        sent: The digest of each blob that was begun to be sent, as often as it was.
        created: The digests of the blobs that the registry has confirmed.
        filled: The repositories that got a blob or a manifest.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.gate: Gate | None = None
        self.requests: list[str] = []
        self.sent: list[str] = []
        self.created: set[str] = set()
        self.filled: set[str] = set()

    def __call__(self, request: Request) -> Answer | Literal["cut"] | None:
        found = _DIGEST.search(request.path)
        digest = found[1].replace("%3A", ":") if found else ""
        with self._lock:
            self.requests.append(f"{request.method} {request.path}")
            if digest:
                self.sent.append(digest)
        if self.gate and self.gate(request) == "cut":
            return "cut"
        if request.method != "PUT":
            return None
        answer = passed_on(request)
        if answer.status == 201:
            with self._lock:
                self.filled.add(_REPOSITORY.split(request.path)[0].removeprefix("/v2/"))
                if digest:
                    self.created.add(digest)
        return answer

    @property
    def writes(self) -> list[str]:
        """The requests that bring something."""
        return [request for request in self.requests if not request.startswith(("GET", "HEAD"))]

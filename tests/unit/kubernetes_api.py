"""A small Kubernetes API over HTTP: what it holds, and what was asked of it."""

import http.server
import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

Document = dict[str, Any]
Key = tuple[str, str, str]
"""The kind in the plural, the namespace (empty for none) and the name."""


@dataclass(frozen=True)
class Request:
    """What was asked.

    Attributes:
        method: The method of HTTP.
        path: The path without the query.
        body: What was sent, or None.
        content_type: The media type of what was sent.
    """

    method: str
    path: str
    body: Any
    content_type: str


@dataclass
class FakeKubernetes:
    """What the cluster holds, and how it fails.

    Attributes:
        objects: What there is.
        requests: What was asked.
        refusals: For method and path, the status and message of the answers in its place; each
            is given once.
    """

    objects: dict[Key, Document] = field(default_factory=dict[Key, Document])
    requests: list[Request] = field(default_factory=list[Request])
    refusals: dict[tuple[str, str], list[tuple[int, str]]] = field(
        default_factory=dict[tuple[str, str], list[tuple[int, str]]]
    )
    _version: int = 1

    def add(self, kind: str, namespace: str, name: str, **content: Any) -> Document:
        """Put something there; ``metadata`` adds to its own."""
        metadata = {"name": name, "namespace": namespace, "resourceVersion": self.next_version()}
        metadata |= content.pop("metadata", {})
        found = {"metadata": {k: v for k, v in metadata.items() if v}, **content}
        self.objects[kind, namespace, name] = found
        return found

    def next_version(self) -> str:
        """Give the version of what is written now."""
        self._version += 1
        return str(self._version)

    def profile(self, name: str, *accounts: str, **metadata: Any) -> None:
        """Add a namespace as Kubeflow's profile controller makes it, with service accounts."""
        labels = {"app.kubernetes.io/part-of": "kubeflow-profile"}
        self.add("namespaces", "", name, metadata={"labels": labels, **metadata})
        for account in accounts or ("default", "default-editor", "default-viewer"):
            self.add("serviceaccounts", name, account)

    @property
    def writes(self) -> list[Request]:
        """What was asked to be changed."""
        return [request for request in self.requests if request.method != "GET"]

    def answer(self, request: Request, query: dict[str, list[str]]) -> tuple[int, Document]:
        """Answer as Kubernetes does."""
        self.requests.append(request)
        if refusals := self.refusals.get((request.method, request.path)):
            code, message = refusals.pop(0)
            return code, _status(code, message)
        words = request.path.removeprefix("/api/v1/").split("/")
        namespace = words[1] if len(words) > 2 else ""
        kind, name = [*(words[2:] if namespace else words), ""][:2]
        if request.method == "GET" and not name:
            return 200, {"metadata": {}, "items": self._list(kind, namespace, query)}
        if request.method == "POST":
            return self._create(kind, namespace, request.body)
        found = self.objects.get((kind, namespace, name))
        if found is None:
            return 404, _status(404, f'{kind} "{name}" not found')
        if request.method == "DELETE":
            del self.objects[kind, namespace, name]
        if request.method == "PATCH":
            return self._patch(found, request)
        return 200, found

    def _list(self, kind: str, namespace: str, query: dict[str, list[str]]) -> list[Document]:
        (labels,) = query.get("labelSelector", [""])
        (fields,) = query.get("fieldSelector", [""])
        wanted = dict(each.split("=") for each in filter(None, labels.split(",")))
        assert fields in ("", "status.phase=Pending")
        return [
            found
            for (of_kind, place, _), found in self.objects.items()
            if of_kind == kind
            and namespace in ("", place)
            and wanted.items() <= found["metadata"].get("labels", {}).items()
            and (not fields or found["status"]["phase"] == "Pending")
        ]

    def _create(self, kind: str, namespace: str, body: Document) -> tuple[int, Document]:
        name = body["metadata"]["name"]
        if ("namespaces", "", namespace) not in self.objects:
            return 404, _status(404, f'namespaces "{namespace}" not found')
        if (kind, namespace, name) in self.objects:
            return 409, _status(409, f'{kind} "{name}" already exists')
        content = {key: each for key, each in body.items() if key != "kind"}
        return 201, self.add(kind, namespace, name, **content)

    def _patch(self, found: Document, request: Request) -> tuple[int, Document]:
        """Merge (RFC 7386): maps one into the other, lists as a whole."""
        assert request.content_type == "application/merge-patch+json"
        metadata = found["metadata"]
        version = request.body.get("metadata", {}).get("resourceVersion")
        if version not in (None, metadata["resourceVersion"]):
            return 409, _status(409, "the object has been modified")
        for key, value in request.body.items():
            found[key] = {**found.get(key, {}), **value} if isinstance(value, dict) else value
        found["metadata"] = {**metadata, "resourceVersion": self.next_version()}
        return 200, found


def _status(code: int, message: str) -> Document:
    return {"kind": "Status", "apiVersion": "v1", "code": code, "message": message}


@contextmanager
def serve_kubernetes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[FakeKubernetes]:
    """Serve a cluster, and let the client find it.

    Args:
        folder: Where to write the client's configuration.
        monkeypatch: Sets what names it.
    """
    fake = FakeKubernetes()

    class Handler(http.server.BaseHTTPRequestHandler):
        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            parts = urlsplit(self.path)
            request = Request(
                self.command, parts.path, body, self.headers.get("Content-Type") or ""
            )
            code, document = fake.answer(request, parse_qs(parts.query))
            content = json.dumps(document).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = do_DELETE = _answer  # noqa: N815

        def log_message(self, *_: object) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        configuration = folder / "kubeconfig"
        configuration.write_text(
            f"{{apiVersion: v1, kind: Config, current-context: c, "
            f"clusters: [{{name: c, cluster: "
            f"{{server: 'http://127.0.0.1:{server.server_address[1]}'}}}}], "
            f"users: [{{name: u, user: {{token: t}}}}], "
            f"contexts: [{{name: c, context: {{cluster: c, user: u}}}}]}}"
        )
        monkeypatch.setenv("KUBECONFIG", str(configuration))
        try:
            yield fake
        finally:
            server.shutdown()
            thread.join()

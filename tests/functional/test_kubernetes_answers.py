"""What answers in place of the Kubernetes API, or as it never should: one error, no traceback."""

import http.server
import threading
from collections.abc import Generator
from pathlib import Path

import pytest

from ckf_airgap.errors import ClusterError
from ckf_airgap.kubernetes.cluster import (
    describe,
    knative_namespaces,
    profile_namespaces,
    running_images,
)

_JSON = "application/json"
_FORBIDDEN = (
    b'{"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403, "message": '
    b'"pods is forbidden: User \\"x\\" cannot list resource \\"pods\\" in API group \\"\\""}'
)


class Server(http.server.ThreadingHTTPServer):
    """Gives one answer to everything."""

    status = 200
    content_type = _JSON
    body = b""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        self.send_response(self.server.status)
        if self.server.content_type:
            self.send_header("Content-Type", self.server.content_type)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *_: object) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Server]:
    with Server(("127.0.0.1", 0), _Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        address = f"http://127.0.0.1:{running.server_address[1]}"
        configuration = tmp_path / "kubeconfig"
        configuration.write_text(
            f"{{apiVersion: v1, kind: Config, current-context: c, "
            f"clusters: [{{name: c, cluster: {{server: '{address}'}}}}], "
            f"users: [{{name: u, user: {{token: t}}}}], "
            f"contexts: [{{name: c, context: {{cluster: c, user: u}}}}]}}"
        )
        monkeypatch.setenv("KUBECONFIG", str(configuration))
        # A proxy that does not answer, and no exception: this API is never asked through one.
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:1")
            monkeypatch.delenv(name.lower(), raising=False)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        try:
            yield running
        finally:
            running.shutdown()
            thread.join()


def every_question_fails(match: str) -> None:
    for ask in (describe, profile_namespaces, knative_namespaces, lambda: running_images(["ns"])):
        with pytest.raises(ClusterError, match=match):
            ask()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>sign in</html>",
        b"null",
        b"7",
        b"[]",
        b'{"items": 5}',
        b'{"items": [null]}',
        b'{"items": [{"metadata": 5}]}',
        b'{"items": ' + b"[" * 200_000,
        b'{"items": ' + b'{"a":' * 200_000,
        b"\xff\xfe",
        b'{"items": [], "items": "' + b"x" * 5_000_000,
    ],
    ids=lambda body: body[:24].decode(errors="replace"),
)
def test_an_answer_that_is_not_one_of_kubernetes(server: Server, body: bytes) -> None:
    server.body = body
    every_question_fails("did not answer as the Kubernetes API does.*no proxy answers instead")


@pytest.mark.parametrize("content_type", [_JSON, "text/html", ""])
@pytest.mark.parametrize("body", [b"", b"denied", b"{}", b"[" * 100_000])
@pytest.mark.parametrize(
    ("status", "cure"),
    [(403, "juju trust"), (401, "account and its token"), (502, "")],
)
def test_a_refusal_of_any_shape(
    server: Server, status: int, cure: str, body: bytes, content_type: str
) -> None:
    server.status, server.body, server.content_type = status, body, content_type
    every_question_fails(rf"refused to .*{status}.*{cure}")


def test_a_refusal_names_the_permission_that_is_lacking(server: Server) -> None:
    server.status, server.body = 403, _FORBIDDEN
    every_question_fails(r'cannot list resource "pods" in API group .*juju trust')


@pytest.mark.parametrize("content_type", [_JSON, "text/plain", ""])
def test_a_kind_that_the_cluster_does_not_know(server: Server, content_type: str) -> None:
    server.status, server.body, server.content_type = 404, b"404 page not found", content_type
    assert knative_namespaces() == []


def test_nothing_in_the_cluster(server: Server) -> None:
    server.body = b'{"items": [], "metadata": {}}'
    assert describe().nodes == ()
    assert running_images(["ns"]) == []

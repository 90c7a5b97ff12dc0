"""A server of tokens, and a registry that trusts it."""

import base64
import json
import time
import uuid
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from ckf_airgap.accounts.credentials import Credentials
from testbed.pki import Authority, KeyPair
from testbed.registry import Registry
from tests.functional.servers import QuietHandler, serve

ACCOUNT = Credentials("pusher", "the-secret-word")
_SERVICE = "testbed"
_ISSUER = "tokens of the testbed"


@dataclass
class TokenServer:
    """What a server of tokens does and has done.

    Attributes:
        credentials: The account; anybody else gets only what ``anonymous`` says.
        anonymous: The actions that a token without an account is good for; None for no token.
        actions: The actions that a token of the account is good for, at the most.
        seconds: How long a token lasts.
        failures: Statuses to answer with first, one for each request.
        body: What to answer in place of a token.
        scopes: What was asked for.
    """

    credentials: Credentials
    anonymous: frozenset[str] | None = None
    actions: frozenset[str] = frozenset({"pull", "push"})
    seconds: float = 300
    failures: list[int] = field(default_factory=list[int])
    body: bytes | None = None
    scopes: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])

    def answer(self, path: str, headers: Mapping[str, str], key: KeyPair) -> tuple[int, bytes]:
        if self.failures:
            return self.failures.pop(0), b""
        pair = f"{self.credentials.username}:{self.credentials.password}".encode()
        authorization = headers.get("Authorization")
        if authorization and authorization != f"Basic {base64.b64encode(pair).decode()}":
            return 401, b""
        allowed = self.actions if authorization else self.anonymous
        if allowed is None:
            return 401, b""
        if self.body is not None:
            return 200, self.body
        scopes = parse_qs(urlsplit(path).query).get("scope", [])
        self.scopes.append(tuple(scopes))
        access = [_access(scope, allowed) for scope in scopes]
        document = {"token": _token(access, self.seconds, key), "expires_in": int(self.seconds)}
        return 200, json.dumps(document).encode()


@dataclass(frozen=True)
class TokenRegistry(Registry):
    """A registry that takes tokens.

    Attributes:
        realm: The address of the server of tokens.
        trusted: The certificate of its key.
    """

    realm: str = ""
    trusted: Path = Path()

    def _configuration(self) -> dict[str, object]:
        token = {
            "realm": self.realm,
            "service": _SERVICE,
            "issuer": _ISSUER,
            "rootcertbundle": str(self.trusted),
        }
        return {**super()._configuration(), "auth": {"token": token}}


@contextmanager
def token_registry(
    authority: Authority, folder: Path, server: TokenServer, *, scheme: str = "https"
) -> Generator[TokenRegistry]:
    """Run a registry and its server of tokens."""
    key = authority.issue("token-key", "tokens.test")

    class Handler(QuietHandler):
        def do_GET(self) -> None:  # noqa: N802
            status, body = server.answer(self.path, dict(self.headers.items()), key)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with serve(Handler, authority) as host:
        registry = TokenRegistry.on_loopback(
            folder / "with-tokens",
            authority,
            realm=f"{scheme}://{host}/token",
            trusted=authority.certificate,
        )
        registry.start()
        try:
            yield registry
        finally:
            registry.stop()


def _access(scope: str, allowed: frozenset[str]) -> dict[str, Any]:
    kind, _, rest = scope.partition(":")
    name, _, actions = rest.rpartition(":")
    granted = [action for action in actions.split(",") if action in allowed]
    return {"type": kind, "name": name, "actions": granted}


def _token(access: list[dict[str, Any]], seconds: float, key: KeyPair) -> str:
    """Sign a token (distribution, "Token Authentication Implementation")."""
    certificate = x509.load_pem_x509_certificate(key.certificate.read_bytes())
    private = serialization.load_pem_private_key(key.key.read_bytes(), password=None)
    assert isinstance(private, rsa.RSAPrivateKey)
    chain = base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode()
    now = time.time()
    header = {"typ": "JWT", "alg": "RS256", "x5c": [chain]}
    claims = {
        "iss": _ISSUER,
        "sub": "",
        "aud": _SERVICE,
        "exp": int(now + seconds),
        "nbf": int(now) - 60,
        "iat": int(now),
        "jti": uuid.uuid4().hex,
        "access": access,
    }
    text = f"{_part(header)}.{_part(claims)}"
    signature = private.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{text}.{_base64(signature)}"


def _part(document: Mapping[str, object]) -> str:
    return _base64(json.dumps(document).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def tags(registry: TokenRegistry) -> set[str]:
    """List what is tagged in it, as repository and tag."""
    repositories = registry.data / "docker/registry/v2/repositories/ckf"
    return {
        f"{path.parents[2].relative_to(repositories)}:{path.name}"
        for path in repositories.glob("**/_manifests/tags/*")
    }

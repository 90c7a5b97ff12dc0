"""The registry's HTTP API (OCI Distribution Specification v1.1), as far as a push needs it."""

import hashlib
import json
import random
import ssl
import time
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError, MaxRetryError, NameResolutionError, SSLError

from ckf_airgap.credentials import Credentials
from ckf_airgap.errors import ConfigurationError, RegistryError

# Large enough that the round trips do not count, small enough to be sent again from memory.
CHUNK_SIZE = 8 * 1024 * 1024
_ATTEMPTS = 5
# A few threads send at a time.
_CONNECTIONS = 8
_LONGEST_PAUSE = 20.0
_TIMEOUT = urllib3.Timeout(connect=10, read=300)
_MANIFEST_TYPES = ", ".join(
    (
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
    )
)
_OCTETS = "application/octet-stream"


class UploadLostError(RegistryError):
    """The registry no longer knows an upload: the blob has to be sent again from its start."""


@dataclass(frozen=True)
class Blob:
    """A blob of a registry.

    Attributes:
        digest: ``sha256:`` and 64 hexadecimal digits, of the blob's bytes.
        size: Its size in bytes.
    """

    digest: str
    size: int


class RegistryClient:
    """One registry. Every method raises RegistryError where the registry fails or refuses.

    Transient failures (connection lost, 429, 5xx) are tried again, a few times and with a growing
    random pause; an upload then goes on where the registry says that it stopped.
    """

    def __init__(
        self, host: str, *, ca: str | None = None, credentials: Credentials | None = None
    ) -> None:
        """Prepare the connection; nothing is sent yet.

        Args:
            host: ``host[:port]``. HTTPS always.
            ca: PEM certificates of the authorities to trust beside those of the system.
            credentials: For basic authentication, or None.

        Raises:
            ConfigurationError: ``ca`` is not a PEM certificate.
        """
        self._host = host
        context = ssl.create_default_context()
        if ca:
            try:
                context.load_verify_locations(cadata=ca)
            except (ssl.SSLError, ValueError) as error:
                raise ConfigurationError(
                    f"registry-ca is not a PEM certificate ({error})",
                    "juju config ckf-airgap registry-ca=@ca.crt",
                ) from error
        self._pool = urllib3.PoolManager(
            maxsize=_CONNECTIONS, ssl_context=context, retries=False, timeout=_TIMEOUT
        )
        self._headers: dict[str, str] = {"User-Agent": "ckf-airgap"}
        if credentials:
            pair = f"{credentials.username}:{credentials.password}".encode()
            self._headers["Authorization"] = f"Basic {b64encode(pair).decode()}"

    def check(self) -> None:
        """See that the registry answers, speaks this API and accepts the credentials."""
        response = self._request("GET", "/v2/", expected=(200,))
        if response.headers.get("Content-Type", "").startswith("text/html"):
            problem, cure = _REFUSALS[404]
            raise RegistryError(f"registry {self._host} {problem}: it answers with a page", cure)

    def check_write(self, repository: str) -> None:
        """See that the account may push, by an upload that is given up at once.

        Args:
            repository: Where to.
        """
        location = self._open_upload(repository)
        self._request("DELETE", location, expected=(200, 202, 204, 404, 405))

    def allows_anonymous_pull(self, repository: str, tag: str) -> bool:
        """Tell whether an image can be looked up without credentials.

        Args:
            repository: The image's repository.
            tag: Its tag. The image need not be there.
        """
        response = self._request(
            "HEAD",
            f"/v2/{repository}/manifests/{tag}",
            expected=(200, 401, 403, 404),
            headers={"Accept": _MANIFEST_TYPES},
            anonymous=True,
        )
        return response.status in (200, 404)

    def manifest_digest(self, repository: str, tag: str) -> str | None:
        """Look up a tag.

        Returns:
            The digest of its manifest, or None where there is no such tag.
        """
        response = self._request(
            "HEAD",
            f"/v2/{repository}/manifests/{tag}",
            expected=(200, 404),
            headers={"Accept": _MANIFEST_TYPES},
        )
        return response.headers.get("Docker-Content-Digest") if response.status == 200 else None

    def has_blob(self, repository: str, digest: str) -> bool:
        """Tell whether a repository holds a blob."""
        path = f"/v2/{repository}/blobs/{digest}"
        return self._request("HEAD", path, expected=(200, 404)).status == 200

    def upload_blob(self, repository: str, chunks: Iterable[bytes]) -> Blob:
        """Upload a blob in chunks; its digest is worked out on the way.

        Args:
            repository: Where to.
            chunks: Its bytes.

        Returns:
            The blob, which the registry has confirmed to have that digest.

        Raises:
            UploadLostError: The upload broke off where it cannot go on.
        """
        location = self._open_upload(repository)
        digest = hashlib.sha256()
        size = 0
        for chunk in chunks:
            digest.update(chunk)
            try:
                location = self._upload_chunk(location, chunk, size)
            except UploadLostError:
                if size:
                    raise
                # All that was sent is still at hand.
                location = self._upload_chunk(self._open_upload(repository), chunk, 0)
            size += len(chunk)
        blob = Blob(f"sha256:{digest.hexdigest()}", size)
        separator = "&" if "?" in location else "?"
        response = self._request(
            "PUT", f"{location}{separator}digest={blob.digest}", expected=(201, 404)
        )
        # 404: unknown by now, which it also is where the answer to a first PUT was lost.
        if response.status == 404 and not self.has_blob(repository, blob.digest):
            raise self._lost(response)
        return blob

    def copy_blob(self, blob: Blob, source: str, target: str) -> None:
        """Bring a blob of one repository into another, through this machine only if need be.

        Args:
            blob: The blob.
            source: The repository that holds it.
            target: The repository that is to hold it.
        """
        if source == target:
            return
        mount = f"/v2/{target}/blobs/uploads/?mount={blob.digest}&from={source}"
        response = self._request("POST", mount, expected=(201, 202))
        if response.status == 201:
            return
        # 202: the registry does not mount across repositories and opened an upload instead.
        self._request("DELETE", self._location(response), expected=(200, 202, 204, 404, 405))
        copied = self.upload_blob(target, self._download(source, blob))
        if copied != blob:
            raise RegistryError(
                f"registry {self._host} returned other bytes for {blob.digest} of {source}",
                "check the registry's storage, then run the action again",
            )

    def put_manifest(self, repository: str, tag: str, manifest: Mapping[str, Any]) -> str:
        """Publish a manifest under a tag.

        Args:
            repository: Where to.
            tag: The tag.
            manifest: The manifest; its ``mediaType`` says of what kind it is.

        Returns:
            The digest of the manifest.
        """
        body = encode_manifest(manifest)
        self._request(
            "PUT",
            f"/v2/{repository}/manifests/{tag}",
            expected=(201,),
            headers={"Content-Type": str(manifest["mediaType"])},
            body=body,
        )
        return f"sha256:{hashlib.sha256(body).hexdigest()}"

    def _download(self, repository: str, blob: Blob) -> Iterator[bytes]:
        path = f"/v2/{repository}/blobs/{blob.digest}"
        response = self._request("GET", path, expected=(200,), stream=True)
        try:
            yield from response.stream(CHUNK_SIZE)
        except HTTPError as error:
            raise self._unreachable(error) from error
        finally:
            response.release_conn()

    def _open_upload(self, repository: str) -> str:
        upload = self._request("POST", f"/v2/{repository}/blobs/uploads/", expected=(202,))
        return self._location(upload)

    def _upload_chunk(self, location: str, chunk: bytes, offset: int) -> str:
        """Send one chunk, going on where the registry stopped if the connection breaks."""
        sent = 0
        for attempt in range(_ATTEMPTS):
            try:
                response = self._send(
                    "PATCH",
                    location,
                    headers={
                        "Content-Type": _OCTETS,
                        "Content-Range": f"{offset + sent}-{offset + len(chunk) - 1}",
                    },
                    body=chunk[sent:],
                )
            except HTTPError as error:
                if attempt == _ATTEMPTS - 1:
                    raise self._unreachable(error) from error
            else:
                if response.status == 202:
                    return self._location(response)
                if response.status == 404 and _is_unknown_upload(response.data):
                    raise self._lost(response)
                if not _is_transient(response.status) or attempt == _ATTEMPTS - 1:
                    raise self._refused("PATCH", response)
            _pause(attempt)
            state = self._request("GET", location, expected=(204, 202, 200, 404))
            if state.status == 404:
                # docker-registry gives an upload up where a chunk arrived in part, or its answer
                # was lost: the offset in its location is then not that of its file.
                raise self._lost(state)
            location = self._location(state)
            sent = max(0, min(_received(state) - offset, len(chunk)))
            if sent == len(chunk):
                return location
        raise AssertionError

    def _request(
        self,
        method: str,
        path: str,
        *,
        expected: tuple[int, ...],
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        stream: bool = False,
        anonymous: bool = False,
    ) -> urllib3.BaseHTTPResponse:
        """Send one request, again after transient failures, until an expected answer comes."""
        for attempt in range(_ATTEMPTS):
            try:
                response = self._send(
                    method, path, headers=headers, body=body, stream=stream, anonymous=anonymous
                )
            except HTTPError as error:
                if attempt == _ATTEMPTS - 1 or _is_final(error):
                    raise self._unreachable(error) from error
            else:
                if response.status in expected:
                    return response
                if not _is_transient(response.status) or attempt == _ATTEMPTS - 1:
                    raise self._refused(method, response)
            _pause(attempt)
        raise AssertionError

    def _send(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        stream: bool = False,
        anonymous: bool = False,
    ) -> urllib3.BaseHTTPResponse:
        url = urlsplit(urljoin(f"https://{self._host}", path))
        own = url.netloc == self._host
        if own:
            # A proxy that ends TLS in front of the registry makes it name itself with http.
            url = url._replace(scheme="https")
        return self._pool.request(
            method,
            url.geturl(),
            # Storage that the registry refers to elsewhere is not shown the credentials.
            headers={**(self._headers if own and not anonymous else {}), **(headers or {})},
            body=body,
            preload_content=not stream,
            redirect=False,
        )

    def _location(self, response: urllib3.BaseHTTPResponse) -> str:
        location = response.headers.get("Location")
        if not location:
            raise RegistryError(
                f"registry {self._host} opened an upload without saying where",
                "check that the address is that of a registry (API v2), not of its web page",
            )
        return urljoin(f"https://{self._host}", location)

    def _unreachable(self, error: HTTPError) -> RegistryError:
        reason: object = error.reason if isinstance(error, MaxRetryError) else error
        if _is_untrusted(reason):
            return RegistryError(
                f"registry {self._host} has a certificate that is not trusted ({reason})",
                "give its authority's certificate: juju config ckf-airgap registry-ca=@ca.crt",
            )
        if _is_final(error) and isinstance(reason, SSLError):
            return RegistryError(
                f"registry {self._host} does not speak TLS as expected ({reason})",
                "give the port at which it serves HTTPS: juju config ckf-airgap registry=...",
            )
        if isinstance(reason, NameResolutionError):
            return RegistryError(
                f"registry {self._host} has a name that cannot be resolved",
                "correct it (juju config ckf-airgap registry=...) or add it to the cluster's DNS",
            )
        return RegistryError(
            f"registry {self._host} cannot be reached ({reason})",
            "see that it runs and that the cluster can reach it, then run the action again",
        )

    def _lost(self, response: urllib3.BaseHTTPResponse) -> UploadLostError:
        return UploadLostError(
            f"registry {self._host} gave up an upload that was interrupted"
            f"{_error_detail(response.data)}",
            "see that the connection to it is reliable, then run the action again: it continues",
        )

    def _refused(self, method: str, response: urllib3.BaseHTTPResponse) -> RegistryError:
        detail = _error_detail(response.data) if not response.closed or response.data else ""
        known = _REFUSALS.get(response.status)
        if known:
            problem, cure = known
            return RegistryError(f"registry {self._host} {problem}{detail}", cure)
        return RegistryError(
            f"registry {self._host} answered {response.status} to {method}{detail}",
            "look into the registry's log, then run the action again",
        )


_CREDENTIALS_CURE = (
    "give an account that may push: juju add-secret, grant-secret, "
    "juju config ckf-airgap registry-credentials=secret:..."
)
_REFUSALS = {
    401: ("refused the credentials, or wants some", _CREDENTIALS_CURE),
    403: ("forbids this account to push there", _CREDENTIALS_CURE),
    404: (
        "has no such repository or is not a registry (API v2)",
        "check the host and the path of the option registry; some registries need the project "
        "in the path to be made first",
    ),
    413: ("takes no upload of this size", "raise its limit or quota, then run the action again"),
    429: ("limits the rate of requests", "wait, then run the action again: it continues"),
    507: ("has no space left", "make space in its storage, then run the action again"),
}


def encode_manifest(manifest: Mapping[str, Any]) -> bytes:
    """Write a manifest as the bytes that its digest is made from."""
    return json.dumps(manifest, indent=2).encode()


def _is_transient(status: int) -> bool:
    return status == 429 or (status >= 500 and status != 507)


def _is_final(error: HTTPError) -> bool:
    """Tell the connection failures that no waiting mends."""
    reason: object = error.reason if isinstance(error, MaxRetryError) else error
    if isinstance(reason, SSLError):
        # The other side hung up, as a proxy does while the registry behind it restarts.
        return not any(isinstance(cause, ssl.SSLEOFError) for cause in reason.args)
    return isinstance(reason, NameResolutionError)


def _is_untrusted(reason: object) -> bool:
    return isinstance(reason, SSLError) and any(
        isinstance(cause, ssl.SSLCertVerificationError) for cause in reason.args
    )


def _pause(attempt: int) -> None:
    # Random, so that clients which failed together do not come back together.
    time.sleep(random.uniform(0.5, 1) * min(2.0**attempt, _LONGEST_PAUSE))


def _received(response: urllib3.BaseHTTPResponse) -> int:
    """Read from ``Range: 0-N`` how many bytes of an upload have arrived."""
    _, _, last = response.headers.get("Range", "").partition("-")
    # Registries write 0-0 for an upload that holds nothing yet.
    return int(last) + 1 if last.isdigit() and last != "0" else 0


def _is_unknown_upload(body: bytes) -> bool:
    """Tell an upload that the registry gave up from a repository that it does not have."""
    return b"BLOB_UPLOAD_" in body


def _error_detail(body: bytes) -> str:
    """Read the registry's own words from its answer ("Error Codes" of the specification)."""
    try:
        first = cast(dict[str, Any], json.loads(body)["errors"][0])
        text = f"{first.get('code', '')} {first.get('message', '')} {first.get('detail') or ''}"
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        return ""
    return f" ({' '.join(text.split())[:300]})"

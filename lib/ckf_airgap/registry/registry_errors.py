"""Error messages for refusals and failures of a registry."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from ckf_airgap.errors import OWN_APPLICATION, RegistryError, printable
from ckf_airgap.network import https
from ckf_airgap.network.proxies import NO_PROXY_CURE
from ckf_airgap.registry.authentication import (
    CREDENTIALS_CURE,
    READING_CURE,
    CredentialsError,
)

# How registries report a full disk: in words, or (Distribution) as errno 28 or 122.
_FULL_DISK = re.compile(rb'no space left|disk quota exceeded|"err":\s*(?:28|122)\b')
_LONGEST_MESSAGE = 300
_LARGEST_ERROR_BODY = 64 * 1024
_IMMUTABLE = re.compile(r"immutable|overwrit|already exists|cannot be (?:changed|updated)", re.I)


class RefusedError(RegistryError):
    """The registry refuses something in one repository; other repositories may work."""


class UnreadableError(RegistryError):
    """A response about one repository is damaged or too large; other repositories may work."""


class TagTakenError(RefusedError):
    """A tag points to another image, and the registry does not allow moving it."""


class MissingBlobError(RegistryError):
    """The registry lacks a blob that it had confirmed."""


class NoSpaceError(RegistryError):
    """The registry is out of space."""


class DeletionDisabledError(RegistryError):
    """The registry does not delete manifests at all."""


@dataclass(frozen=True)
class Request:
    """The request that was refused.

    Attributes:
        host: The registry.
        method: The method of the request.
        repository: The repository of the request; empty if it has none.
        tag: The tag or the digest of a manifest, or empty.
        present: The digest that the tag points to now; empty if unknown or if there is none.
        elsewhere: The address that answered, if it is not the registry; otherwise empty.
        is_listing: Whether the request lists the tags of the repository.
    """

    host: str
    method: str
    repository: str
    tag: str
    present: str
    elsewhere: str
    is_listing: bool = False

    @property
    def place(self) -> str:
        """The repository, and the tag or digest if there is one."""
        separator = "@" if ":" in self.tag else ":"
        return f"{self.repository}{separator}{self.tag}" if self.tag else self.repository

    @property
    def is_reading(self) -> bool:
        """Whether the request reads a manifest or a list of tags."""
        return self.method in ("GET", "HEAD") and (bool(self.tag) or self.is_listing)

    @property
    def is_deletion(self) -> bool:
        """Whether the request deletes a manifest or a tag."""
        return self.method == "DELETE" and bool(self.tag)


def refusal(request: Request, status: int, body: bytes, words: str) -> RegistryError:
    """Return the error for an unexpected response.

    Args:
        request: The request.
        status: The status of the response.
        body: The body of the response.
        words: The registry's own message, with a leading space and in parentheses; empty if there
            is none, or if it must not be shown.

    Returns:
        The error; RefusedError if it concerns only the repository of the request.
    """
    registry = f"registry {request.host}"
    if request.elsewhere:
        return RegistryError(
            f"{registry} refers to {request.elsewhere}, which answered {status} to "
            f"{request.method}",
            "look into the log of that storage, then run it again",
        )
    if known := _full(status, body, f"{request.host}/{request.place}"):
        return NoSpaceError(f"{registry} {known[0]}{words}", known[1])
    # OCI Distribution Specification, "Error Codes"; also MANIFEST_BLOB_UNKNOWN.
    if b"BLOB_UNKNOWN" in body and request.method == "PUT":
        return MissingBlobError(f"{registry} {_LOST_BLOB[0]}{words}", _LOST_BLOB[1])
    if not request.repository:
        problem, cure = _REGISTRY_PROBLEMS.get(
            status, (f"answered {status} to {request.method}", _LOG)
        )
        kind = CredentialsError if status == 401 else RegistryError
        return kind(f"{registry} {problem}{words}", cure)
    if request.tag and request.method == "PUT" and _is_taken(request, status, words):
        present = f", which points to {request.present}" if request.present else ""
        return TagTakenError(
            f"{registry} does not let the tag {request.place} be changed{present}: it is "
            f"immutable{words}",
            _TAG_CURE,
        )
    if request.is_deletion and (status in (405, 501) or b"UNSUPPORTED" in body):
        return DeletionDisabledError(f"{registry} {_NO_DELETION[0]}{words}", _NO_DELETION[1])
    known = _problems(request).get(status)
    if known is None:
        problem = f"answered {status} to {request.method} for {request.place}"
        kind = RegistryError if status >= 500 else RefusedError
        return kind(f"{registry} {problem}{words}", _LOG)
    problem, cure = known
    kind = RegistryError if status == 429 else RefusedError
    names = {"place": request.place, "repository": request.repository}
    return kind(f"{registry} {problem.format_map(names)}{words}", cure)


def _problems(request: Request) -> Mapping[int, tuple[str, str]]:
    """Return the problem and the cure for each status."""
    if request.is_deletion:
        return _DELETION_PROBLEMS
    return {**_PUSH_PROBLEMS, **_READ_PROBLEMS} if request.is_reading else _PUSH_PROBLEMS


def wrong_content(host: str, repository: str, digest: str) -> UnreadableError:
    """Return the error for content that has a wrong digest, or exceeds the size limit for reading.

    Args:
        host: The registry.
        repository: The repository.
        digest: The expected digest, or the tag.
    """
    return UnreadableError(
        f"registry {host} returned wrong content for {digest} of {repository}",
        "check the registry's storage, then run it again",
    )


def failed(host: str, failure: https.Failure, elsewhere: str = "", way: str = "") -> RegistryError:
    """Return the error for a request without a response.

    Args:
        host: The registry.
        failure: The failure.
        elsewhere: The address of the request, if it is not the registry; otherwise empty.
        way: The proxy used, as text to append to the problem, with a leading space, from
            ``https.proxy_note``; empty without a proxy.
    """
    problem, cure = _FAILURE_PROBLEMS[failure.cause]
    if way:
        cure = NO_PROXY_CURE
    elif elsewhere and failure.cause not in https.CERTIFICATE_FAILURES:
        cure = ADDRESS_CURE
    place = f"{host} refers to {elsewhere}, which" if elsewhere else host
    return RegistryError(f"registry {place} {problem}{way} ({failure.detail})", cure)


def is_out_of_space(status: int, body: bytes, address: str) -> bool:
    """Return whether a refusal is caused by a lack of space.

    Args:
        status: The status of the response.
        body: The body of the response.
        address: The address of the request. Its names may be in the body, and mean nothing there.
    """
    return _full(status, body, address) is not None


def message_in(body: bytes) -> str:
    """Read the registry's error message from a response ("Error Codes" of the specification).

    Args:
        body: The body of the response, of any content.

    Returns:
        One line of at most ``_LONGEST_MESSAGE`` characters; empty if there is no message.
    """
    if len(body) > _LARGEST_ERROR_BODY:
        return ""
    try:
        first = cast(dict[str, Any], json.loads(body)["errors"][0])
        parts = [first.get("code", ""), first.get("message", ""), first.get("detail") or ""]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        return ""
    text = " ".join(str(part) for part in parts)
    return printable(" ".join(text.split()))[:_LONGEST_MESSAGE]


def _full(status: int, body: bytes, address: str) -> tuple[str, str] | None:
    """Return the problem and the cure if a disk is full or a quota used up, otherwise None."""
    if status < 400 or status in _NOT_FOR_SPACE:
        return None
    start = body[:_LARGEST_ERROR_BODY].lower()
    if _FULL_DISK.search(start):
        return _NO_SPACE
    for name in re.split(r"[/:@?&=]+", address.lower()):
        if "quota" in name:
            start = re.sub(rb"(?<![\w-])%b(?![\w-])" % re.escape(name.encode()), b"", start)
    if b"quota" in start:
        return _NO_QUOTA
    return _NO_SPACE if status == 507 else None


def _is_taken(request: Request, status: int, words: str) -> bool:
    """Return whether a tag is immutable: Harbor answers 412, Artifactory 409 or 403, ECR 400."""
    if status in (409, 412) or (status == 403 and request.present):
        return True
    return status in (400, 403) and bool(_IMMUTABLE.search(words))


ADDRESS_CURE = (
    "configure the registry, or the proxy in front of it, to return addresses with the host name "
    "and the port that clients use (the headers Host and X-Forwarded-Proto, or relative addresses)"
)
"""The cure for an address in a response that clients cannot use."""
# With these statuses, "quota" in the message is about something else: a quota of requests, or a
# name.
_NOT_FOR_SPACE = (401, 404, 429)
_LOG = "look into the registry's log, then run it again"
_TAG_CURE = (
    "push under another path (the option registry), delete the tag, or make the tag mutable in "
    "the registry"
)
_LOCKED_CURE = (
    "check in the registry whether the project or the repository is locked, archived or being "
    "cleaned up, then run it again"
)
_NO_SPACE = ("has no space left", "make space in its storage, then run it again")
_NO_QUOTA = (
    "refuses more for this project or account: its quota is used up",
    "raise the quota or delete what is not needed, then run it again: it continues",
)
_LOST_BLOB = (
    "has lost a blob that it had confirmed",
    "check the registry's disk, which may be full, and its log; then run it again: it continues",
)
_RATE = ("limits the rate of requests", "wait, then run it again: it continues")
_NOT_A_REGISTRY = (
    "is not a registry (API v2) at this address",
    "check the host and the path of the option registry",
)
_REGISTRY_PROBLEMS = {
    401: ("refused the credentials, or requires some", CREDENTIALS_CURE),
    403: ("forbids this account to use it", CREDENTIALS_CURE),
    404: _NOT_A_REGISTRY,
    429: _RATE,
}
_PUSH_PROBLEMS = {
    401: (
        "refused the credentials, or requires some: for pushing to {place}",
        CREDENTIALS_CURE,
    ),
    403: ("forbids this account to push to {place}", CREDENTIALS_CURE),
    404: (
        "has no repository {repository}, or is not a registry (API v2)",
        "check the host and the path of the option registry; some registries need the project, "
        "or each repository, to be made first",
    ),
    405: (
        "does not accept pushes, for example to {place}: it is read-only, or a cache of another "
        "registry",
        "switch its read-only mode off, or give a registry that accepts pushes",
    ),
    409: ("does not let {place} be changed", _LOCKED_CURE),
    412: ("does not let {place} be changed", _LOCKED_CURE),
    413: (
        "takes no upload of this size to {place}",
        "raise the limit of the registry, or of the proxy in front of it, then run it again",
    ),
    415: ("does not accept the media type of {place}", _LOG),
    429: (f"{_RATE[0]}, for example to {{place}}", _RATE[1]),
}
_READ_PROBLEMS = {
    401: ("refused the credentials, or requires some: for reading {place}", READING_CURE),
    403: ("forbids this account to read {place}", READING_CURE),
    405: ("does not let {place} be read", _LOG),
}
_NO_DELETION = (
    "does not delete anything",
    "allow deletion in the registry, and switch its read-only mode off (Distribution: start it "
    "with REGISTRY_STORAGE_DELETE_ENABLED=true), then run it again; the registry's garbage "
    "collection frees the space afterwards",
)
_DELETING_CURE = "give an account that may delete, then run it again"
_DELETION_PROBLEMS = {
    401: ("refused the credentials, or requires some: for deleting {place}", _DELETING_CURE),
    403: ("forbids this account to delete {place}", _DELETING_CURE),
    409: ("does not let {place} be deleted", _LOCKED_CURE),
    412: (
        "does not let {place} be deleted: it is immutable",
        "make the tag mutable in the registry, then run it again",
    ),
    429: (f"{_RATE[0]}, for example to {{place}}", _RATE[1]),
}
_FAILURE_PROBLEMS = {
    **https.CERTIFICATE_FAILURES,
    https.Cause.NO_TLS: (
        "does not speak TLS as expected",
        "give the port at which it serves HTTPS (plain HTTP does not work): juju config "
        f"{OWN_APPLICATION} registry=...; on a workstation --registry",
    ),
    https.Cause.UNKNOWN_NAME: (
        "has a name that cannot be resolved",
        f"correct the name (juju config {OWN_APPLICATION} registry=...) or add it to the "
        "cluster's DNS",
    ),
    https.Cause.UNREACHABLE: (
        "cannot be reached",
        "check that it runs and that the cluster can reach it, then run it again",
    ),
    https.Cause.SLOW: (
        "does not answer in time",
        "check whether it is overloaded, or a proxy in front of it delays requests; then run it "
        "again: it continues",
    ),
}

"""The client of the Kubernetes API, and its errors."""

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from http.client import FORBIDDEN, UNAUTHORIZED
from typing import Any, TypeVar, cast

import httpx2  # what lightkube is built on
import lightkube
from lightkube.core.exceptions import ApiError, ConfigError

from ckf_airgap.errors import OWN_APPLICATION, AirgapError, ClusterError

Resource = TypeVar("Resource")

_WRONG_SERVER = (
    "check that its address is that of the API server, and that no proxy answers instead"
)


@contextmanager
def api_errors(task: str) -> Generator[None]:
    """Turn every failure of the client, including unreadable answers, into ClusterError.

    Args:
        task: What the API is asked to do: a verb phrase, as it follows "refused to".

    Raises:
        ClusterError: The Kubernetes API cannot be used.
    """
    try:
        yield
    except AirgapError:
        raise
    except Exception as error:
        # An answer may have any content. So the libraries may raise errors of their decoders or of
        # the standard library's, KeyError for a missing header, or RecursionError for deep JSON.
        raise _cluster_error(task, error) from error


def _cluster_error(task: str, error: Exception) -> ClusterError:
    refusal = _refusal(error)
    if refusal is not None:
        status = error_status(error)
        if status == FORBIDDEN:
            cure = f"juju trust {OWN_APPLICATION} --scope=cluster"
        elif status == UNAUTHORIZED:
            cure = "check that the account and its token are valid"
        elif isinstance(error, ApiError):
            cure = "try again"
        else:
            cure = _WRONG_SERVER
        return ClusterError(
            f"the Kubernetes API refused to {task} ({error_reason(refusal)})",
            cure,
        )
    detail = str(error) or type(error).__name__
    if isinstance(error, (ConfigError, httpx2.HTTPError, OSError)):
        return ClusterError(
            f"the Kubernetes API cannot be reached ({detail})", "check that the cluster is healthy"
        )
    return ClusterError(
        f"the server that was asked to {task} did not answer as the Kubernetes API does "
        f"({type(error).__name__}: {detail})",
        _WRONG_SERVER,
    )


def _refusal(error: BaseException) -> httpx2.HTTPStatusError | None:
    """Find the error response behind an exception: reading its body may have raised another."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, httpx2.HTTPStatusError):
        found = found.__context__
    return found


def error_status(error: BaseException) -> int | None:
    """Return the status code of an error response, whatever its body is; None without one."""
    refusal = _refusal(error)
    if refusal is None:
        return None
    # The library makes some of its errors without an answer.
    response = cast(httpx2.Response | None, refusal.response)
    if response is not None:
        return response.status_code
    return refusal.status.code if isinstance(refusal, ApiError) else None


def error_reason(refusal: httpx2.HTTPStatusError) -> str:
    """Return the message of a response: Kubernetes names the missing permission."""
    message = refusal.status.message if isinstance(refusal, ApiError) else None
    # The text of the exception itself would end with the address of a page on the internet.
    return message or f"{refusal.response.status_code} {refusal.response.reason_phrase}".strip()


def api_client() -> Any:
    """Return lightkube's client, whose own types are only partly known to the type checker."""
    # Never use a proxy for the charm's own cluster, whatever the model's settings are: the
    # library's HTTP client ignores networks in NO_PROXY, which Juju's other programs respect.
    return lightkube.Client(lightkube.KubeConfig.from_env(), trust_env=False)


def list_resources(kind: type[Resource], **selection: object) -> Iterable[Resource]:
    """List the resources of a kind; takes the arguments of lightkube's ``Client.list``."""
    return cast(Iterable[Resource], api_client().list(kind, **selection))

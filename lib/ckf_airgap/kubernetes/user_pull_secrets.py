"""Pull secrets in users' namespaces: pods need them if the registry requires credentials.

Each user namespace gets one secret, and the service accounts of its pods refer to it. A secret of
the same name that somebody else created is not changed, and a service account keeps its other pull
secrets.
"""

import base64
import json
from collections import defaultdict
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import CONFLICT, FORBIDDEN, NOT_FOUND, UNPROCESSABLE_ENTITY
from typing import Any, cast

from lightkube import ALL_NS
from lightkube.core.exceptions import ApiError
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Pod, Secret, ServiceAccount
from lightkube.types import PatchType

from ckf_airgap.accounts.credentials import Credentials
from ckf_airgap.images.reference import registry_host
from ckf_airgap.kubernetes.api import (
    api_client,
    api_errors,
    error_reason,
    error_status,
    list_resources,
)
from ckf_airgap.kubernetes.cluster import PULL_FAILURES, profile_namespaces

SECRET_NAME = "ckf-airgap-registry"  # noqa: S105
"""The name of the secret in each namespace."""
SERVICE_ACCOUNTS = ("default", "default-editor", "default-viewer")
"""The service accounts of users' pods. Kubernetes creates the first, Kubeflow's profile controller
the others (profile_controller.go).
"""
MANAGED_BY = {"app.kubernetes.io/managed-by": "ckf-airgap"}
"""The label of the objects that this charm creates."""

_SECRET_TYPE = "kubernetes.io/dockerconfigjson"  # noqa: S105
_SECRET_KEY = ".dockerconfigjson"  # noqa: S105
# Owners that replace a deleted pod. A Job or a workflow would count it as failed.
_REPLACING_KINDS = frozenset({"ReplicaSet", "StatefulSet", "DaemonSet"})
# Errors that concern one namespace only.
_NAMESPACE_ERRORS = (FORBIDDEN, CONFLICT, UNPROCESSABLE_ENTITY)
_ATTEMPTS = 3


@dataclass(frozen=True)
class PullSecretChanges:
    """The result of adding or removing pull secrets.

    Attributes:
        namespaces: The number of users' namespaces.
        changes: A line for each change.
        problems: A line for each namespace where a change failed, with the fix.
        postponed: The number of namespaces left for the next call.
    """

    namespaces: int
    changes: tuple[str, ...]
    problems: tuple[str, ...] = ()
    postponed: int = 0


class _NamespaceError(Exception):
    """A change failed in one namespace."""


def give_pull_secrets(
    host: str, account: Credentials, *, most_namespaces: int | None = None
) -> PullSecretChanges:
    """Add a pull secret for the registry to users' namespaces. Idempotent.

    Reading the state takes four list requests, whatever the number of namespaces.

    Args:
        host: Host and port of the registry.
        account: The account for pulls. Users can read it.
        most_namespaces: The maximum number of namespaces to change; None for all.

    Returns:
        What was changed.

    Raises:
        ClusterError: The Kubernetes API cannot be used.
    """
    content = _content(host, account)
    changes: list[str] = []
    problems: list[str] = []
    changed = postponed = 0
    with api_errors("give users' namespaces a pull secret"):
        client = api_client()
        state = _State.read(profile_namespaces(), pods=True)
        for namespace in state.namespaces:
            pods = state.stuck_pods(namespace, host)
            needs_secret = state.secrets.get(namespace) != content
            accounts = state.accounts_without(namespace)
            if not (needs_secret or accounts or pods):
                continue
            if most_namespaces is not None and changed >= most_namespaces:
                postponed += 1
                continue
            changed += 1
            with _collect_errors(problems, namespace):
                if needs_secret:
                    _write_secret(client, namespace, content, namespace in state.secrets)
                    changes.append(f"{namespace}: secret {SECRET_NAME}")
                for name in accounts:
                    _edit_account(client, namespace, name, add=True)
                    changes.append(f"{namespace}: service account {name}")
                # A pod gets the pull secrets of its service account only when it is created: pods
                # without them would never start.
                for name in pods:
                    client.delete(Pod, name, namespace=namespace)
                    changes.append(f"{namespace}: pod {name}, which could not pull, deleted")
    return PullSecretChanges(len(state.namespaces), tuple(changes), tuple(problems), postponed)


def remove_pull_secrets() -> PullSecretChanges:
    """Remove the secrets that ``give_pull_secrets`` created, also from service accounts.

    Returns:
        What was changed.

    Raises:
        ClusterError: The Kubernetes API cannot be used.
    """
    changes: list[str] = []
    problems: list[str] = []
    with api_errors("remove the pull secrets of users' namespaces"):
        client = api_client()
        # Includes namespaces that no longer belong to a user but still have the secret.
        state = _State.read(())
        namespaces = sorted(state.secrets)
        for namespace in namespaces:
            with _collect_errors(problems, namespace):
                for name in state.accounts_with(namespace):
                    _edit_account(client, namespace, name, add=False)
                    changes.append(f"{namespace}: service account {name}")
                # Last: the secret marks the namespaces that still need cleaning up.
                client.delete(Secret, SECRET_NAME, namespace=namespace)
                changes.append(f"{namespace}: secret {SECRET_NAME}")
    return PullSecretChanges(len(namespaces), tuple(changes), tuple(problems))


def namespaces_without_pull_secret() -> list[str]:
    """List users' namespaces without the secret, or with a service account that does not name it.

    Raises:
        ClusterError: The Kubernetes API cannot be used.
    """
    with api_errors("look for the pull secrets of users' namespaces"):
        state = _State.read(profile_namespaces())
    return [
        namespace
        for namespace in state.namespaces
        if namespace not in state.secrets or state.accounts_without(namespace)
    ]


@dataclass(frozen=True)
class _State:
    """The objects in the cluster at one time.

    Attributes:
        namespaces: The users' namespaces.
        secrets: The content of this charm's secret, by namespace.
        accounts: The names of the pull secrets of service accounts, by namespace and account.
        pods: The pods that have not started yet, by namespace; empty unless they were read.
    """

    namespaces: tuple[str, ...]
    secrets: Mapping[str, str]
    accounts: Mapping[str, Mapping[str, Sequence[str]]]
    pods: Mapping[str, Sequence[Pod]]

    @classmethod
    def read(cls, namespaces: Iterable[str], *, pods: bool = False) -> "_State":
        secrets: dict[str, str] = {}
        accounts: defaultdict[str, dict[str, Sequence[str]]] = defaultdict(dict)
        pending: defaultdict[str, list[Pod]] = defaultdict(list)
        for secret in list_resources(Secret, namespace=ALL_NS, labels=MANAGED_BY):
            metadata = _metadata(secret)
            if metadata.name == SECRET_NAME:
                data = cast(dict[str, str], cast(Any, secret).data or {})
                secrets[metadata.namespace or ""] = data.get(_SECRET_KEY, "")
        for account in list_resources(ServiceAccount, namespace=ALL_NS):
            metadata = _metadata(account)
            if metadata.name in SERVICE_ACCOUNTS:
                accounts[metadata.namespace or ""][metadata.name] = _pull_secrets(account)
        if pods:
            not_started = {"status.phase": "Pending"}
            for pod in list_resources(Pod, namespace=ALL_NS, fields=not_started):
                pending[_metadata(pod).namespace or ""].append(pod)
        return cls(tuple(namespaces), secrets, accounts, pending)

    def accounts_without(self, namespace: str) -> list[str]:
        """List the service accounts that do not refer to the secret."""
        accounts = self.accounts.get(namespace, {})
        return [name for name, secrets in accounts.items() if SECRET_NAME not in secrets]

    def accounts_with(self, namespace: str) -> list[str]:
        """List the service accounts that refer to the secret."""
        accounts = self.accounts.get(namespace, {})
        return [name for name, secrets in accounts.items() if SECRET_NAME in secrets]

    def stuck_pods(self, namespace: str, host: str) -> list[str]:
        """List the pods that cannot start without the secret, and whose owner recreates them."""
        return [
            _metadata(pod).name or ""
            for pod in self.pods.get(namespace, ())
            if _would_get_secret(pod) and _waits_for_image(pod, host)
        ]


def _metadata(resource: Any) -> ObjectMeta:
    return resource.metadata or ObjectMeta()


def _pull_secrets(account: ServiceAccount) -> list[str]:
    return [secret.name for secret in account.imagePullSecrets or () if secret.name]


def _would_get_secret(pod: Pod) -> bool:
    """Return whether a pod has no pull secret, but its replacement would have one.

    A pod with its own ``imagePullSecrets`` does not get those of its service account (Kubernetes
    documentation, "Configure Service Accounts for Pods").
    """
    owners: list[Any] = _metadata(pod).ownerReferences or []
    return (
        pod.spec is not None
        and not pod.spec.imagePullSecrets
        and (pod.spec.serviceAccountName or "default") in SERVICE_ACCOUNTS
        and any(owner.controller and owner.kind in _REPLACING_KINDS for owner in owners)
    )


def _waits_for_image(pod: Pod, host: str) -> bool:
    """Return whether a pod cannot pull an image from the registry."""
    if pod.status is None:
        return False
    statuses = (*(pod.status.initContainerStatuses or ()), *(pod.status.containerStatuses or ()))
    return any(
        status.state is not None
        and status.state.waiting is not None
        and status.state.waiting.reason in PULL_FAILURES
        and registry_host(status.image) == host
        for status in statuses
    )


def _content(host: str, account: Credentials) -> str:
    """Encode an account as the data of a pull secret.

    Kubernetes documentation, "Pull an Image from a Private Registry".
    """
    auth = base64.b64encode(f"{account.username}:{account.password}".encode()).decode()
    entry = {"username": account.username, "password": account.password, "auth": auth}
    return base64.b64encode(json.dumps({"auths": {host: entry}}).encode()).decode()


def _write_secret(client: Any, namespace: str, content: str, is_there: bool) -> None:
    """Create the secret, or update its content.

    Raises:
        _NamespaceError: A secret of this name exists that the charm did not create.
        ApiError: Kubernetes refuses.
    """
    data = {_SECRET_KEY: content}
    if is_there:
        client.patch(
            *(Secret, SECRET_NAME, {"data": data}),
            namespace=namespace,
            patch_type=PatchType.MERGE,
        )
        return
    metadata = ObjectMeta(name=SECRET_NAME, namespace=namespace, labels=dict(MANAGED_BY))
    try:
        client.create(Secret(metadata=metadata, type=_SECRET_TYPE, data=data))
    except ApiError as error:
        if error_status(error) != CONFLICT:
            raise
        raise _NamespaceError(
            f"a secret {SECRET_NAME} exists that this charm did not create: delete it (kubectl "
            f"delete secret --namespace {namespace} {SECRET_NAME}), and run the action again"
        ) from error


def _edit_account(client: Any, namespace: str, name: str, *, add: bool) -> None:
    """Add the secret to a service account's pull secrets, or remove it; the others are kept.

    The list is atomic (core/v1, ``listType=atomic``), so it is replaced as a whole, and only if
    the account's ``resourceVersion`` is unchanged.

    Raises:
        _NamespaceError: The service account keeps changing.
        ApiError: Kubernetes refuses.
    """
    for _ in range(_ATTEMPTS):
        account: ServiceAccount = client.get(ServiceAccount, name, namespace=namespace)
        secrets = [secret for secret in _pull_secrets(account) if secret != SECRET_NAME]
        if add:
            secrets.append(SECRET_NAME)
        patch = {
            "metadata": {"resourceVersion": _metadata(account).resourceVersion},
            "imagePullSecrets": [{"name": secret} for secret in secrets],
        }
        try:
            client.patch(
                *(ServiceAccount, name, patch), namespace=namespace, patch_type=PatchType.MERGE
            )
        except ApiError as error:
            if error_status(error) != CONFLICT:
                raise
        else:
            return
    raise _NamespaceError(f"the service account {name} keeps changing: run the action again")


@contextmanager
def _collect_errors(problems: list[str], namespace: str) -> Generator[None]:
    """Collect errors that concern one namespace; raise all others.

    The status 404 is ignored: a namespace may be deleted at any time.
    """
    try:
        yield
    except _NamespaceError as error:
        problems.append(f"{namespace}: {error}")
    except ApiError as error:
        status = error_status(error)
        if status in _NAMESPACE_ERRORS:
            problems.append(
                f"{namespace}: Kubernetes refuses the change ({error_reason(error)}): fix that, "
                "and run the action again"
            )
        elif status != NOT_FOUND:
            raise

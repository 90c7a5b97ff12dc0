"""What was stored in a registry, by its access log."""

import re

from tests.functional.running_registry import RunningRegistry


def blobs_put(log: str) -> list[str]:
    """Find the digests of the blobs that were stored, as often as each was."""
    put = re.compile(r'"PUT \S+[?&]digest=(sha256:[0-9a-f]{64})\S* \S+" 201 ')
    return put.findall(log.replace("%3A", ":"))


def log_of(registry: RunningRegistry) -> str:
    """Read it: a line for each request, and what the registry says of itself."""
    return registry.process.processes.log(registry.process.data.name).read_text()


def manifests_put(log: str) -> list[str]:
    """Find the repositories that a manifest was sent to, below the prefix."""
    return re.findall(r'"PUT /v2/ckf/(\S+)/manifests/\S+ ', log)

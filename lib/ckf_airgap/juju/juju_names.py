"""The grammars of names in Juju, each matched in linear time.

A valid name cannot be read as a flag of a command, lead out of a directory or end a line. The
names of charms, applications, endpoints and storage follow Juju's own rules. For options and
resources Juju only requires a name that is not empty, so their rule is this project's.
"""

import re
from collections.abc import Callable

Grammar = Callable[[str], bool]
"""Returns whether a text is a name of one kind."""

# No rule of Juju limits a name; Charmhub's longest have some dozens of characters.
LONGEST_NAME = 128
"""The maximum length of a name, in characters."""

# In each of these the next character alone decides, so that matching never backtracks.
_WORD = r"[a-z][a-z0-9]*"
# github.com/juju/names, application.go (ApplicationSnippet), storage.go (StorageNameSnippet), and
# github.com/juju/charm, url.go: a letter in each part between hyphens.
_WORDS = re.compile(rf"{_WORD}(?:-[0-9]*{_WORD})*")
# github.com/juju/names, relation.go (RelationSnippet).
_ENDPOINT = re.compile(rf"{_WORD}(?:[_-][a-z0-9]+)*")
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")


def is_charm(name: str) -> bool:
    """Return whether a text can be the name of a charm, such as ``mysql-k8s``."""
    return _fits(_WORDS, name)


def is_application(name: str) -> bool:
    """Return whether a text can be the name of an application, such as ``katib-db``."""
    return _fits(_WORDS, name)


def is_storage(name: str) -> bool:
    """Return whether a text can be the name of a storage, such as ``minio-data``."""
    return _fits(_WORDS, name)


def is_endpoint(name: str) -> bool:
    """Return whether a text can be the name of an endpoint, such as ``object-storage``."""
    return _fits(_ENDPOINT, name)


def is_resource(name: str) -> bool:
    """Return whether a text can be the name of a resource, such as ``oci-image``."""
    return _fits(_KEY, name)


def is_option(name: str) -> bool:
    """Return whether a text can be the name of an option, such as ``istio.gateway.name``."""
    return _fits(_KEY, name)


def is_interface(name: str) -> bool:
    """Return whether a text can be the name of an interface, such as ``kubeflow_profiles``."""
    return _fits(_KEY, name)


def _fits(grammar: re.Pattern[str], name: str) -> bool:
    return len(name) <= LONGEST_NAME and grammar.fullmatch(name) is not None

"""The documents in a ``.charm`` file, read with limits, because the file may be hostile.

A ``.charm`` is a zip archive (APPNOTE.TXT of PKWARE); sizes in its central directory may be wrong.
"""

import io
import re
import zipfile
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from ckf_airgap.errors import ArtifactError
from ckf_airgap.files.regular_files import open_regular
from ckf_airgap.files.untrusted_yaml import Budget, DocumentError, load_json_strings, load_strings
from ckf_airgap.juju import juju_names

# metadata.yaml and similar files have some kilobytes; a larger file is damaged or an attack.
_LARGEST_DOCUMENT = 1024 * 1024
# The limit for all documents of a charm: the largest charms of a release have some 10 kB and
# 2,000 values.
_LARGEST_DOCUMENTS = 4 * _LARGEST_DOCUMENT
_MOST_VALUES = 50_000
# The directory of a zip has some 150 bytes for each file, and charms have up to 10,000 files.
# All other reads of a zip are smaller: headers and pieces of documents.
_MOST_AT_ONCE = 4 * 1024 * 1024
# The methods that charm tools use; decompressing others takes up to 4 GiB of memory.
_COMPRESSIONS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_LONGEST_REFERENCE = 1024
_CODE = "src/charm.py"
# The status that kubeflow-dashboard 1.8 to 1.11 sets in a model of another name. Its metadata does
# not state the required name.
_REQUIRED_MODEL = re.compile(
    rb"must be deployed to model named [`'\"]?(?P<model>[a-z0-9][a-z0-9-]{0,62})"
)
_DEFAULT_FILE = re.compile(r"src/default-(?P<option>[\w-]+)\.(?:json|ya?ml)")
_DOCUMENTS = frozenset({"metadata.yaml", "config.yaml", "manifest.yaml"})
CURE = "download the charm again (juju download) and make charms.tar.gz again"
"""The cure for an unreadable charm."""


class BoundedFile(io.FileIO):
    """A file with a limit for each read, because a zip may state a wrong size of its directory.

    Raises:
        OSError: It is not a regular file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(open_regular(path))

    def read(self, size: int | None = -1, /) -> bytes:
        """Read bytes; fewer only at the end of the file.

        Raises:
            zipfile.BadZipFile: More bytes are requested than any intact charm needs.
        """
        wanted = _MOST_AT_ONCE + 1 if size is None or size < 0 else size
        if wanted > _MOST_AT_ONCE and self._rest > _MOST_AT_ONCE:
            raise zipfile.BadZipFile("its directory is too large to be right")
        return super().read(wanted)

    @property
    def _rest(self) -> int:
        place = self.tell()
        end = self.seek(0, io.SEEK_END)
        self.seek(place)
        return end - place


class CharmDocuments:
    """The YAML and JSON files of a charm, all of which share one budget.

    Its methods raise ``ArtifactError`` for an invalid or oversized document, and the errors of a
    damaged zip archive (``ZIP_ERRORS``).

    Args:
        archive: The charm.
        label: Its name in messages.
        budget: The shared budget of all charms of an archive; None for a single charm.
    """

    def __init__(self, archive: zipfile.ZipFile, label: str, budget: Budget | None = None) -> None:
        self._archive = archive
        self._bytes_left = _LARGEST_DOCUMENTS
        self.budget = Budget(_MOST_VALUES, within=budget)
        self.label = label

    @property
    def size(self) -> int:
        """The size of all documents in bytes, as the zip's directory states it."""
        return sum(
            info.file_size
            for info in self._archive.infolist()
            if info.filename in _DOCUMENTS or _DEFAULT_FILE.fullmatch(info.filename)
        )

    @property
    def default_files(self) -> dict[str, str]:
        """The default image files: option name with dashes -> file name."""
        found = {name: _DEFAULT_FILE.fullmatch(name) for name in self._archive.namelist()}
        return {dashed(match["option"]): name for name, match in found.items() if match}

    @cached_property
    def code(self) -> bytes:
        """The charm's code, ``src/charm.py``; empty if there is none."""
        return self._content(_CODE) if _CODE in self._archive.NameToInfo else b""

    def code_with(self, texts: Iterable[str]) -> frozenset[str] | None:
        """Return which of the given texts are in the charm's code; None if it has no code."""
        return (
            frozenset(text for text in texts if text.encode() in self.code) if self.code else None
        )

    def required_model(self) -> str:
        """Return the model name that the charm's code requires, or an empty string."""
        match = _REQUIRED_MODEL.search(self.code)
        return str(match["model"], "ascii") if match else ""

    def mapping(self, name: str, *, required: bool = False) -> dict[str, Any]:
        """Read a file that is a map; return an empty map if it is missing or empty."""
        if name not in self._archive.NameToInfo:
            if required:
                raise ArtifactError(f"{self.label} has no {name}: it is not a charm", CURE)
            return {}
        try:
            document = load_strings(self._content(name), self.budget)
        except DocumentError as error:
            raise self._not_valid(name, "YAML", error) from error
        if document is None:
            return {}
        if not isinstance(document, dict):
            raise ArtifactError(f"{name} of {self.label} is not a map", CURE)
        return cast(dict[str, Any], document)

    def default_images(self, name: str) -> Any:
        """Read a file of default images as the charm's own code does."""
        is_json = name.endswith(".json")
        content = self._content(name)
        try:
            if is_json:
                return load_json_strings(content, self.budget)
            return load_strings(content, self.budget, last_wins=True)
        except DocumentError as error:
            raise self._not_valid(name, "JSON" if is_json else "YAML", error) from error

    def _not_valid(self, name: str, language: str, error: DocumentError) -> ArtifactError:
        return ArtifactError(f"{name} of {self.label} is not valid {language}{error}", CURE)

    def section(
        self, file: str, document: dict[str, Any], key: str, is_name: juju_names.Grammar
    ) -> dict[str, dict[str, Any]]:
        """Return the entries of a section that are maps, by name; refuse an invalid name."""
        section = document.get(key)
        if not isinstance(section, dict):
            return {}
        entries = cast(dict[str, Any], section).items()
        found: dict[str, dict[str, Any]] = {
            name: details for name, details in entries if isinstance(details, dict)
        }
        for name in found:
            self.require(is_name(name), file, f"has the name {name[:80]!r} in {key}")
        return found

    def image(self, file: str, name: str, reference: str) -> str:
        """Return an image reference, unparsed; refuse a text that is too long or not printable."""
        is_text = len(reference) <= _LONGEST_REFERENCE and reference.isprintable()
        self.require(is_text, file, f"gives {name} the image {reference[:80]!r}")
        return reference

    def require(self, is_right: bool, file: str, problem: str) -> None:
        """Refuse the charm if a condition does not hold."""
        if not is_right:
            raise ArtifactError(f"{file} of {self.label} {problem}", CURE)

    def _content(self, name: str) -> bytes:
        info = self._archive.getinfo(name)
        if info.compress_type not in _COMPRESSIONS:
            raise NotImplementedError(
                f"{name} is compressed with a method that charm tools do not use"
            )
        limit = min(_LARGEST_DOCUMENT, self._bytes_left)
        with self._archive.open(info) as file:
            # The size in the directory may be wrong.
            content = file.read(limit + 1)
        self.require(len(content) <= limit, name, "is too large to be right")
        self._bytes_left -= len(content)
        return content


def dashed(name: str) -> str:
    """Return the name of an option as it is in the names of default files."""
    return name.replace("_", "-")

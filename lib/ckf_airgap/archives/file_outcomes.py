"""The outcome of each file of an archive; none is skipped silently."""

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Generic

from ckf_airgap.archives.docker_manifest import LAYER_FILE, MANIFEST, RESAVE
from ckf_airgap.archives.file_content import NO_TAR_INSIDE, is_archive_name
from ckf_airgap.archives.image_sink import ImageSink, Layer, PassedOver, Role, Verdict
from ckf_airgap.archives.oci_layout import INDEX, MARKER, blob_digest
from ckf_airgap.archives.scope import FOLLOW_LINKS, File, FoundImage, Scope
from ckf_airgap.errors import ArtifactError

NO_IMAGES = "a tar archive without images"
# The metadata files of docker save and of OCI image layouts.
_METADATA_NAMES = frozenset(
    {MANIFEST, INDEX, MARKER, "repositories", "VERSION", "json", "version"}
)
_DESKTOP_FILE = re.compile(
    r"(?:.*/)?(?:\._.*|\.DS_Store|Thumbs\.db|desktop\.ini)|(?:.*/)?__MACOSX/.*"
)
_CHART = re.compile(r"[^/]+/Chart\.yaml")
_CHARM = ".charm"
# Names of archives that are not supported, and names without an extension.
_OTHER_ARCHIVE = re.compile(
    r"\.(?:zip|7z|rar|gz|zst|xz|bz2?|lz4|lzma)$|(?:^|/)[^.]+$", re.IGNORECASE
)
_CURE = "if it is an image, save it with docker save, and make the archive again"
_CURE_COMPRESSION = "decompress it, or compress it with gzip or zstd, and make the archive again"


class FileOutcomes(Generic[Layer]):
    """Decides the outcome of each file of one archive.

    Attributes:
        damaged: The number of damaged files that are not part of any image.
    """

    def __init__(
        self,
        scope: Scope[Layer],
        sink: ImageSink[Layer],
        found: Iterable[FoundImage[Layer]],
        *,
        has_images: bool,
    ) -> None:
        """Note which files the images use.

        Args:
            scope: The archive; all of its files have been read.
            sink: Receives the outcomes.
            found: The images that have not been passed to the sink yet.
            has_images: Whether the archive has any image.
        """
        self._scope = scope
        self._sink = sink
        self._claimed = {id(file) for each in found for file in (*each.layers, *each.documents)}
        self._has_images = has_images
        self.damaged = 0

    def misread(self, roles: Mapping[str, Role]) -> Iterator[str]:
        """Return the places of files that may be archives, but were not read as archives.

        Args:
            roles: The roles of files by their places, from earlier readings; these are certain.
        """
        for file in self._scope.files.values():
            is_free = file.verdict is None and id(file) not in self._claimed
            is_layer = file.role in (Role.LAYER, Role.NOTHING) and not blob_digest(file.path)
            is_certain = file.place in roles or posixpath.basename(file.path) == LAYER_FILE
            if is_free and is_layer and file.is_tar and not is_certain:
                yield file.place

    def settle(self) -> list[PassedOver]:
        """Report the outcome of each file to the sink; return the files that are skipped."""
        hints: list[PassedOver] = []
        for file in (*self._scope.replaced, *self._scope.files.values()):
            if file.verdict is None:
                hints += self._decide(file)
            self._sink.outcome(
                self._scope.at.named(file.path), file.verdict or Verdict.PASSED_OVER
            )
        for path in self._scope.links:
            if path not in self._scope.files:
                hints += self._settle_link(path)
        return hints

    def _decide(self, file: File[Layer]) -> list[PassedOver]:
        name = posixpath.basename(file.path)
        if self._has_images and not file.reason and name in _METADATA_NAMES:
            file.verdict = Verdict.IMAGE
            return []
        problem = self._damage(file)
        if problem:
            file.verdict = Verdict.DAMAGED
            error = ArtifactError(f"{self._scope.at.named(file.path)} {problem}", RESAVE)
            self._sink.damaged(self._scope.at.named(file.path), error)
            self.damaged += 1
            return []
        file.verdict = Verdict.PASSED_OVER
        reason, cure = self._reason(file)
        return self._pass_over(file.path, reason, cure)

    def _damage(self, file: File[Layer]) -> str:
        """Describe the damage of a file that should be an archive; empty if there is none."""
        if file.reason or _DESKTOP_FILE.fullmatch(file.path) or not is_archive_name(file.path):
            return ""
        if file.role is not Role.NOTHING or file.is_tar:
            return ""
        if not file.size and not file.what:
            return "is empty"
        if not file.is_plain:
            return f"is {file.what}"
        return "" if file.what else "is not a tar archive"

    def _reason(self, file: File[Layer]) -> tuple[str, str]:
        """Explain why a file is skipped, and what to do if it is an image."""
        if file.reason:
            return file.reason, ""
        if _DESKTOP_FILE.fullmatch(file.path):
            return "a file that desktops add", ""
        if file.path.endswith(_CHARM):
            return "a charm, which belongs in charms.tar.gz", ""
        if file.role in (Role.LAYER, Role.BLOB):
            return "no image of its archive uses it", ""
        if file.role is Role.DOCUMENT:
            return "a JSON document that no image uses", ""
        if file.is_tar:
            return file.what or NO_IMAGES, _CURE
        if file.what and (is_archive_name(file.path) or _OTHER_ARCHIVE.search(file.path)):
            if not file.is_plain:
                return file.what, "" if file.what.endswith(NO_TAR_INSIDE) else _CURE
            return f"{file.what}, not a tar archive", _CURE_COMPRESSION
        return file.what or "not an archive of images", ""

    def _settle_link(self, path: str) -> list[PassedOver]:
        scope = self._scope
        try:
            target = scope.resolve(path)
        except ArtifactError as error:
            target, reason, cure = "", error.problem, error.cure
        else:
            reason, cure = f"a link to {target}, which is not in the archive", FOLLOW_LINKS
        file = scope.files.get(target)
        if file:
            if file.verdict is Verdict.IMAGE and posixpath.basename(path) == LAYER_FILE:
                self._sink.outcome(scope.at.named(path), Verdict.IMAGE)
                return []
            reason, cure = f"a link to {target}, which is in the archive", ""
        elif self._has_images and scope.at.depth:
            cure = ""
        self._sink.outcome(scope.at.named(path), Verdict.PASSED_OVER)
        return self._pass_over(path, reason, cure)

    def _pass_over(self, path: str, reason: str, cure: str) -> list[PassedOver]:
        entry = PassedOver(self._scope.at.named(path), reason, cure)
        self._sink.passed_over(entry)
        return [entry]


def is_chart(scope: Scope[Layer]) -> bool:
    """Return whether an archive is a Helm chart."""
    return any(_CHART.fullmatch(path) for path in scope.files)

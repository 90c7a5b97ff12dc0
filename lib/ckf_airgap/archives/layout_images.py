"""The images of the OCI layouts in one archive, whose documents may come in any order."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ckf_airgap.archives.allowance import ArchiveLimitError
from ckf_airgap.archives.image_config import ImageConfig, read_config
from ckf_airgap.archives.oci_layout import (
    INDEX,
    REPACK,
    Descriptor,
    OciManifest,
    read_index,
    read_manifest,
)
from ckf_airgap.archives.parsed_once import ParsedOnce
from ckf_airgap.errors import ArtifactError, listed, without_traceback
from ckf_airgap.images.oci import sha256_of

# How deep nested indexes are read. An index in an index is common, deeper nesting is not.
_DEEPEST_INDEX = 4
# The limit for the layers of all manifests, counted at each reading of a manifest: 500 images of
# 100 layers have 50,000 layers, and each manifest is read three times.
_MOST_LAYERS = 1_000_000
_LINUX = "linux"


@dataclass(frozen=True)
class Candidate:
    """One of the manifests that an entry of an index may resolve to, with its config.

    Attributes:
        descriptor: Its descriptor in the index.
        manifest: The manifest.
        details: The config; None for an artifact.
    """

    descriptor: Descriptor
    manifest: OciManifest
    details: ImageConfig | None

    @property
    def platform(self) -> str:
        """Operating system and CPU architecture from the config, or else the index's platform."""
        if self.details and self.details.architecture:
            return self.details.platform
        return self.descriptor.platform


@dataclass(eq=False)
class LayoutEntry:
    """The image or artifact that the index of a layout lists under one name.

    Attributes:
        directory: The directory of the layout.
        descriptors: Its descriptors; several if the index itself lists several platforms.
        is_done: Whether the sink already has the image.
    """

    directory: str
    descriptors: list[Descriptor]
    is_done: bool = False

    @property
    def label(self) -> str:
        """Its name in messages."""
        return self.descriptors[0].label


@dataclass(eq=False)
class _Documents:
    """The documents of an archive, each parsed once."""

    contents: Mapping[str, bytes]
    manifests: ParsedOnce[OciManifest | list[Descriptor]] = field(
        default_factory=ParsedOnce[OciManifest | list[Descriptor]]
    )
    configs: ParsedOnce[ImageConfig] = field(default_factory=ParsedOnce[ImageConfig])
    layers: int = 0

    def read(self, descriptor: Descriptor) -> OciManifest | list[Descriptor] | None:
        """Return the manifest or index of a descriptor; None if the archive lacks it.

        Raises:
            ArchiveLimitError: All manifests together list too many layers.
            ArtifactError: The document is damaged.
        """
        content = self.contents.get(descriptor.digest)
        if content is None:
            return None

        def parse() -> OciManifest | list[Descriptor]:
            require_digest(content, descriptor.digest, f"the manifest of {descriptor.label}")
            return read_manifest(content, descriptor.label)

        found = self.manifests.get(descriptor.digest, parse)
        self.layers += len(found.layers) if isinstance(found, OciManifest) else len(found)
        if self.layers > _MOST_LAYERS:
            raise ArchiveLimitError(
                f"the images list more than {_MOST_LAYERS:,} layers together, which is too many",
                REPACK,
            )
        return found

    def config(self, digest: str, content: bytes, image: str) -> ImageConfig:
        """Read a config, once for all images that use it."""

        def parse() -> ImageConfig:
            require_digest(content, digest, f"the config of {image}")
            return read_config(content, image, REPACK)

        return self.configs.get(digest, parse)


def require_digest(content: bytes, digest: str, what: str) -> None:
    """Require that a document has the right digest.

    Raises:
        ArtifactError: It does not.
    """
    if sha256_of(content) != digest:
        raise ArtifactError(f"{what} is damaged: its digest is not {digest}", REPACK)


class LayoutImages:
    """The layouts of one archive, and which of their documents have been read.

    Attributes:
        entries: The entries of all indexes.
        counts: The number of entries by the directory of the layout.
    """

    def __init__(self, archive: str, documents: Mapping[str, bytes], architecture: str) -> None:
        """Start without a layout.

        Args:
            archive: The archive's name, for messages.
            documents: The documents read so far, by digest; the caller adds to this mapping.
            architecture: The CPU architecture to choose among several; empty for any.
        """
        self._archive = archive
        self._documents = _Documents(documents)
        self._architecture = architecture
        self._awaiting: dict[str, list[LayoutEntry]] = {}
        # False once an entry is an artifact, or may stand for several manifests.
        self._are_single_images = True
        self.entries: list[LayoutEntry] = []
        self.counts: Counter[str] = Counter()

    def add_index(self, content: bytes, directory: str) -> list[LayoutEntry] | None:
        """Add a layout.

        Returns:
            The entries of its index. None if the document is not an index: a subdirectory may have
            an unrelated file of this name.

        Raises:
            ArtifactError: The document is damaged, or at the root of the archive and not an index.
        """
        descriptors = read_index(content, f"{INDEX} in {self._archive}")
        if descriptors is None and directory:
            return None
        if descriptors is None:
            raise ArtifactError(
                f"{INDEX} in {self._archive} is damaged: it is not an index", REPACK
            )
        by_name: dict[str, LayoutEntry] = {}
        added: list[LayoutEntry] = []
        for descriptor in descriptors:
            earlier = by_name.get(descriptor.name) if descriptor.name else None
            if earlier and descriptor.platform and earlier.descriptors[0].platform:
                earlier.descriptors.append(descriptor)
                continue
            by_name[descriptor.name] = LayoutEntry(directory, [descriptor])
            added.append(by_name[descriptor.name])
        self.entries += added
        self.counts[directory] += len(added)
        return added

    def awaiting(self, digest: str) -> list[LayoutEntry]:
        """Return the entries that wait for a document, and stop waiting for it."""
        return self._awaiting.pop(digest, [])

    def known(self, entries: Sequence[LayoutEntry]) -> Iterator[tuple[LayoutEntry, Candidate]]:
        """Yield the entries whose manifest and config have been read.

        An entry that lacks one of them waits for it (``awaiting``). Artifacts, damaged entries and
        entries that may stand for several manifests are left out.

        Raises:
            ArchiveLimitError: All manifests together list too many layers.
        """
        for entry in entries:
            if len(entry.descriptors) > 1:
                self._are_single_images = False
                continue
            try:
                found = self._candidate(entry.descriptors[0])
            except ArtifactError:
                # ``choose`` reports it.
                continue
            if isinstance(found, Candidate) and found.details:
                yield entry, found
            elif isinstance(found, str) and found:
                self._awaiting.setdefault(found, []).append(entry)
            else:
                self._are_single_images = False

    @property
    def is_known(self) -> bool:
        """Whether an index was read, and each entry is one image whose documents were read."""
        return bool(self.entries) and self._are_single_images and not self._awaiting

    def choose(
        self, entry: LayoutEntry, lacks: Callable[[Candidate], str]
    ) -> tuple[Candidate, Sequence[Candidate]]:
        """Choose the manifest of an entry, at the end of the archive.

        Args:
            entry: The entry.
            lacks: Describes the missing blob of a manifest; empty if the manifest is complete.

        Returns:
            The chosen manifest, and the other complete ones.

        Raises:
            ArtifactError: No manifest is complete, or several are equally suitable.
        """
        problems: list[ArtifactError] = []
        present: dict[str, Candidate] = {}
        attestations: list[Candidate] = []
        for candidate in self._candidates(entry.descriptors, problems):
            lacking = lacks(candidate)
            if lacking:
                problems.append(ArtifactError(f"{entry.label} {lacking}", REPACK))
            elif candidate.descriptor.is_attestation:
                attestations.append(candidate)
            else:
                present.setdefault(candidate.manifest.digest, candidate)
        if not present:
            if problems:
                raise problems[0]
            if attestations and entry.descriptors[0].is_attestation:
                return attestations[0], attestations[1:]
            raise ArtifactError(
                f"{self._archive} lacks the manifest of {entry.label}, "
                f"{entry.descriptors[0].digest}",
                REPACK,
            )
        wanted = self._wanted(list(present.values()))
        if len(wanted) > 1:
            platforms = listed(sorted(candidate.platform for candidate in wanted))
            raise ArtifactError(
                f"{entry.label} is in {self._archive} {len(wanted)} times, for several CPU "
                f"architectures: {platforms}",
                "choose one with --architecture, or pack it for one (ckf-airgap pack "
                "--architecture, skopeo copy without --all)",
            )
        chosen = wanted[0]
        rest = (candidate for candidate in present.values() if candidate is not chosen)
        return chosen, [*attestations, *rest]

    def _wanted(self, present: list[Candidate]) -> list[Candidate]:
        """Prefer images, then Linux, then the architecture; ignore a criterion that none meets."""
        images = [item for item in present if item.details] or present
        linux = [item for item in images if item.platform.startswith(f"{_LINUX}/")] or images
        wanted = [item for item in linux if item.platform.split("/")[1:2] == [self._architecture]]
        return wanted or linux

    def _candidates(
        self, descriptors: Sequence[Descriptor], problems: list[ArtifactError], depth: int = 0
    ) -> Iterator[Candidate]:
        """Yield the candidates of descriptors, including those of nested indexes.

        Add an error to ``problems`` for each damaged document and each missing config.
        """
        for descriptor in descriptors:
            try:
                found = self._documents.read(descriptor)
                if isinstance(found, list):
                    if depth >= _DEEPEST_INDEX:
                        raise ArtifactError(
                            f"{descriptor.label} is an index nested {depth} levels deep, which is "
                            "too many",
                            REPACK,
                        )
                    inner = [_named(nested, descriptor) for nested in found]
                    yield from self._candidates(inner, problems, depth + 1)
                    continue
                candidate = self._candidate(descriptor)
            except ArtifactError as error:
                problems.append(without_traceback(error))
                continue
            if isinstance(candidate, Candidate):
                yield candidate
            elif found is not None:
                problems.append(
                    ArtifactError(
                        f"{self._archive} lacks the config of {descriptor.label}, {candidate}",
                        REPACK,
                    )
                )

    def _candidate(self, descriptor: Descriptor) -> Candidate | str:
        """Return the candidate of a descriptor, or the digest of a missing document.

        For an index, which has no single candidate, return an empty string.
        """
        manifest = self._documents.read(descriptor)
        if manifest is None:
            return descriptor.digest
        if isinstance(manifest, list):
            return ""
        digest = manifest.config.digest
        if manifest.artifact_type:
            return Candidate(descriptor, manifest, None)
        config = self._documents.contents.get(digest)
        if config is None:
            return digest
        details = self._documents.config(digest, config, descriptor.label)
        return Candidate(descriptor, manifest, details)


def _named(descriptor: Descriptor, parent: Descriptor) -> Descriptor:
    """Give an entry of an index the name of the index, if the index has one."""
    return replace(descriptor, name=parent.name or descriptor.name)

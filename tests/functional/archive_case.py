"""One archive through the command, as an operator gives it, and what the registry has then."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from ckf_airgap.commands.main import main
from tests.functional.running_registry import RunningRegistry
from tests.support.archive_forms import docker_save, old_docker_save
from tests.support.oci_forms import oci_layout
from tests.support.sample_images import Identity, NamedImage, sample_image
from tests.support.skopeo_reader import read_image, skopeo
from tests.support.tar_files import tar


def named(name: str, *words: str, architecture: str = "amd64") -> NamedImage:
    """Make an image and name it; it shares the layers of equal words with others."""
    return NamedImage(sample_image(*words, architecture=architecture), (name,))


def whole_name(name: str) -> str:
    """Add what docker leaves out of the names of its own hub."""
    return name if "." in name.partition("/")[0] else f"docker.io/{name}"


JUPYTER = named("docker.io/kubeflow/jupyter:1.8", "base", "jupyter")
KFAM = named("docker.io/kubeflow/kfam:2.0", "base", "kfam")
MINIO = named("quay.io/minio/minio:2023", "other", "minio")
SEVERAL = (JUPYTER, KFAM, MINIO)
JUPYTER_TAR = tar(old_docker_save([JUPYTER]))
KFAM_TAR = tar(docker_save([KFAM]))
MINIO_TAR = tar(oci_layout([MINIO]))
_NUMBERS = count()


@dataclass(frozen=True)
class Answer:
    """How a command ended.

    Attributes:
        status: Its exit status.
        document: What it printed, if that is YAML; otherwise nothing.
        output: What it printed.
        error: What it said on standard error.
    """

    status: int
    document: Mapping[str, Any]
    output: str
    error: str

    @property
    def said(self) -> str:
        """All of it, for a message of a test."""
        return f"exit {self.status}\n{self.output}{self.error}"

    def texts(self, *keys: str) -> str:
        """Give what the document says under some keys as one text, without line breaks."""
        found = {key: self.document.get(key) for key in keys}
        return yaml.safe_dump(found, width=100_000, allow_unicode=True)


class ArchiveCase:
    """An images.tar.gz, and a path of its own in a registry."""

    def __init__(
        self,
        registry: RunningRegistry,
        folder: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        self._registry = registry
        self._capsys = capsys
        self.folder = folder
        self.place = f"case-{next(_NUMBERS)}"
        self.path = folder / "images.tar.gz"
        self.state = folder / "pushed"

    @classmethod
    def like(cls, other: "ArchiveCase") -> "ArchiveCase":
        """Begin anew beside another one, for the same images in another file."""
        folder = other.folder / "another"
        folder.mkdir()
        return cls(other._registry, folder, other._capsys)

    def run(self, *words: str) -> Answer:
        """Run the command."""
        self._capsys.readouterr()
        status = main(words)
        captured = self._capsys.readouterr()
        assert "Traceback" not in captured.err, captured.err
        return Answer(status, _document(captured.out), captured.out, captured.err)

    def push(self, content: bytes | None = None, *more: str) -> Answer:
        """Push an archive; without content the same again."""
        if content is not None:
            self.path.write_bytes(content)
        given = ("--images", str(self.path), "--state", str(self.state))
        ca = str(self._registry.process.ca)
        return self.run("push", *given, "--registry", self.prefix, "--registry-ca", ca, *more)

    def inspect(self, content: bytes | None = None, *more: str) -> Answer:
        """Inspect an archive; without content the same again."""
        if content is not None:
            self.path.write_bytes(content)
        return self.run("inspect", "--images", str(self.path), "--format", "yaml", *more)

    def forget(self) -> None:
        """Lose the journal."""
        self.state.unlink()

    @property
    def prefix(self) -> str:
        """Where the images go."""
        return f"{self._registry.process.host}/{self.place}"

    def reference(self, name: str) -> str:
        """Give the name that an image has in the registry: its host makes room for the prefix."""
        return f"{self.prefix}/{name.partition('/')[2]}"

    def pulled(self, name: str) -> Identity:
        """Pull an image back with skopeo."""
        source = f"docker://{self.reference(name)}"
        return read_image(source, self.folder / "pulled", self._registry.process.ca)

    def manifest(self, name: str) -> bytes:
        """Fetch the manifest of anything, byte for byte."""
        source = f"docker://{self.reference(name)}"
        return skopeo("inspect", "--raw", source, ca=self._registry.process.ca)

    def tags(self) -> dict[str, str]:
        """List the digests of the manifests by their names below the prefix.

        The names that mirrors go by, which begin with a host, are not among them.
        """
        return {name: digest for name, digest in self.all_tags().items() if not _has_host(name)}

    def all_tags(self) -> dict[str, str]:
        """List the same with the names that mirrors go by."""
        root = self._registry.process.data / "docker/registry/v2/repositories" / self.place
        return {
            f"{link.parents[4].relative_to(root)}:{link.parents[1].name}": link.read_text()
            for link in root.glob("**/_manifests/tags/*/current/link")
        }

    def require_pushed(self, answer: Answer, images: Iterable[NamedImage]) -> None:
        """See that these images, and no other ones, were pushed and are what they were."""
        wanted = {name: each.image.identity for each in images for name in each.names}
        references = sorted(self.reference(name) for name in wanted)
        assert sorted(answer.document.get("pushed", [])) == references, answer.said
        assert len(self.tags()) == len(wanted), answer.said
        assert {name: self.pulled(name) for name in wanted} == wanted

    def require_whole(self, answer: Answer, images: Iterable[NamedImage]) -> None:
        """See that all went well with these images, and that nothing is to be looked at."""
        assert answer.status == 0, answer.said
        self.require_pushed(answer, images)
        for key in ("unnamed", "conflicts", "damaged"):
            assert answer.document[key] == [], answer.said
        assert not any(each["may_be_image"] for each in answer.document["passed_over"])


def is_for_mirrors(path: str) -> bool:
    """Tell whether a request is about the name that mirrors go by, below a prefix of one part."""
    return re.match(r"/v2/[^/]+/[^/]*[.][^/]*/", path) is not None


def _has_host(name: str) -> bool:
    return "." in name.partition("/")[0]


def _document(output: str) -> dict[str, Any]:
    try:
        document = yaml.safe_load(output)
    except yaml.YAMLError:
        return {}
    return cast(dict[str, Any], document) if isinstance(document, dict) else {}


def passed_over(answer: Answer, file: str) -> Mapping[str, Any]:
    """Give what the command says of the one file that it passed over under this name."""
    found = [each for each in answer.document["passed_over"] if each["file"].endswith(file)]
    assert len(found) == 1, answer.said
    return found[0]

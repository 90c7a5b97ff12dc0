"""What a release of Charmed Kubeflow consists of, as far as its artifacts show it."""

import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import yaml

from tests.sample_release.naming import repository

Document = dict[str, Any]

SEED_EXCLUDED_CHARMS = ("argo-controller", "katib-controller", "kubeflow-volumes", "minio")
"""Charms of the demo set that the instructions for CKF 1.7 deploy outside the bundle."""

DEMO_CHARMS = (
    "argo-controller",
    "istio-gateway",
    "istio-pilot",
    "jupyter-ui",
    "katib-controller",
    "katib-db-manager",
    "kfp-api",
    "kfp-profile-controller",
    "kfp-ui",
    "kubeflow-dashboard",
    "kubeflow-profiles",
    "kubeflow-volumes",
    "minio",
    "mysql-k8s",
)
"""The charms of the built-in release."""

# The options that the bundles of all releases set.
_BUNDLE_OPTIONS: Mapping[str, Document] = {
    "istio-ingressgateway": {"kind": "ingress"},
    "istio-pilot": {"default-gateway": "kubeflow-gateway"},
}
_BUILTIN = Path(__file__).parent / "release.yaml"
_AMBIENT = Path(__file__).parent / "ambient.yaml"
_ROLES = ("provides", "requires", "peers")
_OPTION_KINDS = {bool: "boolean", int: "int", float: "float", str: "string"}
# Keys of metadata.yaml that have a field of their own in Charm.
_MODELLED = frozenset({"name", "resources", "containers", "storage", *_ROLES})


@dataclass(frozen=True)
class Resource:
    """A resource of a charm.

    Attributes:
        name: Its name.
        kind: ``oci-image`` or ``file``.
        upstream_source: The image that the charm wants; empty for a file.
        details: What else metadata.yaml says about it.
    """

    name: str
    kind: str
    upstream_source: str
    details: Document = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Option:
    """A configuration option of a charm.

    Attributes:
        name: Its name.
        kind: Juju's type of it, for example ``string``.
        default: Its default; None where it has none.
    """

    name: str
    kind: str
    default: str | int | float | bool | None


@dataclass(frozen=True)
class Endpoint:
    """An end of a relation.

    Attributes:
        name: Its name.
        role: ``provides``, ``requires`` or ``peers``.
        interface: Its interface.
        details: What else metadata.yaml says about it, for example a limit or a schema.
    """

    name: str
    role: str
    interface: str
    details: Document = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Container:
    """A workload container.

    Attributes:
        name: Its name.
        resource: The resource with its image.
        details: What else metadata.yaml says about it, for example mounts.
    """

    name: str
    resource: str
    details: Document = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Storage:
    """A storage of a charm.

    Attributes:
        name: Its name.
        details: What metadata.yaml says about it.
    """

    name: str
    details: Document


@dataclass(frozen=True)
class Charm:
    """A charm, as far as its metadata tells.

    Attributes:
        name: Its name on Charmhub.
        resources: Its resources.
        options: Its configuration options.
        default_files: The files with default images: path in the charm to content.
        endpoints: Its ends of relations.
        containers: Its workload containers.
        storages: Its storages.
        details: What else metadata.yaml says.
    """

    name: str
    resources: tuple[Resource, ...] = ()
    options: tuple[Option, ...] = ()
    default_files: Mapping[str, str] = field(default_factory=dict[str, str])
    endpoints: tuple[Endpoint, ...] = ()
    containers: tuple[Container, ...] = ()
    storages: tuple[Storage, ...] = ()
    details: Document = field(default_factory=dict[str, Any])

    @property
    def podspec(self) -> bool:
        """Whether it is a charm of the old kind, which hands Juju a pod specification."""
        return "kubernetes" in self.details.get("series", ()) and not self.containers


@dataclass(frozen=True)
class Release:
    """A release, or the part of one that artifacts are to be made of.

    Attributes:
        name: Its name, for example ``1.8``.
        charms: Its charms, each once, sorted by name; of a release that is carried to where an
            older one runs, further ones of the same names behind them.
        images: The names of its images, in the order of the archive.
        applications: Application to charm, as in the bundle of the release.
        relations: The relations of the bundle among these applications.
        bundle_options: The options that the bundle sets, of each application that has some.
    """

    name: str
    charms: tuple[Charm, ...]
    images: tuple[str, ...]
    applications: Mapping[str, str]
    relations: tuple[tuple[str, str], ...]
    bundle_options: Mapping[str, Document] = field(default_factory=lambda: _BUNDLE_OPTIONS)

    @property
    def bundle(self) -> str:
        """A bundle of the release as it is published: charms by name and channel."""
        document = {
            "bundle": "kubernetes",
            "name": "kubeflow",
            "docs": "https://example.com/docs",
            "applications": {
                name: {"charm": charm, "channel": "latest/stable", "scale": 1, "trust": True}
                | ({"options": self.bundle_options[name]} if name in self.bundle_options else {})
                for name, charm in self.applications.items()
            },
            "relations": [list(pair) for pair in self.relations],
        }
        return yaml.safe_dump(document, sort_keys=False)

    @classmethod
    def from_folder(
        cls,
        folder: Path,
        charms: Collection[str] | None = None,
        images_wanted: "ImagesWanted | None" = None,
    ) -> "Release":
        """Read a folder with ``bundle.yaml``, ``images.txt`` and ``charms/<name>/``.

        Args:
            folder: The folder.
            charms: The names of the charms to take; all where not given.
            images_wanted: Tells which of the release's images a charm wants; used where ``charms``
                is given. :func:`images_wanted_by` where not given.

        Raises:
            ValueError: A charm was asked for that the release does not have.
        """
        bundle = cast(Document, yaml.safe_load((folder / "bundle.yaml").read_text()))
        release = cls(
            folder.name,
            tuple(_read_charm(path) for path in sorted((folder / "charms").iterdir())),
            tuple((folder / "images.txt").read_text().split()),
            {name: body["charm"] for name, body in bundle["applications"].items()},
            tuple((first, second) for first, second in bundle["relations"]),
        )
        return release if charms is None else release.subset(charms, images_wanted)

    @classmethod
    def builtin(cls, charms: Collection[str] | None = None) -> "Release":
        """Give the project's own small release: a part of CKF 1.8 that covers every kind of need.

        Args:
            charms: The names of the charms to take; all where not given.
        """
        release = cls.from_document(cast(Document, yaml.safe_load(_BUILTIN.read_text())))
        return release if charms is None else release.subset(charms)

    @classmethod
    def from_document(cls, document: Document) -> "Release":
        """Read a release in the compact form that release.yaml explains."""
        return cls(
            document["release"],
            tuple(
                _expand_charm(name, cast(Document, body))
                for name, body in sorted(document["charms"].items())
            ),
            tuple(document.get("images", ())),
            document["applications"],
            tuple((first, second) for first, second in document["relations"]),
            document.get("bundle_options", _BUNDLE_OPTIONS),
        )

    @classmethod
    def ambient(cls) -> "Release":
        """Give the whole public release with the ambient mesh, without a list of its images."""
        return cls.from_document(cast(Document, yaml.safe_load(_AMBIENT.read_text())))

    def subset(
        self, charms: Collection[str], images_wanted: "ImagesWanted | None" = None
    ) -> "Release":
        """Give the part of the release that some of its charms need.

        Args:
            charms: The names of the charms to take.
            images_wanted: Tells which of the release's images a charm wants;
                :func:`images_wanted_by` where not given.

        Raises:
            ValueError: The release does not have such a charm.
        """
        if unknown := set(charms) - {charm.name for charm in self.charms}:
            raise ValueError(f"CKF {self.name} has no charm {', '.join(sorted(unknown))}")
        chosen = tuple(charm for charm in self.charms if charm.name in charms)
        rule = images_wanted or images_wanted_by
        wanted = {image for charm in chosen for image in rule(charm, self.images)}
        applications = {
            name: charm for name, charm in self.applications.items() if charm in charms
        }
        # mysql-k8s makes two applications, and the second one has a single client.
        if "kfp-api" not in charms:
            applications.pop("kfp-db", None)
        return replace(
            self,
            charms=chosen,
            images=tuple(image for image in self.images if image in wanted),
            applications=applications,
            relations=tuple(
                relation
                for relation in self.relations
                if all(end.partition(":")[0] in applications for end in relation)
            ),
        )


ImagesWanted = Callable[[Charm, Sequence[str]], Iterable[str]]
"""Tells which of some images a charm wants."""


def images_wanted_by(charm: Charm, available: Sequence[str]) -> set[str]:
    """Tell which of a release's images a charm wants.

    Works on words instead of on the structure of options, so that it has nothing in common with
    the way the project finds them: each word that looks like an image stands for the image of
    that name, else for those of that repository, else for those of that last name.
    """
    wanted: set[str] = set()
    for word in images_named_by(charm):
        last_name = repository(word).rpartition("/")[2]
        wanted |= (
            {image for image in available if image == word}
            or {image for image in available if repository(image) == repository(word)}
            or {image for image in available if repository(image).rpartition("/")[2] == last_name}
        )
    return wanted


def images_named_by(charm: Charm) -> set[str]:
    """List the words of a charm that look like images, also those that no list has."""
    texts = [resource.upstream_source for resource in charm.resources]
    texts.extend(charm.default_files.values())
    texts.extend(str(option.default) for option in charm.options if "image" in option.name)
    words = {word for text in texts for word in re.split(r"[\s'\",\[\]{}]+", text) if "/" in word}
    # Istio's images stand there in parts.
    for text in texts:
        if hub := re.search(r"global-hub: *'?([^'\s]+)", text):
            tag = re.search(r"global-tag: *'?([^'\s]+)", text)
            assert tag
            names = re.findall(r"[a-z_-]+-image: *'?([^'\s]+)", text)
            words |= {f"{hub[1]}/{name}:{tag[1]}" for name in names}
            words.discard(hub[1])
    return words


def present_release_folders() -> tuple[Path, ...]:
    """List the folders with facts about real releases that are on this machine.

    They are looked for in the folder that the environment variable ``CKF_FACTS`` names, else in
    ``../shared/ckf`` beside the project.
    """
    project = Path(__file__).parents[2]
    facts = Path(os.environ.get("CKF_FACTS") or project.parent / "shared" / "ckf")
    return tuple(sorted(path.parent for path in facts.glob("*/images.txt")))


def _read_charm(folder: Path) -> Charm:
    metadata = cast(Document, yaml.safe_load((folder / "metadata.yaml").read_text()))
    config = folder / "config.yaml"
    options: Document = yaml.safe_load(config.read_text())["options"] if config.exists() else {}
    return Charm(
        metadata["name"],
        tuple(_read_resource(name, body) for name, body in metadata.get("resources", {}).items()),
        tuple(Option(name, body["type"], body.get("default")) for name, body in options.items()),
        {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.glob("src/*"))},
        tuple(
            Endpoint(name, role, body["interface"], _without(body, "interface"))
            for role in _ROLES
            for name, body in metadata.get(role, {}).items()
        ),
        tuple(
            Container(name, body.get("resource", ""), _without(body, "resource"))
            for name, body in metadata.get("containers", {}).items()
        ),
        tuple(Storage(name, body) for name, body in metadata.get("storage", {}).items()),
        _without(metadata, *_MODELLED),
    )


def _read_resource(name: str, body: Document) -> Resource:
    return Resource(
        name,
        body["type"],
        body.get("upstream-source", ""),
        _without(body, "type", "upstream-source"),
    )


def _without(document: Document, *keys: str) -> Document:
    return {key: value for key, value in document.items() if key not in keys}


def _expand_charm(name: str, body: Document) -> Charm:
    """Read a charm in the compact form of release.yaml, which that file explains."""
    details: Document = {"summary": f"Stands in for {name}.", "description": f"Like {name}."}
    if body.get("podspec"):
        details |= {"min-juju-version": "2.9.0", "series": ["kubernetes"]}
    if "assumes" in body:
        details["assumes"] = body["assumes"]
    storages: dict[str, str] = body.get("storage", {})
    mounts = [{"storage": storage, "location": path} for storage, path in storages.items()]
    return Charm(
        name,
        tuple(
            Resource(resource, "oci-image", image, {"description": "Backing OCI image"})
            for resource, image in body.get("resources", {}).items()
        ),
        tuple(_expand_option(option, value) for option, value in body.get("options", {}).items()),
        {path: _file_text(path, content) for path, content in body.get("files", {}).items()},
        tuple(
            Endpoint(endpoint, role, interface)
            for role in _ROLES
            for endpoint, interface in body.get(role, {}).items()
        ),
        tuple(
            Container(container, resource, {"mounts": mounts} if mounts else {})
            for container, resource in body.get("containers", {}).items()
        ),
        tuple(
            Storage(
                storage,
                {"type": "filesystem"} | ({"location": path} if body.get("podspec") else {}),
            )
            for storage, path in storages.items()
        ),
        details,
    )


def _expand_option(name: str, value: object) -> Option:
    if isinstance(value, dict):
        return Option(name, cast(Document, value)["type"], None)
    if isinstance(value, bool | int | float | str):
        return Option(name, _OPTION_KINDS[type(value)], value)
    raise TypeError(f"option {name} has neither a default nor a type")


def _file_text(path: str, content: object) -> str:
    if isinstance(content, str):
        return content
    if path.endswith(".json"):
        return json.dumps(content, indent=4) + "\n"
    return yaml.safe_dump(content, sort_keys=False)

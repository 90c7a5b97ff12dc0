"""What the operator says about the topology: a bundle of their own, and an overlay.

Both are bundles in Juju's sense (documentation, "Bundle"). They are read here rather than by the
juju client, because the applications are deployed a few at a time, each with its images filled in.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, cast

from ckf_airgap.documents import DocumentError, read_values
from ckf_airgap.errors import ConfigurationError
from ckf_airgap.juju_names import (
    Grammar,
    is_application,
    is_charm,
    is_endpoint,
    is_option,
    is_resource,
    is_storage,
)
from ckf_airgap.juju_values import OptionValue, Relation, Side
from ckf_airgap.names import ImageReference, to_choose_from
from ckf_airgap.own_application import OWN_APPLICATION
from ckf_airgap.planning.bundle_text import (
    LARGEST_BUNDLE,
    SERIES,
    CharmReference,
    bundle_documents,
)
from ckf_airgap.planning.topology import (
    Topology,
    TopologyApplication,
)

# What the archives decide here: which revision of a charm there is, and which images.
_DECIDED = frozenset({"channel", "revision", "plan"})
_PASSED_ON = frozenset({"annotations", "devices", "expose", "storage"})
# What of this is a map of names to texts, and the names that it may have.
_NAMED: Mapping[str, Grammar] = {
    "annotations": str.isprintable,
    "bindings": lambda name: not name or is_endpoint(name),
    "devices": is_storage,
    "storage": is_storage,
}
# What Juju takes in no bundle of this kind, and what to do about it.
_BY_HAND = {
    "bindings": "Kubernetes has no spaces",
    "exposed-endpoints": "after the deployment, juju expose {} --endpoints ENDPOINTS",
    "offers": "after the deployment, juju offer {}:ENDPOINT",
}
_READ = frozenset(
    {"charm", "base", "constraints", "num_units", "options", "scale", "trust", "to"}
    | {"resources"}
)
_TOP_LEVEL = frozenset(
    {"applications", "bundle", "default-base", "description", "docs", "issues", "name"}
    | {"relations", "saas", "series", "source", "tags", "type", "variables", "website"}
)
# The largest releases have 40 applications and 70 relations.
_MOST_APPLICATIONS = 2_000
_MOST_RELATIONS = 10_000
# Juju reads it as a 32-bit number.
_LARGEST_SCALE = 2**31 - 1
# Juju's integer options have 64 bits.
_LARGEST_NUMBER = 2**63 - 1
_INCLUDES = ("include-file://", "include-base64://")


def read_bundle(text: str) -> Topology:
    """Read an operator's own bundle.

    Args:
        text: The bundle. Its charms are looked up by name among those at hand, be they given as
            names on Charmhub or as files; its images are filled in later.

    Returns:
        The topology: all of its applications are expected.

    Raises:
        ConfigurationError: It is not a bundle.
    """
    first, *overlays = bundle_documents(text)
    topology = _read_base(first)
    for overlay in overlays:
        topology = _changed(topology, overlay, _bundle_reader())
    return topology


def _bundle_reader() -> "_Reader":
    return _Reader(
        "the bundle", f"attach a correct one: juju attach-resource {OWN_APPLICATION} bundle=FILE"
    )


def _read_base(text: str) -> Topology:
    """Read the first document of a bundle."""
    reader = _bundle_reader()
    document = reader.document(text)
    base = reader.default_base(document)
    applications = tuple(
        dataclasses.replace(item, expected_by="the bundle has it", base=item.base or base)
        for name, body in reader.applications(document).items()
        if body is not None
        for item in (reader.application(name, body),)
    )
    if not applications:
        raise reader.error("names no applications")
    relations = reader.relations(document)
    topology = Topology(
        applications,
        relations,
        demanded=frozenset(relations),
        remote=frozenset(reader.remote_applications(document)),
    )
    return _local(topology, reader)


def apply_overlay(topology: Topology, text: str) -> Topology:
    """Change a topology as an overlay says.

    Args:
        topology: The topology.
        text: The overlay: a bundle that says what to add or to change. An application without a
            body is taken out.

    Returns:
        The topology with it.

    Raises:
        ConfigurationError: It is not an overlay, or names an application that is not there without
            saying from which charm to deploy it.
    """
    for document in bundle_documents(text):
        reader = _Reader("the overlay", f"juju config {OWN_APPLICATION} overlay=@overlay.yaml")
        topology = _changed(topology, document, reader)
    return topology


def _changed(topology: Topology, text: str, reader: "_Reader") -> Topology:
    """Apply one document of overlays."""
    document = reader.document(text)
    applications = {item.name: item for item in topology.applications}
    removed: set[str] = set()
    for name, body in reader.applications(document).items():
        if name not in applications:
            if body is None or "charm" not in body:
                raise reader.error(
                    f"names the application {name}, which is none of: "
                    f"{to_choose_from(name, applications)}"
                )
            applications[name] = reader.added(name, body)
        if body is None:
            removed.add(name)
            del applications[name]
        else:
            applications[name] = reader.changed(applications[name], body)
    kept = tuple(
        relation
        for relation in topology.relations
        if not removed & {side.application for side in relation}
    )
    added = reader.relations(document)
    changed = dataclasses.replace(
        topology,
        applications=tuple(applications.values()),
        relations=tuple(dict.fromkeys((*kept, *added))),
        demanded=topology.demanded | frozenset(added),
        remote=topology.remote | frozenset(reader.remote_applications(document)),
    )
    return _local(changed, reader)


class _Reader:
    """Reads bundles, and says of what is wrong where it stands."""

    def __init__(self, what: str, cure: str) -> None:
        self.what = what
        self._cure = cure
        self.warnings: list[str] = []

    def error(self, problem: str) -> ConfigurationError:
        return ConfigurationError(f"{self.what} {problem}", self._cure)

    def document(self, text: str) -> Mapping[str, Any]:
        if len(text) > LARGEST_BUNDLE:
            raise self.error(f"has {len(text)} characters, which is too many for a bundle")
        try:
            document: object = read_values(text)
        except DocumentError as error:
            raise self.error(f"is not valid YAML{error}") from error
        return self._mapping(document, "", _TOP_LEVEL)

    def applications(self, document: Mapping[str, Any]) -> dict[str, dict[str, Any] | None]:
        found: dict[str, dict[str, Any] | None] = {}
        section = document.get("applications")
        for name, body in self._mapping(
            {} if section is None else section, "applications"
        ).items():
            self._require(is_application(name), "application", name)
            known = _READ | _DECIDED | _PASSED_ON | frozenset(_BY_HAND)
            found[name] = None if body is None else self._mapping(body, name, known)
        if len(found) > _MOST_APPLICATIONS:
            raise self.error(f"has {len(found)} applications, which is too many for a bundle")
        return found

    def _require(self, is_right: bool, what: str, name: str) -> None:
        """Refuse a name that Juju does not take, or that would be more than a name."""
        if not is_right:
            article = "an" if what[0] in "aeiou" else "a"
            raise self.error(f"has {article} {what} with the name {name[:80]!r}")

    def default_base(self, document: Mapping[str, Any]) -> str | None:
        """Read the base of the applications that name none."""
        base = document.get("default-base")
        if base is not None and not isinstance(base, str):
            raise self.error("has a default-base that is not text such as ubuntu@22.04")
        # juju export-bundle writes the channel of a base with its risk.
        return base.partition("/")[0] if base else SERIES.get(str(document.get("series")))

    def remote_applications(self, document: Mapping[str, Any]) -> list[str]:
        """Read which offers of other models a bundle consumes."""
        section = self._mapping(document.get("saas") or {}, "saas")
        for name, body in section.items():
            self._require(is_application(name), "saas", name)
            details = self._mapping(body or {}, f"saas/{name}")
            self.warnings.append(
                f"{self.what} consumes {name} from another model: after the deployment, "
                f"juju consume {str(details.get('url') or 'OFFER')[:200]} {name}"
            )
        return list(section)

    def added(self, name: str, body: Mapping[str, Any]) -> TopologyApplication:
        """Read the charm of an application; the rest is read as a change."""
        plain = self.application(name, {"charm": body["charm"]})
        return dataclasses.replace(plain, expected_by="the overlay has it")

    def application(self, name: str, body: Mapping[str, Any]) -> TopologyApplication:
        """Read an application of which nothing is known yet."""
        plain = TopologyApplication(name=name, charm=self._charm(name, body.get("charm", name)))
        resources = self._resources(name, body)
        return dataclasses.replace(
            self._settings(plain, body),
            options=self._options(name, body.get("options")),
            # Charmhub's numbers of resources, and files, are no images.
            own_resources={
                resource: image
                for resource, image in resources.items()
                if isinstance(image, str) and ImageReference.parse(image)
            },
        )

    def changed(self, before: TopologyApplication, body: Mapping[str, Any]) -> TopologyApplication:
        """Read what an overlay says of an application."""
        resources = self._resources(before.name, body)
        for resource, image in resources.items():
            if not isinstance(image, str) or not image:
                raise self.error(f"gives no image for the resource {before.name}/{resource}")
        charm = self._charm(before.name, body["charm"]) if "charm" in body else before.charm
        return dataclasses.replace(
            self._settings(before, body),
            charm=charm,
            own_options={**before.own_options, **self._options(before.name, body.get("options"))},
            own_resources={**before.own_resources, **resources},
        )

    def relations(self, document: Mapping[str, Any]) -> tuple[Relation, ...]:
        value: object = document.get("relations") or []
        if not isinstance(value, list):
            raise self.error("has relations that are not a list")
        found: list[Relation] = []
        for pair in cast(list[object], value):
            if not isinstance(pair, list):
                raise self.error(f"has a relation that is not a pair: {str(pair)[:80]}")
            sides = cast(list[object], pair)
            if len(sides) != 2 or not isinstance(sides[0], str):
                raise self.error(f"has a relation that is not a pair: {str(sides)[:80]}")
            # One side may be related with several at once.
            other = sides[1]
            others = cast(list[object], other) if isinstance(other, list) else [other]
            found += [(self._side(sides[0]), self._side(str(side))) for side in others]
            if len(found) > _MOST_RELATIONS:
                raise self.error(f"has more than {_MOST_RELATIONS} relations")
        return tuple(found)

    def _side(self, text: str) -> Side:
        side = Side.parse(text)
        is_right = is_application(side.application) and (
            is_endpoint(side.endpoint) if ":" in text else True
        )
        self._require(is_right, "relation", text)
        return side

    def _resources(self, application: str, body: Mapping[str, Any]) -> dict[str, Any]:
        resources = self._mapping(body.get("resources") or {}, f"{application}/resources")
        for name in resources:
            self._require(is_resource(name), f"resource of {application}", name)
        return resources

    def _charm(self, application: str, value: object) -> str:
        name = CharmReference.parse(value).name if isinstance(value, str) else ""
        if not is_charm(name):
            raise self.error(f"names no charm for {application}, but {str(value)[:80]!r}")
        return name

    def _settings(
        self, application: TopologyApplication, body: Mapping[str, Any]
    ) -> TopologyApplication:
        scale = body.get("scale", body.get("num_units", application.scale))
        trust = body.get("trust", application.trust)
        constraints = body.get("constraints", application.constraints)
        base = body.get("base", SERIES.get(str(body.get("series")), application.base))
        name = application.name
        if isinstance(scale, int) and abs(scale) > _LARGEST_SCALE:
            raise self.error(f"gives {name} a scale that is too large")
        if isinstance(scale, bool) or not isinstance(scale, int) or scale < 0:
            raise self.error(f"gives {name} the scale {scale!r}, which is no number of units")
        if not isinstance(trust, bool):
            raise self.error(f"gives {name} the trust {trust!r}, which is neither true nor false")
        if constraints is not None and not _is_line(constraints):
            raise self.error(f"gives {name} constraints that are not text such as mem=2G")
        if base is not None and not _is_line(base):
            raise self.error(f"gives {name} a base that is not text such as ubuntu@22.04")
        self._check_maps(name, body)
        if body.get("to"):
            self.warnings.append(
                f"{self.what} places {name}, which Juju does not do on Kubernetes: ignored"
            )
        for key, command in _BY_HAND.items():
            if body.get(key):
                self.warnings.append(
                    f"{self.what} has {name}/{key}, which is left out: {command.format(name)}"
                )
        return dataclasses.replace(
            application,
            scale=scale,
            trust=trust,
            constraints=constraints or None,
            base=base.partition("/")[0] if base else None,
            settings={
                **application.settings,
                **{key: value for key, value in body.items() if key in _PASSED_ON},
            },
        )

    def _check_maps(self, application: str, body: Mapping[str, Any]) -> None:
        """Check that what is passed on has the shape that Juju takes."""
        expose = body.get("expose")
        if not (expose is None or isinstance(expose, bool)):
            raise self.error(f"has {application}/expose, which is neither true nor false")
        for key, is_name in _NAMED.items():
            entries = self._mapping(body.get(key) or {}, f"{application}/{key}")
            for name, value in entries.items():
                self._require(is_name(name), f"{key} of {application}", name)
                if not isinstance(value, (str, int, float)) or "\0" in str(value):
                    raise self.error(f"has {application}/{key}/{name}, which is not a text")

    def _options(self, application: str, value: object) -> dict[str, OptionValue]:
        options = self._mapping(value or {}, f"{application}/options")
        for name, setting in options.items():
            self._require(is_option(name), f"option of {application}", name)
            if not isinstance(setting, (str, int, float, bool)):
                raise self.error(f"gives {application}/{name} a value that is not one scalar")
            if isinstance(setting, int) and abs(setting) > _LARGEST_NUMBER:
                raise self.error(f"gives {application}/{name} a number that is too large")
            if isinstance(setting, str) and "\0" in setting:
                raise self.error(f"gives {application}/{name} a value with a NUL in it")
            if isinstance(setting, str) and setting.startswith(_INCLUDES):
                raise self.error(
                    f"takes {application}/{name} from a file, which does not come with it"
                )
        return options

    def _mapping(
        self, value: object, where: str, known: frozenset[str] | None = None
    ) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.error(f"has {where}, which is not a map" if where else "is not a map")
        mapping = cast(dict[object, Any], value)
        for key in mapping:
            if not isinstance(key, str):
                raise self.error(f"has a key that is not text: {str(key)[:80]}")
            # Bundles carry keys of their own for other tools, which begin so.
            if known is not None and key not in known and not key.startswith("_"):
                place = f"{where}/{key}" if where else key
                self.warnings.append(f"{self.what} has {place}, which is not known: ignored")
        return cast(dict[str, Any], mapping)


def _is_line(value: object) -> bool:
    """Return whether something is one line of text."""
    return isinstance(value, str) and value.isprintable()


def _local(topology: Topology, reader: _Reader) -> Topology:
    """Check the sides of the relations, and leave out those with offers of other models."""
    names = {item.name for item in topology.applications}
    kept: list[Relation] = []
    for relation in topology.relations:
        first, second = relation
        unknown = [side.application for side in relation if side.application not in names]
        if not unknown:
            kept.append(relation)
        elif topology.remote.issuperset(unknown):
            reader.warnings.append(
                f"{reader.what} relates {first} with {second}, of which one is in another model: "
                f"after juju consume, juju integrate {first} {second}"
            )
        else:
            (name, *_) = [item for item in unknown if item not in topology.remote]
            raise reader.error(
                f"relates {first} with {second}, but has no application {name}; it has: "
                f"{to_choose_from(name, names)}"
            )
    return dataclasses.replace(
        topology, relations=tuple(kept), warnings=(*topology.warnings, *reader.warnings)
    )

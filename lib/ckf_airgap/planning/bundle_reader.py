"""Reads one document of a bundle or an overlay by its sections (Juju's "Bundle")."""

import dataclasses
from collections.abc import Mapping
from typing import Any, cast

from ckf_airgap.charms.charm_reference import REVISION, SERIES, CharmReference
from ckf_airgap.errors import ConfigurationError
from ckf_airgap.files.untrusted_yaml import DocumentError, load_strings, load_values
from ckf_airgap.images.reference import ImageReference
from ckf_airgap.juju.juju_names import (
    Grammar,
    is_application,
    is_charm,
    is_endpoint,
    is_option,
    is_resource,
    is_storage,
)
from ckf_airgap.juju.juju_values import OptionValue, Relation, Side
from ckf_airgap.planning.bundle_text import LARGEST_BUNDLE
from ckf_airgap.planning.topology import TopologyApplication

# Keys without effect on a deployment, because the archives determine the charms. ``pack`` uses the
# channel and the revision to download charms.
_WITHOUT_EFFECT = frozenset({"channel", "revision", "plan"})
_PASSED_ON = frozenset({"annotations", "devices", "expose", "storage"})
# Keys whose values map names to texts, and the grammar of these names.
_MAPS: Mapping[str, Grammar] = {
    "annotations": str.isprintable,
    "bindings": lambda name: not name or is_endpoint(name),
    "devices": is_storage,
    "storage": is_storage,
}
# Keys that are left out, with the reason or the command to run instead.
_BY_HAND = {
    "bindings": "Kubernetes has no spaces",
    "exposed-endpoints": "after the deployment, juju expose {} --endpoints ENDPOINTS",
    "offers": "after the deployment, juju offer {}:ENDPOINT",
}
_READ = frozenset(
    {"charm", "base", "constraints", "num_units", "options", "scale", "trust", "to"}
    | {"resources", "series"}
)
_TOP_LEVEL = frozenset(
    {"applications", "bundle", "default-base", "description", "docs", "issues", "name"}
    | {"relations", "saas", "series", "source", "tags", "type", "variables", "website"}
)
# The largest releases have 40 applications and 70 relations.
_MOST_APPLICATIONS = 2_000
_MOST_RELATIONS = 10_000
# Juju reads the scale as a 32-bit number.
_LARGEST_SCALE = 2**31 - 1
# Juju's integer options have 64 bits.
_LARGEST_NUMBER = 2**63 - 1
_INCLUDES = ("include-file://", "include-base64://")


class BundleReader:
    """Reads the sections of a document; errors name the section.

    Attributes:
        what: The name of the document in messages.
        warnings: Warnings about entries that have no effect.
    """

    def __init__(self, what: str, cure: str) -> None:
        self.what = what
        self._cure = cure
        self._text = ""
        self._as_strings: Any = None
        self.warnings: list[str] = []

    def error(self, problem: str) -> ConfigurationError:
        """Return an error about the document, with its cure."""
        return ConfigurationError(f"{self.what} {problem}", self._cure)

    def document(self, text: str) -> Mapping[str, Any]:
        """Read the document itself.

        Raises:
            ConfigurationError: It is too large, not YAML, or not a map. All other methods raise
                this for an invalid section.
        """
        if len(text) > LARGEST_BUNDLE:
            raise self.error(f"has {len(text)} characters, which is too many for a bundle")
        try:
            document: object = load_values(text)
        except DocumentError as error:
            raise self.error(f"is not valid YAML{error}") from error
        self._text = text
        return self._mapping(document, "", _TOP_LEVEL)

    def applications(self, document: Mapping[str, Any]) -> dict[str, dict[str, Any] | None]:
        """Read the applications and their bodies; None for one without a body."""
        found: dict[str, dict[str, Any] | None] = {}
        section = document.get("applications")
        for name, body in self._mapping(
            {} if section is None else section, "applications"
        ).items():
            self._require(is_application(name), "application", name)
            known = _READ | _WITHOUT_EFFECT | _PASSED_ON | frozenset(_BY_HAND)
            found[name] = None if body is None else self._mapping(body, name, known)
        if len(found) > _MOST_APPLICATIONS:
            raise self.error(f"has {len(found)} applications, which is too many for a bundle")
        return found

    def _require(self, is_right: bool, kind: str, name: str) -> None:
        """Refuse a name that Juju does not accept or could misread."""
        if not is_right:
            article = "an" if kind[0] in "aeiou" else "a"
            raise self.error(f"has {article} {kind} with the name {name[:80]!r}")

    def default_base(self, document: Mapping[str, Any]) -> str | None:
        """Read the default base of applications."""
        base = document.get("default-base")
        if base is not None and not isinstance(base, str):
            raise self.error("has a default-base that is not text such as ubuntu@22.04")
        # juju export-bundle writes a base with the risk of its channel: ubuntu@22.04/stable.
        return base.partition("/")[0] if base else SERIES.get(str(document.get("series")))

    def remote_applications(self, document: Mapping[str, Any]) -> list[str]:
        """Read the offers of other models that a bundle consumes."""
        section = self._mapping(document.get("saas") or {}, "saas")
        for name, body in section.items():
            self._require(is_application(name), "saas", name)
            details = self._mapping(body or {}, f"saas/{name}")
            self.warnings.append(
                f"{self.what} consumes {name} from another model: after the deployment, "
                f"juju consume {str(details.get('url') or 'OFFER')[:200]} {name}"
            )
        return list(section)

    def added(
        self, name: str, body: Mapping[str, Any], default_base: str | None
    ) -> TopologyApplication:
        """Read the charm and base of an application that an overlay adds.

        ``changed`` then reads its other keys.
        """
        plain = self.application(name, {"charm": body["charm"]})
        return dataclasses.replace(
            plain, expected_by=f"{self.what} has it", base=plain.base or default_base
        )

    def application(self, name: str, body: Mapping[str, Any]) -> TopologyApplication:
        """Read an application of a bundle."""
        plain = self._with_charm(
            TopologyApplication(name=name, charm=name), body.get("charm", name)
        )
        resources = self._resources(name, body)
        return dataclasses.replace(
            self._settings(plain, body),
            options=self._options(name, body.get("options")),
            # A resource may also be a revision on Charmhub or a file.
            resource_overrides={
                resource: image
                for resource, image in resources.items()
                if isinstance(image, str) and ImageReference.parse(image)
            },
        )

    def changed(self, before: TopologyApplication, body: Mapping[str, Any]) -> TopologyApplication:
        """Read the changes of an overlay to an application."""
        resources = self._resources(before.name, body)
        for resource, image in resources.items():
            if not isinstance(image, str) or not image:
                raise self.error(f"gives no image for the resource {before.name}/{resource}")
        plain = self._with_charm(before, body["charm"]) if "charm" in body else before
        return dataclasses.replace(
            self._settings(plain, body),
            option_overrides={
                **before.option_overrides,
                **self._options(before.name, body.get("options")),
            },
            resource_overrides={**before.resource_overrides, **resources},
        )

    def relations(self, document: Mapping[str, Any]) -> tuple[Relation, ...]:
        """Read the relations; a side may have no endpoint."""
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
            # One side may be related with several others in one entry.
            second = sides[1]
            partners = cast(list[object], second) if isinstance(second, list) else [second]
            found += [(self._side(sides[0]), self._side(str(side))) for side in partners]
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

    def _with_charm(self, application: TopologyApplication, value: object) -> TopologyApplication:
        reference = CharmReference.parse(value) if isinstance(value, str) else None
        if reference is None or not is_charm(reference.name):
            raise self.error(f"names no valid charm for {application.name}: {str(value)[:80]!r}")
        return dataclasses.replace(
            application,
            charm=reference.name,
            base=reference.base or application.base,
            reference=reference,
        )

    def _reference(
        self, application: TopologyApplication, body: Mapping[str, Any]
    ) -> CharmReference | None:
        """Read the revision of the charm, which is a separate key."""
        revision = body.get("revision")
        if revision is None or application.reference is None:
            return application.reference
        is_number = isinstance(revision, (int, str)) and not isinstance(revision, bool)
        if not is_number or not REVISION.fullmatch(_digits(revision)):
            raise self.error(f"gives {application.name} a revision that is not a number")
        return dataclasses.replace(application.reference, revision=int(revision))

    def _channel(self, application: TopologyApplication, body: Mapping[str, Any]) -> str | None:
        value = body.get("channel")
        if value is None:
            return application.channel
        if not isinstance(value, str):
            # YAML reads 3.10 as the number 3.1.
            self._as_strings = self._as_strings or load_strings(self._text)
            value = self._as_strings["applications"][application.name]["channel"]
        if not _is_line(value):
            raise self.error(f"gives {application.name} a channel that is not text")
        return value or None

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
            raise self.error(f"gives {name} the scale {scale!r}, which is not a number of units")
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
            channel=self._channel(application, body),
            reference=self._reference(application, body),
            base=base.partition("/")[0] if base else None,
            settings={
                **application.settings,
                **{key: value for key, value in body.items() if key in _PASSED_ON},
            },
        )

    def _check_maps(self, application: str, body: Mapping[str, Any]) -> None:
        """Check the values that are passed on to Juju, and ``bindings``."""
        expose = body.get("expose")
        if not (expose is None or isinstance(expose, bool)):
            raise self.error(f"has {application}/expose, which is neither true nor false")
        for key, is_name in _MAPS.items():
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
                    f"takes {application}/{name} from a file; it must contain the value itself"
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
            # Keys that begin with an underscore are for other tools.
            if known is not None and key not in known and not key.startswith("_"):
                place = f"{where}/{key}" if where else key
                self.warnings.append(f"{self.what} has {place}, which is unknown: ignored")
        return cast(dict[str, Any], mapping)


def _digits(number: int | str) -> str:
    """Format a number; empty if it is too large for Juju."""
    return str(number) if isinstance(number, str) or abs(number) <= _LARGEST_NUMBER else ""


def _is_line(value: object) -> bool:
    return isinstance(value, str) and value.isprintable()

"""What the stand-in of a Juju 3.6 controller answers: one model, kept in memory.

It takes what the client sends, keeps it, and tells it again in the shapes of Juju's
``rpc/params``. It checks little and starts nothing: it shows what the client does, not what a
controller does.
"""

import base64
import hashlib
import io
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from tests.functional.juju_api import CONTROLLER_UUID, Json, JujuApi, RefusalError, Upload

MODEL_UUID = "9f2d7c1e-1c5e-4a39-8f0e-2f6f1d3c7b42"
VERSION = "3.6.25"
SINCE = "2026-11-26T10:00:00Z"
# Juju 3.6, apiserver/facades: of what this client has a use for.
_FACADES = {
    "Admin": [3],
    "AllWatcher": [3],
    "Annotations": [2],
    "Application": [15, 16, 17, 18, 19, 20, 21, 22],
    "Charms": [5, 6, 7],
    "Client": [6, 7, 8],
    "Controller": [11, 12],
    "ModelConfig": [3],
    "ModelManager": [9, 10],
    "Pinger": [1],
    "Resources": [3],
    "Secrets": [1, 2],
    "Spaces": [6],
}
_READERS: dict[str, Callable[[str], object]] = {
    "boolean": lambda text: text == "true",
    "float": float,
    "int": int,
    "string": str,
}
_SECRET = "secret:9m4e2mr0ui3e8a215n4g"
_TYPES = {"provides": "provider", "requires": "requirer", "peers": "peer"}


class Charm:
    """A charm that was uploaded.

    Attributes:
        url: What the controller calls it, for example ``local:minio-0``.
        metadata: What it says of itself.
    """

    def __init__(self, content: bytes, numbers: dict[str, int]) -> None:
        """Read it, and give it the next number of its name."""
        with zipfile.ZipFile(io.BytesIO(content)) as archive:

            def document(name: str) -> Json:
                found = archive.read(name) if name in archive.namelist() else b"{}"
                return yaml.safe_load(found) or {}

            self.metadata = document("metadata.yaml")
            self._manifest = document("manifest.yaml")
            self._options: Json = document("config.yaml").get("options") or {}
        name = str(self.metadata["name"])
        self.number = numbers.get(name, -1) + 1
        numbers[name] = self.number
        self.name = name
        self.url = f"local:{name}-{self.number}"

    @property
    def resources(self) -> Mapping[str, Json]:
        """Its resources, as metadata.yaml describes them."""
        return self._part("resources")

    def _part(self, key: str) -> dict[str, Json]:
        return self.metadata.get(key) or {}

    def described(self) -> Json:
        """Describe it (``params.Charm``)."""
        meta: Json = {
            "name": self.name,
            "min-juju-version": str(self.metadata.get("min-juju-version", "0.0.0")),
            "resources": {
                name: {"name": name, "type": each["type"], "path": each.get("filename", "")}
                for name, each in self.resources.items()
            },
            "storage": {
                name: {"name": name, "type": each["type"], "count-min": 1, "count-max": 1}
                for name, each in self._part("storage").items()
            },
            "containers": {
                name: {"resource": each["resource"]}
                for name, each in self._part("containers").items()
            },
        }
        for kind, role in _TYPES.items():
            meta[kind] = {
                name: self.endpoint(name, each["interface"], role)
                for name, each in self._part(kind).items()
            }
        return {
            "revision": self.number,
            "url": self.url,
            "config": {name: {"type": each["type"]} for name, each in self._options.items()},
            "meta": meta,
            "manifest": {
                "bases": [
                    {**base, "channel": f"{base['channel']}/stable"}
                    for base in self._manifest.get("bases", ())
                ]
            },
        }

    @staticmethod
    def endpoint(name: str, interface: str, role: str) -> Json:
        """Describe an endpoint (``params.CharmRelation``)."""
        return {
            "name": name,
            "interface": interface,
            "role": role,
            "optional": False,
            "limit": 0,
            "scope": "global",
        }

    def settings(self, values: Mapping[str, str]) -> Json:
        """Give its options with their values, as ``juju config`` shows them."""
        settings: Json = {}
        for name, option in self._options.items():
            given: object = option.get("default")
            if name in values:
                # The controller reads a text as what the option's type says.
                given = _READERS[option["type"]](values[name])
            settings[name] = {"type": option["type"], "description": "", "source": "default"}
            if name in values:
                settings[name]["source"] = "user"
            if given is not None:
                settings[name]["value"] = given
        return settings


@dataclass
class Application:
    """An application of the model.

    Attributes:
        charm: Its charm.
        base: Its base, for example ``ubuntu@24.04``.
        scale: How many units it has.
        values: The options that were set, as texts.
        resources: What was sent for each of its resources.
        relations: The names of the related applications, by endpoint.
        unit: The words of its units' agent and workload.
        life: Empty while it lives, as Juju 3.6 has it.
    """

    charm: Charm
    base: str
    scale: int
    values: dict[str, str]
    resources: dict[str, str]
    relations: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    unit: tuple[str, str] = ("idle", "active")
    life: str = ""

    def described(self, name: str) -> Json:
        """Describe it (``params.ApplicationStatus``)."""
        agent, workload = self.unit
        return {
            "charm": self.charm.url,
            "base": _base(self.base),
            "life": self.life,
            "int": self.scale,
            "relations": self.relations,
            "status": _status(workload),
            "endpoint-bindings": {"": "alpha"},
            "units": {
                f"{name}/{number}": {
                    "agent-status": _status(agent),
                    "workload-status": _status(workload),
                    "leader": not number,
                }
                for number in range(self.scale)
            },
        }


class Model:
    """The model ``admin/kubeflow``, and the API that serves it.

    Attributes:
        api: The API.
        password: What its one user has to log in with.
        applications: What it holds.
        owners: Who owns a model ``kubeflow``.
        access: What the user may do.
        controller_config: The controller's own settings.
        version: The version of the controller and the model.
        secrets: What was sent for the one secret, each time; its values are in base64.
    """

    def __init__(self, user: str, password: str) -> None:
        self.user = user
        self.password = password
        self.applications: dict[str, Application] = {}
        self.owners = ["admin"]
        self.access = "admin"
        self.controller_config: Json = {"controller-uuid": CONTROLLER_UUID, "api-port": 17070}
        self.version = VERSION
        self.secrets: list[Json] = []
        self._charms: dict[str, Charm] = {}
        self._numbers: dict[str, int] = {}
        self._pending: dict[str, str] = {}
        answers: dict[str, Callable[[Json], Json]] = {
            "AllWatcher.Next": lambda _: {"deltas": []},
            "AllWatcher.Stop": _nothing,
            "Annotations.Get": _no_annotations,
            "Annotations.Set": lambda _: {"results": []},
            "Application.AddRelation": self._relate,
            "Application.CharmConfig": self._charm_config,
            "Application.Deploy": lambda p: _each(p["applications"], self._deploy),
            "Application.DestroyApplication": lambda p: _each(p["applications"], self._destroy),
            "Application.DestroyRelation": self._unrelate,
            "Application.Expose": _nothing,
            "Application.Get": self._get,
            "Application.GetCharmURLOrigin": self._origin,
            "Application.GetConstraints": lambda p: _each(p.get("entities") or (), _nothing),
            "Application.ScaleApplications": lambda p: _each(p["applications"], self._scale),
            "Application.SetCharm": self._set_charm,
            "Application.SetConfigs": lambda p: _each(p["Args"], self._set_values),
            "Charms.CharmInfo": lambda p: self._charms[p["url"]].described(),
            "Client.FullStatus": self._status,
            "Client.WatchAll": lambda _: {"watcher-id": "1"},
            "Controller.ControllerConfig": lambda _: {"config": self.controller_config},
            "ModelConfig.GetModelConstraints": lambda _: {"constraints": {}},
            "ModelConfig.ModelGet": lambda _: {"config": _model_config()},
            "ModelConfig.Sequences": lambda _: {"sequences": {}},
            "ModelManager.ListModelSummaries": self._summaries,
            "ModelManager.ModelInfo": self._information,
            "Pinger.Ping": _nothing,
            "Resources.AddPendingResources": self._add_pending,
            "Resources.ListResources": self._list_resources,
            "Secrets.CreateSecrets": self._write_secret,
            "Secrets.ListSecrets": self._list_secrets,
            "Secrets.UpdateSecrets": self._write_secret,
            "Spaces.ListSpaces": lambda _: {"results": []},
        }
        self.api = JujuApi(answers, self._login, self._take)

    def application(self, name: str) -> Application:
        """Give an application; refuses where there is none, in the controller's words."""
        if name not in self.applications:
            raise RefusalError(f'application "{name}" not found', "not found")
        return self.applications[name]

    def _login(self, parameters: Json, path: str) -> Json:
        is_known = parameters["auth-tag"] == f"user-{self.user}"
        if not is_known or parameters["credentials"] != self.password:
            raise RefusalError("invalid entity name or password", "unauthorized access")
        return {
            "controller-tag": f"controller-{CONTROLLER_UUID}",
            # The controller itself is at /api, a model at /model/UUID/api.
            "model-tag": f"model-{MODEL_UUID}" if path.startswith("/model/") else "",
            "server-version": self.version,
            "user-info": {
                "display-name": "",
                "identity": f"user-{self.user}",
                "controller-access": "login",
                "model-access": self.access,
            },
            "facades": [
                {"name": name, "versions": versions} for name, versions in _FACADES.items()
            ],
        }

    def _description(self, owner: str) -> Json:
        return {
            "name": "kubeflow",
            "uuid": MODEL_UUID,
            "type": "caas",
            "controller-uuid": CONTROLLER_UUID,
            "is-controller": False,
            "provider-type": "kubernetes",
            "cloud-tag": "cloud-k8s",
            "owner-tag": f"user-{owner}",
            "life": "alive",
            "status": {"status": "available", "info": "", "since": SINCE},
            "sla": {"level": "unsupported", "owner": ""},
            "agent-version": self.version,
        }

    def _summaries(self, _: Json) -> Json:
        return {
            "results": [
                {
                    "result": self._description(owner)
                    | {"user-access": self.access, "last-connection": None, "counts": []}
                }
                for owner in self.owners
            ]
        }

    def _information(self, _: Json) -> Json:
        user = {"user": self.user, "display-name": "", "last-connection": None}
        more = {"users": [user | {"access": self.access}], "machines": [], "secret-backends": []}
        return {"results": [{"result": self._description(self.owners[0]) | more}]}

    def _status(self, _: Json) -> Json:
        return {
            "model": {
                "name": "kubeflow",
                "type": "caas",
                "cloud-tag": "cloud-k8s",
                "version": self.version,
                "model-status": _status("available"),
                "sla": "unsupported",
            },
            "machines": {},
            "applications": {
                name: application.described(name)
                for name, application in self.applications.items()
            },
            "remote-applications": {},
            "offers": {},
            "relations": [
                _relation(number, pair) for number, pair in enumerate(sorted(self._relations()))
            ],
            "controller-timestamp": SINCE,
            "branches": {},
        }

    def _relations(self) -> set[tuple[tuple[str, str], ...]]:
        """Give the two ends of each relation, application and endpoint, in order."""
        found: set[tuple[tuple[str, str], ...]] = set()
        for name, application in self.applications.items():
            for endpoint, others in application.relations.items():
                for other in others:
                    found |= {
                        tuple(sorted(((name, endpoint), (other, at))))
                        for at, names in self.applications[other].relations.items()
                        if name in names
                    }
        return found

    def _take(self, upload: Upload) -> dict[str, str]:
        """Take a charm or the content of a resource (apiserver/objects.go, resources.go)."""
        parts = upload.path.strip("/").split("/")
        if parts[0] == f"model-{MODEL_UUID}":
            charm = Charm(upload.body, self._numbers)
            self._charms[charm.url] = charm
            return {"Juju-Curl": charm.url}
        _, _, _, name, _, resource = parts
        if pending := upload.query.get("pendingid"):
            self._pending[pending] = upload.body.decode()
        else:
            self.application(name).resources[resource] = upload.body.decode()
        return {}

    def _add_pending(self, parameters: Json) -> Json:
        ids = [
            f"{parameters['tag']}.{each['name']}.{len(self._pending)}"
            for each in parameters["resources"]
        ]
        self._pending.update(dict.fromkeys(ids, ""))
        return {"pending-ids": ids}

    def _list_resources(self, parameters: Json) -> Json:
        def one(entity: Json) -> Json:
            name = str(entity["tag"]).removeprefix("application-")
            application = self.application(name)
            given = [
                {
                    "name": resource,
                    "type": each["type"],
                    "path": each.get("filename", ""),
                    "origin": "upload",
                    "revision": 0,
                    "size": len(application.resources.get(resource, "")),
                    "fingerprint": _fingerprint(application.resources.get(resource, "")),
                }
                for resource, each in application.charm.resources.items()
            ]
            kept = {"application": name, "username": self.user, "timestamp": SINCE}
            return {
                "resources": [{"id": f"{name}/{each['name']}", **each, **kept} for each in given],
                "charm-store-resources": given,
                "unit-resources": [],
            }

        return _each(parameters["entities"], one)

    def _write_secret(self, parameters: Json) -> Json:
        self.secrets.append(parameters["args"][0])
        return {"results": [{"result": _SECRET}]}

    def _list_secrets(self, parameters: Json) -> Json:
        if not self.secrets:
            return {"results": []}
        secret: Json = {
            "uri": _SECRET,
            "version": 1,
            "owner-tag": f"model-{MODEL_UUID}",
            "label": self.secrets[0]["label"],
            "description": self.secrets[-1]["description"],
            "latest-revision": len(self.secrets),
            "create-time": SINCE,
            "update-time": SINCE,
            "revisions": [{"revision": len(self.secrets)}],
        }
        if parameters["show-secrets"]:
            secret["value"] = {"data": self.secrets[-1]["content"]["data"]}
        return {"results": [secret]}

    def _deploy(self, wanted: Json) -> Json:
        name = wanted["application"]
        if name in self.applications:
            raise RefusalError(f'cannot add application "{name}": application already exists')
        base = wanted["charm-origin"]["base"]
        # A bundle's options come as YAML, those of a command as texts.
        document: Json = yaml.load(wanted["config-yaml"] or "{}", yaml.BaseLoader)
        given: dict[str, str] = document.get(name) or {}
        texts: dict[str, str] = wanted.get("config") or {}
        values = given | texts
        values.pop("trust", None)
        self.applications[name] = Application(
            self._charms[wanted["charm-url"]],
            f"{base['name']}@{base['channel'].partition('/')[0]}",
            wanted["num-units"],
            values,
            {key: self._pending[given] for key, given in wanted.get("resources", {}).items()},
        )
        return {}

    def _origin(self, parameters: Json) -> Json:
        application = self.application(parameters["application"])
        return {
            "url": application.charm.url,
            "charm-origin": {
                "source": "local",
                "type": "charm",
                "id": "",
                "revision": application.charm.number,
                "architecture": "amd64",
                "base": _base(application.base),
            },
        }

    def _set_charm(self, parameters: Json) -> Json:
        application = self.application(parameters["application"])
        application.charm = self._charms[parameters["charm-url"]]
        base = parameters["charm-origin"]["base"]
        application.base = f"{base['name']}@{base['channel'].partition('/')[0]}"
        for resource, given in parameters.get("resource-ids", {}).items():
            application.resources[resource] = self._pending[given]
        application.values.update(parameters.get("config-settings") or {})
        return {}

    def _scale(self, wanted: Json) -> Json:
        application = self.application(wanted["application-tag"].removeprefix("application-"))
        application.scale = wanted["scale"]
        return {"info": {"num-units": application.scale}}

    def _destroy(self, wanted: Json) -> Json:
        name = wanted["application-tag"].removeprefix("application-")
        self.application(name)
        del self.applications[name]
        for other in self.applications.values():
            for related in other.relations.values():
                related[:] = [each for each in related if each != name]
        return {"info": {}}

    def _unrelate(self, parameters: Json) -> Json:
        sides = [each.partition(":") for each in parameters["endpoints"]]
        (first, _, endpoint), (second, _, other) = sides
        for name, at, to in ((first, endpoint, second), (second, other, first)):
            related = self.application(name).relations.get(at, [])
            if to not in related:
                raise RefusalError("relation not found", "not found")
            related.remove(to)
        return {}

    def _get(self, parameters: Json) -> Json:
        application = self.application(parameters["application"])
        return {
            "application": parameters["application"],
            "charm": application.charm.name,
            "config": application.charm.settings(application.values),
            "application-config": {"trust": {"type": "bool", "value": True, "source": "user"}},
            "constraints": {},
            "base": _base(application.base),
            "channel": "",
        }

    def _charm_config(self, parameters: Json) -> Json:
        def one(each: Json) -> Json:
            application = self.application(each["application"])
            return {"config": application.charm.settings(application.values)}

        return _each(parameters.get("args") or (), one)

    def _set_values(self, wanted: Json) -> Json:
        self.application(wanted["application"]).values.update(wanted["config"])
        return {}

    def _relate(self, parameters: Json) -> Json:
        sides = [each.partition(":") for each in parameters["endpoints"]]
        (first, _, endpoint), (second, _, other) = sides
        for name, at, to in ((first, endpoint, second), (second, other, first)):
            related = self.application(name).relations.setdefault(at, [])
            if to in related:
                both = " ".join(parameters["endpoints"])
                raise RefusalError(f'cannot add relation "{both}": relation already exists')
            related.append(to)
        return {
            "endpoints": {
                first: Charm.endpoint(endpoint, "i", "requirer"),
                second: Charm.endpoint(other, "i", "provider"),
            }
        }


def _each(items: Iterable[Json], answer: Callable[[Json], Json]) -> Json:
    """Answer a call about many things: with a result or an error for each."""
    results: list[Json] = []
    for item in items:
        try:
            results.append(answer(item))
        except RefusalError as refusal:
            results.append({"error": refusal.document()})
    return {"results": results}


def _fingerprint(content: str) -> str:
    return base64.b64encode(hashlib.sha384(content.encode()).digest()).decode()


def _nothing(_: Json) -> Json:
    return {}


def _no_annotations(parameters: Json) -> Json:
    entities = parameters.get("entities") or ()
    return {"results": [{"entity": e["tag"], "annotations": {}} for e in entities]}


def _status(words: str) -> Json:
    return {"status": words, "info": "", "data": {}, "since": SINCE, "kind": "", "version": ""}


def _relation(number: int, pair: tuple[tuple[str, str], ...]) -> Json:
    ends = [f"{name}:{endpoint}" for name, endpoint in pair]
    return {
        "id": number,
        "key": " ".join(ends),
        "interface": "i",
        "scope": "global",
        "endpoints": [
            {"application": name, "name": endpoint, "role": role, "subordinate": False}
            for (name, endpoint), role in zip(pair, ("provider", "requirer"), strict=True)
        ],
        "status": _status("joined"),
    }


def _base(base: str) -> Json:
    name, _, channel = base.partition("@")
    return {"name": name, "channel": f"{channel}/stable"}


def _model_config() -> dict[str, Any]:
    values = {
        "name": "kubeflow",
        "type": "kubernetes",
        "uuid": MODEL_UUID,
        "agent-version": VERSION,
        "default-base": "",
        "charmhub-url": "https://api.charmhub.io",
        "firewall-mode": "instance",
    }
    return {name: {"value": value, "source": "model"} for name, value in values.items()}

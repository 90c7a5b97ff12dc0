"""What registries of other makers answer, by a proxy before a real one; skopeo meets the same."""

import json
import re
import shutil
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qs

import pytest

from ckf_airgap.images.oci import DOCKER_MANIFEST, OCI_MANIFEST
from testbed.pki import Authority
from tests.functional.archive_case import (
    JUPYTER,
    JUPYTER_TAR,
    KFAM,
    KFAM_TAR,
    MINIO,
    MINIO_TAR,
    SEVERAL,
    is_for_mirrors,
    named,
)
from tests.functional.front import BOTH, Front, use_account
from tests.functional.running_registry import RunningRegistry
from tests.functional.servers import Answer, Fault, Request, passed_on, proxy
from tests.functional.tokens import ACCOUNT, TokenServer, token_registry
from tests.functional.watch import Watch
from tests.support.archive_forms import docker_save
from tests.support.compressed import gzipped
from tests.support.sample_images import NamedImage
from tests.support.tar_files import tar, tar_of

THREE = gzipped(tar_of(jupyter=JUPYTER_TAR, kfam=KFAM_TAR, minio=MINIO_TAR))
NEXT_KFAM = NamedImage(named("x", "base", "next").image, KFAM.names)
NOTEBOOK = named("docker.io/kubeflow/notebook:2.0", "base", "notebook")


def refusal(status: int, code: str = "", message: str = "") -> Answer:
    """Refuse as the specification has it ("Error Codes"), or without a word."""
    body = json.dumps({"errors": [{"code": code, "message": message}]}) if code else ""
    return Answer(status, body.encode(), {"Content-Type": "application/json"})


def is_manifest_put(request: Request) -> bool:
    return request.method == "PUT" and "/manifests/" in request.path


def put_types(requests: Sequence[Request]) -> list[str]:
    """List the media types of the manifests among requests, without those for mirrors."""
    return [
        each.headers["Content-Type"]
        for each in requests
        if is_manifest_put(each) and not is_for_mirrors(each.path)
    ]


Before = Callable[[Fault], AbstractContextManager[Front]]


class Switch:
    """A fault that is another one in each test: so that one proxy serves them all."""

    fault: Fault | None = None

    def __call__(self, request: Request) -> Answer | int | Literal["cut"] | None:
        return self.fault(request) if self.fault else None


@pytest.fixture(scope="module")
def switched(
    shared_registry: RunningRegistry, authority: Authority
) -> Generator[tuple[Switch, str]]:
    """A proxy before the registry."""
    switch = Switch()
    with proxy(shared_registry, authority, switch) as host:
        yield switch, host


@pytest.fixture
def before(
    switched: tuple[Switch, str],
    shared_registry: RunningRegistry,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> Before:
    """An archive of two images, and a fault between its push and a registry."""
    switch, host = switched

    @contextmanager
    def front(fault: Fault) -> Generator[Front]:
        switch.fault = fault
        yield Front(shared_registry, tmp_path, capsys, host)
        switch.fault = None

    return front


@pytest.mark.parametrize(
    ("values", "by_skopeo"),
    [
        (["Negotiate", "NTLM", 'Basic realm="x"'], True),
        (['Negotiate, NTLM TlRMTVNTUAACAAAAA==, Basic realm="x", charset="UTF-8"'], False),
        (["Basic realm=plain"], True),
        (['Bearer realm="{realm}",service=testbed', 'Basic realm="Gitea"'], True),
        (['Basic realm="Gitea", Bearer service = testbed, realm = "{realm}"'], False),
    ],
    ids=["kerberos", "kerberos-in-one", "bare", "gitea", "gitea-in-one"],
)
def test_challenges(
    values: Sequence[str],
    by_skopeo: bool,
    authority: Authority,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    closed_registry: RunningRegistry,
) -> None:
    def challenge(request: Request) -> Answer:
        answer = passed_on(request)
        headers = {k: v for k, v in answer.headers.items() if k.lower() != "www-authenticate"}
        if answer.status == 401:
            # Names in other letters are the same header another time.
            names = ("WWW-Authenticate", "Www-Authenticate", "www-authenticate")
            headers |= {
                name: each.format(realm=realm) for name, each in zip(names, values, strict=False)
            }
        return replace(answer, headers=headers)

    def push(registry: RunningRegistry, username: str, password: str) -> None:
        with proxy(registry, authority, challenge) as host:
            hosts = [host, registry.process.host]
            use_account(username, password, hosts, tmp_path / "auth.json", monkeypatch)
            case = Front(registry, tmp_path, capsys, host)
            answer = case.push()
            case.require_whole(answer, BOTH)
            assert password not in answer.said
            assert case.skopeo_pushes(KFAM) or not by_skopeo

    realm = ""
    if any("Bearer" in value for value in values):
        with token_registry(authority, tmp_path, TokenServer(ACCOUNT)) as process:
            realm = process.realm
            push(RunningRegistry(process), ACCOUNT.username, ACCOUNT.password)
    else:
        process = closed_registry.process
        assert process.username and process.password
        push(closed_registry, process.username, process.password)


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 500, 201])
def test_a_mount_that_is_refused(status: int, before: Before) -> None:
    """201 is that of a registry which says that it has done it, and has not."""
    mounts: list[str] = []

    def refuse(request: Request) -> Answer | None:
        if "mount=" not in request.path:
            return None
        mounts.append(request.path)
        return refusal(status, "DENIED", "source project not found")

    with before(refuse) as case:
        case.require_whole(case.push(), BOTH)
        assert mounts
        assert status not in (403, 404) or case.skopeo_pushes(*BOTH)


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (404, "NAME_UNKNOWN", "The repository with name 'x' does not exist in the registry"),
        (400, "NAME_INVALID", "invalid repository name: x"),
        (401, "UNAUTHORIZED", "unauthorized to access repository: x, action: push"),
        (403, "DENIED", "requested access to the resource is denied"),
    ],
    ids=["ECR", "Harbor-400", "Harbor-401", "Harbor-403"],
)
def test_repositories_that_have_to_exist(
    status: int, code: str, message: str, before: Before
) -> None:
    """Only those of the images are there: another would be refused, and none is asked for."""
    names = [image.names[0].partition("/")[2].partition(":")[0] for image in SEVERAL]
    asked: set[str] = set()
    others: list[str] = []

    def know(request: Request) -> Answer | None:
        path, _, query = request.path.removeprefix("/v2/").partition("?")
        named = [re.split("/(?:blobs|manifests|tags)/", path)[0], *parse_qs(query).get("from", [])]
        asked.update(named)
        known = [f"{place}/{name}" for place in places for name in names]
        if set(named) <= {*known, ""}:
            return None
        if not is_for_mirrors(request.path):
            others.append(f"{request.method} {request.path}")
        return refusal(status, code, message)

    with before(know) as case:
        places = [case.place, f"{case.place}-skopeo"]
        case.require_whole(case.push(THREE), SEVERAL)
        assert others == []
        assert asked >= {f"{case.place}/{name}" for name in names}
        assert case.skopeo_pushes(*BOTH)


_IMMUTABLE = {
    "Harbor": (412, "PRECONDITION", "Failed to process request due to '2.0' configured as x."),
    "Artifactory-409": (409, "DENIED", "not permitted"),
    "Artifactory-403": (403, "DENIED", "not enough permissions to delete/overwrite"),
    "ECR": (
        400,
        "TAG_INVALID",
        "The image tag '2.0' already exists and cannot be overwritten because it is immutable.",
    ),
}


@pytest.mark.parametrize("answer", _IMMUTABLE.values(), ids=_IMMUTABLE)
def test_immutable_tags(answer: tuple[int, str, str], before: Before) -> None:
    puts: list[str] = []
    taken: set[str] = set()

    def refuse(request: Request) -> Answer | None:
        if not is_manifest_put(request) or is_for_mirrors(request.path):
            return None
        puts.append(request.path)
        if request.path in taken:
            return refusal(*answer)
        taken.add(request.path)
        return None

    with before(refuse) as case:
        case.require_whole(case.push(), BOTH)
        # Another workstation: no journal.
        case.forget()
        assert len(puts) == len(BOTH)
        again = case.push()
        assert (again.status, again.document["uploaded_bytes"]) == (0, 0), again.said
        assert len(puts) == len(BOTH)
        files = {"kfam": NEXT_KFAM, "notebook": NOTEBOOK}
        members = {name: tar(docker_save([image])) for name, image in files.items()}
        case.path.write_bytes(gzipped(tar_of(**members)))
        case.error(f"{case.place}/kubeflow/kfam:2.0", "immutable", "another path")
        assert case.pulled(NOTEBOOK.names[0]) == NOTEBOOK.image.identity
        assert case.pulled(KFAM.names[0]) == KFAM.image.identity
        assert case.skopeo_pushes(KFAM)
        assert not case.skopeo_pushes(NEXT_KFAM)


def refusing_type(media_type: str, status: int, requests: list[Request]) -> Fault:
    """Refuse the manifests of a media type, and keep all requests."""

    def refuse(request: Request) -> Answer | None:
        requests.append(request)
        is_meant = is_manifest_put(request) and request.headers["Content-Type"] == media_type
        return refusal(status, "MANIFEST_INVALID", "manifest invalid") if is_meant else None

    return refuse


@pytest.mark.parametrize("status", [400, 406, 415, 422])
def test_a_registry_without_the_manifests_of_docker(status: int, before: Before) -> None:
    """415 is what zot answers as it is out of the box."""
    requests: list[Request] = []
    with before(refusing_type(DOCKER_MANIFEST, status, requests)) as case:
        case.require_whole(case.push(), BOTH)
        # It is tried once, and not for every image.
        assert put_types(requests) == [DOCKER_MANIFEST, *[OCI_MANIFEST] * len(BOTH)]
        again = case.push()
        assert (again.status, again.document["present"]) == (0, len(BOTH)), again.said
        assert case.skopeo_pushes(KFAM) or status in (406, 422)


@pytest.mark.parametrize("status", [400, 415])
def test_a_registry_without_the_manifests_of_oci(status: int, before: Before) -> None:
    """A layout has its own manifest, which is tried first."""
    requests: list[Request] = []
    with before(refusing_type(OCI_MANIFEST, status, requests)) as case:
        case.require_whole(case.push(gzipped(tar_of(minio=MINIO_TAR))), [MINIO])
        assert put_types(requests) == [OCI_MANIFEST, DOCKER_MANIFEST]
        assert case.skopeo_pushes(MINIO, layout=True)


_CAUSES: Mapping[int, tuple[str, str]] = {
    401: ("refused the credentials", "give an account"),
    403: ("forbids this account to push", "give an account"),
    404: ("has no repository", "each repository, to be made first"),
    405: ("does not accept pushes", "read-only mode off"),
    409: ("does not let", "locked"),
    412: ("does not let", "locked"),
    413: ("takes no upload of this size", "raise the limit"),
    415: ("media type", "look into the registry's log"),
    429: ("limits the rate of requests", "wait, then run it again"),
    500: ("answered 500", "look into the registry's log"),
    503: ("answered 503", "look into the registry's log"),
}


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize(
    ("status", "image"),
    [*((status, KFAM) for status in _CAUSES), (401, JUPYTER), (404, JUPYTER)],
    ids=lambda value: str(value) if isinstance(value, int) else value.names[0],
)
def test_a_repository_that_takes_no_upload(status: int, image: NamedImage, before: Before) -> None:
    """What is refused to one repository leaves the others; what fails there may fail anywhere."""
    name = image.names[0].partition("/")[2].partition(":")[0]
    echo = "x" * 10_000

    def refuse(request: Request) -> Answer | None:
        is_meant = request.method == "POST" and f"/{name}/blobs/uploads/" in request.path
        return refusal(status, "OTHER", echo) if is_meant else None

    with before(refuse) as case:
        cause, cure = _CAUSES[status]
        error = case.error(f"{case.place}/{name}", cause, cure)
        if status in (429, 500, 503):
            return
        assert error.startswith(f"{image.names[0].removeprefix('docker.io/')} is not pushed")
        (other,) = [each for each in BOTH if each is not image]
        assert len(case.tags()) == 1
        assert case.pulled(other.names[0]) == other.image.identity


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize("under", ["kubeflow/kfam", ""], ids=["there", "everywhere"])
def test_a_blob_that_is_lost_before_its_manifest(under: str, before: Before) -> None:
    """A collection of garbage in the middle of a push: there is no image yet that needs it."""
    lost: list[Path] = []

    def collect(request: Request) -> None:
        if is_manifest_put(request) and "/kubeflow/kfam/" in request.path and not lost:
            lost.extend(case.links(json.loads(request.body)["layers"][-1]["digest"], under))
            for link in lost:
                shutil.rmtree(link)

    with before(collect) as case:
        case.require_whole(case.push(), BOTH)
        assert lost


def test_a_blob_that_is_lost_where_it_came_first(before: Before) -> None:
    """Collected where no image needs it; the image's own repository has it still."""
    watch = Watch()
    with before(watch) as case:
        case.require_whole(case.push(), BOTH)
        manifest = json.loads(case.manifest(KFAM.names[0]))
        layers = [layer["digest"] for layer in manifest["layers"]]
        for link in case.links(layers[-1], "kubeflow/jupyter"):
            shutil.rmtree(link)
        sent = len(watch.sent)
        other = NamedImage(KFAM.image, ("docker.io/kubeflow/other:1",))
        answer = case.push(gzipped(tar_of(kfam=tar(docker_save([KFAM, other])))))
        assert answer.document["uploaded_bytes"] == 0, answer.said
        assert case.pulled(other.names[0]) == KFAM.image.identity
        # The config is sent to each repository.
        assert set(watch.sent[sent:]) <= {KFAM.image.image_id, *layers}


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize("stored", [b" ", b""], ids=["another", "nothing"])
def test_a_registry_that_stores_something_else(stored: bytes, before: Before) -> None:
    def change(request: Request) -> Answer | None:
        if not is_manifest_put(request) or "/kfam/" not in request.path:
            return None
        if stored:
            content = request.body + stored
            headers = request.headers | {"Content-Length": str(len(content))}
            request.upstream.request("PUT", request.path, content, headers)
            assert request.upstream.getresponse().status == 201
        return Answer(201)

    with before(change) as case:
        case.error("confirmed sha256:", f"{case.place}/kubeflow/kfam:2.0", "check its log")

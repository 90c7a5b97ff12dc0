"""The files that container runtimes read their mirrors from, against their documented formats."""

import re
import tomllib
from pathlib import PurePosixPath
from typing import Any, cast

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ckf_airgap.images.naming import mirror_path
from ckf_airgap.images.reference import ImageReference
from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.mirrors.runtime_files import RUNTIMES, MirrorSettings, runtime_files

PREFIX = RegistryLocation("registry.corp:5000", "team/ckf")
ROOT = RegistryLocation("registry.corp")
HOSTS = ("docker.io", "registry.k8s.io")
CA = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
# OpenShift, config/v1: the patterns that the definitions of both kinds have for mirrors; a source
# may be a whole domain besides, which is not used here.
_LABEL = "(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
OPENSHIFT_NAME = re.compile(
    rf"({_LABEL}(?:(?:\.{_LABEL})+)?(?::[0-9]+)?)"
    r"(?:(?:/[a-z0-9]+(?:(?:(?:[._]|__|[-]*)[a-z0-9]+)+)?)+)?"
)


def written(
    runtime: str, location: RegistryLocation = PREFIX, ca: str | None = CA
) -> dict[str, str]:
    return runtime_files(runtime, MirrorSettings(location, HOSTS, ca))


def check_hosts_toml(document: dict[str, Any], url: str) -> None:
    """Check a hosts.toml: containerd, docs/hosts.md ("hosts.toml Content Description").

    server: string. host: a table by URL. Both may have capabilities (pull, resolve, push), ca (a
    path or several), client, skip_verify, header, override_path (boolean).
    """
    document = dict(document)
    assert document.pop("server") == url
    hosts = document.pop("host")
    assert list(hosts) == [url]
    for rules in (document, hosts[url]):
        assert rules.keys() <= {"capabilities", "ca", "override_path"}
        assert rules["capabilities"] == ["pull", "resolve"]
        assert rules["override_path"] is True


@pytest.mark.parametrize(
    ("location", "root"),
    [(PREFIX, "https://registry.corp:5000/v2/team/ckf"), (ROOT, "https://registry.corp/v2")],
)
def test_containerd(location: RegistryLocation, root: str) -> None:
    found = written("containerd", location)
    for host in HOSTS:
        document = tomllib.loads(found.pop(f"certs.d/{host}/hosts.toml"))
        check_hosts_toml(document, f"{root}/{host}")
        assert document["ca"] == "ca.crt"
        assert found.pop(f"certs.d/{host}/ca.crt") == CA
    assert list(found) == ["README.md"]


@pytest.mark.parametrize("runtime", ["k3s", "rke2"])
@pytest.mark.parametrize(("location", "root"), [(PREFIX, "team/ckf/"), (ROOT, "")])
def test_k3s_and_rke2(runtime: str, location: RegistryLocation, root: str) -> None:
    """registries.yaml: "Private Registry Configuration" of both.

    mirrors: by registry, endpoint (URLs) and rewrite (a pattern of Go by what takes its place).
    configs: by registry, tls (ca_file, cert_file, key_file, insecure_skip_verify) and auth.
    """
    found = written(runtime, location)
    document = yaml.safe_load(found["registries.yaml"])
    assert document.keys() == {"mirrors", "configs"}
    for host in HOSTS:
        mirror = document["mirrors"].pop(host)
        assert mirror["endpoint"] == [f"https://{location.host}"]
        ((pattern, place),) = mirror["rewrite"].items()
        # As Go's ReplaceAllString does it.
        rewritten = re.sub(pattern, place.replace("$1", r"\1"), "library/busybox", count=1)
        assert rewritten == f"{root}{host}/library/busybox"
        assert mirror.keys() == {"endpoint", "rewrite"}
    assert document["mirrors"] == {}
    ca = f"/etc/rancher/{runtime}/ckf-airgap-ca.crt"
    assert document["configs"] == {location.host: {"tls": {"ca_file": ca}}}
    assert found["ckf-airgap-ca.crt"] == CA
    assert "configs" not in yaml.safe_load(written(runtime, ca=None)["registries.yaml"])


@pytest.mark.parametrize("location", [PREFIX, ROOT])
def test_openshift(location: RegistryLocation) -> None:
    """ImageDigestMirrorSet and ImageTagMirrorSet, config.openshift.io/v1.

    spec: imageDigestMirrors or imageTagMirrors, a list of source, mirrors (a set) and
    mirrorSourcePolicy (NeverContactSource, AllowContactingSource).
    """
    documents = list(yaml.safe_load_all(written("openshift", location)["mirror-sets.yaml"]))
    kinds = {each["kind"]: each for each in documents}
    assert kinds.keys() == {"ImageDigestMirrorSet", "ImageTagMirrorSet"}
    for kind, key in (
        ("ImageDigestMirrorSet", "imageDigestMirrors"),
        ("ImageTagMirrorSet", "imageTagMirrors"),
    ):
        assert kinds[kind].keys() == {"apiVersion", "kind", "metadata", "spec"}
        assert kinds[kind]["apiVersion"] == "config.openshift.io/v1"
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", kinds[kind]["metadata"]["name"])
        assert kinds[kind]["spec"].keys() == {key}
        entries = kinds[kind]["spec"][key]
        assert [entry["source"] for entry in entries] == list(HOSTS)
        for entry in entries:
            assert entry.keys() == {"source", "mirrors", "mirrorSourcePolicy"}
            assert entry["mirrorSourcePolicy"] == "NeverContactSource"
            (mirror,) = entry["mirrors"]
            assert mirror == f"{location}/{entry['source']}"
            assert OPENSHIFT_NAME.fullmatch(mirror)
            assert OPENSHIFT_NAME.fullmatch(entry["source"])


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("ca", [CA, None])
def test_a_page_says_where_the_files_go(runtime: str, ca: str | None) -> None:
    found = written(runtime, ca=ca)
    page = found["README.md"]
    assert ("must trust the certificate of registry.corp:5000" in page) == (ca is None)
    assert "requires an account" in page
    assert "docker.io, registry.k8s.io" in page
    for word in ("{{", "{%", "insecure", "skip_verify", "http://"):
        assert not any(word in content for content in found.values())
    # Whatever files there are, the page names them.
    for name in found:
        last = PurePosixPath(name).name
        if last not in {"README.md", "ca.crt"} or (runtime == "openshift" and last == "ca.crt"):
            assert last in page


@pytest.mark.parametrize(
    ("runtime", "title", "server"), [("k3s", "k3s", "k3s"), ("rke2", "RKE2", "rke2-server")]
)
def test_the_page_of_k3s_and_rke2_names_the_paths_and_services_of_one(
    runtime: str, title: str, server: str
) -> None:
    page = written(runtime)["README.md"]
    assert page.startswith(f"# Mirrors for {title}\n")
    assert f"systemctl restart {server}` (an agent: `{runtime}-agent`)" in page
    assert set(re.findall("/etc/rancher/[^`]*", page)) == {
        f"/etc/rancher/{runtime}/",
        f"/etc/rancher/{runtime}/config.yaml",
    }
    assert ({"k3s", "rke2"} - {runtime}).pop() not in page.lower()


PIECES = st.sampled_from(
    ["docker.io", "..", "/", '"', "\\", "\n", "]", "[", ":", "a", "A", "-", ".", "@", "#", "'"]
)


@settings(max_examples=50, deadline=None)
@given(st.lists(PIECES, min_size=1, max_size=8).map("".join))
def test_no_name_writes_more_than_its_own_entry(name: str) -> None:
    """What is no name of an image gets nowhere; what is one, stays where it belongs."""
    reference = ImageReference.parse(name)
    path = mirror_path(reference) if reference else None
    if path is None:
        return
    host = path.repository.partition("/")[0]
    of_host = MirrorSettings(PREFIX, [host], CA)
    for runtime in RUNTIMES:
        for file in runtime_files(runtime, of_host):
            parts = PurePosixPath(file).parts
            assert ".." not in parts
            assert not PurePosixPath(file).is_absolute()
    toml = tomllib.loads(runtime_files("containerd", of_host)[f"certs.d/{host}/hosts.toml"])
    check_hosts_toml(toml, f"https://registry.corp:5000/v2/team/ckf/{host}")
    document = cast(
        dict[str, Any], yaml.safe_load(runtime_files("k3s", of_host)["registries.yaml"])
    )
    assert list(document["mirrors"]) == [host]


@pytest.mark.parametrize("host", ["../etc", 'a"b', "a\nb", "a]b\x00"])
def test_what_was_never_checked_is_not_written(host: str) -> None:
    with pytest.raises(AssertionError):
        runtime_files("containerd", MirrorSettings(PREFIX, [host], CA))

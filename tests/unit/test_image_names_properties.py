"""Properties of image names, over all that the grammar of references allows."""

import csv
import re
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ckf_airgap.archives.inventory import Inventory
from ckf_airgap.charms.charm_file import CharmFile
from ckf_airgap.charms.image_options import PlainImageOption
from ckf_airgap.images.naming import archived_paths, image_path
from ckf_airgap.images.reference import ImagePath, ImageReference, registry_host
from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.planning.application_images import ApplicationImages
from ckf_airgap.planning.image_lookup import Match, Resolver
from tests.sample_release import RETAG_REGISTRY, member_name, retagged_name
from tests.support.member_names import wanted_by_member_name
from tests.unit.artifacts import inventory_of

# Image, name after the public retag script, members saved from the list of new and of old names.
TABLE = [
    (
        "ubuntu:22.04",
        "172.17.0.2:5000/ubuntu:22.04",
        "172.17.0.2-5000-ubuntu-22.04.tar",
        "ubuntu-22.04.tar",
    ),
    (
        "argoproj/workflow-controller:v3.3.10",
        "172.17.0.2:5000/argoproj/workflow-controller:v3.3.10",
        "172.17.0.2-5000-argoproj-workflow-controller-v3.3.10.tar",
        "argoproj-workflow-controller-v3.3.10.tar",
    ),
    (
        "docker.io/istio/proxyv2:1.28.0",
        "172.17.0.2:5000/istio/proxyv2:1.28.0",
        "172.17.0.2-5000-istio-proxyv2-1.28.0.tar",
        "docker.io-istio-proxyv2-1.28.0.tar",
    ),
    (
        "docker.io/ubuntu:22.04",
        "172.17.0.2:5000/docker.io/ubuntu:22.04",
        "172.17.0.2-5000-docker.io-ubuntu-22.04.tar",
        "docker.io-ubuntu-22.04.tar",
    ),
    (
        f"gcr.io/knative-releases/knative.dev/eventing/cmd/webhook@sha256:{'c9' * 32}",
        f"172.17.0.2:5000/knative-releases/knative.dev/eventing/cmd/webhook:{'c9' * 32}",
        f"172.17.0.2-5000-knative-releases-knative.dev-eventing-cmd-webhook-{'c9' * 32}.tar",
        f"gcr.io-knative-releases-knative.dev-eventing-cmd-webhook@sha256-{'c9' * 32}.tar",
    ),
    (
        "registry.corp.example.com:8443/team/a/b/app:v1",
        "172.17.0.2:5000/team/a/b/app:v1",
        "172.17.0.2-5000-team-a-b-app-v1.tar",
        "registry.corp.example.com-8443-team-a-b-app-v1.tar",
    ),
    (
        # No reference at all: the project differs from the script here.
        "localhost:5000/app:1",
        "172.17.0.2:5000/localhost:5000/app:1",
        "172.17.0.2-5000-localhost-5000-app-1.tar",
        "localhost-5000-app-1.tar",
    ),
]


@dataclass(frozen=True)
class Image:
    """An image reference in its parts.

    Attributes:
        host: The host, or an empty string.
        components: The components of the path.
        tag: The tag, or an empty string.
        digest: The digest, or an empty string.
    """

    host: str
    components: tuple[str, ...]
    tag: str = ""
    digest: str = ""

    @property
    def parts(self) -> tuple[str, ...]:
        return (self.host, *self.components) if self.host else self.components

    @property
    def is_on_nameless_host(self) -> bool:
        """Whether it is right below a host with a port or without a public name."""
        return len(self.components) == 1 and (
            ":" in self.host or self.host in ("localhost", "10.1.2.3")
        )

    @property
    def path(self) -> ImagePath:
        """Its place under the prefix by the rule, written a second time."""
        parts = self.parts[1:] if len(self.parts) > 2 or self.is_on_nameless_host else self.parts
        return ImagePath("/".join(parts), self.tag or self.digest.partition(":")[2] or "latest")

    @property
    def reference(self) -> ImageReference:
        parsed = ImageReference.parse(str(self))
        assert parsed is not None, str(self)
        return parsed

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return "/".join(self.parts) + tag + (f"@{self.digest}" if self.digest else "")


def matching(pattern: str) -> st.SearchStrategy[str]:
    return st.from_regex(re.compile(pattern, re.ASCII), fullmatch=True)


def location_of(host: str, path: list[str]) -> RegistryLocation:
    return RegistryLocation.parse("/".join((host, *path)))


# Short ones, so that names collide now and then.
COMPONENTS = st.sampled_from(["a", "b", "app", "library"]) | matching(
    r"[a-z0-9]{1,6}(?:(?:\.|_|__|-{1,3})[a-z0-9]{1,3}){0,2}"
)
# A host in upper case is left out: below it, one component alone would be no valid path.
NAMED_HOSTS = st.sampled_from(["docker.io", "registry.k8s.io", "r.corp"]) | matching(
    r"[a-z][a-z0-9]{0,4}(?:-[a-z0-9]{1,3})?\.[a-z]{2,4}"
)
PORTS = st.integers(1, 65535).map(lambda port: f":{port}")
HOSTS_WITH_PORT = st.builds(
    str.__add__, NAMED_HOSTS | st.sampled_from(["localhost", "10.1.2.3", "[fd00::1]"]), PORTS
)
HOSTS = NAMED_HOSTS | HOSTS_WITH_PORT | st.sampled_from(["localhost", "10.1.2.3", "[fd00::1]"])
TAGS = st.sampled_from(["1", "latest", "_", "v1.8.0-rc.1_x", "T" * 128]) | matching(
    r"\w[\w.-]{0,12}"
)
DIGESTS = st.one_of(
    matching(r"[0-9a-f]{64}").map(lambda text: f"sha256:{text}"),
    st.sampled_from(["sha256:" + "0" * 64, "sha512:" + "0" * 128, "sha256:" + "AB" * 32]),
)
PATHS = st.lists(COMPONENTS, min_size=1, max_size=5).map(tuple)
NOTHING = st.just("")
IMAGES = st.builds(Image, NOTHING | HOSTS, PATHS, NOTHING | TAGS, NOTHING | DIGESTS)
# Of a tag with a digest the public script makes no reference, nor of one component below a host
# with a port.
RETAGGED_IMAGES = st.one_of(
    st.builds(Image, NOTHING | HOSTS, PATHS, NOTHING | TAGS),
    st.builds(Image, NOTHING | HOSTS, PATHS, NOTHING, DIGESTS),
).filter(lambda image: not image.is_on_nameless_host)
RETAG_REGISTRIES = st.sampled_from(
    [RETAG_REGISTRY, "localhost:32000", "[fd00::2]:5000", "cache.corp:443"]
)
LOCATIONS = st.builds(location_of, HOSTS, st.lists(COMPONENTS, max_size=3))

# The machines of the tests are slow at times: how long examples take to make or to test says
# nothing.
examples = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def charm(image: str) -> CharmFile:
    """Make a charm that takes one image, by a resource and by an option."""
    return CharmFile(
        path=Path("app.charm"),
        label="app.charm",
        name="app",
        resources={"oci-image": image},
        image_options=(PlainImageOption("image", image),),
        options={"image": image},
        endpoints=(),
        bases=(),
        is_podspec=False,
    )


def assert_in_grammar(emitted: str) -> None:
    """Check against the grammar of the distribution project, written a second time."""
    host, _, rest = emitted.partition("/")
    repository, _, tag = rest.rpartition(":")
    domain = r"[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?"
    assert re.fullmatch(rf"({domain}(\.{domain})*|\[[0-9a-fA-F:]+\])(:\d+)?", host, re.ASCII)
    for component in repository.split("/"):
        assert component == component.lower()
        assert re.fullmatch(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*", component, re.ASCII), component
    assert 1 <= len(tag) <= 128
    assert re.fullmatch(r"\w[\w.-]*", tag, re.ASCII), tag


@examples
@given(IMAGES)
def test_a_reference_is_read_and_written_as_it_was(image: Image) -> None:
    assert str(image.reference) == str(image)
    assert image.reference.components == list(image.parts)
    assert (image.reference.tag or "", image.reference.digest or "") == (image.tag, image.digest)


@examples
@given(IMAGES, LOCATIONS)
def test_an_image_has_a_valid_name_under_any_prefix(
    image: Image, location: RegistryLocation
) -> None:
    path = image_path(image.reference)
    assert path == image.path
    emitted = location.reference(path)
    assert_in_grammar(emitted)
    assert emitted.startswith(f"{location}/")
    assert emitted == f"{location.host}/{location.repository(path)}:{path.tag}"
    # A container runtime pulls it from there.
    assert registry_host(emitted) == location.host
    parsed = ImageReference.parse(emitted)
    assert parsed is not None
    assert (parsed.tag, parsed.digest) == (path.tag, None)
    assert parsed.components[-1] == path.last_component == image.components[-1]


@examples
@given(IMAGES, st.lists(IMAGES, max_size=4), LOCATIONS, st.data())
def test_an_image_that_is_archived_under_its_name_is_found(
    image: Image, others: list[Image], location: RegistryLocation, data: st.DataObject
) -> None:
    names = data.draw(st.permutations([str(image), *map(str, others)]))
    assert_found(image, inventory_of(names), location)


@examples
@given(
    RETAGGED_IMAGES,
    RETAG_REGISTRIES,
    st.lists(RETAGGED_IMAGES, max_size=4),
    LOCATIONS,
    st.data(),
)
def test_an_image_that_is_archived_as_the_public_script_retags_it_is_found(
    image: Image,
    registry: str,
    others: list[Image],
    location: RegistryLocation,
    data: st.DataObject,
) -> None:
    retagged = [retagged_name(str(each), registry) for each in (image, *others)]
    reference = ImageReference.parse(retagged[0])
    assert reference is not None
    assert image_path(reference) == image.path
    assert_found(image, inventory_of(data.draw(st.permutations(retagged))), location)


def assert_found(image: Image, held: Inventory, location: RegistryLocation) -> None:
    resolution = Resolver(held).resolve(str(image))
    assert (resolution.by, resolution.path) == (Match.EXACT, image.path)
    finder = ApplicationImages(held, location)
    emitted = location.reference(image_path(image.reference))
    assert finder.resources("app", charm(str(image)), {}) == {"oci-image": emitted}
    assert finder.options("app", charm(str(image)), {}).values == {"image": emitted}
    assert (finder.missing, finder.warnings) == ((), ())
    assert [item.path for item in finder.resolved] == [image.path]


@st.composite
def neighbours(draw: st.DrawFn) -> tuple[Image, Image]:
    """Draw an image and another one whose name is much like it."""
    image = draw(IMAGES)
    host, components = image.host, image.components
    other = draw(
        st.one_of(
            IMAGES,
            st.builds(Image, st.just(host), st.just(components), TAGS),
            st.builds(Image, st.just(host), st.just(components), NOTHING, DIGESTS),
            st.sampled_from(
                [
                    Image(other_host, path, image.tag, image.digest)
                    for other_host in ("", "docker.io", "localhost:5000", host)
                    for path in (
                        components,
                        components[1:] or ("b",),
                        (*components[:-1], "b"),
                        (*components[:-1], components[-1][-1]),
                        ("b", *components[1:]),
                        ("b", *components),
                        ("library", *components),
                        (*components, "b"),
                    )
                ]
            ),
        )
    )
    return image, other


def readings(image: Image) -> set[ImagePath]:
    """Give the paths by which an archived name may be found: it may be an old or a new one."""
    first, *others = image.parts
    paths = {image.path}
    if others:
        paths.add(ImagePath("/".join(others), image.path.tag))
    if not re.search("[.:]", first):
        # Docker leaves the name of its own hub out.
        for hub in (("docker.io",), ("docker.io", "library")):
            paths.add(Image("", (*hub, *image.parts), image.tag, image.digest).path)
    return paths


@examples
@given(neighbours())
def test_another_image_does_not_pass_for_the_one_that_is_wanted(pair: tuple[Image, Image]) -> None:
    archived, wanted = pair
    resolution = Resolver(inventory_of([str(archived)])).resolve(str(wanted))
    assert resolution.path in (archived.path, None)
    if wanted.path == archived.path:
        assert resolution.by is Match.EXACT
    elif wanted.path not in readings(archived):
        assert resolution.by is not Match.EXACT
    if wanted.path.tag != archived.path.tag:
        assert resolution.by is not Match.EXACT
    if wanted.path.last_component != archived.path.last_component:
        assert resolution.path is None


@examples
@given(neighbours())
def test_the_image_with_the_very_name_goes_before_another_reading(
    pair: tuple[Image, Image],
) -> None:
    wanted, other = pair
    for names in ((wanted, other), (other, wanted)):
        resolution = Resolver(inventory_of(map(str, names))).resolve(str(wanted))
        assert (resolution.by, resolution.path) == (Match.EXACT, wanted.path)


@examples
@given(IMAGES)
def test_an_archived_name_is_found_by_its_readings_alone(image: Image) -> None:
    assert image.path in archived_paths(image.reference)
    assert archived_paths(image.reference) <= readings(image)


FOLDERS = st.sampled_from(["", "./", "images/", "./a/b-c/"])


def dashed(name: object) -> str:
    return re.sub("[/:]", "-", str(name))


@examples
@given(IMAGES, st.lists(IMAGES, max_size=4), FOLDERS, st.data())
def test_a_member_of_the_original_list_names_its_image(
    image: Image, others: list[Image], folder: str, data: st.DataObject
) -> None:
    assume(all(dashed(image) != dashed(other) for other in others))
    wanted = data.draw(st.permutations([each.reference for each in (image, *others)]))
    member = folder + member_name(str(image))
    assert wanted_by_member_name(member, wanted) == image.reference


# Docker writes the name of an image that was saved without a tag into its archive, so that nobody
# asks for the name of its member; and the script knows no digest but sha256.
VERSIONED_IMAGES = RETAGGED_IMAGES.filter(
    lambda image: bool(image.tag) or image.digest.startswith("sha256:")
)


@examples
@given(
    VERSIONED_IMAGES, RETAG_REGISTRIES, st.lists(VERSIONED_IMAGES, max_size=4), FOLDERS, st.data()
)
def test_a_member_of_the_retagged_list_names_its_image(
    image: Image, registry: str, others: list[Image], folder: str, data: st.DataObject
) -> None:
    assume(all(dashed(image.path) != dashed(other.path) for other in others))
    wanted = data.draw(st.permutations([each.reference for each in (image, *others)]))
    member = folder + member_name(retagged_name(str(image), registry))
    assume(all(dashed(other) + ".tar" != member.rpartition("/")[2] for other in others))
    assert wanted_by_member_name(member, wanted) == image.reference


@examples
@given(VERSIONED_IMAGES, RETAG_REGISTRIES, st.booleans())
def test_a_member_is_of_the_longest_name_that_fits_at_a_dash(
    image: Image, registry: str, is_first: bool
) -> None:
    short = Image("", image.components[-1:], image.tag, image.digest)
    longer = replace(image, components=(*image.components, "b", *short.components))
    wanted = [longer.reference, short.reference]
    member = member_name(retagged_name(str(longer), registry))
    assert wanted_by_member_name(member, wanted if is_first else wanted[::-1]) == wanted[0]
    assert wanted_by_member_name(member, wanted[1:]) == short.reference
    glued = replace(image, components=(*image.components, f"x{short.components[0]}"))
    member = member_name(retagged_name(str(glued), registry))
    assert wanted_by_member_name(member, [short.reference]) is None


@examples
@given(neighbours(), RETAG_REGISTRIES)
def test_a_member_of_another_image_names_none(pair: tuple[Image, Image], registry: str) -> None:
    image, other = pair
    stem = member_name(retagged_name(str(image), registry)).removesuffix(".tar")
    ends = (f"-{dashed(other.path)}", f"-{dashed(other.path.repository)}")
    assume(not f"-{stem}".endswith(ends) and stem != dashed(other))
    assert wanted_by_member_name(f"{stem}.tar", [other.reference]) is None


def assert_row(image: str, retagged: str, new_member: str, old_member: str) -> None:
    reference = ImageReference.parse(image)
    assert reference is not None, image
    path = image_path(reference)
    location = RegistryLocation.parse("registry.corp:5000/ckf")
    emitted = location.reference(path)
    assert_in_grammar(emitted)
    new_reference = ImageReference.parse(retagged)
    if new_reference is not None:
        # The project's name is that of the public script but for the registry.
        assert retagged.removeprefix(f"{RETAG_REGISTRY}/") in (str(path), path.repository)
        assert image_path(new_reference) == path
    for name in (image, retagged) if new_reference else (image,):
        resolution = Resolver(inventory_of([name, "x/unrelated:1"])).resolve(image)
        assert (resolution.by, resolution.path) == (Match.EXACT, path), name
    unrelated = ImageReference("x/unrelated", "1")
    assert wanted_by_member_name(old_member, [unrelated, reference]) == reference
    if reference.tag is None or reference.digest is None:
        is_versioned = bool(reference.tag or reference.digest)
        found = wanted_by_member_name(new_member, [unrelated, reference])
        assert found == reference or not is_versioned


@pytest.mark.parametrize("row", TABLE, ids=[row[0][:40] for row in TABLE])
def test_names_are_those_of_the_table(row: tuple[str, str, str, str]) -> None:
    assert_row(*row)


def test_names_are_those_of_the_facts(facts: Path | None) -> None:
    if facts is None:
        pytest.skip("no facts about releases: set CKF_FACTS")
    with (facts / "naming-examples.tsv").open() as file:
        _, *rows = csv.reader(file, delimiter="\t")
    assert len(rows) > len(TABLE)
    for image, retagged, new_member, old_member in rows:
        assert_row(image, retagged, new_member, old_member)


@pytest.mark.parametrize(
    ("image", "path"),
    [
        ("localhost:5000/app:1", "app:1"),
        (f"repo/img:tag@sha256:{'0' * 64}", "repo/img:tag"),
    ],
)
def test_where_the_public_script_makes_no_reference_the_project_does(
    image: str, path: str
) -> None:
    assert ImageReference.parse(retagged_name(image)) is None
    reference = ImageReference.parse(image)
    assert reference is not None
    assert str(image_path(reference)) == path
    assert_in_grammar(
        RegistryLocation.parse("registry.corp:5000/ckf").reference(image_path(reference))
    )

"""Nothing that an archive names, or that a cluster uses, is ever in the plan of ``prune``."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from ckf_airgap.archives.file_content import without_ending
from ckf_airgap.archives.inventory import ArchivedImage, InventoryBuilder
from ckf_airgap.images.naming import MemberNames, image_path
from ckf_airgap.images.reference import ImageReference
from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.kubernetes.images_in_use import UsedImage
from ckf_airgap.pruning.kept_names import ArchiveNames, kept_tags
from ckf_airgap.pruning.prune_plan import PrunePlan, UsedImages, known_references, make_plan
from ckf_airgap.pruning.removal import carry_out
from ckf_airgap.pruning.stored_images import is_below, parse_manifest, read_repositories
from ckf_airgap.pruning.used_images import used_images
from ckf_airgap.push.mirror_names import publish_mirror_names
from ckf_airgap.push.push_records import PushedImage
from ckf_airgap.registry.client import Manifest
from tests.unit.registry_model import Habits, RegistryModel, index_of, manifest_of

# Many have a path, or a name for mirrors, or a file name in common.
NAMES = [
    *(
        "docker.io/istio/proxyv2:1.16",
        "docker.io/istio/proxyv2:1.17",
        "quay.io/istio/proxyv2:1.17",
    ),
    *("istio/proxyv2:1.17", "172.17.0.2:5000/istio/proxyv2:1.17", "localhost:5000/busybox:1"),
    *("busybox:1", "docker.io/library/busybox:1", "docker.io/busybox:2", "library/busybox:1"),
    *(f"gcr.io/team/app@sha256:{'ab' * 32}", "gcr.io/team/app", "gcr.io/team/app:latest"),
    *("172.17.0.2:5000/docker.io/app:1", "docker.io/app:1", "r.corp:5000/ckf/istio/proxyv2:1.17"),
]
REFERENCES = [reference for name in NAMES if (reference := ImageReference.parse(name))]
MEMBERS = ["busybox-1.tar", "istio-proxyv2-1.17.tar", "172.17.0.2-5000-docker.io-app-1.tar"]
LOCATIONS = [RegistryLocation.parse(f"r.corp:5000{path}") for path in ("/ckf", "/ckf/a", "")]
WORDS = "abcdef"
examples = settings(max_examples=60)
OUTSIDE = ["ckfother/busybox", "other/istio/proxyv2", "ckf"]


@dataclass(frozen=True)
class Archive:
    """An archive: its images, each with a word for its content, and the charms beside it.

    Its based_on are the images of earlier releases with the layers that it leaves out.
    """

    images: tuple[tuple[ArchivedImage, str], ...]
    charms: tuple[ImageReference, ...]
    based_on: tuple[ImageReference, ...]

    @property
    def names(self) -> ArchiveNames:
        names = tuple(name for image, _ in self.images for name in image.names)
        unnamed = tuple(image.member for image, _ in self.images if not image.names)
        return ArchiveNames("images.tar.gz", names, unnamed, self.based_on)

    def push(self, registry: RegistryModel, location: RegistryLocation) -> set[tuple[str, str]]:
        """Push it as the product does; gives the repositories and tags that it has then."""
        builder, names = InventoryBuilder(MemberNames(())), MemberNames(self.charms)
        pushed: list[PushedImage] = []
        for image, word in self.images:
            if not image.names and (found := names.find(without_ending(image.member))):
                image = named(word, (found,), image.member)
            manifest = manifest_of(word)
            paths = builder.add(image)
            for path in paths:
                registry.put(location.repository(path), manifest, path.tag)
            pushed.append(PushedImage(image, dict.fromkeys(paths, manifest.digest)))
        before = {name: set(tags) for name, tags in registry.tags_of.items()}
        publish_mirror_names(registry.client, location, pushed, self.charms)
        new = {
            (name, tag)
            for name, tags in registry.tags_of.items()
            for tag in set(tags) - before.get(name, set())
        }
        own = {(location.repository(path), path.tag) for each in pushed for path in each.manifests}
        return own | new


def named(word: str, names: tuple[ImageReference, ...], member: str) -> ArchivedImage:
    return ArchivedImage(member, names, f"sha256:{word}", "amd64", "", word)


ARCHIVED = st.tuples(st.sampled_from(WORDS), st.sampled_from(MEMBERS)).flatmap(
    lambda pair: st.lists(st.sampled_from(REFERENCES), max_size=2, unique=True).map(
        lambda names: (named(pair[0], tuple(names), pair[1]), pair[0])
    )
)
CHARMS = st.lists(st.sampled_from(REFERENCES), max_size=4, unique=True).map(tuple)
BASED_ON = st.lists(st.sampled_from(REFERENCES), max_size=2, unique=True).map(tuple)
ARCHIVES = st.builds(Archive, st.lists(ARCHIVED, max_size=5).map(tuple), CHARMS, BASED_ON)
HABITS = st.builds(Habits, st.booleans(), st.booleans(), st.just(False)) | st.just(
    Habits(wants_tags_first=True)
)


@st.composite
def filled(draw: st.DrawFn) -> "Filled":
    """Draw a registry that archives and others have pushed to."""
    location = draw(st.sampled_from(LOCATIONS))
    registry = RegistryModel(draw(HABITS))
    kept, old = draw(st.lists(ARCHIVES, max_size=3)), draw(st.lists(ARCHIVES, max_size=3))
    written: set[tuple[str, str]] = set()
    for archive in draw(st.permutations([*kept, *old])):
        made = archive.push(registry, location)
        if any(archive is each for each in kept):
            written |= made
    repositories = [*registry.tags_of, *OUTSIDE]
    for repository in draw(st.lists(st.sampled_from(repositories), max_size=6)):
        put_something(draw, registry, repository)
    # The next push of a kept archive needs these.
    needed = kept_tags((image_path(name) for each in kept for name in each.based_on), location)
    written |= {
        (name, tag)
        for name, tags in needed.items()
        for tag in tags & registry.tags_of.get(name, {}).keys()
    }
    # What others have pushed may have moved a tag.
    return Filled(registry, location, kept, written)


def put_something(draw: st.DrawFn, registry: RegistryModel, repository: str) -> None:
    """Put there what other tools push: tags, indexes, signatures."""
    there = list(registry.manifests.get(repository, {}).values()) or [manifest_of("a")]
    some = draw(st.lists(st.sampled_from(there), min_size=1, max_size=2, unique=True))
    more = manifest_of(draw(st.sampled_from(WORDS)))
    tag = draw(st.sampled_from(["1", "1.17", "mine", ""]))
    first = some[0]
    subject = {"mediaType": first.media_type, "digest": first.digest, "size": 1}
    signature = manifest_of("signature", subject=subject)
    new, tag = draw(
        st.sampled_from(
            [
                (first, tag),
                (more, tag),
                (index_of([*some, more]), tag),
                (index_of([index_of(some)]), tag),
                (signature, tag),
                (more, f"sha256-{first.digest[7:]}.sig"),
            ]
        )
    )
    registry.put(repository, more)
    registry.put(repository, index_of(some))
    registry.put(repository, new, tag)


@dataclass(frozen=True)
class Filled:
    """A registry, and what is known of it.

    Attributes:
        registry: The registry.
        location: The prefix.
        kept: The archives that stay.
        written: The repositories and tags that these were pushed to, or are based on.
    """

    registry: RegistryModel
    location: RegistryLocation
    kept: Sequence[Archive]
    written: set[tuple[str, str]]

    def plan(self, used: UsedImages) -> PrunePlan:
        charms = [archive.charms for archive in self.kept]
        paths = [path for each in self.kept for path in each.names.paths(charms, self.location)]
        below = [name for name in self.registry.tags_of if is_below(name, self.location)]
        kept = kept_tags(paths, self.location)
        known = known_references(kept, used)
        repositories = read_repositories(self.registry.client, below, known, lambda: None)
        return make_plan(repositories, kept, used)


def whole(registry: RegistryModel, repository: str, digest: str) -> dict[str, Manifest | None]:
    """Give a manifest and everything that it lists, as far as it is there."""
    found: dict[str, Manifest | None] = {}
    rest = [digest]
    while rest:
        digest = rest.pop()
        stored = found[digest] = registry.stored_manifest(repository, digest)
        if stored:
            rest += parse_manifest(stored.content, digest).children
    return found


def state(registry: RegistryModel, tags: Iterable[tuple[str, str]]) -> dict[str, object]:
    return {
        f"{name}:{tag}": whole(registry, name, registry.tags_of[name][tag]) for name, tag in tags
    }


def outside(registry: RegistryModel, location: RegistryLocation) -> object:
    return [
        {name: each for name, each in held.items() if not is_below(name, location)}
        for held in (registry.tags_of, registry.manifests)
    ]


@examples
@given(filled(), st.booleans())
def test_what_kept_archives_name_stays_whole(case: Filled, lists_all_tags: bool) -> None:
    registry = case.registry
    registry.habits = replace(registry.habits, lists_all_tags=lists_all_tags)
    plan = case.plan(UsedImages())
    planned = {image for each in plan.repositories for image in each.images}
    assert not planned & {f"{name}:{tag}" for name, tag in case.written}
    before, others = state(registry, case.written), outside(registry, case.location)
    others = copy.deepcopy(others)
    carry_out(registry.client, plan, lambda _: None)
    assert state(registry, case.written) == before
    assert outside(registry, case.location) == others
    assert all(is_below(name, case.location) for name, _ in registry.deletions)


@examples
@given(filled())
def test_a_second_run_deletes_nothing(case: Filled) -> None:
    plan = case.plan(UsedImages())
    result = carry_out(case.registry.client, plan, lambda _: None)
    assert result.left == {}
    left = set(result.tags_left)
    planned = {image for each in plan.repositories for image in each.images}
    assert set(result.deleted) == planned - left
    again = {image for each in case.plan(UsedImages()).repositories for image in each.images}
    # An attachment is deleted one run after the tag of the index that listed it.
    assert {image for image in again if ":sha256-" not in image or image in left} == left
    assert not left or not case.registry.habits.deletes_tags


def entries_below(
    location: RegistryLocation, contents: Mapping[str, Iterable[str]]
) -> list[tuple[str, str]]:
    """List the tags or digests of the repositories below the prefix, with their repositories."""
    return [
        (name, each)
        for name, found in contents.items()
        for each in found
        if is_below(name, location)
    ]


@examples
@given(filled(), st.data())
def test_what_a_cluster_uses_stays(case: Filled, data: st.DataObject) -> None:
    registry, location = case.registry, case.location
    below = entries_below(location, registry.tags_of)
    if not below:
        return
    tags = data.draw(st.lists(st.sampled_from(below), min_size=1, max_size=3))
    used: list[UsedImage] = []
    for name, tag in tags:
        digest = registry.tags_of[name][tag]
        config = parse_manifest(registry.manifests[name][digest].content, name).config
        host = data.draw(st.sampled_from([location.host, "another.name:5000"]))
        used.append(
            data.draw(
                st.sampled_from(
                    [
                        UsedImage("Pod a/b", f"{host}/{name}:{tag}"),
                        UsedImage("Pod a/b", f"{host}/{name}@{digest}"),
                        UsedImage("Pod a/b", "some.where/else:1", digest),
                        UsedImage("Pod a/b", "some.where/else:1", config or digest),
                    ]
                )
            )
        )
    before = state(registry, tags)
    carry_out(registry.client, case.plan(used_images(used, location)), lambda _: None)
    assert state(registry, tags) == before


@examples
@given(filled(), st.data())
def test_what_a_cluster_runs_by_digest_stays(case: Filled, data: st.DataObject) -> None:
    """Whether it has a tag or not; and what is attached to it."""
    registry, location = case.registry, case.location
    below = entries_below(location, registry.manifests)
    if not below:
        return
    running = data.draw(st.lists(st.sampled_from(below), min_size=1, max_size=3))
    used: list[UsedImage] = []
    attached: set[tuple[str, str]] = set()
    for name, digest in running:
        host = data.draw(st.sampled_from([location.host, "another.name:5000"]))
        by_digest = UsedImage("Pod a/b", f"{host}/{name}@{digest}")
        by_tag = UsedImage("Pod a/b", f"{host}/{name}:moved", digest)
        used.append(data.draw(st.sampled_from([by_digest, by_tag])))
        signature = (name, f"sha256-{digest[7:]}.sig")
        if signature[1] in registry.tags_of[name]:
            attached.add(signature)
    before = [whole(registry, name, digest) for name, digest in running], state(registry, attached)
    carry_out(registry.client, case.plan(used_images(used, location)), lambda _: None)
    after = [whole(registry, name, digest) for name, digest in running], state(registry, attached)
    assert after == before


@examples
@given(filled())
def test_what_a_registry_deletes_by_mistake_is_put_back(case: Filled) -> None:
    registry = case.registry
    registry.habits = Habits(loses_manifests=True)
    plan = case.plan(UsedImages())
    before = state(registry, case.written)
    try:
        carry_out(registry.client, plan, lambda _: None)
    except Exception as error:
        assert "restored" in str(error)
    assert state(registry, case.written) == before

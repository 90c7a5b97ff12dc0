"""What an upgrade has to do to the model, as the guides have it, and what a log says was done."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

from tests.sample_release import (
    ISTIO_VERSIONS,
    Charm,
    CharmOptions,
    ImageOptions,
    Release,
    SampleRelease,
    charm_file,
    istio_version,
    pilot_of,
    with_charms_between,
    write_release,
)

GATEWAY = "istio-ingressgateway"
WORKLOAD = "istio-ingressgateway-workload"
OPTIONS = CharmOptions(podspec_as_sidecar=True, acting_istio=True)
"""How the charms of upgrades are made: for a Juju that knows one base and no podspec charms."""

_STEP = re.compile(r"step \d+ of \d+, [^:]*: (.*)")
_ROW = re.compile(r" +\d+  (\S.*)")
# The words of a step and the change that they stand for; what is not here changes nothing.
_CHANGES = (
    (re.compile(r"scale (\S+) to (\d+).*"), r"scale \1 \2"),
    (re.compile(r"refresh (istio-pilot) from \S+ to (\S+).*"), r"refresh \1 \2"),
    (re.compile(r"refresh (\S+) .*"), r"refresh \1"),
    (re.compile(r"remove the relation (\S+) - (\S+)"), r"unrelate \1 \2"),
    (re.compile(r"remove (\S+) with its storage .*"), r"remove \1 --destroy-storage"),
    (re.compile(r"remove (\S+) .*"), r"remove \1"),
    (re.compile(r"deploy (\S+) .*"), r"deploy \1"),
    (re.compile(r"add the relation (\S+) - (\S+)"), r"integrate \1 \2"),
    (re.compile(r"((?:attach|set) .*)"), r"\1"),
)


def write_carried(
    releases: Mapping[str, Release], folder: Path, first: str
) -> dict[str, SampleRelease]:
    """Write the files of releases as they are carried to where one of them runs.

    Args:
        releases: The releases, by name.
        folder: Where to write them.
        first: The release that runs; the others have the charms between it and them.
    """
    before = releases[first]
    return {
        name: write_release(
            release if release is before else with_charms_between(before, release),
            folder / name,
            ImageOptions(),
            OPTIONS,
        )
        for name, release in releases.items()
    }


def documented(before: Release, after: Release, replaced: Collection[str] = ()) -> list[str]:
    """List what an upgrade of stand-ins changes, in the order of the guides.

    Istio comes first, one minor version at a time, with the gateway at zero. Then follow the
    applications whose storage no refresh changes, then the others, then the relations. What the
    guides do to podspec charms and bases is not among it: see ``OPTIONS``.

    Args:
        before: What runs.
        after: What is to run; charms of one name beside the first are those between.
        replaced: The applications that are removed and deployed again.
    """
    return in_groups(_documented(before, after, replaced))


def _documented(before: Release, after: Release, replaced: Collection[str]) -> Iterator[str]:
    first, last = (istio_version(pilot_of(release)) for release in (before, after))
    versions = ISTIO_VERSIONS[ISTIO_VERSIONS.index(first) + 1 : ISTIO_VERSIONS.index(last) + 1]
    yield f"scale {GATEWAY} 0"
    for version in versions:
        yield f"refresh istio-pilot {version}"
    yield f"refresh {GATEWAY}"
    yield f"scale {GATEWAY} 1"
    gone: set[tuple[str, str]] = set()
    for name in sorted(replaced):
        for pair in before.relations:
            if name in _applications(pair) and pair not in gone:
                gone.add(pair)
                yield f"unrelate {' '.join(pair)}"
        yield f"remove {name} --destroy-storage"
        yield f"deploy {name}"
    done = {"istio-pilot", GATEWAY, *replaced}
    old, new = _charms(before), _charms(after)
    rest = [
        name
        for name in sorted(set(before.applications) & set(after.applications) - done)
        if charm_file(old[name], OPTIONS) != charm_file(new[name], OPTIONS)
    ]
    for pair in before.relations:
        if pair not in gone and not _is_kept(pair, before, after):
            gone.add(pair)
            yield f"unrelate {' '.join(pair)}"
    yield from (f"refresh {name}" for name in rest)
    yield from (f"deploy {name}" for name in sorted(after.applications.keys() - old.keys()))
    present = {frozenset(pair) for pair in before.relations if pair not in gone}
    for pair in after.relations:
        if frozenset(pair) not in present:
            yield f"integrate {' '.join(pair)}"


def in_groups(changes: Iterable[str]) -> list[str]:
    """Sort what the guides put in no order: relations, their sides, and the other charms.

    What is there twice, as a change that a killed run began and the next one has made, stays once.
    """
    found = dict.fromkeys(_with_sorted_sides(change) for change in changes)
    groups = [list(group) for _, group in groupby(found, key=_kind)]
    return [change for group in groups for change in (sorted(group) if _kind(group[0]) else group)]


def changes_of(words: Iterable[str]) -> list[str]:
    """Reduce the words of steps to the changes among them, as ``documented`` has them."""
    return in_groups(change for each in words if (change := _change(each)))


def words_of_log(lines: Iterable[str]) -> list[str]:
    """Give the words of the steps in an action's log; a wait is there again and again."""
    return [match[1] for line in lines if (match := _STEP.search(line))]


def words_of_table(table: str) -> list[str]:
    """Give the words of the steps in a walk as a table."""
    return [match[1] for line in table.splitlines() if (match := _ROW.fullmatch(line))]


def _change(words: str) -> str:
    for pattern, change in _CHANGES:
        if match := pattern.fullmatch(words):
            return match.expand(change)
    return ""


def _kind(change: str) -> str:
    verb, *rest = change.split()
    is_ordered = verb not in ("unrelate", "integrate", "refresh") or rest[0].startswith("istio-")
    return "" if is_ordered else verb


def _with_sorted_sides(change: str) -> str:
    verb, *sides = change.split()
    return " ".join([verb, *sorted(sides)]) if verb in ("unrelate", "integrate") else change


def _applications(pair: Sequence[str]) -> list[str]:
    return [end.partition(":")[0] for end in pair]


def _charms(release: Release) -> dict[str, Charm]:
    """Give the charm of each application: of several of a name the first, which is the newest."""
    charms = {charm.name: charm for charm in reversed(release.charms)}
    return {name: charms[charm] for name, charm in release.applications.items()}


def _is_kept(pair: Sequence[str], before: Release, after: Release) -> bool:
    """Tell whether the new charms have both ends of a relation, with the interface that it has."""
    return all(_interface(end, before) == _interface(end, after) for end in pair)


def _interface(end: str, release: Release) -> str | None:
    application, _, name = end.partition(":")
    charm = _charms(release)[application]
    return next((each.interface for each in charm.endpoints if each.name == name), None)

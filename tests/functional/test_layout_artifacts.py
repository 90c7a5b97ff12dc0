"""What a layout holds beside images: signatures, charts, bills of materials."""

from collections.abc import Callable, Iterable, Mapping

import pytest

from tests.functional.archive_case import JUPYTER, KFAM, ArchiveCase
from tests.support.archive_forms import old_docker_save
from tests.support.compressed import gzipped
from tests.support.oci_forms import (
    OCI_MANIFEST,
    Artifact,
    Naming,
    StoredImage,
    annotated,
    attestation_of,
    bill_of_materials,
    cosign_signature,
    descriptor,
    documents_last,
    helm_chart,
    index_of,
    layout,
)
from tests.support.sample_images import Document, digest_of
from tests.support.tar_files import Entry, inside, tar, tar_of

STORED = StoredImage.of(JUPYTER.image)
SIGNATURE = cosign_signature(STORED)
CHART = helm_chart("metallb")
MATERIALS = bill_of_materials(STORED)
NAMED = {
    f"docker.io/kubeflow/jupyter:sha256-{digest_of(STORED.manifest)[7:]}.sig": SIGNATURE,
    "docker.io/charts/metallb:0.14.9": CHART,
    "docker.io/kubeflow/jupyter:materials": MATERIALS,
}


def with_artifacts(
    named: Iterable[tuple[str, Artifact]], unnamed: Iterable[Artifact] = ()
) -> list[Entry]:
    """Write a layout of one image and of artifacts beside it, as cosign and hauler save them."""
    entries: list[Document] = [
        annotated(STORED.descriptor, Naming.CONTAINERD.annotations(JUPYTER.names[0]))
    ]
    blobs = [STORED.manifest, *STORED.blobs]
    for name, artifact in named:
        described = descriptor(OCI_MANIFEST, artifact.manifest)
        entries.append(annotated(described, Naming.CONTAINERD.annotations(name)))
        blobs += artifact.blobs
    for artifact in unnamed:
        entries.append(descriptor(OCI_MANIFEST, artifact.manifest))
        blobs += artifact.blobs
    return layout(index_of(entries), blobs)


PLACES: Mapping[str, Callable[[list[Entry]], list[Entry]]] = {
    "the archive": lambda entries: entries,
    "the archive, blobs first": documents_last,
    "a folder": lambda entries: inside("store", entries),
    "a member": lambda entries: [Entry("store.tar", tar(entries))],
}


@pytest.mark.parametrize("place", PLACES)
def test_named_ones_are_pushed_byte_for_byte(place: str, case: ArchiveCase) -> None:
    answer = case.push(gzipped(tar(PLACES[place](with_artifacts(NAMED.items())))))
    assert answer.status == 0, answer.said
    assert answer.document["damaged"] == [], answer.said
    assert answer.document["unnamed"] == [], answer.said
    wanted = sorted(case.reference(name) for name in (*JUPYTER.names, *NAMED))
    assert sorted(answer.document["pushed"]) == wanted, answer.said
    assert case.pulled(JUPYTER.names[0]) == JUPYTER.image.identity
    assert case.manifest(JUPYTER.names[0]) == STORED.manifest
    for name, artifact in NAMED.items():
        assert case.manifest(name) == artifact.manifest
    again = case.push()
    assert (again.status, again.document["pushed"]) == (0, []), again.said
    assert again.document["uploaded_bytes"] == 0, again.said


@pytest.mark.parametrize("place", PLACES)
def test_unnamed_ones_are_passed_over(place: str, case: ArchiveCase) -> None:
    entries = with_artifacts([], [SIGNATURE, CHART, MATERIALS])
    answer = case.push(gzipped(tar(PLACES[place](entries))))
    assert answer.document["passed_over"], answer.said
    case.require_whole(answer, [JUPYTER])


@pytest.mark.parametrize("place", PLACES)
def test_inspect_lists_them(place: str, case: ArchiveCase) -> None:
    answer = case.inspect(gzipped(tar(PLACES[place](with_artifacts(NAMED.items())))))
    assert answer.status == 0, answer.said
    assert [each["image_id"] for each in answer.document["images"]] == [JUPYTER.image.image_id]
    listed = {name for each in answer.document["artifacts"] for name in each["names"]}
    assert listed == set(NAMED), answer.said
    assert all(each["kind"] for each in answer.document["artifacts"]), answer.said


def test_a_chart_beside_archives_of_docker(case: ArchiveCase) -> None:
    chart = "docker.io/charts/metallb:0.14.9"
    described = descriptor(OCI_MANIFEST, CHART.manifest)
    index = index_of([annotated(described, Naming.FULL.annotations(chart))])
    content = tar_of(chart=tar(layout(index, CHART.blobs)), kfam=tar(old_docker_save([KFAM])))
    answer = case.push(gzipped(content))
    assert answer.status == 0, answer.said
    assert case.manifest(chart) == CHART.manifest
    assert case.pulled(KFAM.names[0]) == KFAM.image.identity


def test_an_attestation_in_the_index_itself(case: ArchiveCase) -> None:
    entry, blobs = attestation_of(STORED)
    image = annotated(STORED.descriptor, Naming.FULL.annotations(JUPYTER.names[0]))
    entries = layout(index_of([image, entry]), [STORED.manifest, *STORED.blobs, *blobs])
    case.require_whole(case.push(gzipped(tar(entries))), [JUPYTER])

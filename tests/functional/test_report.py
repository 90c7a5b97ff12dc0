"""``--report``: ``pack`` and ``inspect`` write the same report, and a browser shows them."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from playwright.sync_api import Dialog, Page, Request, sync_playwright

from ckf_airgap.commands.main import main
from ckf_airgap.release_report.release_content import ImageEntry, ReleaseContent
from ckf_airgap.release_report.report_files import write_report_files
from testbed import builds
from tests.functional.archive_case import SEVERAL
from tests.functional.packs import OPTIONS, Captured, digest, document, words
from tests.sample_release import Charm, Release, charm_file
from tests.sample_release.naming import repository
from tests.support.archive_forms import FORMS
from tests.support.outside import Outside
from tests.support.sample_images import digest_of
from tests.support.tar_files import Entry, tar

FILES = {"images.csv", "images.md", "charms.csv", "charms.md", "index.html", "cyclonedx.json"}


def report_of(folder: Path) -> dict[str, bytes]:
    """Give what ``pack`` has written, but what only it can write."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def inspect(folder: Path, report: Path) -> dict[str, bytes]:
    """Write the report on what was packed below a folder; give them."""
    archives = [f"--{name}={folder}/packed/{name}.tar.gz" for name in ("images", "charms")]
    assert main(["inspect", *archives, "--report", str(report)]) == 0
    return report_of(report)


def places_of(release: Release, outside: Outside) -> dict[str, str]:
    """Give where each image is outside, by its name in an archive."""
    return {
        image.replace("@sha256:", ":") if ":" in image else f"{image}:latest": outside.place(image)
        for image in release.images
    }


def rows(file: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(file.decode().splitlines()))


@pytest.mark.parametrize("more", [(), ("--part-size", "150kB")], ids=["whole", "parts"])
@pytest.mark.parametrize("layout", ["docker", "oci"])
def test_both_write_the_same(
    layout: str,
    more: tuple[str, ...],
    release: Release,
    outside: Outside,
    tmp_path: Path,
    capsys: Captured,
) -> None:
    arguments = words(outside, tmp_path, "--format", layout, *more)
    arguments += ["--report", str(tmp_path / "report")]
    assert main(arguments) == 0
    packed = document(capsys)
    report = report_of(tmp_path / "report")
    assert set(report) == FILES
    assert inspect(tmp_path, tmp_path / "inspected") == report
    # Nothing is left to pack, and the report is written again.
    for path in tmp_path.joinpath("report").iterdir():
        path.unlink()
    assert main(arguments) == 0
    assert report_of(tmp_path / "report") == report

    found = {row["image"]: row for row in rows(report["images.csv"])}
    assert len(found) == len(release.images) == len(packed["images"])
    places = places_of(release, outside)
    for image in packed["images"]:
        row = found[image["name"]]
        there = places[image["name"]]
        assert row["manifest digest"] == image["digest"] == digest(outside, there)
        name = repository(image["name"])
        assert row["source"].endswith(f"{name}@{image['digest']}")
        assert row["source"].partition("/")[0] in ("docker.io", "gcr.io", "ghcr.io")
        assert row["wanted by"]
        manifest = json.loads(outside.skopeo("inspect", "--raw", f"docker://{there}"))
        layers = {layer["digest"]: layer["size"] for layer in manifest["layers"]}
        assert int(row["layers"]) == len(layers)
        if layout == "oci":
            assert int(row["layer bytes"]) == sum(layers.values())
        else:
            # They are not compressed in a docker save archive.
            assert int(row["layer bytes"]) > sum(layers.values())
    by_name = {charm["name"]: charm for charm in packed["charms"]}
    for row in rows(report["charms.csv"]):
        charm = by_name.pop(row["charm"])
        assert (row["SHA-256"], row["file"]) == (charm["sha256"], charm["file"])
    assert not by_name


@pytest.mark.usefixtures("release")
def test_a_plan_has_no_papers(outside: Outside, tmp_path: Path, capsys: Captured) -> None:
    report = tmp_path / "report"
    assert main(words(outside, tmp_path, "--dry-run", "--report", str(report))) == 2
    assert "leave --dry-run or --report out" in capsys.readouterr().err
    assert not report.exists()


STAND_IN = """#!/bin/sh
# Stands in for syft: skopeo reads the layout, and checks every digest in it.
for word; do
    case $word in
        oci-dir:*) layout=${word#oci-dir:} ;;
        spdx-json=*) document=${word#spdx-json=} ;;
        --source-name=*broken*) echo "it is broken" >&2; exit 1 ;;
    esac
done
skopeo copy --quiet "oci:$layout" "dir:$layout/copy" || exit 1
{ env | cut -d= -f1 | sort; echo "$@"; cat "$layout/copy/manifest.json"; } > "$document"
"""


@pytest.fixture
def syft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for syft: building the real one takes many minutes."""
    program = tmp_path / "programs" / "syft"
    program.parent.mkdir()
    program.write_text(STAND_IN)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("CKF_AIRGAP_KEY_PASSWORD", "not for syft")


@pytest.mark.usefixtures("syft")
@pytest.mark.parametrize("layout", ["docker", "oci"])
def test_syft_reads_each_image_as_it_was_packed(
    layout: str, release: Release, outside: Outside, tmp_path: Path, capsys: Captured
) -> None:
    report = tmp_path / "report"
    arguments = words(outside, tmp_path, "--format", layout, "--report", str(report))
    assert main(arguments) == 0
    images = document(capsys)["images"]
    written = {path: path.read_text() for path in (report / "spdx").iterdir()}
    assert len(written) == len(images) == len(release.images)
    places = places_of(release, outside)
    for image in images:
        (text,) = (text for text in written.values() if f"--source-name={image['name']} " in text)
        variables, said = text.split("scan", 1)
        allowed = {"HOME", "PATH", "PWD", "SYFT_CHECK_FOR_APP_UPDATE", "TMPDIR", "_", "OLDPWD"}
        assert set(variables.split()) <= allowed | {"SHLVL"}
        manifest = json.loads(said[said.index("{") :])
        place = f"docker://{places[image['name']]}"
        original = json.loads(outside.skopeo("inspect", "--raw", place))
        assert manifest["config"]["digest"] == original["config"]["digest"]
        assert len(manifest["layers"]) == len(original["layers"])
    # What is there is kept.
    capsys.readouterr()
    inspect(tmp_path, report)
    assert {path: path.read_text() for path in (report / "spdx").iterdir()} == written
    assert "syft reads" not in capsys.readouterr().err


@pytest.mark.usefixtures("syft")
@pytest.mark.parametrize("form", [name for name, form in FORMS.items() if form.holds_several])
@pytest.mark.parametrize("is_member", [False, True], ids=["alone", "member"])
def test_syft_reads_images_of_every_form(form: str, is_member: bool, tmp_path: Path) -> None:
    content = tar(FORMS[form].make(SEVERAL))
    images, charms = tmp_path / "images.tar", tmp_path / "charms.tar"
    images.write_bytes(tar([Entry("some.tar", content)]) if is_member else content)
    charms.write_bytes(tar([Entry("app.charm", charm_file(Charm("app")))]))
    report = tmp_path / "report"
    words = ["inspect", "--images", str(images), "--charms", str(charms)]
    assert main([*words, "--report", str(report)]) == 0
    configs = set[str]()
    for path in (report / "spdx").iterdir():
        text = path.read_text()
        configs.add(json.loads(text[text.index("{") :])["config"]["digest"])
    assert configs == {digest_of(each.image.config) for each in SEVERAL}


def words_for_several(folder: Path, report: Path) -> list[str]:
    """Write an archive of several images; gives the arguments that make the report on it."""
    form = next(form for form in FORMS.values() if form.holds_several)
    images, charms = folder / "images.tar", folder / "charms.tar"
    images.write_bytes(tar(form.make(SEVERAL)))
    charms.write_bytes(tar([Entry("app.charm", charm_file(Charm("app")))]))
    return [
        *("inspect", "--images", str(images), "--charms", str(charms)),
        *("--report", str(report)),
    ]


@pytest.mark.usefixtures("syft")
def test_a_relative_directory_for_the_papers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"programs:{os.environ['PATH'].partition(':')[2]}")
    assert main(words_for_several(tmp_path, Path("report"))) == 0
    assert len(list((tmp_path / "report" / "spdx").iterdir())) == len(SEVERAL)


def test_an_interrupt_of_syft_leaves_no_half_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "programs" / "syft"
    program.parent.mkdir()
    write = (
        'for word; do case $word in spdx-json=*) echo half > "${word#spdx-json=}" ;; esac; done'
    )
    program.write_text(f"#!/bin/sh\n{write}\nkill -INT $PPID\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    # A process in the background of a shell would ignore interrupts.
    script = (
        "import signal, sys; from ckf_airgap.commands.main import main; "
        "signal.signal(signal.SIGINT, signal.default_int_handler); sys.exit(main(sys.argv[1:]))"
    )
    report, temporary = tmp_path / "report", tmp_path / "temporary"
    temporary.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", script, *words_for_several(tmp_path, report)],
        env={**os.environ, "PYTHONPATH": ":".join(sys.path), "TMPDIR": str(temporary)},
    )
    assert done.returncode == 130
    assert list((report / "spdx").iterdir()) == list(temporary.iterdir()) == []


def test_a_syft_that_cannot_be_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    program = tmp_path / "programs" / "syft"
    program.parent.mkdir()
    program.write_text("#!/no/such/program\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    report = tmp_path / "report"
    assert main(words_for_several(tmp_path, report)) == 2
    error = capsys.readouterr().err
    assert f"error: {program} cannot be run (No such file or directory): install syft" in error
    assert list((report / "spdx").iterdir()) == []


@pytest.mark.usefixtures("syft")
def test_no_document_is_written_through_a_link(tmp_path: Path) -> None:
    report = tmp_path / "report"
    arguments = words_for_several(tmp_path, report)
    assert main(arguments) == 0
    spdx = list((report / "spdx").iterdir())
    precious = tmp_path / "precious"
    precious.write_text("precious")
    for path in spdx:
        path.unlink()
        for suffix in (".json.incoming", ".incoming"):
            path.with_suffix(suffix).symlink_to(precious)
    assert main(arguments) == 0
    assert precious.read_text() == "precious"
    assert all(path.read_text() for path in spdx)


@pytest.mark.usefixtures("release", "syft")
def test_images_that_syft_cannot_read(outside: Outside, tmp_path: Path, capsys: Captured) -> None:
    outside.fill(["quay.io/team/broken:1"], OPTIONS)
    report = tmp_path / "report"
    more = ["--add-image", "quay.io/team/broken:1", "--report", str(report)]
    assert main(words(outside, tmp_path, *more)) == 2
    assert "syft cannot read quay.io/team/broken:1 (it is broken)" in capsys.readouterr().err
    names = {path.name for path in (report / "spdx").iterdir()}
    assert len(names) == len(rows((report / "images.csv").read_bytes())) - 1
    assert all(name.endswith(".spdx.json") for name in names)


@pytest.fixture(scope="session")
def real_syft() -> Path:
    # Built before a test changes HOME, where the cache is.
    return builds.syft()


@pytest.mark.interop
@pytest.mark.parametrize("layout", ["docker", "oci"])
def test_the_real_syft(
    real_syft: Path,
    layout: str,
    release: Release,
    outside: Outside,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
) -> None:
    monkeypatch.setenv("PATH", f"{real_syft.parent}:{os.environ['PATH']}")
    report = tmp_path / "report"
    assert main(words(outside, tmp_path, "--format", layout, "--report", str(report))) == 0
    names = {image["name"] for image in document(capsys)["images"]}
    described = {
        json.loads(path.read_bytes())["name"]: json.loads(path.read_bytes())
        for path in (report / "spdx").iterdir()
    }
    assert described.keys() == names
    assert len(names) == len(release.images)
    for name, spdx in described.items():
        assert spdx["spdxVersion"] == "SPDX-2.3"
        (row,) = (
            row for row in rows((report / "images.csv").read_bytes()) if row["image"] == name
        )
        assert row["image ID"] in {package.get("versionInfo") for package in spdx["packages"]}


@pytest.fixture
def page(tmp_path: Path) -> Generator[Page]:
    """A page of Debian's Chromium in a network namespace of its own, which has no network."""
    program = tmp_path / "chromium"
    # Root has no sandbox.
    program.write_text('#!/bin/sh\nexec unshare --net chromium --no-sandbox "$@"\n')
    program.chmod(0o755)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program)
        yield browser.new_page()
        browser.close()


def texts(page: Page, selector: str) -> list[str]:
    return [text for text in page.locator(selector).all_inner_texts() if text]


@pytest.mark.usefixtures("release")
def test_a_browser_without_a_network(
    outside: Outside, tmp_path: Path, page: Page, capsys: Captured
) -> None:
    report = tmp_path / "report"
    # Compressed layers differ in size.
    assert main(words(outside, tmp_path, "--format", "oci", "--report", str(report))) == 0
    images = document(capsys)["images"]
    requests: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto((report / "index.html").as_uri())
    shown = page.locator("#images tbody tr:visible")
    assert shown.count() == len(images)

    page.get_by_label("Search").fill("PROXYV2 istio-pilot")
    assert shown.count() == 1
    assert "istio-pilot/image-configuration" in shown.inner_text()
    assert page.locator("#found").inner_text().startswith("1 of ")
    assert page.locator("#charms tbody tr:visible").count() == 0
    page.get_by_label("Search").fill("")
    assert shown.count() == len(images)

    column = [head.strip() for head in page.locator("#images thead th").all_inner_texts()]
    column_number = column.index("layer bytes") + 1
    button = page.get_by_role("button", name="layer bytes")
    orders: list[list[int]] = []
    for _ in range(2):
        button.click()
        cells = texts(page, f"#images tbody td:nth-child({column_number})")
        orders.append([int(cell.replace(",", "")) for cell in cells])
    assert orders[0] == sorted(orders[0])
    assert orders[1] == sorted(orders[0], reverse=True)
    assert len(set(orders[0])) > 1
    assert said == []
    assert requests == [(report / "index.html").as_uri()]


def test_texts_of_others_do_nothing_in_a_browser(tmp_path: Path, page: Page) -> None:
    """Not even with the escapes taken away: the policy of the page forbids it."""
    attack = "<img src=http://127.0.0.1:9/x onerror=alert(1)><script>alert(2)</script>"
    hostile = ImageEntry((), attack, attack, "", "", attack, (), attack, (attack,))
    write_report_files(ReleaseContent((hostile,), (), (attack,)), tmp_path)
    path = tmp_path / "index.html"
    requests: list[Request] = []
    dialogs: list[str] = []
    page.on("request", lambda request: requests.append(request))

    def dismiss(dialog: Dialog) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", dismiss)
    page.goto(path.as_uri())
    assert attack in page.locator("#images tbody").inner_text()
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == 1

    path.write_text(path.read_text().replace("<h1>", f"{attack}<h1>"))
    page.goto(path.as_uri())
    assert page.locator("img").count() == 1
    assert page.locator("script").count() == 2
    assert dialogs == []
    blocked = [each for each in requests if not each.url.startswith("file:")]
    assert [(each.url, each.failure) for each in blocked] == [("http://127.0.0.1:9/x", "csp")]

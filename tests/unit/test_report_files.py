"""The report on a release: hostile texts in each form, and the published schema of the SBOM."""

import csv
import html.parser
import io
import json
import re
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from packageurl import PackageURL

from ckf_airgap.images.oci import Blob
from ckf_airgap.images.reference import ImageReference
from ckf_airgap.release_report.release_content import CharmEntry, ImageEntry, ReleaseContent
from ckf_airgap.release_report.report_files import report_files
from ckf_airgap.release_report.tables import Table, as_csv, as_markdown, images_table, texts_of

HOSTILE = (
    "=cmd|'/C calc'!A0",
    "+1+1",
    "-2+3",
    "@SUM(1)",
    "\t=1",
    " \r\n=1",
    "\N{FULLWIDTH EQUALS SIGN}1",
    'a","=1',
    "a | b",
    "a\\| b \\",
    "one\ntwo\r\n| three |",
    "<script>alert(1)</script>",
    "</script><img src=https://evil.example/x onerror=alert(1)>",
    "\" onmouseover=alert(1) '",
    "[link](https://evil.example)",
    "![image](https://evil.example)",
    "<https://evil.example>",
    "**bold** _underlined_ ~~struck~~ `code`",
    "&lt;b&gt;",
    "{{ 7 * 7 }}{% raw %}",
    "\x00\x1b[31m\u202e",
    "\ud800",
)
DIGEST = f"sha256:{'0' * 64}"


def image(name: str = "docker.io/team/app:1", **values: Any) -> ImageEntry:
    reference = ImageReference.parse(name)
    assert reference
    described: dict[str, Any] = {
        "names": (reference,),
        "member": "app.tar",
        "kind": "image",
        "digest": DIGEST,
        "image_id": f"sha256:{'1' * 64}",
        "architecture": "amd64",
        "layers": (Blob("sha256:a", 1), Blob("sha256:b", 20)),
        "source": f"docker.io/team/app@{DIGEST}",
        "wanted_by": ("app/oci-image",),
    }
    return ImageEntry(**described | values)


def charm(**values: Any) -> CharmEntry:
    described: dict[str, Any] = {
        "name": "app",
        "file": "app.charm",
        "sha256": "2" * 64,
        "revision": 7,
        "channel": "1/stable",
        "bases": ("ubuntu@24.04", "ubuntu@22.04"),
        "note": "",
        "user": "app",
    }
    return CharmEntry(**described | values)


def content_with(text: str) -> ReleaseContent:
    """Put a text into every place where one from others may stand."""
    hostile = image(
        names=(),
        member=text,
        kind=text,
        architecture=text,
        source=text,
        wanted_by=(text, f"second {text}"),
    )
    return ReleaseContent(
        (image(), hostile),
        (charm(), charm(name=text, file=text, channel=text, note=text)),
        (text,),
    )


def every(*texts: str) -> Any:
    return pytest.mark.parametrize("text", texts, ids=lambda text: repr(text)[:30])


class Page(html.parser.HTMLParser):
    """What a browser sees of a page: its cells, scripts and attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.scripts: list[str] = []
        self.items: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.tags: set[str] = set()
        self._open = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag == "br":
            self.cells[-1] += "\n"
            return
        self._open = tag
        if tag in self._lists:
            self._lists[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open in self._lists:
            self._lists[self._open][-1] += data

    @property
    def _lists(self) -> dict[str, list[str]]:
        return {"td": self.cells, "script": self.scripts, "li": self.items}


TAGS = {
    *("html", "head", "meta", "link", "title", "style", "script", "body", "h1", "h2", "p", "br"),
    *("label", "input", "output", "ul", "li", "div", "button"),
    *("table", "thead", "tbody", "tr", "th", "td"),
}
VALIDATOR = JsonStrictValidator(SchemaVersion.V1_6)


def check_csv(table: Table) -> None:
    rows = list(csv.reader(io.StringIO(as_csv(table), newline=""), strict=True))
    assert rows[0] == list(table.heads)
    for cells, row in zip(rows[1:], table.rows, strict=True):
        for written, cell in zip(cells, row, strict=True):
            if isinstance(cell, int):
                assert written == str(cell)
                continue
            # Even a program that cuts at each comma finds no formula.
            for part in [written, *written.split(", ")]:
                assert not re.match(r"[=+\-@\t\r\n＝＋－＠]", part)  # noqa: RUF001
            assert "\n" not in written
            assert written.replace("'", "") == ", ".join(texts_of(cell)).replace("'", "")


def check_markdown(table: Table) -> None:
    tokens = (
        MarkdownIt("commonmark")
        .enable("table")
        .enable("strikethrough")
        .parse(as_markdown(table, tuple(text for row in table.rows for text in texts_of(row[0]))))
    )
    inline = [token for token in tokens if token.type == "inline"]
    for token in inline:
        assert {child.type for child in token.children or ()} <= {"text", "text_special"}
    texts = ["".join(child.content for child in token.children or ()) for token in inline]
    start = 1 + len(table.heads)
    expected = [
        f"{cell:,}" if isinstance(cell, int) else ", ".join(texts_of(cell))
        for row in table.rows
        for cell in row
    ]
    assert [text.strip() for text in texts[start:][: len(expected)]] == [
        text.strip() for text in expected
    ]
    assert sum(token.type == "tr_open" for token in tokens) == 1 + len(table.rows)
    assert sum(token.type == "td_open" for token in tokens) == len(expected)


def check_page(text: str, content: ReleaseContent) -> None:
    page = Page(text)
    assert page.tags <= TAGS
    assert len(page.scripts) == 1
    assert not {name for name, _ in page.attributes if name.startswith("on") or name == "src"}
    assert [value for name, value in page.attributes if name == "href"] == ["data:,"]
    expected = [
        f"{cell:,}" if isinstance(cell, int) else "\n".join(texts_of(cell))
        for row in images_table(content).rows
        for cell in row
    ]
    assert page.cells[: len(expected)] == expected
    assert page.items == [texts_of(problem)[0] for problem in content.not_pushed]


def check_sbom(text: str) -> dict[str, Any]:
    problem = VALIDATOR.validate_str(text)
    assert problem is None, problem
    return json.loads(text)


def check_papers(content: ReleaseContent) -> None:
    files = report_files(content)
    assert files == report_files(content)
    check_csv(images_table(content))
    check_markdown(images_table(content))
    check_page(files["index.html"], content)
    check_sbom(files["cyclonedx.json"])
    for text in files.values():
        text.encode()


@every(*HOSTILE)
def test_texts_of_others_are_only_texts(text: str) -> None:
    check_papers(content_with(text))


@settings(max_examples=30)
@given(st.text(st.characters(exclude_categories=())))
def test_any_text_is_only_text(text: str) -> None:
    check_papers(content_with(text))


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@1", "\N{FULLWIDTH PLUS SIGN}1"])
def test_a_formula_is_shown_as_text(text: str) -> None:
    rows = list(csv.reader(io.StringIO(as_csv(images_table(content_with(text))))))
    assert [f"'{text}", f"'{text}, second {text}"] == [rows[2][1], rows[2][-1]]


def test_the_papers_of_nothing() -> None:
    check_papers(ReleaseContent((), ()))


def test_layers_that_images_share_are_counted() -> None:
    first = image()
    second = image("app:2", layers=(Blob("sha256:b", 20), Blob("sha256:c", 300)))
    third = image("app:3", layers=(Blob("sha256:d", 4000),))
    content = ReleaseContent((first, second, third), ())
    shared = Blob("sha256:b", 20)
    assert [content.shared(each) for each in content.images] == [(shared,), (shared,), ()]
    assert content.size == 4321
    rows = [
        dict(zip(images_table(content).heads, row, strict=True))
        for row in images_table(content).rows
    ]
    numbers = [
        tuple(row[head] for head in ("layers", "layer bytes", "shared layers", "shared bytes"))
        for row in rows
    ]
    assert numbers == [(2, 21, 1, 20), (2, 320, 1, 20), (1, 4000, 0, 0)]


def test_the_sbom_names_images_as_other_tools_do() -> None:
    content = ReleaseContent((image(), image("quay.io/x/y@" + DIGEST, wanted_by=())), (charm(),))
    document = check_sbom(report_files(content)["cyclonedx.json"])
    first, _, application = document["components"]
    assert first["type"] == "container"
    assert (first["name"], first["version"]) == ("docker.io/team/app", "1")
    assert first["hashes"] == [{"alg": "SHA-256", "content": "0" * 64}]
    purl = PackageURL.from_string(first["purl"])
    assert (purl.type, purl.name, purl.version) == ("oci", "app", DIGEST)
    assert purl.qualifiers == {
        "arch": "amd64",
        "repository_url": "docker.io/team/app",
        "tag": "1",
    }
    assert application["type"] == "application"
    assert (application["name"], application["version"]) == ("app", "7")
    assert application["hashes"] == [{"alg": "SHA-256", "content": "2" * 64}]
    assert document["dependencies"] == [{"ref": "charm-1", "dependsOn": ["image-1"]}]
    assert "timestamp" not in document["metadata"]


def test_another_release_has_another_serial_number() -> None:
    numbers = {
        json.loads(report_files(ReleaseContent((image(name),), ()))["cyclonedx.json"])[
            "serialNumber"
        ]
        for name in ("app:1", "app:2")
    }
    assert len(numbers) == 2

"""The kit's way to the output directory, and what is there already."""

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from ckf_airgap.errors import ConfigurationError
from ckf_airgap.packing.kit_record import encode_kit_record
from ckf_airgap.packing.publication import Publication
from tests.support.kills import KilledError, kill_after


class TestPublication:
    """The kit's way to the output directory."""

    @pytest.fixture(autouse=True)
    def folders(self, tmp_path: Path) -> None:
        self.output = tmp_path / "output"
        self.partial = self.output / "partial"

    def make(self, *names: str) -> Publication:
        for name in names:
            path = self.partial / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
        return Publication(self.partial, self.output)

    def files(self) -> set[str]:
        found = (path for path in self.output.rglob("*") if path.is_file())
        return {str(path.relative_to(self.output)) for path in found}

    def test_documents_that_are_no_more_go(self) -> None:
        names = ("README.md", "documents/a/b.html", "documents/c.html")
        self.make(*names).publish(names)
        assert self.files() == {"SHA256SUMS", "kit.json", *names}
        (self.output / "documents" / "of-mine.html").write_text("mine")
        (self.output / "notes").write_text("mine")
        self.make("README.md").publish(["README.md"])
        mine = {"notes", "documents/of-mine.html"}
        assert self.files() == {"SHA256SUMS", "kit.json", "README.md", *mine}
        assert not (self.output / "documents" / "a").exists()

    def test_another_readme_is_not_replaced(self) -> None:
        publication = self.make("README.md")
        (self.output / "README.md").write_text("mine")
        with pytest.raises(ConfigurationError, match=r"has README.md, not written by .* --kit"):
            publication.require_kit_place(["README.md", "juju", "documents/a.html"])

    def test_an_earlier_kit_is_replaced(self) -> None:
        names = ("README.md", "documents/a.html")
        self.make(*names).publish(names)
        record = (self.output / "kit.json").read_bytes()
        publication = self.make(*names)
        publication.require_kit_place(names)
        publication.publish(names)
        assert self.files() == {"SHA256SUMS", "kit.json", *names}
        assert (self.output / "kit.json").read_bytes() == record

    def test_another_directory_documents_is_not_filled(self) -> None:
        publication = self.make("documents/a.html")
        (self.output / "documents").mkdir()
        with pytest.raises(ConfigurationError, match="has documents, not written by"):
            publication.require_kit_place(["documents/a.html"])

    def write(self, **contents: str) -> None:
        """Write files that somebody else has there."""
        self.output.mkdir(exist_ok=True)
        for name, content in contents.items():
            (self.output / name).write_text(content)

    def list_checksums(self, *names: str) -> None:
        """Write SHA256SUMS, as an operator does with sha256sum."""
        done = subprocess.run(
            ["sha256sum", *names], cwd=self.output, check=True, capture_output=True
        )
        (self.output / "SHA256SUMS").write_bytes(done.stdout)

    @pytest.mark.parametrize("names", [["README.md", "documents/a.html"], ["charms.tar.gz"]])
    def test_checksums_of_another_origin(self, names: list[str]) -> None:
        self.write(juju="mine", **{"README.md": "mine"})
        self.list_checksums("juju", "README.md")
        before = self.files()
        publication = self.make(*names)
        for refused in (publication.require_kit_place, publication.publish):
            with pytest.raises(ConfigurationError, match=r"SHA256SUMS .* juju, README.md, which"):
                refused(names)
        assert {name for name in self.files() if not name.startswith("partial/")} == before
        assert (self.output / "README.md").read_text() == "mine"

    def test_checksums_that_were_computed_again(self) -> None:
        """They may well list files of the operator, but not as those of the kit."""
        self.make("README.md").publish(["README.md"])
        self.write(**{"README.md": "mine", "juju": "mine"})
        self.list_checksums("README.md", "juju", "kit.json")
        with pytest.raises(ConfigurationError, match=r"SHA256SUMS .* README.md, juju, which"):
            self.make("charms.tar.gz").publish(["charms.tar.gz"])
        assert (self.output / "README.md").read_text() == "mine"

    def test_a_link_for_the_checksums(self) -> None:
        self.make("README.md").publish(["README.md"])
        (self.output / "SHA256SUMS").rename(self.output / "moved")
        (self.output / "SHA256SUMS").symlink_to("moved")
        with pytest.raises(ConfigurationError, match=r"SHA256SUMS in .* is not a regular file"):
            self.make("README.md").publish(["README.md"])

    def test_a_file_that_was_changed_is_kept(self) -> None:
        names = ("README.md", "documents/a.html")
        self.make(*names).publish(names)
        self.write(**{"README.md": "with notes of mine"})
        with pytest.raises(ConfigurationError, match=r"has README.md, .* or changed since"):
            self.make(*names).publish(names)
        self.make("charms.tar.gz").publish(["charms.tar.gz"])
        assert self.files() == {"SHA256SUMS", "README.md", "charms.tar.gz"}
        assert (self.output / "README.md").read_text() == "with notes of mine"

    def test_a_file_beside_the_documents_is_not_replaced(self) -> None:
        names = ("README.md", "documents/a.html")
        self.make(*names).publish(names)
        (self.output / "documents" / "notes.html").write_text("mine")
        names = (*names, "documents/notes.html")
        with pytest.raises(ConfigurationError, match=r"has documents/notes.html, not written"):
            self.make(*names).publish(names)
        assert (self.output / "documents" / "notes.html").read_text() == "mine"

    def test_documents_that_are_a_link(self) -> None:
        """Somebody has moved them to a web server, where they are others now."""
        names = ("README.md", "documents/a.html", "documents/old.html")
        self.make(*names).publish(names)
        elsewhere = self.output.parent / "elsewhere"
        (self.output / "documents").rename(elsewhere)
        (self.output / "documents").symlink_to(elsewhere)
        there = {path.name: path.read_text() for path in elsewhere.iterdir()}
        with pytest.raises(ConfigurationError, match="has documents, not written"):
            self.make(*names[:2]).publish(names[:2])
        self.make("charms.tar.gz").publish(["charms.tar.gz"])
        assert {path.name: path.read_text() for path in elsewhere.iterdir()} == there
        assert (self.output / "documents").is_symlink()

    def test_a_hostile_record(self) -> None:
        """It may list what it likes: nothing outside is removed, and nothing of another name."""
        victim = self.output.parent / "victim"
        victim.mkdir()
        (victim / "passwd").write_text("important")
        self.write(precious="precious")
        (self.output / "documents").symlink_to(victim)
        listed = {"documents/passwd": victim / "passwd", "precious": self.output / "precious"}
        digests = {
            name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in listed.items()
        }
        (self.output / "kit.json").write_bytes(encode_kit_record(digests))
        self.list_checksums("kit.json", "documents/passwd")
        self.make("charms.tar.gz").publish(["charms.tar.gz"])
        assert self.files() == {"SHA256SUMS", "charms.tar.gz", "precious"}
        assert (victim / "passwd").read_text() == "important"

    @pytest.mark.parametrize(
        "record", ["", "{}", "[]", '{"format": 1, "made_by": "x", "files": {"juju": "0"}}']
    )
    def test_another_file_of_the_records_name(self, record: str) -> None:
        self.write(**{"kit.json": record})
        with pytest.raises(ConfigurationError, match=r"has kit.json, not written"):
            self.make("README.md").publish(["README.md"])
        assert (self.output / "kit.json").read_text() == record

    def test_a_kit_whose_publication_is_killed_at_any_moment(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        old = ("README.md", "documents/a/b.html", "documents/c.html")
        new = ("README.md", "juju", "documents/c.html", "documents/d.html")
        moment, is_killed = 0, True
        while is_killed:
            self.make(*old).publish(old)
            publication = self.make(*new)
            (self.partial / "README.md").write_text("new")
            with monkeypatch.context() as patch:
                kill_after(moment, patch)
                try:
                    publication.publish(new)
                    is_killed = False
                except KilledError:
                    pass
            assert publication.is_interrupted == (is_killed and moment > 0)
            publication.resume()
            if moment:
                assert self.files() == {"SHA256SUMS", "kit.json", *new}
                assert (self.output / "README.md").read_text() == "new"
                check = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
                subprocess.run(check, cwd=self.output, check=True)
            shutil.rmtree(self.output)
            moment += 1
        assert moment > 7

    def test_a_file_that_comes_while_a_publication_is_interrupted(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        names = ("README.md", "juju")
        publication = self.make(*names)
        with monkeypatch.context() as patch, pytest.raises(KilledError):
            kill_after(1, patch)
            publication.publish(names)
        self.write(juju="mine", **{"README.md": "mine"})
        with pytest.raises(ConfigurationError, match=r"has README.md, juju, not written"):
            publication.resume()
        (self.output / "juju").unlink()
        (self.output / "README.md").unlink()
        publication.resume()
        assert self.files() == {"SHA256SUMS", "kit.json", *names}

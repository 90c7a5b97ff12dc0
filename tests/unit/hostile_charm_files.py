"""Charms that somebody made to do harm, with the words of their refusals, and odd ones."""

import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Mapping

from tests.support.hostile_charms import LAUGHS, MERGES, with_bytes

METADATA = "name: some\nseries: [kubernetes]\n"


def charm(**files: str | bytes) -> bytes:
    """Make a charm; its files are named with an underscore for the dot."""
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {"metadata_yaml": METADATA, **files}.items():
            archive.writestr(name.replace("_", "."), content)
    return output.getvalue()


def option(name: str, default: str) -> bytes:
    """Make a charm with one option, whose default value is YAML."""
    return charm(config_yaml=f"options: {{{name}: {{type: string, default: {default}}}}}")


def encrypted(content: bytes) -> bytes:
    """Set the flag of encryption (APPNOTE.TXT, sections 4.3.7 and 4.3.12)."""
    return with_bytes(with_bytes(content, b"PK\x01\x02", 8, b"\x01"), b"PK\x03\x04", 6, b"\x01")


def compressed_otherwise(content: bytes) -> bytes:
    """Name a way of compression that there is not."""
    return with_bytes(with_bytes(content, b"PK\x01\x02", 10, b"c"), b"PK\x03\x04", 8, b"c")


def smaller_than_it_is(content: bytes) -> bytes:
    """Let the directory say that files are of 10 bytes."""
    return with_bytes(content, b"PK\x01\x02", 24, (10).to_bytes(4, "little"))


def compressed(method: int) -> bytes:
    """Compress metadata in a way that takes much memory to read, and that no charm tool writes."""
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w", method) as archive:
        archive.writestr("metadata.yaml", METADATA * 99)
    return output.getvalue()


def of_many_files() -> bytes:
    """Make a zip whose directory has 5 MiB."""
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w") as archive:
        archive.writestr("metadata.yaml", METADATA)
        for number in range(100):
            archive.writestr(f"{number}{'a' * 60_000}", "")
    return output.getvalue()


def with_default_files(count: int, content: str) -> bytes:
    """Make a charm of many options, each with a file of its default images."""
    options = "\n".join(f"  image-{number}: {{default: x}}" for number in range(count))
    files = {f"src/default-image-{number}.json": content for number in range(count)}
    return charm(config_yaml=f"options:\n{options}", **files)


def with_resource(name: str, image: str = "a/b:1") -> bytes:
    """Make a charm of one resource, whose name and image are written as JSON."""
    body = json.dumps({name: {"type": "oci-image", "upstream-source": image}})
    return charm(metadata_yaml=f"{METADATA}resources: {body}")


def without_metadata() -> bytes:
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w") as archive:
        archive.writestr("../metadata.yaml", METADATA)
    return output.getvalue()


CHARMS: Mapping[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "not a readable charm"),
    "a tar": (lambda: tarfile.TarInfo("metadata.yaml").tobuf() * 9, "not a readable charm"),
    "cut off": (lambda: charm()[:-30], "not a readable charm"),
    "only its end": (lambda: charm()[-22:], "not a readable charm|has no metadata"),
    "without metadata": (without_metadata, r"has no metadata\.yaml"),
    "encrypted": (lambda: encrypted(charm()), "not a readable charm"),
    "compressed otherwise": (lambda: compressed_otherwise(charm()), "not a readable charm"),
    "compressed with LZMA": (
        lambda: compressed(zipfile.ZIP_LZMA),
        "compressed with a method that charm tools do not use",
    ),
    "compressed with bzip2": (
        lambda: compressed(zipfile.ZIP_BZIP2),
        "compressed with a method that charm tools do not use",
    ),
    "a large directory": (of_many_files, "its directory is too large to be right"),
    "a lie about a gigabyte": (
        lambda: smaller_than_it_is(charm(metadata_yaml=b"#" * 2**28)),
        "not a readable charm",
    ),
    "a list of half a million": (
        lambda: charm(metadata_yaml=f"{METADATA}x: [{'a,' * 500_000}]"),
        "has more than 50000 values",
    ),
    "many files of many values": (
        lambda: with_default_files(30, f"[{'1,' * 5_000}1]"),
        "has more than 50000 values",
    ),
    "many large files": (
        lambda: with_default_files(9, f'"{"a" * 1_000_000}"'),
        r"src/default-image-\d\.json of \S+ is too large to be right",
    ),
    "a resource that is a flag": (
        lambda: with_resource("--model=other"),
        r"metadata\.yaml of \S+ has the name '--model=other' in resources",
    ),
    "a resource that is a path": (
        lambda: with_resource("../../owned"),
        "has the name '../../owned' in resources",
    ),
    "a resource that is lines of a bundle": (
        lambda: with_resource("file: /etc/passwd\n      image"),
        "has the name 'file: /etc/passwd.+ in resources",
    ),
    "an image that ends a text of C": (
        lambda: with_resource("image", "a/b\0:1"),
        r"gives image the image 'a/b\\x00:1'",
    ),
    "an image that cannot be encoded": (
        lambda: with_resource("image", "a/b\ud800:1"),
        "gives image the image|is not valid YAML",
    ),
    "an image of a hub that a terminal obeys": (
        lambda: charm(
            config_yaml="options: {some-image: {default: "
            "'{global-hub: \"a\\e[2J\", global-tag: b, c-image: d}'}}"
        ),
        r"config\.yaml of \S+ gives some-image the image",
    ),
    "an option that is lines of a bundle": (
        lambda: option('"a: b\\n    trust: true\\n    c"', "d"),
        r"config\.yaml of \S+ has the name .+ in options",
    ),
    "an endpoint that is another": (
        lambda: charm(metadata_yaml=METADATA + 'requires: {"a:b": {interface: c}}'),
        "has the name 'a:b' in requires",
    ),
    "an interface that a terminal obeys": (
        lambda: charm(metadata_yaml=METADATA + 'requires: {a: {interface: "\\e[2J"}}'),
        "gives a the interface",
    ),
    "storage that is a path": (
        lambda: charm(metadata_yaml=METADATA + "storage: {../a: {type: filesystem}}"),
        "has the name '../a' in storage",
    ),
    "a name that nearly fits": (
        lambda: charm(metadata_yaml=f"name: a{'-aaaa' * 25}!"),
        "names no valid charm",
    ),
    "a lie about sizes": (
        lambda: smaller_than_it_is(charm(metadata_yaml=METADATA * 99)),
        "not a readable charm|is not valid YAML|names no valid charm",
    ),
    "metadata of a gigabyte": (
        lambda: charm(metadata_yaml=b"#" * 2**26),
        r"metadata\.yaml of \S+ is too large",
    ),
    "metadata of other bytes": (
        lambda: charm(metadata_yaml=b"name: \xff\xfe"),
        r"metadata\.yaml of \S+ is not valid YAML",
    ),
    "metadata that explodes": (
        lambda: charm(metadata_yaml=f"{METADATA}{LAUGHS}"),
        "expands to more than 200000 values",
    ),
    "options that explode": (
        lambda: charm(
            config_yaml=f"{LAUGHS}\noptions: {{some-image: {{default: *a9}}}}",
        ),
        "expands to more than 200000 values",
    ),
    "metadata that holds itself": (
        lambda: charm(metadata_yaml="name: some\na: &a [*a]"),
        "is not valid YAML",
    ),
    "metadata that is deep": (
        lambda: charm(metadata_yaml="name: " + "[" * 9999),
        "nested too deeply",
    ),
    "a tag of Python": (
        lambda: charm(metadata_yaml="name: !!python/object/apply:os.system [touch /tmp/owned]"),
        "names no valid charm",
    ),
    "a name that leads elsewhere": (
        lambda: charm(metadata_yaml="name: ../../x"),
        "names no valid charm",
    ),
    "a name without end": (
        lambda: charm(metadata_yaml=f"name: {'a-' * 50_000}"),
        "names no valid charm: '(a-)+'",
    ),
    "a name that a terminal obeys": (
        lambda: charm(metadata_yaml='name: "\\e[2J"'),
        "names no valid charm",
    ),
    "a name that is a map": (lambda: charm(metadata_yaml="name: {a: b}"), "names no valid charm"),
    "a key given twice": (
        lambda: charm(metadata_yaml=f"{METADATA}name: other"),
        r"metadata\.yaml of \S+ is not valid YAML \(line 3 repeats the key name\)",
    ),
    "an option given twice": (
        lambda: charm(config_yaml="options: {a: {default: x}, a: {default: y}}"),
        r"config\.yaml of \S+ is not valid YAML \(line 1 repeats the key a\)",
    ),
    "a merge of itself": (
        lambda: charm(metadata_yaml=f"{METADATA}a: &a {{<<: *a}}"),
        "is not valid YAML",
    ),
    "merges that explode": (
        lambda: charm(metadata_yaml=f"{METADATA}{MERGES}"),
        "expands to more than 200000 values",
    ),
    "metadata in UTF-16": (
        lambda: charm(metadata_yaml=METADATA.encode("utf-16-le")),
        "is not valid YAML|names no valid charm",
    ),
    "a name of letters that look alike": (
        lambda: charm(metadata_yaml="name: min\u0456o"),
        "names no valid charm",
    ),
    "a name that runs backwards": (
        lambda: charm(metadata_yaml='name: "min\\u202eoi"'),
        "names no valid charm",
    ),
    "a name that ends a text of C": (
        lambda: charm(metadata_yaml='name: "a\\0b"'),
        "names no valid charm",
    ),
    "a name that is a date": (
        lambda: charm(metadata_yaml="name: 2024-01-31"),
        "names no valid charm",
    ),
    "a folder in the place of metadata": (
        lambda: charm(**{"metadata_yaml": "", "metadata_yaml/x": ""}),
        "names no valid charm",
    ),
    "two documents": (lambda: charm(metadata_yaml="name: some\n---\nname: other"), "not valid"),
}


ODD: Mapping[str, Callable[[], bytes]] = {
    "a mark of the byte order": lambda: charm(metadata_yaml=f"\ufeff{METADATA}"),
    "lines as Windows ends them": lambda: charm(metadata_yaml=METADATA.replace("\n", "\r\n")),
    "metadata in UTF-16 with a mark": lambda: charm(metadata_yaml=METADATA.encode("utf-16")),
    "a tag of YAML": lambda: charm(metadata_yaml="name: !!str some\nseries: !!seq [kubernetes]"),
    "numbers without end": lambda: charm(
        config_yaml=f"options: {{a: {{default: {'9' * 9999}}}, b: {{default: 1e999}}}}"
    ),
    "images given twice in a default file": lambda: charm(
        config_yaml="options: {some-image: {default: ''}}",
        **{"src/default-some-image_json": '{"a": "x/y:1", "a": "x/y:2"}'},
    ),
    "resources that are a list": lambda: charm(metadata_yaml=f"{METADATA}resources: [a]"),
    "resources of numbers": lambda: charm(metadata_yaml=f"{METADATA}resources: {{a: 1}}"),
    "an image that is a list": lambda: charm(
        metadata_yaml=f"{METADATA}resources: {{a: {{type: oci-image, upstream-source: [a]}}}}"
    ),
    "relations that are text": lambda: charm(metadata_yaml=f"{METADATA}requires: text"),
    "a version of many digits": lambda: charm(
        metadata_yaml=f"{METADATA}assumes: [juju >= {'9' * 5000}]"
    ),
    "bases of other kinds": lambda: charm(manifest_yaml="bases: [1, {name: [], channel: {}}]"),
    "a default that is deep": lambda: option("some-image", f'"{"[" * 5000}"'),
    "a default that explodes": lambda: charm(
        config_yaml="options: {some-image: {default: |\n"
        + "\n".join(f"  {line}" for line in LAUGHS.splitlines())
        + "\n}}"
    ),
    "a default of a megabyte": lambda: option("some-image", f'"{"a-" * 400_000}!"'),
    "an image of a megabyte": lambda: option("some-image", f'"a/{"a." * 400_000}:"'),
    "a hub of lists": lambda: option("some-image", '"{global-hub: [a], global-tag: {}}"'),
    "files of strange names": lambda: charm(
        **{"src/default-../../x.json": "{}", "/etc/passwd": "", "a" * 60_000: ""}
    ),
}

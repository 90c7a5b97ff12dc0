"""Options of several sub-commands, and the files that they name."""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from ckf_airgap.archives.byte_stream import report_reading
from ckf_airgap.archives.inventory import Inventory, OnImage, read_inventory
from ckf_airgap.archives.minisign import PublicKey
from ckf_airgap.archives.pack_manifest import PackManifest
from ckf_airgap.archives.parts import FileParts, ServedArchive, find_archive
from ckf_airgap.archives.signed_images import require_signed
from ckf_airgap.archives.sources import Source
from ckf_airgap.charms.charm_archive import UnpackedCharms, unpack_charms
from ckf_airgap.errors import ConfigurationError
from ckf_airgap.files.regular_files import open_regular, read_regular
from ckf_airgap.images.reference import ImageReference

LARGEST_TEXT = 16 * 1024 * 1024
"""The maximum size of a text file of the operator, in bytes."""
AddParser = Callable[..., argparse.ArgumentParser]
"""Makes the parser of a sub-command from its name and the keywords of ``ArgumentParser``."""


def add_archives(parser: argparse.ArgumentParser, required: Sequence[str] = ()) -> None:
    """Add the options for the two archives.

    Args:
        parser: The parser.
        required: The mandatory ones of ``charms`` and ``images``.
    """
    for name in ("charms", "images"):
        parser.add_argument(
            f"--{name}", required=name in required, metavar="FILE|URL", help=f"{name}.tar.gz"
        )
    add_reading(parser)


def add_reading(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how archives are read."""
    add_registry_ca(parser)
    parser.add_argument(
        "--architecture",
        default="",
        metavar="CPU",
        help="the CPU architecture to choose if an image has several, for example amd64 "
        "(default: refuse such an image)",
    )
    parser.add_argument(
        "--verify-key",
        type=Path,
        metavar="FILE",
        help="a public key of minisign: refuse archives that were not packed with its secret key "
        "(pack --sign), or that were changed since",
    )


def add_registry_ca(parser: argparse.ArgumentParser) -> None:
    """Add the option for the certificates of registries and file servers."""
    parser.add_argument(
        "--registry-ca",
        type=Path,
        metavar="FILE",
        help="PEM certificates to trust for registries and URLs, in addition to those of the "
        "system",
    )


def add_registry(parser: argparse.ArgumentParser) -> None:
    """Add the option that names the registry prefix."""
    parser.add_argument(
        "--registry", required=True, metavar="HOST[:PORT][/PATH]", help="the registry prefix"
    )


def add_authfile(parser: argparse.ArgumentParser) -> None:
    """Add the option that names the file with the registry's account."""
    parser.add_argument(
        "--authfile",
        type=Path,
        metavar="FILE",
        help="the auth file of skopeo login or docker login (default: the one that they write)",
    )


def add_format(parser: argparse.ArgumentParser, formats: Sequence[str] = ("yaml", "json")) -> None:
    """Add the option for the output format.

    Args:
        parser: The parser.
        formats: The formats, the default one first.
    """
    parser.add_argument(
        "--format", choices=formats, default=formats[0], help="(default: %(default)s)"
    )


def read_charms(arguments: argparse.Namespace, name: str = "charms") -> UnpackedCharms:
    """Read the charms of an option; none if it is not given.

    Args:
        arguments: The arguments.
        name: The option, without its leading dashes.

    Raises:
        ArtifactError: The archive cannot be read, is not signed as required, or has no readable
            charm. An unreadable charm beside others is in ``UnpackedCharms.unreadable``.
        ConfigurationError: The option is not valid.
    """
    if not vars(arguments)[name.replace("-", "_")]:
        return UnpackedCharms(())
    source = archive(arguments, name)
    return read_charm_archive(source, signed_record(arguments, source))


def read_charm_archive(source: Source, signed: PackManifest | None = None) -> UnpackedCharms:
    """Read the charms of an archive; their files are not kept.

    Args:
        source: The archive.
        signed: As for ``unpack_charms``.

    Raises:
        ArtifactError: The archive cannot be read, or has no readable charm.
    """
    with tempfile.TemporaryDirectory(prefix="ckf-airgap-") as folder:
        return unpack_charms(source, Path(folder), signed)


def archive_inventory(
    arguments: argparse.Namespace, charms: UnpackedCharms, on_image: OnImage | None = None
) -> Inventory:
    """Return the inventory of the archive of ``--images``.

    Args:
        arguments: The arguments.
        charms: The charms, from which names for images without a name are derived.
        on_image: As for ``read_inventory``.

    Raises:
        ArtifactError: The archive cannot be read, or is not signed as required.
        ConfigurationError: The option is not valid.
    """
    images = archive(arguments, "images")
    return read_image_archive(
        images,
        charms.wanted_images,
        on_image,
        architecture=arguments.architecture,
        signed=signed_record(arguments, images),
    )


def read_image_archive(
    source: Source,
    wanted: Sequence[ImageReference] = (),
    on_image: OnImage | None = None,
    *,
    architecture: str = "",
    signed: PackManifest | None = None,
) -> Inventory:
    """Return the inventory of an archive of images; show progress while it is read.

    Args:
        source: The archive.
        wanted: The images that the charms use, from which names for images without a name are
            derived.
        on_image: As for ``read_inventory``.
        architecture: As for ``read_inventory``.
        signed: As for ``read_inventory``.

    Raises:
        ArtifactError: The archive cannot be read.
    """
    return read_inventory(
        source,
        wanted,
        architecture=architecture,
        on_read=report_reading(source, lambda text: print(text, file=sys.stderr)),
        on_image=on_image or (lambda _entry, _image: None),
        signed=signed,
    )


def signed_record(arguments: argparse.Namespace, source: Source) -> PackManifest | None:
    """Check the signature of an archive with the key of ``--verify-key``.

    Args:
        arguments: The arguments.
        source: The archive.

    Returns:
        The archive's record; None if the option is not given.

    Raises:
        ArtifactError: The archive is not signed with that key, or was changed since.
        ConfigurationError: The option is not valid.
    """
    if arguments.verify_key is None:
        return None
    key = PublicKey.parse(read_text(arguments.verify_key), "--verify-key")
    return require_signed(source, key)


def archive(arguments: argparse.Namespace, name: str) -> Source:
    """Find the archive of an option; see ``find_source``.

    Args:
        arguments: The arguments.
        name: The option, without its leading dashes.

    Raises:
        ConfigurationError: The archive does not exist, or the address is not valid.
    """
    return find_source(arguments, name, vars(arguments)[name.replace("-", "_")])


def find_source(arguments: argparse.Namespace, name: str, text: str) -> Source:
    """Find an archive: a file or the https address of one, whole or in parts.

    Args:
        arguments: The arguments.
        name: The option, without its leading dashes, for messages.
        text: The file or the address.

    Raises:
        ConfigurationError: The archive does not exist, or the address is not valid.
    """
    if "://" in text:
        return ServedArchive(text, f"--{name}", certificates(arguments))
    found = find_archive(Path(text))
    if not isinstance(found, FileParts):
        require_file(found.path)
    return found


def certificates(arguments: argparse.Namespace) -> str | None:
    """Read the certificates of ``--registry-ca``, PEM; None if it is not given."""
    return read_text(arguments.registry_ca) or None


def require_file(path: Path) -> Path:
    """Check that a file can be read.

    Returns:
        Its path.

    Raises:
        ConfigurationError: It cannot be read.
    """
    try:
        os.close(open_regular(path))
        return path
    except OSError as error:
        raise _unreadable(path, error) from error


def read_text(path: Path | None) -> str:
    """Read a text file; empty for none.

    Raises:
        ConfigurationError: It cannot be read, or is not text in UTF-8.
    """
    if path is None:
        return ""
    try:
        return read_regular(path, LARGEST_TEXT).decode("utf-8")
    except OSError as error:
        raise _unreadable(path, error) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is not text", "give a YAML file") from error


def _unreadable(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"{path} cannot be read ({error.strerror})", "give the path of an existing file"
    )

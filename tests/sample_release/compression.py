"""Writing one gzip stream, as ``tar --use-compress-program=pigz`` does."""

import enum
import gzip
import shutil
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast


class Compressor(enum.Enum):
    """What compresses.

    Both give the same bytes for the same input, but not the same bytes as each other.
    """

    PIGZ = "pigz"
    PYTHON = "python"

    @classmethod
    def best(cls) -> "Compressor":
        """Choose pigz where it is installed, for it is what the public scripts use, and faster."""
        return cls.PIGZ if shutil.which("pigz") else cls.PYTHON


@contextmanager
def gzip_writer(path: Path, compressor: Compressor) -> Generator[IO[bytes]]:
    """Open a file whose content is compressed on the way, without name and time in its header.

    Raises:
        subprocess.CalledProcessError: pigz failed.
    """
    with path.open("wb") as output:
        if compressor is Compressor.PYTHON:
            with gzip.GzipFile("", "wb", compresslevel=6, fileobj=output, mtime=0) as stream:
                yield cast("IO[bytes]", stream)
            return
        # A fixed number of threads: with one of them pigz cuts the data in another way.
        command = ["pigz", "--stdout", "--no-name", "--no-time", "--processes", "2"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output) as process:
            assert process.stdin is not None
            yield process.stdin
            process.stdin.close()
            if status := process.wait():
                raise subprocess.CalledProcessError(status, command)

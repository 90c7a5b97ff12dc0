"""The errors that reading a damaged zip archive raises."""

import struct
import zipfile
import zlib

ZIP_ERRORS: tuple[type[Exception], ...] = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    # For example, file names in a wrong encoding.
    ValueError,
    struct.error,
)
"""The errors of ``zipfile`` for a damaged archive. It also raises OSError, and KeyError for a name
that the archive lacks."""

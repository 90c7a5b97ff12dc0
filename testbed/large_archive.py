"""An images.tar.gz of any size that is nowhere: it is made while it is read.

Its layers are random, so that nothing of it is smaller than it says. Every byte depends
on its place alone: a part of it can be asked for again.
"""

import hashlib
import http.server
import json
import random
import re
import ssl
import struct
import sys
import tarfile
import zlib
from bisect import bisect_right
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

READY = "ready"
_MEBIBYTE = 1024 * 1024
_RANDOM = random.Random(0).randbytes(_MEBIBYTE)
_PAGE = re.compile(r"bytes=(\d+)-(\d*)")
_STORED = 0
_GZIP = 31


class LargeArchive:
    """The archive, as pieces that are made when they are wanted."""

    def __init__(self, images: int, layer_mib: int) -> None:
        """Lay it out, which takes as long as hashing all of it.

        Args:
            images: How many images it holds.
            layer_mib: The size of the one layer that each has, in MiB.
        """
        self._starts: list[int] = []
        self._pieces: list[Callable[[], bytes]] = []
        self.size = 0
        chunk_length = len(_stored(bytes(_MEBIBYTE)))
        with ThreadPoolExecutor() as executor:
            digests = list(executor.map(partial(_digest, layer_mib), range(images)))
        for number, digest in enumerate(digests):
            config = _config(digest)
            image_id = hashlib.sha256(config).hexdigest()
            manifest = [
                {
                    "Config": f"{image_id}.json",
                    "RepoTags": [f"docker.io/large/image-{number}:1"],
                    "Layers": ["layer.tar"],
                }
            ]
            layer_size = layer_mib * _MEBIBYTE + 3 * tarfile.BLOCKSIZE
            before = _file("manifest.json", json.dumps(manifest).encode())
            before += _file(f"{image_id}.json", config) + _header("layer.tar", layer_size)
            size = len(before) + layer_size + 2 * tarfile.BLOCKSIZE
            self._add(_header(f"image-{number}.tar", size) + before + _layer_start(layer_mib))
            for part in range(layer_mib):
                self._add_chunk(partial(_chunk, number, part), chunk_length)
            self._add(bytes(2 * tarfile.BLOCKSIZE) + bytes(2 * tarfile.BLOCKSIZE))
        self._add(bytes(2 * tarfile.BLOCKSIZE))

    def read(self, start: int) -> tuple[bytes, int]:
        """Give the bytes from a place to the end of the piece that it is in, and that end."""
        number = bisect_right(self._starts, start) - 1
        data = self._pieces[number]()
        return data[start - self._starts[number] :], self._starts[number] + len(data)

    def _add(self, content: bytes) -> None:
        data = _stored(content)
        self._add_piece(lambda: data, len(data))

    def _add_chunk(self, make: Callable[[], bytes], length: int) -> None:
        self._add_piece(lambda: _stored(make()), length)

    def _add_piece(self, make: Callable[[], bytes], length: int) -> None:
        self._starts.append(self.size)
        self._pieces.append(make)
        self.size += length


def _stored(content: bytes) -> bytes:
    """Make a gzip member of bytes that are not compressed."""
    compressor = zlib.compressobj(_STORED, wbits=_GZIP)
    return compressor.compress(content) + compressor.flush()


def _chunk(image: int, part: int) -> bytes:
    return struct.pack(">QQ", image, part) + _RANDOM[16:]


def _layer_start(layer_mib: int) -> bytes:
    return _header("data", layer_mib * _MEBIBYTE)


def _digest(layer_mib: int, image: int) -> str:
    digest = hashlib.sha256(_layer_start(layer_mib))
    for part in range(layer_mib):
        digest.update(_chunk(image, part))
    digest.update(bytes(2 * tarfile.BLOCKSIZE))
    return digest.hexdigest()


def _config(digest: str) -> bytes:
    rootfs = {"type": "layers", "diff_ids": [f"sha256:{digest}"]}
    return json.dumps({"architecture": "amd64", "os": "linux", "rootfs": rootfs}).encode()


def _header(name: str, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size = size
    return member.tobuf(tarfile.GNU_FORMAT)


def _file(name: str, content: bytes) -> bytes:
    return _header(name, len(content)) + content + bytes(-len(content) % tarfile.BLOCKSIZE)


class _Handler(http.server.BaseHTTPRequestHandler):
    """Answers with the archive, or with a part of it (RFC 9110, section 14)."""

    protocol_version = "HTTP/1.1"
    archive: LargeArchive

    def do_HEAD(self) -> None:
        self._start(0)

    def do_GET(self) -> None:
        place = self._start(self._first())
        while place < self.archive.size:
            data, place = self.archive.read(place)
            self.wfile.write(data)

    def _first(self) -> int:
        match = _PAGE.fullmatch(self.headers.get("Range", ""))
        return int(match[1]) if match else 0

    def _start(self, first: int) -> int:
        size = self.archive.size
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{size - 1}/{size}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", f'"{size}"')
        self.send_header("Content-Length", str(size - first))
        self.end_headers()
        return first

    def log_message(self, format: str, *args: Any) -> None:
        print(format % args, flush=True)


def main() -> None:
    """Serve it over HTTPS until it is stopped."""
    address, certificate, key, images, layer_mib = sys.argv[1:]
    host, _, port = address.partition(":")
    handler = type("Handler", (_Handler,), {"archive": LargeArchive(int(images), int(layer_mib))})
    server = http.server.ThreadingHTTPServer((host, int(port)), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    print(READY, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()

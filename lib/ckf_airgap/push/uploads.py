"""The threads that run while the archive is read: sending blobs, and finishing images."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Any, TypeVar

from ckf_airgap.errors import AirgapError, without_traceback
from ckf_airgap.images.oci import Blob
from ckf_airgap.push.layer_content import Piece
from ckf_airgap.registry.client import RegistryClient

# The number of blobs sent at a time, and of pieces of each that wait to be sent. With the size of
# a piece they limit the memory of a push.
_WORKERS = 3
_PIECES_AHEAD = 4
_MEMBERS_AHEAD = 3
_WAIT_SECONDS = 0.5

Arrived = TypeVar("Arrived")
_Waiting = queue.Queue[Piece | Exception | None]


class Uploads:
    """Sends blobs in threads while the archive is read."""

    def __init__(
        self,
        client: RegistryClient,
        *,
        in_chunks: bool = False,
        on_sent: Callable[[int], None] = lambda _: None,
        on_step: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare.

        Args:
            client: The registry.
            in_chunks: Whether to send in chunks, which can be sent again if a connection breaks.
            on_sent: Called with the size of each piece that is sent, in the sending thread.
            on_step: Called for each piece, and regularly while one waits.
        """
        self._client = client
        self._in_chunks = in_chunks
        self._on_sent = on_sent
        self._on_step = on_step
        self._executor = ThreadPoolExecutor(_WORKERS, thread_name_prefix="upload")

    def __enter__(self) -> "Uploads":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._executor.shutdown(cancel_futures=kind is not None)

    def send(
        self,
        repository: str,
        pieces: Iterable[Piece],
        before_commit: Callable[[Blob], None],
        arrive: Callable[[Blob], Arrived],
    ) -> Future[Arrived]:
        """Send a blob.

        Args:
            repository: The repository to send it to.
            pieces: Its bytes; iterated in the calling thread, no faster than they are sent.
            before_commit: Called with the blob just before the registry commits it, in another
                thread; an exception cancels the upload.
            arrive: Called with the committed blob, in another thread.

        Returns:
            The result of ``arrive``, or the failure.

        Raises:
            Exception: Iterating the pieces failed; nothing is stored.
        """
        waiting: _Waiting = queue.Queue(_PIECES_AHEAD)
        future = self._executor.submit(self._upload, repository, waiting, before_commit, arrive)
        try:
            for piece in pieces:
                if not self._hand_over(waiting, piece, future):
                    return future
        # An interrupt, too, must not leave the other thread waiting for more.
        except BaseException as error:
            stop = error if isinstance(error, Exception) else RuntimeError("interrupted")
            self._hand_over(waiting, stop, future)
            raise
        self._hand_over(waiting, None, future)
        return future

    def _upload(
        self,
        repository: str,
        waiting: _Waiting,
        before_commit: Callable[[Blob], None],
        arrive: Callable[[Blob], Arrived],
    ) -> Arrived:
        pieces = self._taken(waiting)
        try:
            return arrive(
                self._client.upload_blob(
                    repository, pieces, before_commit, in_chunks=self._in_chunks
                )
            )
        except AirgapError as error:
            failure = without_traceback(error)
        # Many errors may be kept, each with this frame: release the pieces.
        del pieces, waiting
        raise failure

    def _taken(self, waiting: _Waiting) -> Iterator[bytes]:
        while (item := waiting.get()) is not None:
            if isinstance(item, Exception):
                raise item
            data = item.result() if isinstance(item, Future) else item
            self._on_sent(len(data))
            yield data

    def _hand_over(
        self, waiting: _Waiting, item: Piece | Exception | None, future: Future[Any]
    ) -> bool:
        """Pass a piece to the sending thread; return whether it still accepts pieces."""
        while not future.done():
            self._on_step()
            try:
                waiting.put(item, timeout=_WAIT_SECONDS)
            except queue.Full:
                continue
            return True
        return False


class Finisher:
    """Finishes members of the archive in order, in one thread."""

    def __init__(self, on_wait: Callable[[], None] = lambda: None) -> None:
        """Prepare.

        Args:
            on_wait: Called regularly while a member waits for those before it.
        """
        self._on_wait = on_wait
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="finish")
        self._free = threading.Semaphore(_MEMBERS_AHEAD)
        self._failure: Exception | None = None

    def __enter__(self) -> "Finisher":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._executor.shutdown()
            return
        last = self._executor.submit(lambda: None)
        while not wait([last], _WAIT_SECONDS).done:
            self._on_wait()
        self._executor.shutdown()
        self.raise_failure()

    def add(self, finish: Callable[[], None]) -> None:
        """Finish a member after those before it.

        Args:
            finish: Finishes it. An exception stops the finisher.
        """
        while not self._free.acquire(timeout=_WAIT_SECONDS):
            self._on_wait()
        self._executor.submit(self._finish, finish)

    def raise_failure(self) -> None:
        """Raise the exception that stopped the finisher, if any."""
        if self._failure:
            raise self._failure

    def _finish(self, finish: Callable[[], None]) -> None:
        try:
            if self._failure is None:
                finish()
        # The reading thread raises it.
        except Exception as error:
            self._failure = error
        finally:
            self._free.release()

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
_BLOBS_AT_ONCE = 3
_MOST_WAITING_PIECES = 4
# The number of tasks that the finisher has accepted and not finished.
_MOST_UNFINISHED = 3
_WAIT_SECONDS = 0.5

Arrived = TypeVar("Arrived")
_PieceQueue = queue.Queue[Piece | Exception | None]


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
            on_step: Called in the thread that calls ``send``: for each piece, and regularly while
                a piece waits.
        """
        self._client = client
        self._in_chunks = in_chunks
        self._on_sent = on_sent
        self._on_step = on_step
        self._executor = ThreadPoolExecutor(_BLOBS_AT_ONCE, thread_name_prefix="upload")

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
            pieces: Its bytes; iterated in the calling thread, at most a few pieces ahead of the
                sending thread.
            before_commit: Called with the blob just before the registry commits it, in another
                thread; an exception cancels the upload.
            arrive: Called with the committed blob, in another thread.

        Returns:
            The result of ``arrive``, or the error of the upload.

        Raises:
            Exception: Iterating the pieces failed; nothing is stored.
        """
        waiting: _PieceQueue = queue.Queue(_MOST_WAITING_PIECES)
        future = self._executor.submit(self._upload, repository, waiting, before_commit, arrive)
        try:
            for piece in pieces:
                if not self._hand_over(waiting, piece, future):
                    return future
        # Whatever the error (an interrupt, too), the sending thread must not wait for more pieces.
        except BaseException as error:
            stop = error if isinstance(error, Exception) else RuntimeError("interrupted")
            self._hand_over(waiting, stop, future)
            raise
        self._hand_over(waiting, None, future)
        return future

    def _upload(
        self,
        repository: str,
        waiting: _PieceQueue,
        before_commit: Callable[[Blob], None],
        arrive: Callable[[Blob], Arrived],
    ) -> Arrived:
        pieces = self._pieces_in(waiting)
        try:
            return arrive(
                self._client.upload_blob(
                    repository, pieces, before_commit, in_chunks=self._in_chunks
                )
            )
        except AirgapError as error:
            failure = without_traceback(error)
        # Many errors may be stored, each with this frame: release the pieces.
        del pieces, waiting
        raise failure

    def _pieces_in(self, waiting: _PieceQueue) -> Iterator[bytes]:
        """Return the pieces of a queue, until its end or the error in it."""
        while (item := waiting.get()) is not None:
            if isinstance(item, Exception):
                raise item
            data = item.result() if isinstance(item, Future) else item
            self._on_sent(len(data))
            yield data

    def _hand_over(
        self, waiting: _PieceQueue, item: Piece | Exception | None, future: Future[Any]
    ) -> bool:
        """Pass a piece, an error or the end to the sending thread; return whether it took it."""
        while not future.done():
            self._on_step()
            try:
                waiting.put(item, timeout=_WAIT_SECONDS)
            except queue.Full:
                continue
            return True
        return False


class Finisher:
    """Runs tasks, such as finishing an image, in order in one thread."""

    def __init__(self, on_wait: Callable[[], None] = lambda: None) -> None:
        """Prepare.

        Args:
            on_wait: Called regularly while ``add`` or the end of the block waits for tasks.
        """
        self._on_wait = on_wait
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="finish")
        self._free = threading.Semaphore(_MOST_UNFINISHED)
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

    def add(self, task: Callable[[], None]) -> None:
        """Run a task after those before it; wait first if too many are unfinished.

        Args:
            task: The task. After an exception in it, later tasks are not run.
        """
        while not self._free.acquire(timeout=_WAIT_SECONDS):
            self._on_wait()
        self._executor.submit(self._run, task)

    def raise_failure(self) -> None:
        """Raise the exception of the task that failed, if any."""
        if self._failure:
            raise self._failure

    def _run(self, task: Callable[[], None]) -> None:
        try:
            if self._failure is None:
                task()
        # ``raise_failure`` raises it in the reading thread.
        except Exception as error:
            self._failure = error
        finally:
            self._free.release()

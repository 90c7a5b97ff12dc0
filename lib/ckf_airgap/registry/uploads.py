"""What goes on beside the reading of the archive: sending blobs, and finishing images."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from ckf_airgap.errors import ArtifactError
from ckf_airgap.registry.client import Blob, RegistryClient

# How many blobs are sent at a time, and how many chunks of each wait to be sent: what bounds the
# memory of a push, together with the size of a chunk.
_WORKERS = 3
_CHUNKS_AHEAD = 2
_MEMBERS_AHEAD = 3
_WAIT_SECONDS = 0.5


class Uploads:
    """Sends blobs in threads of their own, while what comes after them is being read."""

    def __init__(self, client: RegistryClient) -> None:
        self._client = client
        self._executor = ThreadPoolExecutor(_WORKERS, thread_name_prefix="upload")

    def __enter__(self) -> "Uploads":
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown(cancel_futures=True)

    def send(self, repository: str, chunks: Iterable[bytes]) -> Future[Blob]:
        """Send a blob.

        Args:
            repository: Where to.
            chunks: Its bytes; they are taken in the calling thread, no faster than they are sent.

        Returns:
            The blob to be, or what went wrong.

        Raises:
            Exception: Whatever taking a chunk raises; nothing is stored then.
        """
        waiting: queue.Queue[bytes | Exception | None] = queue.Queue(_CHUNKS_AHEAD)
        future = self._executor.submit(self._client.upload_blob, repository, _taken(waiting))
        try:
            for chunk in chunks:
                if not _hand_over(waiting, chunk, future):
                    return future
        except Exception as error:
            _hand_over(waiting, error, future)
            raise
        _hand_over(waiting, None, future)
        return future


def _hand_over(
    waiting: "queue.Queue[bytes | Exception | None]",
    item: bytes | Exception | None,
    future: Future[Blob],
) -> bool:
    """Give a chunk to the thread that sends; tells whether it still takes any."""
    while not future.done():
        try:
            waiting.put(item, timeout=_WAIT_SECONDS)
        except queue.Full:
            continue
        return True
    return False


def _taken(waiting: "queue.Queue[bytes | Exception | None]") -> Iterator[bytes]:
    while (item := waiting.get()) is not None:
        if isinstance(item, Exception):
            raise item
        yield item


class Finisher:
    """Finishes members of the archive in their order, in a thread of its own."""

    def __init__(self, outcomes: MutableMapping[int, ArtifactError | None]) -> None:
        """Prepare.

        Args:
            outcomes: Where to put the outcome of each member: damage, or None for none.
        """
        self._outcomes = outcomes
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
        self._executor.shutdown()
        if error is None:
            self.raise_failure()

    def add(self, number: int, finish: Callable[[], None]) -> None:
        """Have a member finished, once those before it are.

        Args:
            number: The member's.
            finish: Finishes it; raises ArtifactError where it is damaged.
        """
        self._free.acquire()
        self._executor.submit(self._finish, number, finish)

    def wait(self) -> None:
        """Wait until all that was added is finished."""
        self._executor.submit(lambda: None).result()
        self.raise_failure()

    def raise_failure(self) -> None:
        """Raise what stopped the finishing, if anything did."""
        if self._failure:
            raise self._failure

    def _finish(self, number: int, finish: Callable[[], None]) -> None:
        try:
            if self._failure is None:
                finish()
                self._outcomes[number] = None
        except ArtifactError as error:
            self._outcomes[number] = error
        # Whatever else it is, it is for the reading thread to raise.
        except Exception as error:
            self._failure = error
        finally:
            self._free.release()

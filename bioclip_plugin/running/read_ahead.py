"""Bytes of the next items read by threads of their own while a file system answers slowly: network disks, many small files.

On a quick disk nothing is read ahead: a decoding thread reads a cached file within a tenth of a millisecond, and another thread would
only be one more to wait for. Whether the disk is slow is measured on the items themselves.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bioclip_core.images.memory import take_memory
from bioclip_core.process.threads import Workers, WorkersClosed
from bioclip_plugin.items.media import MediaItem

THREADS = 8
"""Files that are read at the same time."""
MOST_BYTES = 128 << 20
"""Limit of the bytes that wait for a decoding thread."""
_MEASURED_ITEMS = 8
_SLOW_SHARE = 0.25
"""Time of reading, as a share of the processor time of decoding, from which it pays to read ahead."""
_SLOW_S = 0.001
"""Time per item that is always quick."""

_WAITING, _READING, _DONE, _TAKEN = range(4)


class Ahead:
    """The bytes of one item: read ahead if a thread came to it in time, else by the decoding thread itself."""

    def __init__(self, size: int, read: Callable[[], bytes]) -> None:
        self.size = size
        self._read = read
        self._state = _WAITING
        self._changed = threading.Condition()
        self._content: bytes | None = None
        self._error: Exception | None = None

    def read(self) -> bool:
        """Read the bytes on this thread; return False if the decoding thread reads them already."""
        with self._changed:
            if self._state != _WAITING:
                return False
            self._state = _READING
        content: bytes | None = None
        error: Exception | None = None
        try:
            content = self._read()
        except Exception as found:
            error = found
        with self._changed:
            self._state, self._content, self._error = _DONE, content, error
            self._changed.notify_all()
        return True

    def take(self) -> bytes:
        """Return the bytes, once; they belong to the memory of the image that this thread decodes.

        Raises:
            ImageError: if they cannot be read.
        """
        with self._changed:
            if self._state == _WAITING:
                self._state = _TAKEN
            while self._state == _READING:
                self._changed.wait()
            is_read = self._state == _DONE
            self._state, content, error = _TAKEN, self._content, self._error
            self._content = self._error = None
        if not is_read:
            return self._read()
        if error is not None:
            raise error
        assert content is not None
        take_memory(len(content))
        return content


class ReadAhead:
    """Decides whether items are read ahead, and does it in bounded memory."""

    def __init__(self, read: Callable[[MediaItem], bytes], size: Callable[[MediaItem], int | None]) -> None:
        """Set up; threads begin when reading is found to be slow.

        Args:
            read: returns the bytes of an item.
            size: returns their number without reading them; None for an item that is not to be read ahead. It is called on the threads.
        """
        self._read, self._size = read, size
        self._workers: Workers | None = None
        self._lock = threading.Lock()
        self._held = 0
        self._items, self._reading_s, self._decoding_s = 0, 0.0, 0.0

    @property
    def is_slow(self) -> bool:
        """True if reading takes so long beside decoding that it pays to read ahead."""
        if self._workers is not None:
            return True
        is_measured = self._items >= _MEASURED_ITEMS
        return is_measured and self._reading_s > max(_SLOW_SHARE * self._decoding_s, _SLOW_S * self._items)

    def begin(self, item: MediaItem) -> Ahead | None:
        """Begin to read an item; None while reading is quick."""
        if not self.is_slow:
            return None
        if self._workers is None:
            self._workers = Workers(THREADS, "bioclip-read")
        ahead = Ahead(0, lambda: self._read(item))
        try:
            self._workers.submit(self._run, ahead, item)
        except WorkersClosed:
            return None
        return ahead

    def _run(self, ahead: Ahead, item: MediaItem) -> None:
        try:
            size = self._size(item)
        except Exception:  # the decoding thread reports it
            return
        with self._lock:
            if size is None or self._held + size > MOST_BYTES:
                return
            self._held += size
            ahead.size = size
        if not ahead.read():
            self._let_go(ahead)

    def content(self, item: MediaItem, ahead: Ahead | None) -> bytes:
        """Return the bytes of an item, read ahead or now.

        Raises:
            ImageError: if they cannot be read.
        """
        if ahead is not None:
            try:
                return ahead.take()
            finally:
                self._let_go(ahead)
        began = time.perf_counter()
        try:
            return self._read(item)
        finally:
            with self._lock:
                self._items += 1
                self._reading_s += time.perf_counter() - began

    def _let_go(self, ahead: Ahead) -> None:
        """Count the bytes of an item as waiting no more, once."""
        with self._lock:
            self._held, ahead.size = self._held - ahead.size, 0

    @contextmanager
    def decoding(self) -> Iterator[None]:
        """Count the processor time of what is done with the bytes of an item."""
        began = time.thread_time()
        try:
            yield
        finally:
            with self._lock:
                self._decoding_s += time.thread_time() - began

    def close(self, *, wait_s: float) -> None:
        """End the threads; a read that hangs is waited for only so long."""
        if self._workers is not None:
            self._workers.close(wait_s=wait_s)

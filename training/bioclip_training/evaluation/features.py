"""Features of a catalog's rows: decoded in threads by the model's own contract, encoded in batches, rounded to float16."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import ImageError, SourceError, UsageError
from bioclip_core.images.decoding import decode_regions, read_bytes
from bioclip_training.catalog.rows import Catalog

if TYPE_CHECKING:
    from bioclip_core.device import Compute
    from bioclip_core.encoder import Encoder
    from bioclip_core.preprocessing import Preprocessing

StageProgress = Callable[[str, int, int], None]
"""Called with what is done, how much of it, and of how much in all."""

Decoded = NDArray[np.uint8] | str
"""A model input, or the reason why there is none."""


def silent(_what: str, _done: int, _total: int) -> None:
    """Say nothing."""


class FeatureBook:
    """Features of a catalog's rows, each encoded once; a row whose image cannot be read has a reason instead."""

    def __init__(
        self,
        catalog: Catalog,
        encoder: Encoder,
        compute: Compute,
        *,
        batch_size: int | None = None,
        workers: int | None = None,
    ) -> None:
        self.failures: dict[int, str] = {}
        """By row, why its image could not be used."""
        self._catalog = catalog
        self._encoder = encoder
        self._batch_size = batch_size or (128 if compute.device.startswith("cuda") else 16)
        self._workers = workers or min(16, os.cpu_count() or 1)
        self._place: dict[int, int] = {}
        self._parts: list[NDArray[np.float16]] = []
        self._count = 0

    def encode(self, rows_N: NDArray[np.int64], what: str, progress: StageProgress) -> None:
        """Encode the rows that are not encoded yet.

        Raises:
            SourceError: if none of at least one image could be read.
        """
        wanted = [row for row in dict.fromkeys(rows_N.tolist()) if row not in self._place and row not in self.failures]
        batch: list[tuple[int, NDArray[np.uint8]]] = []
        progress(what, 0, len(wanted))
        for done, (row, decoded) in enumerate(self._decoded(wanted), 1):
            if isinstance(decoded, str):
                self.failures[row] = decoded
            else:
                batch.append((row, decoded))
            if len(batch) == self._batch_size or done == len(wanted):
                self._encode(batch)
                batch = []
            progress(what, done, len(wanted))
        if wanted and not any(row in self._place for row in wanted):
            self._refuse(wanted)

    def of(self, rows_N: NDArray[np.int64]) -> NDArray[np.float16]:
        """N×D features of rows that were encoded."""
        if not self._parts:
            return np.empty((0, self._encoder.dimension), dtype=np.float16)
        if len(self._parts) > 1:
            self._parts = [np.concatenate(self._parts)]
        return self._parts[0][[self._place[row] for row in rows_N.tolist()]]

    def usable(self, rows_N: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which rows have features."""
        return np.array([row in self._place for row in rows_N.tolist()], dtype=bool)

    def _encode(self, batch: Sequence[tuple[int, NDArray[np.uint8]]]) -> None:
        if not batch:
            return
        self._parts.append(self._encoder.encode_images(np.stack([pixels for _, pixels in batch])))
        for row, _ in batch:
            self._place[row] = self._count
            self._count += 1

    def _decoded(self, rows: Sequence[int]) -> Iterator[tuple[int, Decoded]]:
        """Each row with its pixels, in order; at most two batches wait to be encoded."""
        waiting: deque[tuple[int, Future[Decoded]]] = deque()
        preprocessing = self._encoder.preprocessing
        with ThreadPoolExecutor(self._workers, thread_name_prefix="bioclip-decode") as pool:
            try:
                for row in rows:
                    waiting.append((row, pool.submit(decoded_row, self._catalog, row, preprocessing)))
                    if len(waiting) > 2 * self._batch_size:
                        first, future = waiting.popleft()
                        yield first, future.result()
                while waiting:
                    first, future = waiting.popleft()
                    yield first, future.result()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _refuse(self, rows: Sequence[int]) -> None:
        uri = self._catalog.column("uri")[rows[0]]
        raise SourceError(
            f"none of {len(rows)} images of {self._catalog.file} could be used; the first is {uri}: {self.failures[rows[0]]}. "
            f"A relative uri is relative to {self._catalog.file.parent}: put the catalog back where it was built, or build it again"
        )


def decoded_row(catalog: Catalog, row: int, preprocessing: Preprocessing) -> Decoded:
    """A row's region as the model's input, or the reason why it cannot be had."""
    try:
        data = read_bytes(catalog.path(row))
        return decode_regions(data, [catalog.box(row)], preprocessing, frame=catalog.frame(row))[0]
    except ImageError as error:
        return f"{error.stage}: {error}"
    except UsageError as error:  # a box outside of the image
        return f"decode: {error}"

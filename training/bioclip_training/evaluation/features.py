"""Features of a catalog's rows: decoded in threads as the model requires, encoded in batches, rounded to float16."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from bioclip_core.encoder import USUAL_BATCH, Encoder, best_batch_of
from bioclip_core.errors import ImageError, SourceError, UsageError
from bioclip_core.images.decoding import decode_regions
from bioclip_core.images.memory import image_memory
from bioclip_core.images.unexpected import contained
from bioclip_core.nouns import number_of
from bioclip_core.preprocessing import Preprocessing
from bioclip_training.catalog.ahead import in_order, threads_for
from bioclip_training.catalog.first_look import look_first, read_advice, unused_prefix_lines
from bioclip_training.catalog.rows import Catalog

log = logging.getLogger("bioclip_plugin.training")

StageProgress = Callable[[str, int, int], None]
"""Function that is called with the name of a stage, the number done so far and the total."""

Decoded = NDArray[np.uint8] | str
"""A model input, or the reason why there is none."""


class Failed(TypedDict):
    """Images that could not be used for one reason."""

    stage: str
    """``read``, ``verify`` (other bytes than recorded) or ``decode``."""
    images: int
    first: str
    """Key and reason of the first one."""


class FeatureBook:
    """Features of a catalog's rows, each encoded once; a row with an unreadable image has a reason instead."""

    def __init__(
        self,
        catalog: Catalog,
        encoder: Encoder,
        *,
        batch_size: int | None = None,
        workers: int | None = None,
    ) -> None:
        """Prepare a book without features.

        Args:
            catalog: the rows.
            encoder: makes the features.
            batch_size: images per batch; None takes the number that suits the encoder.
            workers: number of decoding threads.
        """
        self.failures: dict[int, str] = {}
        """Reason why the image of a row could not be used, by row."""
        self._catalog = catalog
        self._encoder = encoder
        self._batch_size = batch_size or best_batch_of(encoder) or USUAL_BATCH
        self._threads = threads_for(workers)
        self._place: dict[int, int] = {}
        self._parts: list[NDArray[np.float16]] = []

    def encode(self, rows_N: NDArray[np.int64], stage: str, progress: StageProgress) -> None:
        """Encode the rows that are not encoded yet.

        Raises:
            SourceError: if there are such rows and none of their images can be read.
        """
        wanted = [row for row in dict.fromkeys(rows_N.tolist()) if row not in self._place and row not in self.failures]
        if not wanted:
            return
        batch: list[tuple[int, NDArray[np.uint8]]] = []
        preprocessing = self._encoder.preprocessing
        work = partial(decoded_row, self._catalog, preprocessing=preprocessing)
        inputs = in_order(work, wanted, self._threads, 2 * self._batch_size, name="bioclip-decode")
        progress(stage, 0, len(wanted))
        for done, (row, decoded) in enumerate(zip(wanted, inputs, strict=True), 1):
            if isinstance(decoded, str):
                self.failures[row] = decoded
            else:
                batch.append((row, decoded))
            if batch and (len(batch) == self._batch_size or done == len(wanted)):
                self._parts.append(self._encoder.encode_images(np.stack([pixels for _, pixels in batch])))
                for encoded, _ in batch:
                    self._place[encoded] = len(self._place)
                batch = []
            progress(stage, done, len(wanted))
        if not any(row in self._place for row in wanted):
            raise SourceError(
                f"none of {number_of(len(wanted), 'image')} of {self._catalog.name} could be used; the first is "
                f"{self._catalog.key(wanted[0])}: {self.failures[wanted[0]]}. {read_advice(self._catalog)}"
            )

    def add_failures(self, other: FeatureBook) -> None:
        """Take over the failures of another book of the same catalog, for example of examples that only it encoded."""
        self.failures = {**other.failures, **self.failures}

    def counted_failures(self) -> list[Failed]:
        """Return the failures by stage, each with its first example."""
        return counted_failures(self._catalog, self.failures)

    def of(self, rows_N: NDArray[np.int64]) -> NDArray[np.float16]:
        """Return N×D features of rows that were encoded."""
        if not self._parts:
            return np.empty((0, self._encoder.dimension), dtype=np.float16)
        if len(self._parts) > 1:
            self._parts = [np.concatenate(self._parts)]
        return self._parts[0][[self._place[row] for row in rows_N.tolist()]]

    def usable(self, rows_N: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return a mask of the rows with features."""
        return np.array([row in self._place for row in rows_N.tolist()], dtype=bool)


def counted_failures(catalog: Catalog, failures: Mapping[int, str]) -> list[Failed]:
    """Return reasons of rows, as a book has them, by stage, each with its first example."""
    counted: dict[str, Failed] = {}
    for row, reason in failures.items():
        stage, _, text = reason.partition(": ")
        first = Failed(stage=stage, images=0, first=f"{catalog.key(row)}: {text}")
        counted.setdefault(stage, first)["images"] += 1
    return list(counted.values())


def say_first(catalog: Catalog, rows: NDArray[np.int64], replace_prefix: Sequence[str] = ()) -> None:
    """Look at a few images before the model is opened, and log what is to be said of them.

    Raises:
        SourceError: if none can be used, or most are not the recorded ones.
    """
    for line in [*look_first(catalog, rows), *unused_prefix_lines([catalog], replace_prefix)]:
        log.warning(line)


def decoded_row(catalog: Catalog, row: int, preprocessing: Preprocessing) -> Decoded:
    """Return a row's region as the model's input, or the reason why it cannot be read."""
    try:
        with contained(), image_memory():
            region = catalog.encoded(row)
            return decode_regions(region.data, [region.box], preprocessing, frame=region.frame)[0]
    except ImageError as error:
        return f"{error.stage}: {error}"
    except UsageError as error:  # a box outside of the image
        return f"decode: {error}"

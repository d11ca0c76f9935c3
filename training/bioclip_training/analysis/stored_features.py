"""Features of a catalog's images in a folder, in parts: an interrupted or repeated analysis encodes only what is missing."""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bioclip_core.device import Compute
from bioclip_core.encoder import Encoder
from bioclip_core.errors import SourceError
from bioclip_core.files.whole import replacing_file
from bioclip_core.identity import settings_id
from bioclip_core.models import FoundModel
from bioclip_core.nouns import number_of
from bioclip_training.catalog.rows import Catalog
from bioclip_training.evaluation.features import FeatureBook, StageProgress

PART_IMAGES = 512
_VERSION = 1

log = logging.getLogger("bioclip_plugin.training")


@dataclass(frozen=True, slots=True)
class Encoded:
    """Features of the rows whose images could be used."""

    rows_N: NDArray[np.int64]
    features_ND: NDArray[np.float16]
    failures: dict[int, str]
    """Reason why the image of a row could not be used, by row."""
    reused: int
    """Number of rows whose features were there already."""


def encoded_rows(
    catalog: Catalog,
    rows_N: NDArray[np.int64],
    found: FoundModel,
    compute: Compute,
    folder: Path,
    open_it: Callable[[], Encoder],
    progress: StageProgress,
    *,
    batch_size: int | None = None,
    workers: int | None = None,
) -> Encoded:
    """Return features of rows of a catalog, from the folder where it has them; new ones are added to it part by part.

    A folder below ``folder`` is named by weights, preprocessing, device, precision and catalog, so that features of others are
    never taken. Images that could not be used are tried again by the next call. A part that is damaged is encoded again.

    Args:
        catalog: the catalog.
        rows_N: the rows.
        found: the model.
        compute: device and precision.
        folder: the folder for all models and catalogs.
        open_it: opens the model; called only if something is missing.
        progress: called with the stage, the number done so far and the total.
        batch_size: images per batch.
        workers: number of decoding threads.

    Raises:
        SourceError: if none of the images can be used.
    """
    own = folder / settings_id(
        {
            "version": _VERSION, "weights": found.weights_sha256, "preprocessing": found.preprocessing.identity(),
            "device": compute.device, "precision": compute.precision, "catalog": catalog.identity,
        }
    )[:16]  # fmt: skip
    known = _known(own, len(catalog))
    reused = sum(row in known for row in rows_N.tolist())
    missing = np.array([row for row in rows_N.tolist() if row not in known], dtype=np.int64)
    failures: dict[int, str] = {}
    if len(missing):
        own.mkdir(parents=True, exist_ok=True)
        encoder = open_it()
        progress("Encoding", 0, len(missing))
        for start in range(0, len(missing), PART_IMAGES):
            book = FeatureBook(catalog, encoder, batch_size=batch_size, workers=workers)
            ahead = partial(_ahead, progress, start, len(missing))
            known |= _encode_part(book, missing[start : start + PART_IMAGES], own, len(rows_N), ahead)
            failures |= book.failures
    kept = np.array([row for row in rows_N.tolist() if row in known], dtype=np.int64)
    if not len(kept):
        row, reason = next(iter(failures.items()))
        raise SourceError(
            f"none of {number_of(len(rows_N), 'image')} of {catalog.name} could be used; the first is {catalog.key(row)}: {reason}"
        )
    return Encoded(kept, np.stack([known[row] for row in kept.tolist()]), failures, reused)


def _encode_part(
    book: FeatureBook, part: NDArray[np.int64], folder: Path, wanted: int, progress: StageProgress
) -> dict[int, NDArray[np.float16]]:
    """Encode a part, add it to the folder, and return the features of its images that can be used."""
    try:
        book.encode(part, "Encoding", progress)
    except SourceError:
        if len(part) == wanted:  # not one image can be used; of a part, the next may be better
            raise
    usable = part[book.usable(part)]
    if not len(usable):
        return {}
    _write(folder, usable, book.of(usable))
    return dict(zip(usable.tolist(), book.of(usable), strict=True))


def _ahead(progress: StageProgress, before: int, total: int, what: str, done: int, _: int) -> None:
    progress(what, before + done, total)


def _known(folder: Path, rows: int) -> dict[int, NDArray[np.float16]]:
    known: dict[int, NDArray[np.float16]] = {}
    for file in sorted(folder.glob("part-*.npz")):
        try:
            with np.load(file, allow_pickle=False) as part:
                places, features = part["rows"], part["features"]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            log.warning(f"{file}: features cannot be read ({error}) and are made again")
            continue
        is_whole = features.ndim == 2 and len(places) == len(features) and features.dtype == np.float16
        if is_whole and (not len(places) or 0 <= places.min() <= places.max() < rows):
            known |= dict(zip(places.tolist(), features, strict=True))
    return known


def _write(folder: Path, rows_N: NDArray[np.int64], features_ND: NDArray[np.float16]) -> None:
    with (
        replacing_file(folder / f"part-{int(rows_N[0]):010d}-{len(rows_N):05d}.npz") as draft,
        draft.open("wb") as file,
    ):
        np.savez(file, rows=rows_N, features=features_ND)

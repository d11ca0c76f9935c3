"""Features of an evaluation set: encoded once per model and preprocessing, and kept in parts, so that an interrupted run continues."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bioclip_core.encoder import USUAL_BATCH, Encoder, best_batch_of
from bioclip_core.errors import ImageError, SourceError
from bioclip_core.files.whole import write_whole
from bioclip_core.identity import settings_id
from bioclip_core.images.decoding import decode_regions, read_bytes
from bioclip_core.images.memory import image_memory
from bioclip_core.images.unexpected import contained
from bioclip_core.nouns import number_of
from bioclip_core.preprocessing import Preprocessing
from bioclip_training.catalog.ahead import in_order, threads_for
from bioclip_training.evaluation.features import StageProgress
from bioclip_training.suites.encoders import encoding
from bioclip_training.suites.images import SetImages

PART = 4096
"""Images per part: what an interrupted run loses at most."""
FEATURES_VERSION = 1


class Decoded(NamedTuple):
    """One image on its way to the encoder."""

    pixels: NDArray[np.uint8] | None
    sha256: str
    fault: str
    """Stage and reason, empty for an image."""


@dataclass(frozen=True, slots=True)
class SetFeatures:
    """Features of the N images of a set."""

    unit_ND: NDArray[np.float16]
    """L2-normalised; zeros for an image that cannot be used."""
    length_N: NDArray[np.float32]
    """Lengths before normalisation; NaN if the encoder does not tell them."""
    sha256_N: tuple[str, ...]
    """Of the file's bytes; empty if they cannot be read."""
    fault_N: tuple[str, ...]
    """Stage and reason for an image that cannot be used; empty for the others."""

    @property
    def is_usable(self) -> NDArray[np.bool_]:
        """Mask of the images with features."""
        return np.array([not fault for fault in self.fault_N], dtype=bool)

    def raw(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return features before their normalisation; normalised ones if the encoder does not tell lengths."""
        length_R = np.nan_to_num(self.length_N[rows], nan=1.0)
        return self.unit_ND[rows].astype(np.float32) * length_R[:, None]


def set_id(images: SetImages) -> str:
    """Return an id of the files of a set: names, sizes and times of change, without reading them."""
    listed = []
    for uri in images.uris:
        try:
            status = (images.root / uri).stat()
            listed.append([uri, status.st_size, status.st_mtime_ns])
        except OSError:
            listed.append([uri, -1, 0])
    return settings_id({"files": listed})


def encode_set(
    images: SetImages,
    encoder: Encoder,
    encoder_id: str,
    preprocessing: Preprocessing,
    folder: Path,
    *,
    lengths: bool,
    batch_size: int | None,
    workers: int | None,
    progress: StageProgress,
) -> SetFeatures:
    """Return the features of all images, from finished parts where there are some.

    Args:
        images: the set.
        encoder: makes features of what is missing.
        encoder_id: id of what decides the features.
        preprocessing: of the images, which may differ from the encoder's own in resizing and decoding.
        folder: where parts are kept.
        lengths: also keep the features' lengths before normalisation.
        batch_size: images encoded at once.
        workers: number of decoding threads.
        progress: called with the stage, the number done so far and the total.

    Raises:
        SourceError: if none of the images can be used.
    """
    made_of = {"encoder": encoder_id, "set": set_id(images), "lengths": lengths, "version": FEATURES_VERSION}
    kept = folder / settings_id(made_of)[:32]
    kept.mkdir(parents=True, exist_ok=True)
    progress("Encoding", 0, len(images))
    parts = []
    encode = partial(
        _encoded,
        encoder,
        lengths,
        preprocessing,
        batch_size or best_batch_of(encoder) or USUAL_BATCH,
        threads_for(workers),
    )
    for start in range(0, len(images), PART):
        rows = range(start, min(start + PART, len(images)))
        file = kept / f"part-{start // PART:05d}.npz"
        part = _read(file, len(rows), encoder.dimension)
        if part is None:
            paths = [images.root / images.uris[row] for row in rows]
            part = encode(paths, partial(_report, progress, start, len(images)))
            _write(file, part)
        parts.append(part)
        progress("Encoding", rows.stop, len(images))
    found = _joined(parts)
    if not found.is_usable.any():
        raise SourceError(
            f"none of {number_of(len(images), 'image')} in {images.root} could be used; the first is {images.uris[0]}: {found.fault_N[0]}"
        )
    return found


def _joined(parts: Sequence[SetFeatures]) -> SetFeatures:
    return SetFeatures(
        np.concatenate([part.unit_ND for part in parts]), np.concatenate([part.length_N for part in parts]),
        tuple(sha for part in parts for sha in part.sha256_N), tuple(fault for part in parts for fault in part.fault_N),
    )  # fmt: skip


def _report(progress: StageProgress, start: int, total: int, done: int) -> None:
    progress("Encoding", start + done, total)


def _encoded(
    encoder: Encoder,
    lengths: bool,
    preprocessing: Preprocessing,
    batch_size: int,
    threads: int,
    paths: Sequence[Path],
    report: Callable[[int], None],
) -> SetFeatures:
    encode = encoding(encoder, lengths=lengths)
    unit_ND = np.zeros((len(paths), encoder.dimension), np.float16)
    length_N = np.full(len(paths), np.nan, np.float32)
    sha256, faults = [""] * len(paths), [""] * len(paths)
    batch: list[tuple[int, NDArray[np.uint8]]] = []
    decoded = in_order(partial(_decoded, preprocessing), paths, threads, 2 * batch_size, name="bioclip-decode")
    for row, one in enumerate(decoded):
        sha256[row], faults[row] = one.sha256, one.fault
        if one.pixels is not None:
            batch.append((row, one.pixels))
        if batch and (len(batch) == batch_size or row == len(paths) - 1):
            rows = [number for number, _ in batch]
            unit_ND[rows], length_N[rows] = encode(np.stack([pixels for _, pixels in batch]))
            batch = []
            report(row + 1)
    for row in np.flatnonzero(~np.isfinite(unit_ND).all(axis=1)).tolist():
        unit_ND[row], faults[row] = 0, "encode: its features are not finite numbers"
    return SetFeatures(unit_ND, length_N, tuple(sha256), tuple(faults))


def _decoded(preprocessing: Preprocessing, path: Path) -> Decoded:
    digest = ""
    try:
        with contained(), image_memory():
            data = read_bytes(path)
            digest = hashlib.sha256(data).hexdigest()
            return Decoded(decode_regions(data, [None], preprocessing)[0], digest, "")
    except ImageError as error:
        return Decoded(None, digest, f"{error.stage}: {error}")


def _write(file: Path, part: SetFeatures) -> None:
    buffer = io.BytesIO()
    np.savez(
        buffer, unit=part.unit_ND, length=part.length_N, sha256=np.array(part.sha256_N, dtype=np.str_),
        fault=np.array(part.fault_N, dtype=np.str_),
    )  # fmt: skip
    write_whole(file, buffer.getvalue())


def _read(file: Path, rows: int, dimension: int) -> SetFeatures | None:
    """Return a finished part; None if it is missing, damaged or of another shape."""
    try:
        with np.load(file, allow_pickle=False) as held:
            part = SetFeatures(
                held["unit"], held["length"], tuple(held["sha256"].tolist()), tuple(held["fault"].tolist())
            )
    except (OSError, ValueError, KeyError, EOFError):
        return None
    except Exception as error:  # zipfile raises its own for a damaged archive
        if type(error).__name__ != "BadZipFile":
            raise
        return None
    is_whole = part.unit_ND.shape == (rows, dimension) and len(part.fault_N) == rows
    return (
        part if is_whole and not any(fault.startswith("read:") for fault in part.fault_N) else None
    )  # those are tried again

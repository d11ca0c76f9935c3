"""Looks of many records out of the parts of the stage ``images``, as arrays."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import parquet

from bioclip_training.catalog.fingerprints import COLOUR_BYTES, HASH_BYTES, INNER_MARGINS
from bioclip_training.curation.imaging.lookup import Looks

_KEY_LETTERS = 32
_COLUMNS = ["key", "phash", "phash_inner", "colours", "unreadable"]


def looks_in(parts: Sequence[Path], without: Collection[str] = ()) -> tuple[NDArray[np.bytes_], Looks]:
    """Return the keys and looks of all records with a look, in the order of the parts.

    Args:
        parts: parts with the columns of ``IMAGES``, each sorted by key.
        without: keys of records that are left out.
    """
    rows = sum(parquet.read_metadata(part).num_rows for part in parts)
    keys = np.empty(rows, dtype=f"S{_KEY_LETTERS}")
    hashes_NB = np.empty((rows, HASH_BYTES), np.uint8)
    inner_NVB = np.empty((rows, len(INNER_MARGINS), HASH_BYTES), np.uint8)
    colours_NC = np.empty((rows, COLOUR_BYTES), np.uint8)
    left_out = np.array(sorted(without), dtype=f"S{_KEY_LETTERS}")
    end = 0
    for part in parts:
        table = parquet.read_table(part, columns=_COLUMNS)
        table = table.filter(
            pc.and_(pc.equal(table["unreadable"], ""), pc.greater(pc.binary_length(table["phash"]), 0))
        )
        found = table["key"].to_numpy().astype(f"S{_KEY_LETTERS}")
        places = np.searchsorted(left_out, found)
        is_wanted = np.ones(len(found), dtype=bool)
        inside = places < len(left_out)
        is_wanted[inside] = left_out[places[inside]] != found[inside]
        here = slice(end, end + int(is_wanted.sum()))
        keys[here] = found[is_wanted]
        hashes_NB[here] = _bytes_of(table["phash"], HASH_BYTES)[is_wanted]
        inner = _bytes_of(table["phash_inner"], HASH_BYTES * len(INNER_MARGINS))[is_wanted]
        inner_NVB[here] = inner.reshape(-1, len(INNER_MARGINS), HASH_BYTES)
        colours_NC[here] = _bytes_of(table["colours"], COLOUR_BYTES)[is_wanted]
        end = here.stop
    return keys[:end], Looks(hashes_NB[:end], inner_NVB[:end], colours_NC[:end])


def _bytes_of(column: pa.ChunkedArray, width: int) -> NDArray[np.uint8]:
    """Return a column of binaries of one length as rows of bytes."""
    joined = b"".join(column.to_pylist())
    return np.frombuffer(joined, dtype=np.uint8).reshape(-1, width)

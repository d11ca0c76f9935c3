"""Rows of runs on disk, beside an SQLite store or in the user's cache: they can always be made again from the store."""

from __future__ import annotations

import json
import os
import re
import zipfile
import zlib
from collections.abc import Collection
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bioclip_core.errors import BioclipError
from bioclip_core.files.documents import parse_document
from bioclip_core.files.replacing import reason_of
from bioclip_core.files.whole import replacing_file
from bioclip_core.identity import settings_id, user_cache
from bioclip_plugin.browsing.places import PlaceNumbers
from bioclip_plugin.browsing.reading import BLOCK, RAW_TYPES, Vocabulary
from bioclip_plugin.browsing.run_rows import RunRows
from bioclip_plugin.browsing.words import Flags, Reasons, Words
from bioclip_plugin.store import Store

FORMAT = 1
FOLDER_SUFFIX = ".view"
_FILE = re.compile(r"run-(\d+)\.npz")
_WORDS, _NAMES, _BLOCKS, _EVENTS = "words", "names", "blocks", "events"
_BETWEEN = "\0"
"""No text of the store holds it. Names of events are too many for JSON: a run has one for every few images."""
_MOST_BYTES = 1 << 30
_DAMAGE = (
    OSError, ValueError, TypeError, KeyError, EOFError, IndexError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""Errors of NumPy and zipfile for a file that is damaged or not one of ours."""


@dataclass(frozen=True, slots=True)
class _Words:
    """The part of a file that is not arrays: names and settings, as JSON."""

    format: int
    block: int
    stamp: str
    flags: tuple[str, ...]
    failures: tuple[str, ...]
    places: tuple[tuple[str, str, str, bool], ...]


def folder_of(store: Store) -> Path:
    """Return the folder of a store's kept rows."""
    file = store.file
    in_cache = user_cache() / "views" / settings_id({"store": store.shown_address})[:32]
    if file is None:
        return in_cache
    beside = file.with_name(file.name + FOLDER_SUFFIX)
    return beside if os.access(beside if beside.is_dir() else file.parent, os.W_OK) else in_cache


def load(folder: Path, run: int) -> tuple[RunRows | None, str]:
    """Return the kept rows of a run, and why they cannot be used; None with an empty reason if there are none."""
    path = folder / f"run-{run}.npz"
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return _rows_of(arrays), ""
    except FileNotFoundError:
        return None, ""
    except _DAMAGE as error:
        return (
            None,
            f"the kept columns {path} cannot be used and are made again ({type(error).__name__}: {str(error)[:200]})",
        )


def _rows_of(arrays: Any) -> RunRows:
    words = parse_document(
        bytes(arrays[_WORDS]), _Words, name="their description", error=ValueError, max_bytes=_MOST_BYTES
    )
    if (words.format, words.block) != (FORMAT, BLOCK):
        raise ValueError(f"they are of format {words.format}, not {FORMAT}")
    raw = {name: arrays[name] for name in RAW_TYPES}
    names, blocks = arrays[_NAMES], arrays[_BLOCKS]
    events = bytes(arrays[_EVENTS]).decode()
    vocabulary = Vocabulary(
        Words(events.split(_BETWEEN) if events else ()),
        Flags(words.flags),
        Reasons(words.failures),
        PlaceNumbers(words.places),
    )
    limits = {
        "event": len(vocabulary.events.words), "failure": len(vocabulary.failures.words), "place": len(vocabulary.places.places),
    }  # fmt: skip
    same = all(raw[name].dtype == kind and raw[name].shape == names.shape for name, kind in RAW_TYPES.items())
    fits = same and all(raw[name].max(initial=-1) < limit for name, limit in limits.items())
    if not fits or names.dtype != np.int32 or names.ndim != 1 or blocks.dtype != np.int64 or blocks.shape[1:] != (2,):
        raise ValueError("their arrays do not fit together")
    return RunRows(words.stamp, blocks, raw, names, vocabulary)


def save(folder: Path, run: int, rows: RunRows) -> str:
    """Keep the rows of a run; return why that failed, empty if it worked. A disk without room costs time at the next start only."""
    known = rows.vocabulary
    words = _Words(FORMAT, BLOCK, rows.stamp, known.flags.words, known.failures.words, known.places.places)
    texts = {_WORDS: json.dumps(asdict(words)), _EVENTS: _BETWEEN.join(known.events.words)}
    parts = {name: np.frombuffer(text.encode(), np.uint8) for name, text in texts.items()}
    path = folder / f"run-{run}.npz"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing_file(path) as draft, draft.open("wb") as file:
            np.savez(file, **rows.raw, **{_NAMES: rows.names, _BLOCKS: rows.blocks, **parts})  # type: ignore[arg-type]
    except (OSError, BioclipError) as error:
        reason = reason_of(error, path) if isinstance(error, OSError) else str(error)
        return (
            f"the columns of run {run} cannot be kept in {folder} ({reason}): this program works with them in memory, and the next one "
            "makes them again"
        )
    return ""


def forget_others(folder: Path, runs: Collection[int]) -> int:
    """Remove the kept rows of all runs but these; return their number."""
    removed = 0
    for path in folder.glob("run-*.npz") if folder.is_dir() else ():
        if (match := _FILE.fullmatch(path.name)) and int(match[1]) not in runs:
            with suppress(OSError):
                path.unlink()
                removed += 1
    return removed

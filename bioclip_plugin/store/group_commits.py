"""Several batches in one transaction, each with its own outcome."""

from __future__ import annotations

from collections.abc import Sequence

from bioclip_plugin.store.records import ItemRecord, Run
from bioclip_plugin.store.results import Results


def commit_each(store: Results, run: Run, batches: Sequence[Sequence[ItemRecord]]) -> list[Exception | None]:
    """Write several batches, all in one transaction if that is possible; return the error of each, None for a stored one.

    If that fails, each batch gets its own transaction: a batch that is refused, or too large for a full disk, does not
    prevent the others from being stored. If the database went away, all of them get that error.
    """
    error = _error_of(store, run, [record for batch in batches for record in batch])
    if error is None or len(batches) == 1:
        return [error] * len(batches)
    from bioclip_plugin.store.database.faults import is_away  # a worker of a distributed run has no database

    if is_away(error):
        return [error] * len(batches)
    return [_error_of(store, run, batch) for batch in batches]


def _error_of(store: Results, run: Run, records: Sequence[ItemRecord]) -> Exception | None:
    try:
        store.commit(run, records)
    except Exception as error:
        return error
    return None

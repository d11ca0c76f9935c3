"""Loading: parts into the store, with the same keys and rows as a run in one process, however often it is done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bioclip_core.errors import DataError
from bioclip_plugin.engines.documents import item_from, parsed_line
from bioclip_plugin.engines.folder import Plan, WorkFolder
from bioclip_plugin.engines.parts import About, PartRow, read_about, read_part
from bioclip_plugin.items.answers import Answer, RegionAnswer
from bioclip_plugin.items.media import MediaItem
from bioclip_plugin.store.records import ItemRecord, Run

if TYPE_CHECKING:
    from bioclip_plugin.running.session import Session

_COMMITTED_AT_ONCE = 512


@dataclass(frozen=True, slots=True)
class _Line:
    """One item of a shard."""

    item: MediaItem
    again: bool
    """True if the store had results for it that are made again."""


class Loader:
    """Loads the parts of one plan."""

    def __init__(self, session: Session, run: Run, folder: WorkFolder, plan: Plan) -> None:
        """Set up."""
        assert session.store is not None
        self._session, self._store, self._run, self._folder, self._plan = session, session.store, run, folder, plan

    def load(self, shard: str) -> int:
        """Commit a part, tell the observers, and mark it as loaded; return the number of its items.

        Items that the run has as done are left as they are, so that decisions of rules and of people on them stay.

        Raises:
            DataError: if the part is damaged or not that of the shard; it is put aside then, so that it is made again.
        """
        lines = [_line(parsed_line(line)) for line in self._folder.lines(self._folder.shard_file(shard))]
        rows = self._checked(shard, lines)
        for start in range(0, len(lines), _COMMITTED_AT_ONCE):
            end = start + _COMMITTED_AT_ONCE
            self._commit(lines[start:end], rows[start:end])
        self._folder.mark_loaded(shard)
        return len(lines)

    def is_in_store(self, shard: str) -> bool:
        """True if the store has the first or the last item of a shard as done: it is not an older copy of itself."""
        lines = self._folder.lines(self._folder.shard_file(shard))
        items = [_line(parsed_line(line)).item for line in (lines[0], lines[-1])]
        return any(one.done for one in self._store.list_items(self._run, items, [None, None]))

    def _checked(self, shard: str, lines: Sequence[_Line]) -> list[PartRow]:
        path = self._folder.part_file(shard)
        try:
            about, rows = read_part(path)
            if about.shard != shard or about.answer_id != self._plan.answer_id:
                raise DataError(f"the part {path} is of another shard or run")
            names = [(row.record.item.uri, row.record.item.frame) for row in rows]
            if names != [(line.item.uri, line.item.frame) for line in lines]:
                raise DataError(f"the part {path} has other items than its shard")
        except DataError:
            with suppress(FileNotFoundError):
                path.replace(path.with_suffix(".damaged"))
            raise
        return rows

    def _commit(self, lines: Sequence[_Line], rows: Sequence[PartRow]) -> None:
        listed = self._store.list_items(self._run, [line.item for line in lines], [row.stat for row in rows])
        records = [
            replace(row.record, listed=stated)
            for line, stated, row in zip(lines, listed, rows, strict=True)
            if not stated.done or line.again or self._plan.read_again
        ]
        self._store.commit(self._run, records)
        if records:
            self._session.notify(self._run, [self._answer(record) for record in records])

    def _answer(self, record: ItemRecord) -> Answer:
        level = self._session.engine.level
        if record.failure is not None:
            return Answer(record.item, failure=record.failure)
        return Answer(
            record.item,
            tuple(
                RegionAnswer(
                    region.region,
                    tuple((region.by_rank or {}).get(level, ())),
                    region.consensus,
                    tuple(region.flags),
                )
                for region in record.regions
            ),
        )


def facts_of(folder: WorkFolder, shards: Sequence[str]) -> Iterator[tuple[str, About | None]]:
    """Yield the facts about the part of each shard; None for a part that was removed or damaged after it was loaded."""
    there = folder.with_parts()
    for shard in shards:
        about = None
        if shard in there:
            with suppress(DataError):
                about = read_about(folder.part_file(shard))
        yield shard, about


class Workers:
    """Hosts and devices of the workers of parts, each with its shards, images and seconds of work."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, ...], dict[str, Any]] = {}

    def add(self, about: About) -> None:
        """Add the worker of a part."""
        worker: Mapping[str, Any] = about.worker
        key = tuple(str(worker.get(name, "")) for name in ("host", "device", "bioclip_plugin"))
        one = self._found.setdefault(key, {**worker, "shards": 0, "images": 0, "seconds": 0.0})
        one["shards"] += 1
        one["images"] += about.items
        one["seconds"] = round(one["seconds"] + about.seconds, 1)

    def as_list(self) -> list[dict[str, Any]]:
        """Return them as plain JSON."""
        return list(self._found.values())


def _line(values: Mapping[str, Any]) -> _Line:
    return _Line(item_from(values), bool(values.get("again")))

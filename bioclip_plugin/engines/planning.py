"""Planning: a run's listing into shards of images that must be read; all other items are left to this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, cast

from bioclip_core.files.present import exists
from bioclip_core.findings import Findings
from bioclip_plugin.engines.documents import item_line
from bioclip_plugin.engines.folder import Plan, Shard, WorkFolder, shard_id
from bioclip_plugin.items.media import MediaItem, Unlisted, path_of
from bioclip_plugin.items.web import is_remote
from bioclip_plugin.running.known import Known
from bioclip_plugin.running.reading import Reader, stat_of
from bioclip_plugin.store.records import Run, Stat

if TYPE_CHECKING:
    from bioclip_plugin.running.session import Session
    from bioclip_plugin.running.tasks import Task

_LISTED_AT_ONCE = 512

HERE = (
    "images are answered by this program and not by workers, since they are on the web or were unpacked from a package"
)
"""Text of the finding about images that no worker can read."""


class Planner:
    """Takes the entries of a listing, lists them in the store, and writes shards of those whose image must be read."""

    def __init__(
        self,
        session: Session,
        run: Run,
        folder: WorkFolder,
        *,
        shard_size: int,
        number: int,
        rehash: bool,
        findings: Findings,
        is_unpacked: Callable[[MediaItem], bool],
        on_listed: Callable[[int], None],
    ) -> None:
        """Set up.

        Args:
            shard_size: images per shard.
            number: number of the plan.
            rehash: read every file again.
            findings: counts what is found while listing.
            is_unpacked: True for an item whose file is removed after the listing.
            on_listed: called with the number of items listed so far.
        """
        assert session.store is not None
        self._session, self._store, self._run, self._folder = session, session.store, run, folder
        self._size, self._number, self._rehash = shard_size, number, rehash
        self._findings, self._is_unpacked, self._on_listed = findings, is_unpacked, on_listed
        self._reader = Reader(session.engine, run, findings)
        self._known = Known(
            session.store, run, findings, session.engine.detection(), repeat_done=False, rehash=rehash,
            reads_web=session.fetching.has_folder,
        )  # fmt: skip
        self._planned = _Numbers()
        self._lines: list[str] = []
        self._later: list[str] = []
        self.shards: list[Shard] = []
        self.images = 0

    @property
    def already_done(self) -> int:
        """Number of items that the run had done before."""
        return self._known.already_done

    def kept(self, entries: Iterable[MediaItem | Unlisted]) -> Iterator[MediaItem | Unlisted]:
        """Yield the entries that this process answers: failures of the listing, known features, images that no worker can read.

        The shards are written meanwhile, and the plan when the entries end: workers begin then, but until :meth:`answered` is
        called the same command lists again. Items that are done are not yielded.
        """
        self._store.forget_unlisted(self._run)
        drawn, count = iter(entries), 0
        while chunk := list(islice(drawn, _LISTED_AT_ONCE)):
            yield from self._kept_of([e if isinstance(e, Unlisted) else self._reader.zoned(e) for e in chunk])
            self._on_listed(count := count + len(chunk))
        self._write_shard()
        self._folder.write_lines(self._folder.later_file(), self._later)
        self._folder.write_plan(self._plan(is_answered=False), self.shards)

    def answered(self) -> None:
        """Record that every entry that :meth:`kept` yielded is answered."""
        self._folder.write_plan(self._plan(is_answered=True))

    def _kept_of(self, chunk: Sequence[MediaItem | Unlisted]) -> Iterator[MediaItem | Unlisted]:
        stats = [stat_of(item) for item in chunk]
        listed = self._store.list_items(self._run, chunk, stats)
        tasks = self._known.tasks_of(listed, stats)
        self._known.committed(tasks)
        for entry, stated, task, stat in zip(chunk, listed, tasks, stats, strict=True):
            if task.is_done:
                continue
            if task.original is not None and stated.media_id in self._planned:
                self._later.append(self._line(cast("MediaItem", entry)))
            elif not task.is_to_read:
                yield entry
            elif not self._is_for_workers(task):
                self._findings.add(HERE, task.item.uri)
                yield entry
            elif self._planned.add(stated.media_id):
                # The state of the file is in the line, so that a changed file makes another shard.
                self._lines.append(self._line(task.item, stat=stat, again=stated.done))
                if len(self._lines) >= self._size:
                    self._write_shard()
            else:  # it may have other regions than at its first place
                self._later.append(self._line(task.item))

    def _is_for_workers(self, task: Task) -> bool:
        return not (task.item.is_in_memory or is_remote(task.item) or self._is_unpacked(task.item))

    @staticmethod
    def _line(item: MediaItem, *, stat: Stat | None = None, again: bool = False) -> str:
        """Return the line of an item with a path that is right in any working directory."""
        path = item.path
        if path is None and exists(named := path_of(item.uri)):  # a plugin may give names that are not files
            path = named
        return item_line(replace(item, path=None if path is None else path.absolute()), stat=stat, again=again)

    def _write_shard(self) -> None:
        if not self._lines:
            return
        name = shard_id(self._run.key, self._number, self._lines)
        path = self._folder.shard_file(name)
        if not path.exists():
            self._folder.write_lines(path, self._lines)
        self.shards.append(Shard(name, len(self._lines)))
        self.images += len(self._lines)
        self._lines = []

    def _plan(self, *, is_answered: bool) -> Plan:
        run = self._run
        return Plan(
            key=run.key,
            number=self._number,
            run=run.id,
            created_at=run.created_at.isoformat(),
            feature_settings=run.feature_settings,
            answer_settings=run.answer_settings,
            rule_settings=run.rule_settings,
            settings=run.settings,
            feature_id=run.feature_id,
            answer_id=run.answer_id,
            rule_id=run.rule_id,
            dimension=run.dimension,
            images=self.images,
            already_done=self.already_done,
            shards=len(self.shards),
            later=len(self._later),
            read_again=self._rehash,
            is_answered=is_answered,
            findings=[list(found) for found in self._findings.found()],
        )


class _Numbers:
    """A set of whole numbers as bits, since a hundred million of them are planned at once."""

    def __init__(self) -> None:
        self._bits = bytearray()

    def __contains__(self, number: int) -> bool:
        byte = number >> 3
        return byte < len(self._bits) and bool(self._bits[byte] & 1 << (number & 7))

    def add(self, number: int) -> bool:
        """Add a number; False if it was in the set."""
        byte, bit = number >> 3, 1 << (number & 7)
        if byte >= len(self._bits):
            self._bits.extend(bytes(byte + 1 - len(self._bits) + len(self._bits) // 8))
        if self._bits[byte] & bit:
            return False
        self._bits[byte] |= bit
        return True

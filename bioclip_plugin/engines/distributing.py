"""A distributed run, seen from the program that has the store: plan, have the shards worked on, load, and say how far it is."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bioclip_core.errors import DataError
from bioclip_core.findings import Findings
from bioclip_core.identity import settings_id
from bioclip_plugin.contracts.engine import ExecutionEngine, ShardJob, ShardResult, ShardWorker
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.engines.attempts import Attempts
from bioclip_plugin.engines.documents import item_from, parsed_line
from bioclip_plugin.engines.folder import Plan, Shard, WorkFolder
from bioclip_plugin.engines.loading import Loader, Workers, facts_of
from bioclip_plugin.engines.planning import Planner
from bioclip_plugin.items.media import MediaItem
from bioclip_plugin.store.records import Run

if TYPE_CHECKING:
    from bioclip_plugin.running.session import Session

DAMAGED = "parts of shards were damaged and put aside; their shards are worked on again"
"""Text of the finding about parts that cannot be loaded."""
LISTED_AGAIN = "lists of shards were missing or damaged, so that the images were listed again"
"""Text of the finding about lists that cannot be read."""
IGNORED = "{} has no effect, since the plan in the work folder is not finished, and nothing is listed again until it is"
"""Text of the finding about an option of the listing that a plan was not made with."""
GONE = "parts were removed or damaged after they were loaded, so that findings of their workers are not in this list"
"""Text of the finding about parts that cannot be read at the end."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a distributed run is."""

    shards: int
    loaded: int
    """Shards whose part is in the store."""
    images: int
    """Images in the loaded shards."""

    @property
    def is_complete(self) -> bool:
        """True if every part is loaded."""
        return self.loaded == self.shards

    def described(self) -> str:
        """Return it as one phrase."""
        return f"{self.loaded:,} of {self.shards:,} shards"


class Distributed:
    """One run in a work folder, which this program has locked."""

    def __init__(self, session: Session, run: Run, folder: WorkFolder, findings: Findings) -> None:
        """Read the plan, which is of this run or finished: see :meth:`WorkFolder.check_run`."""
        self._session, self._run, self._folder, self._findings = session, run, folder, findings
        found = folder.plan()
        is_ours = found is not None and (found.key, found.created_at) == (run.key, run.created_at.isoformat())
        self._is_new = not is_ours  # the store has none of the parts
        is_at_work = is_ours and found is not None and folder.is_at_work(found)
        lost = folder.lost_lists(found) if is_at_work and found is not None else []
        if lost:
            findings.add(LISTED_AGAIN, lost[0], len(lost))
        self.plan: Plan | None = found if is_at_work and not lost else None
        """The plan; None until the images are listed."""
        self._number = 1 if found is None or not is_ours else found.number + found.is_finished
        self._shards: list[Shard] = folder.shards() if self.plan is not None else []
        self._loaded = self._images = 0
        if self.plan is not None:
            said = findings.texts()  # of the command line, which the call that listed the images found too
            for text, count, example in self.plan.findings:
                if text not in said:
                    findings.add(text, example, count)

    @property
    def images(self) -> int:
        """Images of all shards."""
        return sum(shard.images for shard in self._shards)

    @property
    def standing(self) -> Standing:
        """How far the run is."""
        return Standing(len(self._shards), self._loaded, self._images)

    def count_ignored(self, *, shard_size: int, rehash: bool) -> None:
        """Count options of the listing that differ from those of the plan: nothing is listed again before it is finished."""
        assert self.plan is not None
        ignored = [
            f"--{name.replace('_', '-')}"
            for name in ListingOptions().settings()
            if settings_id({"": self._run.settings.get(name)}) != settings_id({"": self.plan.settings.get(name)})
        ]
        if rehash and not self.plan.read_again:
            ignored.append("--rehash")
        if len(self._shards) > 1 and self._shards[0].images != shard_size:
            ignored.append("--shard-size")
        for option in ignored:
            self._findings.add(IGNORED.format(option))

    def planner(
        self,
        *,
        shard_size: int,
        rehash: bool,
        is_unpacked: Callable[[MediaItem], bool],
        on_listed: Callable[[int], None],
    ) -> Planner:
        """Return the planner for a run without a plan; :meth:`planned` follows."""
        return Planner(
            self._session, self._run, self._folder, shard_size=shard_size, number=self._number, rehash=rehash,
            findings=self._findings, is_unpacked=is_unpacked, on_listed=on_listed,
        )  # fmt: skip

    def planned(self) -> None:
        """Take the plan that the planner has written."""
        self.plan, self._shards = self._folder.plan(), self._folder.shards()
        if self._is_new:
            self._folder.forget_loaded(self._shards)

    def work(
        self,
        engine: ExecutionEngine,
        workers: int | None,
        open_worker: Callable[[], ShardWorker],
        report: Callable[[str], None],
        on_loaded: Callable[[Standing], None],
    ) -> Standing:
        """Load the parts that are there, have the others made, and load these as they come.

        Args:
            engine: the engine.
            workers: number of workers that the user asked for.
            open_worker: opens a worker in any process.
            report: shows a line to the user.
            on_loaded: called after each part.
        """
        assert self.plan is not None
        self._loaded = self._images = 0
        loader = Loader(self._session, self._run, self._folder, self.plan)
        waiting = {shard.id: shard for shard in self._shards}
        self._load_those_there(loader, waiting, on_loaded)  # of an earlier call, or of workers elsewhere
        if not waiting:
            return self.standing
        for name in waiting:
            attempts = Attempts(self._folder.folder, name)
            if attempts.is_hopeless:
                attempts.forgive()
        job = ShardJob(self._folder.folder, self._session.request, tuple(waiting), open_worker, report, workers)
        with _closed(engine.work(job)) as results:
            for result in results:
                is_there = result.shard in waiting and self._folder.has_part(result.shard)
                if is_there and self._load(loader, waiting[result.shard], again=True):
                    del waiting[result.shard]
                    on_loaded(self.standing)
        self._load_those_there(loader, waiting, on_loaded)
        return self.standing

    def later(self) -> Iterator[MediaItem]:
        """Yield the items that were listed again after their first place, to be answered by this process."""
        if self.plan is None or not self.plan.later:
            return
        for line in self._folder.lines(self._folder.later_file()):
            yield item_from(parsed_line(line))

    def finish(self) -> dict[str, Any]:
        """Record that the run is finished; add the findings of all workers, and return the facts about them."""
        assert self.plan is not None
        workers, gone = Workers(), list[str]()
        for shard, about in facts_of(self._folder, [shard.id for shard in self._shards]):
            if about is None:
                gone.append(shard)
                continue
            workers.add(about)
            for text, count, example in about.findings:
                self._findings.add(text, example, count)
        if gone:
            self._findings.add(GONE, gone[0], len(gone))
        self._folder.write_plan(replace(self.plan, is_finished=True))
        return {"shards": len(self._shards), "workers": workers.as_list()}

    def _load_those_there(
        self, loader: Loader, waiting: dict[str, Shard], on_loaded: Callable[[Standing], None]
    ) -> None:
        """Load the parts that the folders list: a network file system may go on for a minute to say that a new file is not there.

        A part may be removed once it is loaded.
        """
        there = self._folder.with_parts()
        for name in [name for name in waiting if name in there or self._folder.is_loaded(name)]:
            if self._load(loader, waiting[name], again=False, is_there=name in there):
                del waiting[name]
                on_loaded(self.standing)

    def _load(self, loader: Loader, shard: Shard, *, again: bool, is_there: bool = True) -> bool:
        """Load a part that is not loaded yet; False if it is damaged, or was removed."""
        try:
            if again or not (self._folder.is_loaded(shard.id) and loader.is_in_store(shard.id)):
                if not is_there:
                    return False  # it was removed, and the store is an older copy
                loader.load(shard.id)
        except DataError as error:
            self._findings.add(DAMAGED, str(error))
            return False
        self._loaded += 1
        self._images += shard.images
        return True


@contextmanager
def _closed(results: Iterable[ShardResult]) -> Iterator[Iterable[ShardResult]]:
    """Close a generator at the end of the block, so that an engine ends its workers though the block is left early."""
    try:
        yield results
    finally:
        if isinstance(results, Generator):
            results.close()

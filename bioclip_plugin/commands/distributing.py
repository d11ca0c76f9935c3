"""``classify`` over several processes: the part of a worker, and the part of the program that plans and loads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from bioclip_core.errors import DataError
from bioclip_core.findings import Findings
from bioclip_core.nouns import number_of
from bioclip_plugin.commands.context import EXIT_DONE, EXIT_WITH_FAILURES
from bioclip_plugin.commands.progress import ProgressLine
from bioclip_plugin.commands.reporting import print_lines
from bioclip_plugin.commands.signals import interruptible
from bioclip_plugin.contracts.engine import ExecutionEngine, ShardJob, ShardWorker
from bioclip_plugin.engines.folder import WorkFolder
from bioclip_plugin.engines.options import LOCAL, EngineOptions
from bioclip_plugin.items.media import MediaItem, Unlisted
from bioclip_plugin.items.request import ClassifyRequest

if TYPE_CHECKING:
    from bioclip_plugin.contracts.manager import BioclipPluginManager
    from bioclip_plugin.engines.distributing import Distributed
    from bioclip_plugin.running.listing import Listing
    from bioclip_plugin.running.pipeline import Pipeline
    from bioclip_plugin.running.session import Session
    from bioclip_plugin.store import Run

LISTED_EARLIER = (
    "The images are those that an earlier call listed, since its plan was not finished. For images and names that are new since then, "
    "give the command again"
)
"""Line about a listing that a call did not repeat."""

Entries = Callable[[], Iterator[MediaItem | Unlisted]]
"""Function that begins to list the images."""


def open_installed_worker(folder: Path, request: ClassifyRequest) -> ShardWorker:
    """Open a worker with the plugins that are installed in the process where this is called."""
    from bioclip_plugin.engines.watch import Watch
    from bioclip_plugin.engines.worker import Worker
    from bioclip_plugin.plugins import create_plugin_manager

    return Worker(folder, request, create_plugin_manager(), Watch())


def work_on_shards(
    engine: ExecutionEngine,
    options: EngineOptions,
    request: ClassifyRequest,
    plugins: BioclipPluginManager,
    console: Console,
) -> int:
    """Work on the shards of a plan, as one of several workers; no store is opened and nothing is listed.

    Raises:
        DataError: without a plan.
    """
    from bioclip_plugin.engines.watch import Watch
    from bioclip_plugin.engines.worker import NO_PLAN, Worker

    assert options.work_folder is not None
    folder = WorkFolder(options.work_folder)
    plan = folder.plan()
    if plan is None:
        raise DataError(NO_PLAN.format(folder.folder))
    if plan.is_finished:
        console.print(
            f"The plan in the work folder {folder.folder} is finished: nothing is to do. For new images give the same command where "
            "images are listed first, outside the workers."
        )
        return EXIT_DONE
    parts = folder.with_parts()
    shards = [shard for shard in folder.shards() if shard.id not in parts]
    images = failed = 0
    outcome = "Finished shards are in the work folder; the shard in progress is worked on again by another worker."
    with interruptible(console, outcome), ProgressLine("Classifying", console=console) as line:
        line.expect(sum(shard.images for shard in shards))
        job = ShardJob(
            folder.folder, request, tuple(shard.id for shard in shards), partial(Worker, folder.folder, request, plugins, Watch()),
            console.print, options.engine_workers,
        )  # fmt: skip
        for count, result in enumerate(engine.work(job), start=1):
            images, failed = images + result.images, failed + result.failed
            line.note = number_of(count, "shard")
            line.reach(images)
    print_lines(
        console, f"Worked on {images:,} images, {failed:,} failed; {line.rate:.1f} images/s. Parts: {folder.folder}"
    )
    return EXIT_DONE


@contextmanager
def driven(
    engine: ExecutionEngine | None, options: EngineOptions, request: ClassifyRequest
) -> Iterator[WorkFolder | None]:
    """Give the work folder, locked for this program and checked for the engine; None for a run without one.

    Raises:
        BioclipError: if the engine refuses, or the folder cannot be used.
    """
    if engine is None or options.work_folder is None:
        yield None
        return
    engine.check(request, options.engine_workers)
    folder = WorkFolder(options.work_folder)
    folder.prepare()
    with folder.driven():
        yield folder


class Distribution:
    """The part of the program that has the store: it lists the images, has the shards worked on, and loads their parts."""

    def __init__(
        self,
        engine: ExecutionEngine,
        options: EngineOptions,
        folder: WorkFolder,
        console: Console,
        listing: Listing,
        entries: Entries,
        *,
        rehash: bool,
    ) -> None:
        """Set up.

        Args:
            engine: the engine.
            options: its options.
            folder: the work folder, which this program has locked.
            console: the console to print on.
            listing: the listing of the command.
            entries: begins to list the images, if there is no plan that fits.
            rehash: read every file again.
        """
        self._engine, self._options, self._folder, self._console = engine, options, folder, console
        self._listing, self._entries, self._rehash = listing, entries, rehash
        self._work: Distributed | None = None
        self._is_listed_earlier = False
        self.already_done = 0
        """Items that were done before the images were listed."""

    def answer(self, session: Session, run: Run, pipeline: Pipeline, line: ProgressLine, findings: Findings) -> bool:
        """Plan, have the shards worked on and load them; True if all of them are loaded and everything else is answered.

        Raises:
            BioclipError: if the engine cannot go on.
        """
        from bioclip_plugin.engines.distributing import Distributed
        from bioclip_plugin.engines.planning import HERE

        self._work = work = Distributed(session, run, self._folder, findings)
        if work.plan is None:
            planner = work.planner(
                shard_size=self._options.shard_size,
                rehash=self._rehash,
                is_unpacked=self._listing.is_unpacked,
                on_listed=lambda count: line.stage("Listing", count, 0),
            )
            if self._engine.name != LOCAL:
                self._say_precision(session)
            is_said = self._engine.name == LOCAL
            for _ in pipeline.answers(planner.kept(self._entries())):
                line.note = session.fetching.note()
                if not is_said and (is_said := bool(findings.count(HERE))):
                    self._console.print(
                        "Images on the web and in packed files are answered here, before parts are loaded. For workers, fetch and "
                        "unpack them first, and give the files"
                    )
            planner.answered()
            work.planned()
        else:
            self._is_listed_earlier = True
            work.count_ignored(shard_size=self._options.shard_size, rehash=self._rehash)
        assert work.plan is not None
        self.already_done = work.plan.already_done
        total = work.images

        def show(_: object = None) -> None:
            line.note = work.standing.described()
            line.stage("Classifying", work.standing.images, total)

        show()
        open_worker = self._opener(session)
        work.work(self._engine, self._options.engine_workers, open_worker, self._console.print, show)
        if not work.standing.is_complete:
            return False
        for _ in pipeline_of_later(session, run, findings).answers(work.later()):
            pass
        return True

    def _say_precision(self, session: Session) -> None:
        """Say in which precision all workers encode, if this machine has chosen it for them."""
        settings, request = session.engine.feature_settings, session.request
        if request.precision == "auto" or (request.runtime == "auto" and "runtime" in settings):
            with_runtime = f" with {settings['runtime']}" if "runtime" in settings else ""
            self._console.print(
                f"Every worker encodes in {settings['precision']}{with_runtime}, as this machine would or the store has it; for workers "
                "with GPUs give --precision bf16 --runtime torch"
            )

    def _opener(self, session: Session) -> Callable[[], ShardWorker]:
        """Return the opener of workers: with this program's plugins for the engine of this process."""
        from bioclip_plugin.engines.worker import Worker

        request = replace(session.request, store=None)  # its address may hold a password, and other programs get this
        if self._engine.name == LOCAL:
            return partial(Worker, self._folder.folder, request, session.plugins)
        return partial(open_installed_worker, self._folder.folder, request)

    def finish(self) -> dict[str, Any]:
        """Record the end of the run in the work folder; return facts for the run's counts."""
        assert self._work is not None
        if self._is_listed_earlier:
            self._console.print(LISTED_EARLIER)
        return {"engine": {"name": self._engine.name, **self._work.finish()}}

    def unfinished(self, repeat: str, reports: Sequence[str]) -> int:
        """Print how far the run is, with the reports of this program; return the exit code."""
        assert self._work is not None
        standing = self._work.standing
        print_lines(
            self._console,
            *reports,
            f"{standing.described()} loaded ({standing.images:,} of {self._work.images:,} images). Continue with: {repeat}",
        )
        return EXIT_WITH_FAILURES


def pipeline_of_later(session: Session, run: Run, findings: Findings) -> Pipeline:
    """Return a pipeline for the items that come after the shards."""
    return session.pipeline(run, repeat_done=False, findings=findings)

"""``bioclip-plugin classify``: the main job, from paths to stored answers."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice, zip_longest
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from bioclip_core.errors import BioclipError, StoreError
from bioclip_core.findings import Findings, shortened
from bioclip_core.next_commands import PROGRAM, command, free_name, next_lines, shell_line
from bioclip_core.nouns import number_of
from bioclip_plugin.commands.boxes import box_lines
from bioclip_plugin.commands.context import EXIT_DONE, EXIT_WITH_FAILURES, plugins_of
from bioclip_plugin.commands.distributing import Distribution, driven, work_on_shards
from bioclip_plugin.commands.options import DEFAULT_STORE, count_unused, filled, options_from
from bioclip_plugin.commands.planning import Asked, make_plan
from bioclip_plugin.commands.progress import ProgressLine
from bioclip_plugin.commands.reporting import console_for, json_alone, log_lines, print_json, print_lines, printable
from bioclip_plugin.commands.signals import interruptible
from bioclip_plugin.contracts.run_deployments import deployments_of
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.engines.options import EngineOptions
from bioclip_plugin.items.deployment_options import DeploymentOptions
from bioclip_plugin.items.media import MediaItem, Region, Unlisted, uri_of
from bioclip_plugin.items.request import ClassifyRequest
from bioclip_plugin.probing.options import PlanOptions
from bioclip_plugin.running.web_options import WebOptions

if TYPE_CHECKING:
    from bioclip_plugin.contracts.engine import ExecutionEngine
    from bioclip_plugin.contracts.manager import BioclipPluginManager
    from bioclip_plugin.running.listing import Listing
    from bioclip_plugin.running.pipeline import Pipeline
    from bioclip_plugin.running.rules_summary import Applied
    from bioclip_plugin.running.session import Session
    from bioclip_plugin.store import Run, Store
    from bioclip_plugin.store.statuses import RunStatus

_SHOWN_REASONS, _SHOWN_IMAGES = 10, 5


@click.command()
@click.argument("paths", nargs=-1, metavar="[PATHS]...")
@options_from(ClassifyRequest, store=DEFAULT_STORE)
@options_from(ListingOptions, omit=["detection_threshold"])
@options_from(DeploymentOptions)
@options_from(WebOptions)
@options_from(EngineOptions)
@options_from(PlanOptions)
@click.option(
    "--rehash", is_flag=True, help="Read every file again, even if its size and modification time are unchanged."
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object per item on standard output, and nothing else there."
)
@click.pass_context
def classify(ctx: click.Context, /, paths: tuple[str, ...], rehash: bool, as_json: bool, **options: Any) -> int:
    """Name the organisms in images: folders, files, tables with an image column, or - for paths on standard input.

    Results are committed batch by batch. After an interruption the same command continues, retries failures, and picks
    up new and changed files; with other labels or another threshold it works from stored features and opens no image.
    Without PATHS it works on every image in the store.

    \b
    bioclip-plugin classify photos/ --model demo
    bioclip-plugin classify photos/ --labels my_labels/ --rank genus --store results.db
    bioclip-plugin classify gbif.zip --fetch images/ --fetch-contact you@museum.org
    bioclip-plugin classify photos/ --model bioclip-2 --plan
    find . -name '*.JPG' | bioclip-plugin classify - --json
    bioclip-plugin classify photos/ --engine slurm --work-folder /shared/run1
    """
    plugins, console, asked = plugins_of(ctx), console_for(to_stderr=as_json), _asked(ctx, paths, options)
    if asked.plan.plan:
        return make_plan(asked, plugins, console, as_json=as_json)
    engine = plugins.engine(asked.engines.engine) if asked.engines.is_distributed else None
    if engine is not None and engine.is_worker():
        with log_lines(console):
            return work_on_shards(engine, asked.engines, asked.request, plugins, console)
    asked.check_paths()
    with json_alone() if as_json else nullcontext(), log_lines(console):
        return _classify(asked, plugins, engine, console, rehash=rehash, as_json=as_json)


def _asked(ctx: click.Context, paths: tuple[str, ...], options: dict[str, Any]) -> Asked:
    """Return the options of the command, those without effect counted in the findings of the listing."""
    request = filled(ClassifyRequest, options)
    listing = filled(ListingOptions, options, detection_threshold=request.detection_threshold)
    count_unused(ctx, WebOptions, "fetch", listing.findings)
    count_unused(ctx, EngineOptions, "work_folder", listing.findings, apart_from=["engine"])
    count_unused(ctx, PlanOptions, "plan", listing.findings)
    return Asked(
        paths, request, listing, filled(DeploymentOptions, options), filled(WebOptions, options),
        filled(EngineOptions, options), filled(PlanOptions, options),
    )  # fmt: skip


def _classify(
    asked: Asked,
    plugins: BioclipPluginManager,
    engine: ExecutionEngine | None,
    console: Console,
    *,
    rehash: bool,
    as_json: bool,
) -> int:
    """Classify as the program that has the store, through shards if there is an engine."""
    from bioclip_plugin.running.session import Session

    request, findings, distribution = asked.request, asked.listing.findings, None
    with (
        driven(engine, asked.engines, request) as folder,
        Session(request, plugins, web=asked.web) as session,
        session.listing(asked.paths, asked.listing) as listing,
    ):
        assert session.store is not None
        _print_model(console, session)
        line = ProgressLine("Classifying", console=console)
        with interruptible(
            console, f"Nothing was classified yet; begin again with: {_command(session.store, request.store)}"
        ):
            # An empty folder is refused before a run begins; with a plan, nothing is listed.
            has_plan = folder is not None and folder.is_planned()
            entries = iter(()) if has_plan else listing.begun(listing.counted(line.expect))
            entries = entries if has_plan else session.with_int8_model(entries)
            if engine is not None and folder is not None:
                begin = lambda: listing.begun(iter(listing)) if has_plan else entries  # noqa: E731
                distribution = Distribution(engine, asked.engines, folder, console, listing, begin, rehash=rehash)
            what = [uri_of(path) for path in asked.paths], asked.listing, asked.deployments
            if folder is not None:  # before there is a new run, which would be the store's latest one
                folder.check_run(session.run_key(*what))
            run = session.begin_run(*what, keeps_listing=folder is not None)
        pipeline = session.pipeline(
            run,
            repeat_done=as_json,
            rehash=rehash,
            findings=findings,
            on_wait=lambda: line.remark(session.fetching.note()),
        )
        work = _Classification(session, session.store, run, console, as_json, findings, line, distribution)
        return work.work(listing, entries, pipeline)


def _print_model(console: Console, session: Session) -> None:
    model, labels = session.engine.model, session.engine.labels
    count = len(labels.words) if labels.manifest is None else labels.manifest["count"]
    within = f" under {', '.join(labels.taxa)}" if labels.taxa else ""
    print_lines(
        console,
        f"Model {model.name}: {model.preprocessing.described()}",
        f"Labels {labels.folder or 'of your own'}: {count}{within}",
        *_detector_lines(session),
    )


def _detector_lines(session: Session) -> Iterator[str]:
    detection = session.engine.detection()
    if detection is not None:
        chosen = detection.chosen
        yield f"Detector {chosen.name} {chosen.version}: boxes from {detection.threshold:g} on are named"


@dataclass(frozen=True, slots=True)
class _Classification:
    """One call of the command with a run in the store."""

    session: Session
    store: Store
    run: Run
    console: Console
    as_json: bool
    findings: Findings
    line: ProgressLine
    distribution: Distribution | None = None

    def work(self, listing: Listing, entries: Iterator[MediaItem | Unlisted], pipeline: Pipeline) -> int:
        """Answer the items, store the reviews in their files, apply the rules, and print a summary."""
        line, repeat = self.line, _command(self.store, self.session.request.store)
        outcome = f"Finished work is committed in {self.store.shown_address}; continue with: {repeat}"

        def stop() -> None:
            pipeline.close(wait_s=1.0)
            self._end("interrupted")

        with interruptible(self.console, outcome, stop):
            try:
                with line:
                    is_complete = self._answer(entries, pipeline, line)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                self._end("failed")
                if isinstance(error, BioclipError) and line.count:
                    raise type(error)(f"{error}. Finished work is committed; continue with: {repeat}") from error
                raise
        if not is_complete:
            assert self.distribution is not None
            self._end("interrupted")
            return self.distribution.unfinished(repeat, self._reports())
        outcome = (
            "All answers are stored. Continue the rules with: "
            f"{command('rules apply', run=self.run.id, store=self.store.shown_address)}"
            if self.session.engine.rules
            else f"All answers are stored. Store the reviews in the files with: {repeat}"
        )
        with interruptible(self.console, outcome, stop):
            try:
                self._keep_reviews(listing)
                applied = self._apply_rules() if self.session.engine.rules else None
                if applied is None and DeploymentOptions.from_settings(self.run.settings).settings():
                    deployments_of(self.store, self.run, DeploymentOptions(), self.findings).survey(self.findings)
            except KeyboardInterrupt:
                raise
            except BaseException:
                self._end("failed")
                raise
        counts = {"seconds": round(line.seconds, 1), **({"rules": applied.as_dict()} if applied else {})}
        if self.distribution is not None:
            counts |= self.distribution.finish()
        self.store.end_run(self.run, "finished", counts)
        already_done = pipeline.already_done if self.distribution is None else self.distribution.already_done
        return self._summarise(line, already_done, applied)

    def _answer(self, entries: Iterator[MediaItem | Unlisted], pipeline: Pipeline, line: ProgressLine) -> bool:
        """Answer the items; False if workers elsewhere have not finished yet."""
        if self.distribution is not None:
            is_complete = self.distribution.answer(self.session, self.run, pipeline, line, self.findings)
            if is_complete and self.as_json and not self.session.engine.rules:
                self._print_stored()
            return is_complete
        for count, answer in enumerate(pipeline.answers(entries), start=1):
            # With --json stored answers come out of the pipeline too; otherwise they are only counted there.
            done = pipeline.already_done
            line.note = self.session.fetching.note()
            line.reach(count if self.as_json else count + done, already=done)
            if self.as_json and not self.session.request.rules:
                # An image without boxes, in which a detector found nothing, has a line as in an export.
                nothing = {"uri": answer.item.uri, "frame": answer.item.frame, "status": "done"}
                rows = answer.as_dicts() or [nothing]
                self._print_rows(rows, [region.region for region in answer.regions])
        return True

    def _keep_reviews(self, listing: Listing) -> None:
        """Store the reviews in the listed files; a review that is stored already stays one review."""
        from bioclip_plugin.reviews.from_sources import keep_all

        kept = keep_all(listing.reviews(), self.store)
        if kept.read:
            self.console.print(kept.described())

    def _apply_rules(self) -> Applied:
        """Decide on the stored answers; after an interruption the same command or ``rules apply`` continues."""
        try:
            with ProgressLine("Applying rules", console=self.console) as line:
                applied = self.session.apply_rules(self.run, progress=line.reach)
        except Exception:
            self.console.print(
                "All answers are stored. Continue the rules with: "
                f"{command('rules apply', run=self.run.id, store=self.store.shown_address)}"
            )
            raise
        if self.as_json:  # only now: rules see whole events, so no answer was final before
            self._print_stored()
        return applied

    def _print_stored(self) -> None:
        from bioclip_plugin.formats.tables.write_json_lines import objects_of

        for stored in self.store.items_of(self.run):
            rows = objects_of(stored, (), self.session.engine.level, self.session.request.top)
            self._print_rows(rows, [region.region for region in stored.regions])

    def _print_rows(self, rows: Sequence[dict[str, Any]], regions: Sequence[Region | None]) -> None:
        """Print the rows of an item, each with what the run's detector says about its box."""
        detector = self.session.engine.detector
        for row, region in zip_longest(rows, regions):
            if detector is not None and region is not None and region.detector == detector.name:
                said = {"category": region.category, "confidence": region.confidence}
                row["detection"] = {**said, "detector": region.detector, "detector_version": region.detector_version}
            print_json(row)

    def _end(self, status: RunStatus) -> None:
        """Record how the run ended, if the database still accepts it."""
        try:
            self.store.end_run(self.run, status, {})
        except StoreError:
            return

    def _summarise(self, line: ProgressLine, already_done: int, applied: Applied | None) -> int:
        summary = self.store.summary(self.run)
        if summary.listed <= already_done and not summary.failed:
            one = summary.done == 1
            outcome = (
                f"{'The 1 image was' if one else f'All {summary.done} images were'} done already (run {self.run.id})."
            )
        else:
            outcome = (
                f"Run {self.run.id}: {number_of(summary.listed, 'image')}, {summary.done} done, {summary.failed} failed, "
                f"{number_of(summary.regions, 'region')}; {already_done} {'was' if already_done == 1 else 'were'} done before; "
                f"{line.rate:.1f} images/s"
            )
        store = self.store.shown_address
        print_lines(
            self.console,
            outcome,
            *(map(printable, box_lines(self.store, self.run))),
            *(map(printable, applied.lines()) if applied else ()),
            *self._reports(),
            *(self._failures(summary.failed) if summary.failed else ()),
            f"Results: {store}",
            "" if self.as_json else self.session.engine.int8_proposal(summary.done - already_done),
            *next_lines(command("export", store=store, format="csv", output=free_name("results.csv"))),
        )
        return EXIT_WITH_FAILURES if summary.failed else EXIT_DONE

    def _reports(self) -> list[str]:
        """Return the findings, and what became of images on the web."""
        return [printable(text) for text in (*self.findings.lines(), *self.session.fetching.lines())]

    def _failures(self, count: int) -> list[str]:
        counted = self.store.failure_counts(self.run)
        reasons = list(islice(counted.items(), _SHOWN_REASONS))
        others = count - sum(of_reason for _, of_reason in reasons)
        return [
            "Failures, retried by the same command:",
            *(f"  {of_reason} x {stage}: {reason}" for (stage, reason), of_reason in reasons),
            *([f"  {others} x for {number_of(len(counted) - len(reasons), 'other reason')}"] if others > 0 else ()),
            *(
                f"  {printable(shortened(one.item.uri))}"
                for one in islice(self.store.failures(self.run), _SHOWN_IMAGES)
            ),
            f"  and {count - _SHOWN_IMAGES} more; export lists them all" if count > _SHOWN_IMAGES else "",
        ]


def _command(store: Store, address: str | None) -> str:
    """Return this command line, to be given again, without the password in the store's address."""
    hidden = address or DEFAULT_STORE
    shown = {hidden: store.shown_address, f"--store={hidden}": f"--store={store.shown_address}"}
    given = [shown.get(argument, argument) for argument in sys.argv[1:]]
    return shell_line([PROGRAM, *given])

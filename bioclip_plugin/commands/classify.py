"""``bioclip-plugin classify``: the main job, from paths to stored answers."""

from __future__ import annotations

import json
import shlex
import sys
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bioclip_core.errors import BioclipError, StoreError, UsageError
from bioclip_plugin.cli import EXIT_DONE, EXIT_INTERRUPTED, EXIT_WITH_FAILURES, plugins_of
from bioclip_plugin.commands.options import DEFAULT_STORE, filled, options_from
from bioclip_plugin.commands.reporting import (
    Report,
    console_for,
    log_lines,
    print_json_line,
    printable,
    terminated_like_interrupted,
)
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.items.media import uri_of
from bioclip_plugin.items.request import ClassifyRequest

if TYPE_CHECKING:
    from rich.console import Console

    from bioclip_plugin.running.listing import Listing
    from bioclip_plugin.running.rules_summary import Applied
    from bioclip_plugin.running.session import Session
    from bioclip_plugin.store import Run, Store, Summary


@click.command()
@click.argument("paths", nargs=-1, metavar="PATHS...")
@options_from(ClassifyRequest, store=DEFAULT_STORE)
@options_from(ListingOptions)
@click.option(
    "--rehash", is_flag=True, help="Read every file again, also where size and modification time are unchanged."
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object an item on standard output, and nothing else there."
)
@click.pass_context
def classify(ctx: click.Context, /, paths: tuple[str, ...], rehash: bool, as_json: bool, **options: Any) -> int:
    """Name what is in images: folders, files, tables with an image column, or - for paths on standard input.

    Results are committed batch by batch. The same command after an interruption goes on where it was, retries what
    failed, and picks up new and changed files; with other labels or another threshold it works from stored features
    and opens no image. Without PATHS it works on every image that the store knows.

    \b
    bioclip-plugin classify photos/ --model demo
    bioclip-plugin classify photos/ --labels my_labels/ --rank genus --store results.db
    find . -name '*.JPG' | bioclip-plugin classify - --json
    """
    console = console_for(to_stderr=as_json)
    listing, request = filled(ListingOptions, options), filled(ClassifyRequest, options)
    with log_lines(console), terminated_like_interrupted():
        return _Classification(ctx, paths, request, listing, console, rehash=rehash, as_json=as_json).run()


class _Classification:
    """One call of the command."""

    def __init__(
        self,
        ctx: click.Context,
        paths: tuple[str, ...],
        request: ClassifyRequest,
        listing: ListingOptions,
        console: Console,
        *,
        rehash: bool,
        as_json: bool,
    ) -> None:
        self._plugins = plugins_of(ctx)
        self._paths = paths
        self._request = request
        self._listing = listing
        self._console = console
        self._rehash = rehash
        self._as_json = as_json

    def run(self) -> int:
        from bioclip_plugin.running.session import Session

        self._check_paths()
        session = Session(self._request, self._plugins)
        try:
            self._say_what_is_used(session)
            with session.listing(self._paths, self._listing) as listing:
                return self._work(session, listing)
        finally:
            session.close()

    def _check_paths(self) -> None:
        """Hear of a misspelt path before a model is opened; one that the store knows may be gone."""
        if not self._paths and not _is_store(self._request.store):
            raise UsageError("no PATHS: give folders, files or tables of images, or - for paths on standard input")

    def _say_what_is_used(self, session: Session) -> None:
        model, labels = session.engine.model, session.engine.labels
        self._console.print(f"Model {model.name}: {model.preprocessing.described()}")
        count = len(labels.words) if labels.manifest is None else labels.manifest["count"]
        within = f" under {', '.join(labels.taxa)}" if labels.taxa else ""
        self._console.print(f"Labels {labels.folder or 'of your own'}: {count}{within}")

    def _work(self, session: Session, listing: Listing) -> int:
        assert session.store is not None
        run = session.begin_run([uri_of(path) for path in self._paths], self._listing)
        pipeline = session.pipeline(run, repeat_done=self._as_json, rehash=self._rehash)
        report = Report("Classifying", console=self._console)
        try:
            with report:
                seen = 0
                for answer in pipeline.answers(listing.counted(report.expect)):
                    report.advance(1 + pipeline.already_done - seen if not self._as_json else 1)
                    seen = pipeline.already_done
                    if self._as_json and not self._request.rules:
                        for row in answer.as_dicts():
                            print_json_line(json.dumps(row, ensure_ascii=False))
        except KeyboardInterrupt:
            self._end(session, run, "interrupted")
            go_on = _command(self._request, session.store.shown_address)
            self._console.print(
                f"Interrupted. What is done is committed in {session.store.shown_address}; go on with: {go_on}"
            )
            return EXIT_INTERRUPTED
        except BaseException as error:
            self._end(session, run, "failed")
            if isinstance(error, BioclipError) and report.count:
                go_on = _command(self._request, session.store.shown_address)
                raise type(error)(f"{error}. What is done is committed; go on with: {go_on}") from error
            raise
        try:
            self._keep_reviews(listing, session.store)
            applied = self._apply_rules(session, run)
        except BaseException as error:
            self._end(session, run, "interrupted" if isinstance(error, KeyboardInterrupt) else "failed")
            raise
        counts = {"seconds": round(report.seconds, 1), **({"rules": applied.as_dict()} if applied else {})}
        session.store.end_run(run, "finished", counts)
        return self._summarise(session, run, report, pipeline.already_done, applied)

    def _apply_rules(self, session: Session, run: Run) -> Applied | None:
        """Decide on what is answered; an interruption leaves the rest to the same command, or to ``rules apply``."""
        if not session.engine.rules:
            return None
        report = Report("Applying rules", console=self._console)
        try:
            with report:
                applied = session.apply_rules(run, progress=report.reach)
        except BaseException:
            assert session.store is not None
            where = shlex.quote(session.store.shown_address)
            self._console.print(
                f"All answers are stored. The rules go on with: bioclip-plugin rules apply --run {run.id} --store {where}"
            )
            raise
        if self._as_json:
            self._print_decided(session, run)
        return applied

    def _print_decided(self, session: Session, run: Run) -> None:
        """Print what the rules made of the answers: before them nothing was said, since they see whole events."""
        from bioclip_plugin.formats.tables.write_jsonl import objects_of

        assert session.store is not None
        for stored in session.store.items_of(run):
            for row in objects_of(stored, (), session.engine.level, self._request.top):
                print_json_line(json.dumps(row, ensure_ascii=False))

    def _keep_reviews(self, listing: Listing, store: Store) -> None:
        """Store the reviews in the files that were listed; a review that is stored already stays one review."""
        from bioclip_plugin.reviews.from_sources import keep_all

        kept = keep_all(listing.reviews(), store)
        if kept.read:
            self._console.print(kept.described())

    def _end(self, session: Session, run: Run, status: Any) -> None:
        """Note how the run ended, where the database still takes it."""
        assert session.store is not None
        try:
            session.store.end_run(run, status, {})
        except StoreError:
            return

    def _summarise(self, session: Session, run: Run, report: Report, already_done: int, applied: Applied | None) -> int:
        assert session.store is not None
        summary = session.store.summary(run)
        new = summary.listed - already_done
        if summary.listed == 0:
            self._console.print("No images were found there.")
        elif new <= 0 and not summary.failed:
            self._console.print(f"All {summary.done} images were done already (run {run.id}).")
        else:
            self._console.print(
                f"Run {run.id}: {summary.listed} images, {summary.done} done, {summary.failed} failed, {summary.regions} regions; "
                f"{already_done} were done before; {report.count / max(report.seconds, 1e-9):.1f} images/s"
            )
        for line in applied.lines() if applied else ():
            self._console.print(printable(line))
        self._say_failures(session, run, summary)
        where = session.store.shown_address
        self._console.print(f"Results: {where}")
        self._console.print(
            f"Next: bioclip-plugin export --store {shlex.quote(where)} --format csv --output results.csv"
        )
        return EXIT_WITH_FAILURES if summary.failed else EXIT_DONE

    def _say_failures(self, session: Session, run: Run, summary: Summary) -> None:
        assert session.store is not None
        if summary.failed:
            self._console.print("Failures, retried by the same command:")
            for (stage, reason), count in list(session.store.failure_counts(run).items())[:10]:
                self._console.print(f"  {count} x {stage}: {reason}")
            for failed in islice(session.store.failures(run), 5):
                self._console.print(f"  {printable(failed.item.uri)}")
            if summary.failed > 5:
                self._console.print(f"  and {summary.failed - 5} more; export lists them all")


def _is_store(address: str | None) -> bool:
    return address is not None and ("://" in address or Path(address).exists())


def _command(request: ClassifyRequest, shown_address: str) -> str:
    """This very command line, to be given again; a password in the store's address stays out of it."""
    given = [argument.replace(request.store or DEFAULT_STORE, shown_address) for argument in sys.argv[1:]]
    return shlex.join(["bioclip-plugin", *given])

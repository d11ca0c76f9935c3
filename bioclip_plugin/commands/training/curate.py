"""``bioclip-plugin curate``: published collections on disk to one catalog and its shards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bioclip_core.errors import BioclipError, UsageError, first_line
from bioclip_core.files.whole import check_output, write_whole
from bioclip_core.next_commands import command, next_lines
from bioclip_core.nouns import number_of, size_of
from bioclip_core.progress import Progress, duration
from bioclip_plugin.commands.context import EXIT_DONE, EXIT_WITH_FAILURES, plugins_of
from bioclip_plugin.commands.progress import ProgressLine
from bioclip_plugin.commands.reporting import console_for, print_lines, print_table, printable
from bioclip_plugin.commands.signals import interruptible

if TYPE_CHECKING:
    from bioclip_plugin.contracts.manager import BioclipPluginManager
    from bioclip_training.curation.configuration import Curation
    from bioclip_training.curation.manifests import StageManifest
    from bioclip_training.curation.plan import Plan
    from bioclip_training.curation.running import Outcome
    from bioclip_training.curation.stages import Stage

_SHOWN = 5  # reasons and notes of a stage in the summary; the report has all


@click.command()
@click.argument("config", required=False, metavar="[CONFIG.yaml]", type=click.Path(path_type=Path))
@click.option(
    "--stage", default="", metavar="NAME", help="Stop after this stage, without stages that it does not need."
)
@click.option(
    "--plan",
    "only_plan",
    is_flag=True,
    help="Say what would run and why, and the disk that it needs; nothing is written.",
)
@click.option(
    "--example", is_flag=True, help="Write a commented configuration, to CONFIG.yaml if it is given; nothing is run."
)
@click.pass_context
def curate(ctx: click.Context, config: Path | None, stage: str, only_plan: bool, example: bool) -> int:
    """Make one catalog and its shards of published collections: iNat21, BIOSCAN, EOL, GBIF, TreeOfLife and others.

    The configuration names sources, taxonomy, filters, evaluation sets, splits and shards. The work is done in stages, each with a
    folder in the output: records, names, images, kinds, filters, duplicates, leakage, splits, catalog, shards. A stage says what it
    dropped and why, in the summary and in report.md. Nothing is deleted: the catalog has every record, with the reason in the column
    `excluded` for those that are not in the shards. After an interruption the same command continues, and a stage is run again only if
    its settings, its sources or the results before it changed.

    \b
    bioclip-plugin curate --example curation.yaml
    bioclip-plugin curate curation.yaml --plan
    bioclip-plugin curate curation.yaml --stage names
    bioclip-plugin curate curation.yaml
    """
    from bioclip_training.curation import configuration_file

    if example:
        if stage or only_plan:
            raise UsageError("--example runs nothing: leave --stage and --plan out")
        return _write_example(config, configuration_file.example())
    if config is None:
        raise UsageError(f"CONFIG.yaml is missing; write one with: {command('curate', 'CONFIG.yaml', example=True)}")
    return _run(plugins_of(ctx), config, stage, only_plan)


def _write_example(config: Path | None, text: str) -> int:
    if config is None:
        click.echo(text, nl=False)
        return EXIT_DONE
    check_output(config, has_force=False)
    write_whole(config, text)
    print_lines(
        console_for(),
        f"Configuration: {config}",
        *next_lines(command("curate", config, plan=True), then=[command("curate", config)]),
    )
    return EXIT_DONE


def _run(manager: BioclipPluginManager, config: Path, until: str, only_plan: bool) -> int:
    from bioclip_core.listed_names import did_you_mean
    from bioclip_training.curation.configuration_file import read_configuration
    from bioclip_training.curation.plan import plan
    from bioclip_training.curation.running import Listener, run_stages, stages_until
    from bioclip_training.curation.stage_list import stages

    curation, known = read_configuration(config), stages(manager.content_filters(), manager.models())
    names = [stage.name for stage in known]
    if until and until not in names:
        raise UsageError(
            f"--stage {until!r} is not known{did_you_mean(until, names)}; the stages are {', '.join(names)}"
        )
    if only_plan:
        return _print_plan(plan(curation, known, until=until), config)
    console = console_for()
    line = ProgressLine("Starting", unit="", console=console_for(to_stderr=True))

    def begin(stage: str, why: str) -> Progress:
        line.console.print(f"{stage}: {printable(why)}")
        return lambda done, total: line.stage(stage, done, total, "parts")

    report = _Report(curation, known, [stage.name for stage in stages_until(known, until)])

    def end(outcome: Outcome) -> None:
        print_lines(console, *_lines_of(outcome))
        report.add(outcome)

    with interruptible(console, "The same command continues; finished stages stay."), line, report.of_errors():
        outcomes = run_stages(curation, known, until=until, listener=Listener(begin, end))
    manifests = [outcome.manifest for outcome in outcomes]
    print_table(console, ("stage", "rows in", "rows out", "dropped or marked", "size", "time"), map(_row, outcomes))
    failures = sum(manifest.failures for manifest in manifests)
    print_lines(
        console,
        f"Failures: {number_of(failures, 'image')} that cannot be read; the report has an example" if failures else "",
        f"Report: {curation.output / 'report.md'}",
        *_next(curation.output, manifests),
    )
    return EXIT_WITH_FAILURES if failures else EXIT_DONE


class _Report:
    """The report, which is written after each stage, so that one that is interrupted or killed leaves that of the stages before it.

    Stages behind ``--stage`` whose results stay are in it, too.
    """

    def __init__(self, curation: Curation, stages: Sequence[Stage], wanted: list[str]) -> None:
        self._curation, self._output, self._stages, self._left = curation, curation.output, stages, wanted
        self._manifests: list[StageManifest] = []

    def add(self, outcome: Outcome) -> None:
        """Write the report with one more stage."""
        self._manifests.append(outcome.manifest)
        self._left.remove(outcome.manifest.stage)
        try:
            self._write()
        except OSError as error:
            raise BioclipError(
                f"the report in {self._output} cannot be written: {error.strerror or error}; the same command continues, and finished "
                "stages stay"
            ) from error

    @contextmanager
    def of_errors(self) -> Iterator[None]:
        """Have an error of the block in the report."""
        try:
            yield
        except BioclipError as error:
            if self._manifests:
                with suppress(OSError):  # a full disk; the error itself is what the user needs
                    self._write(first_line(error))
            raise

    def _write(self, error: str = "") -> None:
        from bioclip_training.curation.finished import still_finished
        from bioclip_training.curation.report import write_report

        finished = {manifest.stage: manifest.content for manifest in self._manifests}
        others = [stage for stage in self._stages if stage.name not in self._left]
        manifests = [*self._manifests, *still_finished(self._curation, others, finished)]
        names = [stage.name for stage in self._stages]
        manifests.sort(key=lambda manifest: names.index(manifest.stage))
        write_report(self._output, manifests, self._left, error)


def _lines_of(outcome: Outcome) -> list[str]:
    """Return what a stage that was run has to say."""
    manifest = outcome.manifest
    if not outcome.why_run:
        return [f"{manifest.stage}: finished already ({number_of(manifest.rows_out, 'row')})"]
    dropped = [
        f"{entry.count} {printable(entry.reason)}" + (f" (such as {printable(entry.example)})" if entry.example else "")
        for entry in sorted(manifest.dropped, key=lambda entry: (-entry.count, entry.reason))
    ]
    shown = [*dropped[:_SHOWN], *map(printable, manifest.notes[:_SHOWN])]
    more = len(dropped) + len(manifest.notes) - len(shown)
    return [
        f"{manifest.stage}: {manifest.rows_in} rows in, {manifest.rows_out} out, in {duration(outcome.seconds)}",
        *(f"  {text}" for text in shown),
        f"  and {number_of(more, 'more line')} in the report" if more else "",
    ]


def _row(outcome: Outcome) -> tuple[str, ...]:
    manifest = outcome.manifest
    dropped = sum(entry.count for entry in manifest.dropped)
    time = duration(outcome.seconds) if outcome.why_run else "earlier"
    return manifest.stage, str(manifest.rows_in), str(manifest.rows_out), str(dropped), size_of(manifest.bytes), time


def _next(output: Path, manifests: list[StageManifest]) -> list[str]:
    """Return the commands for what was made."""
    shards = output / "shards"
    if any(manifest.stage == "shards" and manifest.rows_out for manifest in manifests):
        training = command("train", data=shards, start="MODEL", output="FOLDER")
        return next_lines(command("shards check", shards), then=[training])
    return []


def _print_plan(planned: Plan, config: Path) -> int:
    console = console_for()
    rows = []
    for entry in planned.stages:
        state = "finished" if not entry.why else "would run" if entry.certain else "may run"
        known = (str(entry.manifest.rows_out), size_of(entry.manifest.bytes)) if entry.manifest else ("", "")
        rows.append((entry.stage, state, printable(entry.why), *known))
    print_table(console, ("stage", "", "why", "rows", "size"), rows)
    print_lines(
        console,
        *(f"source {name}: {size_of(size)}" for name, size in planned.source_bytes.items()),
        planned.disk_line,
        *next_lines(command("curate", config)),
    )
    return EXIT_DONE

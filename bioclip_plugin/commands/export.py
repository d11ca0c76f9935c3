"""``bioclip-plugin export``: a run's results in a format of other programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from bioclip_core.errors import BioclipError, PluginError, UsageError
from bioclip_core.files.moved import MovedNames
from bioclip_core.files.whole import check_folder, folder_beside, whole_file, whole_folder, zip_folder
from bioclip_core.findings import Findings
from bioclip_core.options import options_of
from bioclip_core.tables.options import PathOptions
from bioclip_plugin.commands.context import plugins_of
from bioclip_plugin.commands.options import (
    filled,
    force_option,
    options_from,
    output_option,
    run_option,
    store_option,
)
from bioclip_plugin.commands.outputs import refuse_listed_image, say_unfinished
from bioclip_plugin.commands.progress import ProgressLine
from bioclip_plugin.commands.reporting import console_for, print_lines, printable
from bioclip_plugin.commands.signals import interruptible
from bioclip_plugin.contracts.export import Export, Selection
from bioclip_plugin.contracts.export_options import ExportOptions
from bioclip_plugin.contracts.exporter import (
    Exporter,
    FolderExporter,
    NestedFolderExporter,
    RememberingExporter,
    SelectiveExporter,
)
from bioclip_plugin.contracts.problem import Problem
from bioclip_plugin.items.media import path_of
from bioclip_plugin.store import open_store

if TYPE_CHECKING:
    from bioclip_plugin.store import Run, Store

_SHOWN_PROBLEMS = 20
_SHAPING = ("per", "keep_columns", "folders_by", "link")
"""Options that decide on the form of an output: a format without them refuses them."""
_SUFFIXES = {
    "csv": ".csv",
    "jsonl": ".jsonl",
    "parquet": ".parquet",
    "xlsx": ".xlsx",
    "megadetector": ".json",
    "speciesnet": ".json",
}
"""Endings of the files of formats; one that a single format has stands for it."""
_OF_ONE = {suffix: name for name, suffix in _SUFFIXES.items() if list(_SUFFIXES.values()).count(suffix) == 1}


@click.command()
@store_option
@run_option
@click.option(
    "--format",
    "format_name",
    help="Format of the output: one of those above, or one that a plugin adds.  [default: by the name's ending: .csv, .jsonl, "
    ".parquet, .xlsx]",
)
@output_option("File or folder to write; a name ending in .zip packs a folder.")
@options_from(Selection)
@options_from(ExportOptions)
@options_from(PathOptions)
@force_option
@click.pass_context
def export(
    ctx: click.Context, /, store: str, run: int | None, format_name: str | None, output: Path, force: bool, **given: Any
) -> None:
    """Write a run's results to a file or a package that other programs read.

    Formats: csv, parquet, xlsx and jsonl (tables), megadetector, speciesnet, camtrap-dp, darwin-core, wildlife-insights;
    folders (links to the images, by taxon). The output has every listed image with its answer, or with the reason why it has
    none, unless --since, --taxon or --min-probability exclude it.
    It is checked as `validate` does, and appears once it is whole. The same results always give the same bytes.

    \b
    bioclip-plugin export --store results.db --output results.csv
    bioclip-plugin export --per image --keep-columns barcode,room --output images.xlsx
    bioclip-plugin export --format megadetector --base-folder photos --output results.json
    bioclip-plugin export --format camtrap-dp --deployments cameras.csv --time-zone Europe/Brussels --output package.zip
    bioclip-plugin export --format folders --folders-by genus --min-probability 0.8 --output sorted
    bioclip-plugin export --format darwin-core --ledger sent.ledger --min-probability 0.9 --output identifications.zip
    """
    exporters = plugins_of(ctx).exporters()
    exporter = _exporter_for(exporters, format_name, output)
    selection, options, paths = filled(Selection, given), filled(ExportOptions, given), filled(PathOptions, given)
    console, findings = console_for(), Findings()
    _report_ignored(exporters, exporter, {ExportOptions: options, PathOptions: paths}, findings)
    interrupts = interruptible(console, "Nothing was written; the same command starts again.")
    with open_store(store) as opened, interrupts, ProgressLine("Exporting") as line:
        chosen = opened.run(run)
        refuse_listed_image(opened, output)
        line.expect(opened.summary(chosen).listed)
        # An exporter that reads the items twice counts twice.
        request = Export(
            opened, chosen, options, selection, findings,
            _finder(opened, chosen, options.base_folder, paths), _names_deployments(exporter), lambda n: line.reach(max(n, line.count)),
        )  # fmt: skip
        reads: list[str | Path] = [store, *filter(None, (options.ledger, options.deployments))]
        with _remembering(exporter, request) as lines, _draft(output, exporter, force=force, reads=reads) as draft:
            rows = exporter.write(draft, request)
            _refuse_problems(exporter, draft, options, line.console)
        print_lines(
            console,
            f"Run {chosen.id}: {line.count} images, {rows} rows ({exporter.name})",
            *map(printable, findings.lines()),
            _nothing_passes(selection, opened, chosen) if selection and not rows else "",
        )
        say_unfinished(console, opened, chosen)
    print_lines(console, *lines, f"Output: {output}")


def _nothing_passes(selection: Selection, store: Store, run: Run) -> str:
    """Return the options that select nothing, with what may be the reason."""
    given, reasons = [], []
    if selection.since:
        given.append("--since")
        timeless = sum(item.captured_at is None for item in store.listed_items(run))
        reasons.append(f"{timeless} of {store.summary(run).listed} images have no time" if timeless else "")
    if selection.taxa:
        given.append("--taxon")
        reasons.append("is the taxon written as in the results?")
    if selection.min_probability is not None:
        given.append("--min-probability")
    return "; ".join((f"Nothing passes {' and '.join(given)}", *filter(None, reasons)))


def exporter_of(exporters: Mapping[str, Exporter], name: str) -> Exporter:
    """Return the exporter of a format.

    Raises:
        UsageError: for an unknown format, with the known ones.
    """
    if name not in exporters:
        known = "; ".join(f"{exporter.name} ({exporter.description})" for exporter in exporters.values())
        raise UsageError(f"format {name!r} is not known; there are: {known}")
    return exporters[name]


def _exporter_for(exporters: Mapping[str, Exporter], name: str | None, output: Path) -> Exporter:
    """Return the exporter of a format, or else of the ending of the output's name; csv for a name without one.

    Raises:
        UsageError: for an unknown format, a name that does not tell it, and a name that tells another one.
    """
    suffix = output.suffix.lower()
    if name is None:
        if not suffix:
            return exporter_of(exporters, "csv")
        if suffix not in _OF_ONE:
            raise UsageError(
                f"--output {output}: its ending does not tell the format; give --format ({', '.join(exporters)}) or a name "
                f"ending in {', '.join(_OF_ONE)}"
            )
        return exporter_of(exporters, _OF_ONE[suffix])
    exporter = exporter_of(exporters, name)
    if exporter.folder and suffix in _SUFFIXES.values():
        raise UsageError(
            f"--output {output}: the format {name} writes several files; give a folder or a name ending in .zip"
        )
    if name in _SUFFIXES and suffix in _OF_ONE and suffix != _SUFFIXES[name]:
        raise UsageError(
            f"--output {output}: a name ending in {suffix} is for --format {_OF_ONE[suffix]}, not {name}; give that format or a "
            f"name ending in {_SUFFIXES[name]}"
        )
    return exporter


def _names_deployments(exporter: Exporter) -> bool:
    return bool(getattr(exporter, "names_deployments", not isinstance(exporter, SelectiveExporter)))


def _report_ignored(
    exporters: Mapping[str, Exporter],
    exporter: Exporter,
    given: Mapping[type, Any],
    findings: Findings,
) -> None:
    """Report options without effect in a format.

    Args:
        given: the options by their classes.

    Raises:
        UsageError: for options that would give another file, if the format had them.
    """
    if not isinstance(exporter, SelectiveExporter):
        return
    ignored = [
        option.name
        for kind, options in given.items()
        for option in options_of(kind)
        if option.name not in exporter.options and getattr(options, option.name) != option.default
    ]
    flags = {name: f"--{name.replace('_', '-')}" for name in ignored}
    if shaping := [name for name in ignored if name in _SHAPING]:
        name = shaping[0]
        takers = [key for key, one in exporters.items() if isinstance(one, SelectiveExporter) and name in one.options]
        raise UsageError(
            f"{flags[name]}: the format {exporter.name} does not have it; give it with --format {' or '.join(takers)}"
        )
    if ignored:
        findings.add(f"options have no effect in the format {exporter.name}", ", ".join(flags.values()), len(ignored))


def _finder(store: Store, run: Run, base: Path | None, paths: PathOptions) -> Callable[[str], Path]:
    """Return a function that finds the file of an image, also after folders were moved."""
    from bioclip_plugin.running.places import RunPlaces

    places, moved = RunPlaces(run, store.shown_address), MovedNames(paths.prefixes, base or Path())

    def file_of(uri: str) -> Path:
        expected = path_of(moved.new_name(uri) or uri)
        return places.file(expected) or expected

    return file_of


def print_problems(console: Console, path: Path, problems: Sequence[Problem]) -> None:
    """Print the first problems, one per line, without the name of the checked file."""
    print_lines(
        console,
        *(
            f"{problem.severity}: {printable(str(problem))}".replace(f"{path.name}: ", "", 1)
            for problem in problems[:_SHOWN_PROBLEMS]
        ),
        f"and {len(problems) - _SHOWN_PROBLEMS} more" if len(problems) > _SHOWN_PROBLEMS else "",
    )


@contextmanager
def _remembering(exporter: Exporter, request: Export) -> Iterator[list[str]]:
    """Report the end of the export to an exporter that remembers; its lines are in the list afterwards."""
    lines: list[str] = []
    try:
        yield lines
    except BaseException:
        if isinstance(exporter, RememberingExporter):
            with suppress(PluginError):  # the first error is the one to report
                exporter.abandoned(request)
        raise
    if isinstance(exporter, RememberingExporter):
        lines += exporter.committed(request)


@contextmanager
def _draft(output: Path, exporter: Exporter, *, force: bool, reads: Sequence[str | Path]) -> Iterator[Path]:
    """Give a file or folder to fill, which becomes the output, packed if that is a .zip."""
    if not exporter.folder:
        with whole_file(output, force=force, reads=reads) as draft:
            yield draft
    elif output.suffix.lower() == ".zip":
        with whole_file(output, force=force, reads=reads) as packed, folder_beside(output) as folder:
            yield folder
            zip_folder(folder, packed)
    else:
        ours = exporter.files if isinstance(exporter, FolderExporter) else ()
        others_in = exporter.others if isinstance(exporter, NestedFolderExporter) else None
        with whole_folder(output, partial(check_folder, output, force=force, ours=ours, others_in=others_in)) as draft:
            yield draft


def _refuse_problems(exporter: Exporter, draft: Path, options: ExportOptions, console: Console) -> None:
    """Check the draft and print its problems, errors first.

    Raises:
        BioclipError: if the draft breaks a rule of its format.
    """
    problems = sorted(exporter.check(draft, options), key=lambda problem: problem.severity != "error")
    print_problems(console, draft, problems)
    errors = sum(problem.severity == "error" for problem in problems)
    if errors:
        raise BioclipError(f"the export breaks {errors} rules of {exporter.name}, see above; nothing was kept")

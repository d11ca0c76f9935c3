"""``bioclip-plugin taxonomy``: an offline index of a checklist, and names resolved against it."""

from __future__ import annotations

import csv
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from bioclip_core.errors import UsageError
from bioclip_core.files.whole import check_output
from bioclip_core.findings import Findings
from bioclip_core.next_commands import command, next_lines
from bioclip_core.tables.options import TableOptions
from bioclip_core.tables.text import lines_within
from bioclip_core.taxonomy import RANKS, Rank, Taxon
from bioclip_plugin.commands.options import filled, force_option, json_option, output_option, taxon_table_options
from bioclip_plugin.commands.progress import ProgressLine
from bioclip_plugin.commands.reporting import (
    console_for,
    print_json,
    print_lines,
    print_table,
    printable,
    write_csv_as_utf_8,
)
from bioclip_plugin.commands.signals import interruptible
from bioclip_plugin.commands.taxon_tables import read_checklist
from bioclip_training.taxonomy import Resolution, TaxonomyIndex, build_taxonomy

Answer = tuple[str, Resolution]

_SHOWN_RANKS = 12
_CSV_COLUMNS = ("name", "outcome", "accepted_name", *(rank.value for rank in RANKS), "taxon_id", "reason")
_TABLE_COLUMNS = ("name", "resolved", "outcome", "candidate", "authorship", "rank", "status", "accepted", "taxon_id", "reason")  # fmt: skip


@click.group()
def taxonomy() -> None:
    """Make an offline index of a checklist, and resolve names against it.

    \b
    bioclip-plugin taxonomy build Taxon.tsv --output gbif.taxonomy --checklist GBIF --version 2023-08-28
    bioclip-plugin taxonomy resolve "Prunus X Shmittii" --taxonomy gbif.taxonomy
    """


@taxonomy.command("build")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...", type=click.Path(path_type=Path))
@output_option("Taxonomy file to write (FILE.taxonomy).")
@click.option(
    "--checklist",
    default="",
    show_default="as the source states it",
    help="Name of the checklist, a part of its identifiers.",
)
@click.option("--version", default="", show_default="as the source states it", help="Version of the checklist.")
@force_option
def build(sources: tuple[Path, ...], output: Path, checklist: str, version: str, force: bool) -> None:
    """Make a read-only SQLite index of a checklist: a file, folder or zip; several are parts of one checklist.

    The kind is recognised by the columns: GBIF's Taxon.tsv, ColDP's NameUsage.tsv, a Darwin Core checklist (an archive with
    meta.xml or a plain table with taxonID and scientificName), or a table of ranks (kingdom to species, perhaps with
    synonyms or acceptedName). Oddities are counted and never fatal.

    \b
    bioclip-plugin taxonomy build backbone/Taxon.tsv --output gbif.taxonomy --checklist GBIF --version 2023-08-28
    bioclip-plugin taxonomy build col.zip --output col.taxonomy
    bioclip-plugin taxonomy build local_species.csv --output local.taxonomy --checklist "our list" --version 3
    """
    check_output(output, force=force, database=True, reads=sources)
    console = console_for()
    interrupts = interruptible(console, "Nothing was kept; the same command starts again.")
    with interrupts, ProgressLine("Reading", unit="names", console=console) as line:
        built = build_taxonomy(sources, output, checklist=checklist, version=version, progress=line.advance)
    name = f"{built.checklist} {built.version}".strip()
    print_lines(
        console,
        f"{built.names} names of {name} ({built.kind}) in {built.seconds:.1f} s",
        f"By status: {_counts(built.by_status)}",
        f"By rank: {_counts(built.by_rank)}",
        f"Odd: {_counts(built.odd)}" if built.odd else "",
        ""
        if built.version
        else "The checklist lacks a version, and its ids mean little without one: give it with --version",
        f"Taxonomy: {built.path}",
        *next_lines(
            command("taxonomy resolve", "NAME", taxonomy=built.path),
            either=[command("catalog build", "TABLE", taxonomy=built.path, output="CATALOG.parquet")],
        ),
    )


def _counts(counts: dict[str, int]) -> str:
    shown = [f"{count} {name or 'without one'}" for name, count in list(counts.items())[:_SHOWN_RANKS]]
    rest = sum(list(counts.values())[_SHOWN_RANKS:])
    return ", ".join([*shown, *([f"{rest} others"] if rest else [])])


@taxonomy.command("resolve")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--taxonomy",
    "taxonomy_file",
    type=click.Path(path_type=Path),
    required=True,
    help="Taxonomy file, made by `taxonomy build`.",
)
@click.option(
    "--names",
    "names_file",
    type=click.Path(path_type=Path),
    help="Checklist of names: a text file with one per line, or a table.",
)
@click.option("--kingdom", default="", help="Kingdom of the names, which tells homonyms apart.")
@click.option("--rank", type=click.Choice([rank.value for rank in RANKS]), help="Rank of the names.")
@taxon_table_options
@json_option
def resolve(
    names: tuple[str, ...], taxonomy_file: Path, names_file: Path | None, kingdom: str, rank: str | None, as_json: bool,
    **reading: Any,
) -> None:  # fmt: skip
    """Resolve names against a taxonomy: every candidate with its reason, best first.

    NAMEs are scientific names as written; "-" reads one per line from standard input. The answer to names on the command
    line is a table of all candidates; the answer to a list (- or --names) is CSV on standard output, one row per name. An
    uncertain name is not resolved, and the summary gives their number. The exit code is 0 all the same.

    \b
    bioclip-plugin taxonomy resolve "Acer Rubrum" "Prunus x schmittii Rehder" --taxonomy gbif.taxonomy
    bioclip-plugin taxonomy resolve --names labels.csv --taxonomy gbif.taxonomy --kingdom Plantae > resolved.csv
    """
    if bool(names) == (names_file is not None):
        raise UsageError("give names, - for standard input, or a list with --names FILE: one of them")
    outcomes: Counter[str] = Counter()
    options, findings = filled(TableOptions, reading), Findings()
    if names_file is None and (options.column or options.encoding):
        raise UsageError("--column and --encoding are for a list: give it with --names FILE")
    checklist = read_checklist(names_file, findings, options) if names_file else ()
    with TaxonomyIndex.open(taxonomy_file) as index:
        answers = _answers(index, _asked(names, checklist), kingdom, Rank(rank) if rank else None, outcomes)
        if as_json:
            for answer in answers:
                print_json(_as_json(*answer))
        elif names_file is not None or names == ("-",):
            _print_csv(answers)
        else:
            _print_candidates(answers)
    resolved, left = outcomes.pop("", 0), outcomes.total()
    print_lines(
        console_for(to_stderr=True),
        f"{resolved + left} names asked of {index.label}: {resolved} resolved, {left} not",
        f"Not resolved: {_counts(dict(outcomes.most_common()))}" if left else "",
        *map(printable, findings.lines()),
    )


def _asked(names: tuple[str, ...], checklist: Iterable[str]) -> Iterator[str]:
    yield from checklist
    for name in names:
        if name == "-":
            yield from filter(None, map(str.strip, lines_within(sys.stdin, "standard input")))
        else:
            yield name


def _answers(
    index: TaxonomyIndex, names: Iterable[str], kingdom: str, rank: Rank | None, outcomes: Counter[str]
) -> Iterator[Answer]:
    """Resolve each name and count the outcomes, resolved names under the empty text."""
    for name in names:
        found = index.resolve(Taxon(kingdom=kingdom), name, rank=rank)
        outcomes["" if found.taxon else found.outcome.value] += 1
        yield name, found


def _print_candidates(answers: Iterable[Answer]) -> None:
    """Print every candidate of every name on standard output; the one that the name resolves to is marked."""
    rows: list[tuple[str, ...]] = []
    for name, found in answers:
        for candidate in found.candidates:
            is_it = found.taxon is not None and candidate.taxon_id == found.taxon_id
            accepted = candidate.accepted.taxonomic_name if candidate.accepted else ""
            rows.append(
                (name, "yes" if is_it else "", candidate.outcome.value, candidate.name if candidate.status else "",
                 candidate.authorship, candidate.rank, candidate.status, accepted, candidate.taxon_id, candidate.reason)
            )  # fmt: skip
        if found.taxon is None:
            rows.append((name, "no", found.outcome.value, "", "", "", "", "", "", f"not resolved: {found.reason}"))
    print_table(console_for(), _TABLE_COLUMNS, rows)


def _print_csv(answers: Iterable[Answer]) -> None:
    """Print one row per name at once, so that a long list can be watched and cut short."""
    from bioclip_plugin.formats.shared.exported import guarded

    write_csv_as_utf_8()
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(_CSV_COLUMNS)
    for name, found in answers:
        taxon = found.taxon or Taxon()
        cells = (name, found.outcome.value, taxon.scientific_name, *taxon.lineage, found.taxon_id, found.reason)
        writer.writerow([guarded(cell) for cell in cells])


def _as_json(name: str, found: Resolution) -> dict[str, Any]:
    candidates = [
        {
            "name": candidate.name, "authorship": candidate.authorship, "rank": candidate.rank, "status": candidate.status,
            "accepted": _taxon_as_json(candidate.accepted), "taxon_id": candidate.taxon_id,
            "outcome": candidate.outcome.value, "distance": candidate.distance, "reason": candidate.reason,
        }
        for candidate in found.candidates
    ]  # fmt: skip
    return {
        "name": name, "resolved": _taxon_as_json(found.taxon), "outcome": found.outcome.value, "taxon_id": found.taxon_id,
        "reason": found.reason, "candidates": candidates,
    }  # fmt: skip


def _taxon_as_json(taxon: Taxon | None) -> dict[str, Any] | None:
    if taxon is None:
        return None
    return {"scientific_name": taxon.scientific_name, "rank": taxon.rank.value if taxon.rank else "", **taxon.as_dict()}

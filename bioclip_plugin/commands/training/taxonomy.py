"""``bioclip-plugin taxonomy``: an offline index of a checklist, and names resolved against it."""

from __future__ import annotations

import csv
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bioclip_core.errors import UsageError
from bioclip_core.taxonomy import RANKS, Rank, Taxon
from bioclip_plugin.cli import EXIT_DONE
from bioclip_plugin.commands.options import force_option, json_option
from bioclip_plugin.commands.reporting import Report, console_for, print_json_line, print_table

if TYPE_CHECKING:
    from rich.console import Console

    from bioclip_training.taxonomy import BuiltTaxonomy, NameCandidate, Resolution, TaxonomyIndex

_SHOWN_RANKS = 12
_CSV_COLUMNS = ("name", "outcome", "accepted_name", *(rank.value for rank in RANKS), "taxon_id", "reason")


@click.group()
def taxonomy() -> None:
    """Make an offline index of a checklist, and ask it what names mean.

    \b
    bioclip-plugin taxonomy build Taxon.tsv --output gbif.taxonomy --checklist GBIF --version 2023-08-28
    bioclip-plugin taxonomy resolve "Prunus X Shmittii" --taxonomy gbif.taxonomy
    """


@taxonomy.command("build")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...", type=click.Path(path_type=Path))
@click.option(
    "--output", type=click.Path(path_type=Path), required=True, help="The taxonomy file to write (FILE.taxonomy)."
)
@click.option(
    "--checklist", default="", help="Name of the checklist, which its ids belong to.  [default: what the source says]"
)
@click.option("--version", default="", help="Version of the checklist.  [default: what the source says]")
@force_option
def build(sources: tuple[Path, ...], output: Path, checklist: str, version: str, force: bool) -> int:
    """Make a read-only SQLite index of a checklist: a file, folder or zip; several are parts of one checklist.

    What it is is found by its columns: GBIF's Taxon.tsv, ColDP's NameUsage.tsv, a Darwin Core checklist (an archive with
    meta.xml or a plain table with taxonID and scientificName), or a table of ranks (kingdom to species, perhaps with
    synonyms or acceptedName). What is odd about it is counted and never fatal.

    \b
    bioclip-plugin taxonomy build backbone/Taxon.tsv --output gbif.taxonomy --checklist GBIF --version 2023-08-28
    bioclip-plugin taxonomy build col.zip --output col.taxonomy
    bioclip-plugin taxonomy build local_species.csv --output local.taxonomy --checklist "our list" --version 3
    """
    from bioclip_core.files.whole import check_output
    from bioclip_training.taxonomy import build_taxonomy

    check_output(output, force=force, database=True, reads=sources)
    console = console_for()
    report = Report("Reading", unit="names", console=console)
    with report:
        built = build_taxonomy(sources, output, checklist=checklist, version=version, progress=report.advance)
    _summarise(console, built)
    return EXIT_DONE


def _summarise(console: Console, built: BuiltTaxonomy) -> None:
    called = f"{built.checklist} {built.version}".strip()
    console.print(f"{built.names} names of {called} ({built.kind}) in {built.seconds:.1f} s")
    console.print(f"By status: {_counted(built.by_status)}")
    console.print(f"By rank: {_counted(built.by_rank)}")
    if built.odd:
        console.print(f"Odd: {_counted(built.odd)}")
    if not built.version:
        console.print("The checklist has no version, without which its ids say little: give it with --version")
    console.print(f"Taxonomy: {built.path}")
    console.print(
        f"Next: bioclip-plugin taxonomy resolve NAME --taxonomy {built.path}, or catalog build --taxonomy {built.path}"
    )


def _counted(counts: dict[str, int]) -> str:
    shown = [f"{count} {what or 'without one'}" for what, count in list(counts.items())[:_SHOWN_RANKS]]
    rest = sum(list(counts.values())[_SHOWN_RANKS:])
    return ", ".join([*shown, *([f"{rest} others"] if rest else [])])


@taxonomy.command("resolve")
@click.argument("names", nargs=-1, metavar="[NAME...]")
@click.option(
    "--taxonomy",
    "taxonomy_file",
    type=click.Path(path_type=Path),
    required=True,
    help="A file that `taxonomy build` made.",
)
@click.option(
    "--names",
    "names_file",
    type=click.Path(path_type=Path),
    help="A checklist of names: a text file with one a line, or a table.",
)
@click.option("--kingdom", default="", help="The kingdom that the names belong to, which tells homonyms apart.")
@click.option("--rank", type=click.Choice([rank.value for rank in RANKS]), help="The rank that the names are of.")
@json_option
def resolve(
    names: tuple[str, ...], taxonomy_file: Path, names_file: Path | None, kingdom: str, rank: str | None, as_json: bool
) -> int:
    """Ask a taxonomy what names mean: every candidate with its reason, best first.

    NAMEs are scientific names as they are written; "-" reads one a line from standard input. Names on the command line are
    answered with a table of all candidates, a list (- or --names) with CSV on standard output, one row a name. What is not
    certain is not resolved, and the summary says how many. The exit code is 0 all the same.

    \b
    bioclip-plugin taxonomy resolve "Acer Rubrum" "Prunus x schmittii Rehder" --taxonomy gbif.taxonomy
    bioclip-plugin taxonomy resolve --names labels.csv --taxonomy gbif.taxonomy --kingdom Plantae > resolved.csv
    """
    from bioclip_training.taxonomy import TaxonomyIndex

    if bool(names) == (names_file is not None):
        raise UsageError("give names, - for standard input, or a list with --names FILE: one of them")
    console, unresolved = console_for(to_stderr=True), Counter[str]()
    count = 0
    with TaxonomyIndex.open(taxonomy_file) as index:
        answers = _answers(index, _asked(names, names_file), kingdom, Rank(rank) if rank else None)
        counted = _counting(answers, unresolved)
        if as_json:
            count = _print_json(counted)
        elif names_file is not None or names == ("-",):
            count = _print_csv(counted)
        else:
            count = _print_candidates(counted)
    left = sum(unresolved.values())
    console.print(f"{count} names asked of {index.label}: {count - left} resolved, {left} not")
    if left:
        console.print(f"Not resolved: {_counted(dict(unresolved.most_common()))}")
    return EXIT_DONE


def _asked(names: tuple[str, ...], names_file: Path | None) -> Iterator[str]:
    from bioclip_plugin.commands.training.taxon_tables import read_checklist

    if names_file is not None:
        yield from read_checklist(names_file)
        return
    for name in names:
        if name == "-":
            yield from (line.strip() for line in sys.stdin if line.strip())
        else:
            yield name


def _answers(
    index: TaxonomyIndex, names: Iterable[str], kingdom: str, rank: Rank | None
) -> Iterator[tuple[str, Resolution]]:
    for name in names:
        found = index.resolve(Taxon(kingdom=kingdom), name, rank=rank)
        yield name, found


def _counting(answers: Iterable[tuple[str, Resolution]], unresolved: Counter[str]) -> Iterator[tuple[str, Resolution]]:
    """The same answers; those without a taxon are counted by their outcome."""
    for name, found in answers:
        if found.taxon is None:
            unresolved[found.outcome.value] += 1
        yield name, found


def _print_candidates(answers: Iterable[tuple[str, Resolution]]) -> int:
    """Every candidate of every name on standard output; the one that the name resolves to is marked."""
    rows, count = [], 0
    for name, found in answers:
        count += 1
        for candidate in found.candidates:
            is_it = found.taxon is not None and candidate.taxon_id == found.taxon_id
            rows.append((name, "yes" if is_it else "", *_shown(candidate)))
        if found.taxon is None:
            rows.append((name, "no", found.outcome.value, "", "", "", "", "", "", f"not resolved: {found.reason}"))
    columns = (
        "name",
        "resolved",
        "outcome",
        "candidate",
        "authorship",
        "rank",
        "status",
        "accepted",
        "taxon_id",
        "reason",
    )
    print_table(console_for(), columns, rows)
    return count


def _shown(candidate: NameCandidate) -> tuple[str, ...]:
    accepted = candidate.accepted.taxonomic_name if candidate.accepted else ""
    found = candidate.name if candidate.status else ""
    return (
        candidate.outcome.value, found, candidate.authorship, candidate.rank, candidate.status, accepted, candidate.taxon_id,
        candidate.reason,
    )  # fmt: skip


def _print_csv(answers: Iterable[tuple[str, Resolution]]) -> int:
    """One row a name, at once, so that a long list can be watched and cut short."""
    from bioclip_plugin.formats.tables.write import spreadsheet_safe

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(_CSV_COLUMNS)
    count = 0
    for name, found in answers:
        count += 1
        taxon = found.taxon or Taxon()
        cells = (name, found.outcome.value, taxon.scientific_name, *taxon.lineage, found.taxon_id, found.reason)
        writer.writerow([spreadsheet_safe(cell) for cell in cells])
    return count


def _print_json(answers: Iterable[tuple[str, Resolution]]) -> int:
    count = 0
    for name, found in answers:
        count += 1
        line = {
            "name": name, "resolved": _as_json(found.taxon), "outcome": found.outcome.value, "taxon_id": found.taxon_id,
            "reason": found.reason, "candidates": [_candidate_as_json(candidate) for candidate in found.candidates],
        }  # fmt: skip
        print_json_line(json.dumps(line, ensure_ascii=False))
    return count


def _as_json(taxon: Taxon | None) -> dict[str, Any] | None:
    if taxon is None:
        return None
    return {"scientific_name": taxon.scientific_name, "rank": taxon.rank.value if taxon.rank else "", **taxon.as_dict()}


def _candidate_as_json(candidate: NameCandidate) -> dict[str, Any]:
    return {
        "name": candidate.name, "authorship": candidate.authorship, "rank": candidate.rank, "status": candidate.status,
        "accepted": _as_json(candidate.accepted), "taxon_id": candidate.taxon_id, "outcome": candidate.outcome.value,
        "distance": candidate.distance, "reason": candidate.reason,
    }  # fmt: skip

"""``bioclip-plugin catalog``: from labelled images to one file that training and evaluation read."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bioclip_core.errors import DataError, SourceError, UsageError
from bioclip_core.files.replacing import remove
from bioclip_core.files.whole import check_output, folder_beside, whole_file
from bioclip_core.naming.judging import NameKind
from bioclip_core.naming.options import NameOptions
from bioclip_core.next_commands import command
from bioclip_core.nouns import number_of
from bioclip_core.tables.options import TableOptions
from bioclip_plugin.commands.context import EXIT_DONE, EXIT_WITH_FAILURES
from bioclip_plugin.commands.options import filled, force_option, options_from, output_option
from bioclip_plugin.commands.progress import ProgressLine
from bioclip_plugin.commands.reporting import console_for, print_lines, printable
from bioclip_plugin.commands.signals import interruptible
from bioclip_plugin.commands.taxon_tables import read_checklist
from bioclip_plugin.commands.training.catalog_views import described, show
from bioclip_plugin.commands.training.moved_images import moved_line, naming_moved_images
from bioclip_plugin.commands.training.next_steps import after_catalog
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.labelled.published_options import PublishedOptions
from bioclip_training.catalog.naming.name_decisions import NameDecisions
from bioclip_training.catalog.naming.name_map import write_map
from bioclip_training.catalog.options import BuildOptions
from bioclip_training.taxonomy import TaxonomyIndex

if TYPE_CHECKING:
    from bioclip_training.catalog.build import Built

_REPAIRABLE = (
    "missing image", "broken image", "no file", "not listed", "no name", "undecided", NameKind.SEVERAL, NameKind.CODE, NameKind.COMMON,
    NameKind.DOUBTFUL, NameKind.MISSPELT,
)  # fmt: skip
"""Reasons by which rows are skipped that a person can repair or decide in the files; of the others none is missing."""


@click.group()
def catalog() -> None:
    """Build and show catalogs: labelled images with clean names and splits, for train and evaluate.

    \b
    bioclip-plugin catalog build collection.csv --output collection.parquet
    bioclip-plugin catalog show collection.parquet
    """


catalog.add_command(show)


@catalog.command("build")
@click.argument("tables", nargs=-1, required=True, metavar="TABLE...")
@output_option("Catalog to write, a .parquet file.")
@click.option(
    "--taxonomy",
    type=click.Path(path_type=Path),
    help="Taxonomy file to resolve names to accepted ones, made by `taxonomy build`.",
)
@options_from(BuildOptions, omit=["holdout_share", "holdout_names"])
@click.option(
    "--holdout-taxa",
    metavar="SHARE|FILE",
    help="Keep whole species unseen: a share of them, or those that a file names (one per line, higher taxa too).",
)
@options_from(NameOptions)
@options_from(PublishedOptions)
@options_from(TableOptions)
@force_option
def build(
    tables: tuple[str, ...], output: Path, taxonomy: Path | None, holdout_taxa: str | None, force: bool, **given: Any
) -> int:
    """Build a catalog from tables, folder trees named by taxon, published collections, or the reviews of a result store.

    A table (.csv, .tsv, .xlsx, .parquet) has an image column (image, path, file, filepath or uri) and Darwin Core names; rows may be
    labelled at any rank. A folder tree is named by ranks (Fagaceae/Quercus/robur), binomials (Quercus_robur) or like iNat21's.
    Published collections (iNat21, BIOSCAN, EOL, LILA, Rare Species and others) are read in their own layout, which is said.
    A table's own `split` column is kept. Skipped, removed and unresolved rows are listed in files beside the output; names that are not
    scientific ones are in OUTPUT.names_to_map.csv, to fill in and give with --map.

    \b
    bioclip-plugin catalog build leaves.csv fish.csv --output collection.parquet
    bioclip-plugin catalog build photos.csv --group-by eventID --holdout-taxa 0.1 --output photos.parquet
    bioclip-plugin catalog build results.db --taxonomy checklist.taxonomy --output reviewed.parquet
    """
    from bioclip_plugin.labelled.sources import labelled_sources
    from bioclip_training.catalog.build import build_catalog

    console = console_for()
    named = filled(NameOptions, given)
    check_output(output, force=force, reads=[*tables, *filter(None, (taxonomy, named.name_map))])
    _check_together(named, taxonomy, only_resolved=given["only_resolved"])
    share, names = _holdout(holdout_taxa)
    listing = filled(ListingOptions, given)
    published = filled(PublishedOptions, given)
    sources = labelled_sources(tables, listing, published, plain_labels=named.plain_labels)
    print_lines(console, *(printable(note) for source in sources for note in source.notes))
    folder = output.resolve().parent
    given["prefer"] = _names(given["prefer"], tables, [source.name for source in sources])
    options = filled(BuildOptions, given, holdout_share=share, holdout_names=names)
    decisions = NameDecisions(named)
    with (
        _explained(decisions, output),
        interruptible(console, "Nothing was kept."),
        folder_beside(output) as work,
        TaxonomyIndex.open(taxonomy) if taxonomy else nullcontext() as index,
        ProgressLine("Reading", unit="rows") as line,
        naming_moved_images(work, tables),
    ):
        built = build_catalog(
            sources, folder, work, options, resolver=index, names=decisions, started=line.expect, progress=line.advance
        )
        if index is not None:
            decisions.suggest_from(index)
        lists = _keep(built, output, force)
    decisions.report(listing.findings)
    file = _write_map(decisions, output)
    print_lines(
        console,
        *map(printable, listing.findings.lines()),
        printable(moved_line(lists.get("removed"), tables)),
        *_summary(output, lists),
        f"Names to decide: {_to_decide(decisions, file)}" if file else "",
    )
    failed = any(built.facts["left_out"].get(kind) for kind in _REPAIRABLE)
    return EXIT_WITH_FAILURES if failed else EXIT_DONE


@contextmanager
def _explained(decisions: NameDecisions, output: Path) -> Iterator[None]:
    """Add the names to decide to an error of the sources, and say what an error of the disk means for the catalog."""
    try:
        yield
    except SourceError as error:
        if not (file := _write_map(decisions, output)):
            raise
        raise SourceError(f"{error}; {_to_decide(decisions, file)}") from error
    except OSError as error:
        why = error.strerror or error
        raise SourceError(f"the catalog {output} cannot be written: {why}; nothing was kept") from error


def _check_together(named: NameOptions, taxonomy: Path | None, *, only_resolved: bool) -> None:
    """Refuse options that contradict each other."""
    if only_resolved and taxonomy is None:
        raise UsageError(
            f"--only-resolved needs --taxonomy FILE; make one with: {command('taxonomy build', 'CHECKLIST', output='FILE.taxonomy')}"
        )
    if named.plain_labels and (taxonomy is not None or named.split_names):
        other = "--taxonomy" if taxonomy is not None else "--split-names"
        raise UsageError(
            f"--plain-labels reads names as words without a taxonomy, which {other} cannot change: give only one of them"
        )


def _names(preferred: Sequence[str], tables: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the preferred sources, which may be written as on the command line."""
    by_address = dict(zip(tables, names, strict=True))
    return tuple(dict.fromkeys(by_address.get(one, one) for one in preferred))


def _holdout(given: str | None) -> tuple[float, tuple[str, ...]]:
    """Return the share of the species, or the names in a file."""
    if given is None:
        return 0.0, ()
    try:
        share = float(given)
    except ValueError:
        path = Path(given)
        if not path.is_file():
            raise DataError(
                f"--holdout-taxa {given}: there is no such file; give a share from 0 to 0.9, or a file with one name per line"
            ) from None
        names = tuple(dict.fromkeys(read_checklist(path)))
        if not names:
            raise DataError(f"--holdout-taxa {given}: the file does not contain a name; write one per line") from None
        return 0.0, names
    if not 0 <= share <= 0.9:
        raise UsageError(f"--holdout-taxa {given}: allowed is a share from 0 to 0.9, or a file with names")
    return share, ()


def _keep(built: Built, output: Path, force: bool) -> dict[str, Path]:
    """Move the result to its place, the catalog last, and return its lists; outdated lists of an earlier build are removed."""
    lists: dict[str, Path] = {}
    for kind, made in (
        ("removed", built.removed), ("unresolved", built.unresolved), ("duplicates", built.duplicates), ("merged", built.merged),
        ("apart", built.apart),
    ):  # fmt: skip
        target = output.with_suffix(f".{kind}.csv")
        if made is not None:
            with whole_file(target, force=True) as draft:
                shutil.move(made, draft)
            lists[kind] = target
        elif force:
            remove(target)
    with whole_file(output, force=force) as draft:
        shutil.move(built.catalog, draft)
    return lists


def _write_map(decisions: NameDecisions, output: Path) -> Path | None:
    """Write the names that are not decided as a map to fill in, never over the map that was given; None without such names."""
    target = output.with_suffix(".names_to_map.csv")
    given = decisions.options.name_map
    if given is not None and target.exists() and given.resolve() == target.resolve():
        target = output.with_suffix(".names_to_map.more.csv")
    if not decisions.undecided:
        if target.name.endswith(".more.csv") or given is None:
            remove(target)  # of an earlier build
        return None
    with whole_file(target, force=True) as draft:
        write_map(draft, decisions.undecided.values())
    return target


def _to_decide(decisions: NameDecisions, file: Path) -> str:
    rows = sum(one.rows for one in decisions.undecided.values())
    return (
        f"{number_of(len(decisions.undecided), 'name')} of {number_of(rows, 'row')} in {file}: fill in map_to and give the file with "
        f"--map{'' if decisions.options.plain_labels else ', or take the names as words with --plain-labels'}"
    )


def _summary(output: Path, lists: dict[str, Path]) -> list[str]:
    from bioclip_training.catalog.overview import overview
    from bioclip_training.catalog.rows import Catalog

    catalog = Catalog.open(output)
    return [
        *described(output, overview(catalog), lists),
        f"Catalog: {output}",
        *after_catalog(catalog, output),
    ]

"""The page around the gallery: heading, figures, charts, failures and foot as HTML. Every text is escaped here."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template

from bioclip_core import __version__
from bioclip_core.models import ModelEntry
from bioclip_core.taxonomy import RANKS
from bioclip_plugin.report.activity import activity_svg
from bioclip_plugin.report.decisions import REPORT_VERDICTS
from bioclip_plugin.report.figures import Tally
from bioclip_plugin.report.gathering import Gathered
from bioclip_plugin.report.map_picture import Spot, map_svg
from bioclip_plugin.report.names import CommonNames
from bioclip_plugin.report.options import ReportOptions
from bioclip_plugin.report.page_data import PageData
from bioclip_plugin.report.provenance import classified_by, provenance_rows
from bioclip_plugin.report.text import legible, script_json

END = "</body>\n</html>\n"
"""What closes the page, behind the thumbnails."""

_MOST_TAXA, _MOST_PLACES = 300, 500  # rows of a table; the gallery's filters have them all
_ITALIC = ("genus", "species")
_WORDS = {
    "taxon": "named",
    "unknown": "unknown: too unsure for any rank",
    "blank": "blank: nothing found",
    "person": "person",
    "vehicle": "vehicle",
    "unclassified": "kept, not classified",
}
_AGREEING = {
    "agrees": "agree",
    "less specific": "agree at a higher rank",
    "differs": "differ",
    "other": "cannot be compared",
}


def page_before_thumbnails(
    gathered: Gathered, names: CommonNames, models: Mapping[str, ModelEntry], options: ReportOptions
) -> str:
    """Everything up to the thumbnails, which are written as they are made; ``END`` follows them."""
    style, script = _asset("style.css"), _asset("script.js")
    data = PageData(gathered, names, options.coordinate_precision)
    run = gathered.run
    said = ", ".join(_short(source) for source in run.sources[:3]) + (" …" if len(run.sources) > 3 else "")
    about = (_days(gathered), f"named by {legible(classified_by(run))}", f"{run.begun_at:%Y-%m-%d}")
    return Template(_asset("page.html")).substitute(
        policy=_policy(style, script),
        generator=escape(f"bioclip-plugin {__version__}"),
        title=escape(f"Run {run.id}: {said or 'the whole store'}"),
        style=style,
        heading=escape(f"Run {run.id} · {said or 'the whole store'}"),
        subheading=escape(" · ".join(part for part in about if part)),
        failures_link=f'<a href="#failures">Failures <b>{gathered.figures.failed:,}</b></a>' if gathered.figures.failed else "",
        tiles=_tiles(gathered),
        notes=_notes(gathered, options),
        taxa=_taxa(gathered, names),
        verdicts=_verdicts(gathered),
        activity=_activity(gathered),
        places=_places(gathered, data, options),
        failures=_failures(gathered),
        provenance="".join(
            f"<div><dt>{escape(name)}</dt><dd>{escape(legible(value))}</dd></div>"
            for name, value in provenance_rows(run, models)
        ),
        made=escape(_made(options)),
        data=script_json(data.as_dict()),
        script=script,
    )  # fmt: skip


def _short(source: str) -> str:
    """The last part of an address; the foot has it whole."""
    return legible(re.split(r"[/\\]", source.rstrip("/\\"))[-1] or source)


def _asset(name: str) -> str:
    return (files("bioclip_plugin.report") / name).read_text("utf-8")


def _policy(style: str, script: str) -> str:
    """Nothing is loaded, and nothing runs but the one script that we wrote, whatever a file is called."""
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script)]
    return (
        f"default-src 'none'; script-src 'sha256-{hashes[1]}'; style-src 'sha256-{hashes[0]}'; img-src data:; "
        "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )


def _days(gathered: Gathered) -> str:
    first, last = gathered.figures.first_day, gathered.figures.last_day
    if first is None or last is None:
        return ""
    return f"{first}" if first == last else f"{first} to {last}"


def _tiles(gathered: Gathered) -> str:
    figures = gathered.figures
    species = len(figures.taxa.get("species", figures.taxa.get("label", {})))
    named = sum(bool(station.name) for station in figures.stations)
    placed = sum(not station.name and station.placed > 0 for station in figures.stations)
    rows: list[tuple[str, int, str]] = [
        ("images", figures.images, ""),
        ("done", figures.done, ""),
        ("failed", figures.failed, "bad" if figures.failed else ""),
        ("regions", figures.regions, ""),
        ("labels named" if "label" in figures.taxa else "species named", species, ""),
        ("places", placed, "") if placed and not named else ("cameras", named, ""),
        ("reviewed", figures.reviewed, ""),
    ]
    if figures.todo:
        rows.insert(3, ("still to do", figures.todo, "bad"))
    return "".join(f'<div class="{kind}"><dt>{name}</dt><dd>{count:,}</dd></div>' for name, count, kind in rows)


def _notes(gathered: Gathered, options: ReportOptions) -> str:
    notes = []
    shown = gathered.figures.regions + gathered.figures.verdicts["blank"]
    if gathered.entries < shown:
        notes.append(
            f"The gallery holds {gathered.entries:,} of {shown:,} (the first in the order of the run); figures, activity and "
            "map are of all. Without filters, that is; with them they are of what the gallery holds."
        )
    chosen = []
    selection = options.selection
    if selection.since:
        chosen.append(f"photographed on {selection.since} or later")
    if selection.taxa:
        chosen.append(f"named as {' or '.join(legible(name) for name in selection.taxa)}")
    if selection.min_probability is not None:
        chosen.append(f"named with a probability of {selection.min_probability:g} or more")
    if chosen:
        notes.append(f"Only what was {' and '.join(chosen)}; the rest of the run is not in here, nor are its failures.")
    return "".join(f'<p class="note">{escape(note)}</p>' for note in notes)


def _table(header: Sequence[str], rows: Iterable[str], kind: str = "") -> str:
    """A table of rows that are HTML already; the first column has names, the others numbers."""
    head = "".join(
        f'<th scope="col"{" class=n" if place else ""}>{escape(name)}</th>' for place, name in enumerate(header)
    )
    return f'<table class="{kind}"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def _share(count: int, most: int) -> str:
    """A bar as long as the count, in a cell of its own; for eyes only, the number stands beside it."""
    width = 100 * count / most if most else 0
    return (
        '<td class="share"><svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect width="{width:.1f}" height="8"/></svg></td>'
    )


def _verdicts(gathered: Gathered) -> str:
    counts = gathered.figures.verdicts
    most = max(counts.values(), default=0)
    rows = [
        f'<tr><th scope="row"><button type="button" class="pick" data-verdict="{verdict}">{_WORDS[verdict]}</button></th>'
        f'<td class="n">{counts[verdict]:,}</td>{_share(counts[verdict], most)}</tr>'
        for verdict in REPORT_VERDICTS
        if counts[verdict]
    ]
    if not rows:
        return '<p class="note">There are no results.</p>'
    said = gathered.figures.agreements
    parts = [f"{said[name]:,} {word}" for name, word in _AGREEING.items() if said[name]]
    reviews = f'<p class="note">{gathered.figures.reviewed:,} were reviewed by people: {", ".join(parts)}.</p>'
    return _table(("verdict", "regions", ""), rows) + (reviews if parts else "")


def _taxa(gathered: Gathered, names: CommonNames) -> str:
    """A table a rank, most specific first and open; each name is a button that filters the gallery."""
    known = gathered.figures.taxa
    ranks = [rank for rank in ("label", "group", *reversed([rank.value for rank in RANKS])) if known.get(rank)]
    if not ranks:
        return '<p class="note">Nothing was named.</p>'
    return "".join(_rank(rank, known[rank], names, is_open=rank == ranks[0]) for rank in ranks)


def _rank(rank: str, tallies: Mapping[tuple[str, ...], Tally], names: CommonNames, *, is_open: bool) -> str:
    ordered = sorted(tallies.values(), key=lambda tally: (-tally.regions, tally.name, tally.taxon.lineage))
    most = ordered[0].regions
    rows = []
    for tally in ordered[:_MOST_TAXA]:
        name = escape(legible(tally.name))
        shown = f"<i>{name}</i>" if rank in _ITALIC else name
        common = names.of(tally.taxon)
        beside = f" <small>{escape(legible(common))}</small>" if common and common != tally.name else ""
        rows.append(
            f'<tr><th scope="row" title="{name}"><button type="button" class="pick" data-rank="{rank}" data-name="{name}">{shown}</button>'
            f'{beside}</th><td class="n">{tally.regions:,}</td><td class="n">{tally.images:,}</td>{_share(tally.regions, most)}</tr>'
        )
    rest = len(ordered) - _MOST_TAXA
    more = f'<p class="note">{rest:,} more are in the gallery\'s list of taxa.</p>' if rest > 0 else ""
    table = _table((rank, "regions", "images", ""), rows, "one-line")
    return (
        f"<details{' open' if is_open else ''}><summary>{rank.capitalize()} <b>{len(ordered):,}</b></summary>"
        f'<div class="scroll" tabindex="0" role="region" aria-label="Named at the rank of {rank}">{table}</div>{more}</details>'
    )


def _activity(gathered: Gathered) -> str:
    figures = gathered.figures
    if not figures.timed:
        return '<p class="note">No image says when it was taken.</p>'
    untimed = figures.done - figures.timed
    missing = f" {untimed:,} images say no time." if untimed else ""
    rows = [
        f'<tr><th scope="row">{hour:02}:00</th><td class="n">{count:,}</td></tr>'
        for hour, count in enumerate(figures.hours)
    ]
    return (
        activity_svg(figures.hours)
        + f'<p class="note">Regions by the hour of the camera\'s clock, without blanks.{missing} Filters redraw the dark bars; '
        "the pale ones stay, on a scale of their own.</p>"
        f'<details class="small"><summary>As a table</summary>{_table(("hour", "regions"), rows)}</details>'
    )


def _places(gathered: Gathered, data: PageData, options: ReportOptions) -> str:
    """The map of cameras with coordinates, and a table of all."""
    spots, rows = [], []
    stations = gathered.figures.stations
    for number, station in sorted(enumerate(stations), key=lambda one: (not one[1].name, one[1].name, one[0])):
        place = station.place(options.coordinate_precision)
        if place:
            spots.append(Spot(number, data.station_name(number), *place, station.regions))
        where = data.place_of(number) or "–"
        days = f" <small>{station.first_day} – {station.last_day}</small>" if station.first_day else ""
        name = escape(data.station_name(number))
        rows.append(
            f'<tr><th scope="row" title="{name}"><button type="button" class="pick" data-camera="{number}">{name}</button></th>'
            f'<td class="n">{where}{days}</td><td class="n">{station.images:,}</td><td class="n">{station.regions:,}</td></tr>'
        )
    rest = f'<p class="note">and {len(rows) - _MOST_PLACES:,} more</p>' if len(rows) > _MOST_PLACES else ""
    table = _table(("camera", "place, days", "images", "regions"), rows[:_MOST_PLACES], "one-line cameras") + rest
    shown = f'<div class="scroll" tabindex="0" role="region" aria-label="Cameras">{table}</div>' if rows else ""
    if not spots:
        return f'<p class="note">No image says where it was taken.</p>{shown}'
    rounded = options.coordinate_precision
    note = (
        ""
        if rounded is None
        else f" Coordinates are rounded to {rounded} decimal{'s' if rounded != 1 else ''} of a degree."
    )
    return f'{map_svg(spots, rounded)}<p class="note">A point\'s area is its number of regions.{note}</p>{shown}'


def _failures(gathered: Gathered) -> str:
    figures = gathered.figures
    if not figures.failed:
        return ""
    rows = [
        f'<tr><th scope="row">{escape(legible(reason))}</th><td>{escape(stage)}</td><td class="n">{count:,}</td></tr>'
        for (stage, reason), count in sorted(figures.failures.items(), key=lambda one: (-one[1], one[0]))[:_MOST_TAXA]
    ]
    header = '<thead><tr><th scope="col">reason</th><th scope="col">stage</th><th scope="col" class="n">images</th></tr></thead>'
    listed = (
        f"{len(gathered.failed):,} of {figures.failed:,}" if len(gathered.failed) < figures.failed else "All of them"
    )
    return (
        f'<section id="failures" aria-labelledby="failures-title"><h2 id="failures-title">Failures</h2>'
        f'<p class="note">{figures.failed:,} of {figures.images:,} images have no answer. The same classify command tries them '
        "again.</p>"
        '<div class="panel"><div class="scroll short" tabindex="0" role="region" aria-label="Failures by reason">'
        f"<table>{header}<tbody>{''.join(rows)}</tbody></table></div></div>"
        f'<h3>{listed}, by name</h3><div class="bar"><label>Find a name or a reason <input id="failure-search" type="search" '
        'spellcheck="false"></label><p id="failure-count" role="status" aria-live="polite"></p>'
        '<span class="pager"><button type="button" id="failure-previous">‹ Previous</button><button type="button" '
        'id="failure-next">Next ›</button></span></div><ul id="failure-list" class="failures"></ul></section>'
    )


def _made(options: ReportOptions) -> str:
    people = "People are shown as they are." if options.show_people else (
        "People are blurred where a detector, the model, a rule or a reviewer found one; nobody vouches that all were found."
    )  # fmt: skip
    rounded = options.coordinate_precision
    places = "" if rounded is None else f" Coordinates are rounded to {rounded} decimals; thumbnails carry no metadata."
    language = f" Common names: {legible(options.language)}." if options.language else ""
    return (
        f"{people}{places}{language} Probabilities are the model's; names were given by a machine unless a review says "
        f"otherwise. Made with bioclip-plugin {__version__}; this file needs no network."
    )

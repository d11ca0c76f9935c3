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
from bioclip_plugin.report.figures import Figures, Tally
from bioclip_plugin.report.gathering import Gathered
from bioclip_plugin.report.map_picture import Spot, map_svg
from bioclip_plugin.report.names import CommonNames
from bioclip_plugin.report.options import ReportOptions
from bioclip_plugin.report.page_data import PageData
from bioclip_plugin.report.provenance import classified_by, provenance_rows
from bioclip_plugin.report.text import legible, script_json

END = "</body>\n</html>\n"
"""The end of the page, after the thumbnails."""

_MOST_TAXA, _MOST_PLACES = 300, 500  # rows of a table; the gallery's filters have them all
_WORDS = {
    "taxon": "named",
    "unknown": "unknown: too uncertain for any rank",
    "blank": "blank: nothing found",
    "person": "person",
    "vehicle": "vehicle",
    "unclassified": "not classified",
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
    """Return everything before the thumbnails, which are written as they are made; ``END`` follows them."""
    style, script, page = ((files("bioclip_plugin.report") / name).read_text("utf-8")
                           for name in ("style.css", "script.js", "page.html"))  # fmt: skip
    data = PageData(gathered, names, options.coordinate_precision)
    run, figures = gathered.run, gathered.figures
    # The last part of each address; the foot has the whole address.
    shown = [legible(re.split(r"[/\\]", source.rstrip("/\\"))[-1] or source) for source in run.sources[:3]]
    sources = (", ".join(shown) + (" …" if len(run.sources) > 3 else "")) or "the whole store"
    days = " to ".join(dict.fromkeys(str(day) for day in (figures.first_day, figures.last_day) if day))
    subheading = (days, f"named by {legible(classified_by(run))}", f"{run.begun_at:%Y-%m-%d}")
    return Template(page).substitute(
        policy=_policy(style, script),
        generator=escape(f"bioclip-plugin {__version__}"),
        title=escape(f"Run {run.id}: {sources}"),
        style=style,
        heading=escape(f"Run {run.id} · {sources}"),
        subheading=escape(" · ".join(part for part in subheading if part)),
        failures_link=f'<a href="#failures">Failures <b>{figures.failed:,}</b></a>' if figures.failed else "",
        tiles=_tiles(figures),
        notes="".join(_note(note) for note in _notes(gathered, options)),
        taxa=_taxa(figures, names),
        verdicts=_verdicts(figures),
        activity=_activity(figures),
        places=_places(figures, data, options.coordinate_precision),
        failures=_failures(gathered),
        provenance="".join(
            f"<div><dt>{escape(name)}</dt><dd>{escape(legible(value))}</dd></div>"
            for name, value in provenance_rows(run, models)
        ),
        made=escape(_made(options)),
        data=script_json(data.as_dict()),
        script=script,
    )


def _policy(style: str, script: str) -> str:
    """Return a policy that loads nothing and runs only our own script, whatever a file is called."""
    style_hash, script_hash = (
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script)
    )
    return (
        f"default-src 'none'; script-src 'sha256-{script_hash}'; style-src 'sha256-{style_hash}'; img-src data:; "
        "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )


def _note(text: str) -> str:
    return f'<p class="note">{escape(text, quote=False)}</p>'


def _tiles(figures: Figures) -> str:
    named = sum(bool(station.name) for station in figures.stations)
    placed = sum(not station.name and station.placed > 0 for station in figures.stations)
    rows = [
        ("images", figures.images, ""),
        ("done", figures.done, ""),
        ("failed", figures.failed, "bad" if figures.failed else ""),
        *([("still to do", figures.todo, "bad")] if figures.todo else []),
        ("regions", figures.regions, ""),
        ("labels named" if "label" in figures.taxa else "species named",
         len(figures.taxa.get("species", figures.taxa.get("label", {}))), ""),
        ("places", placed, "") if placed and not named else ("cameras", named, ""),
        ("reviewed", figures.reviewed, ""),
    ]  # fmt: skip
    return "".join(f'<div class="{kind}"><dt>{name}</dt><dd>{count:,}</dd></div>' for name, count, kind in rows)


def _notes(gathered: Gathered, options: ReportOptions) -> list[str]:
    entries, chosen = gathered.figures.regions + gathered.figures.verdicts["blank"], options.selection
    conditions = (
        f"photographed on {chosen.since} or later" if chosen.since else "",
        f"named as {' or '.join(legible(name) for name in chosen.taxa)}" if chosen.taxa else "",
        f"named with a probability of {chosen.min_probability:g} or more" if chosen.min_probability is not None else "",
    )
    notes = (
        f"The gallery holds {gathered.entries:,} of {entries:,} entries, the first in the order of the run. Figures, "
        "activity and map count all entries; with filters, activity and map count those in the gallery."
        if gathered.entries < entries
        else "",
        f"This report contains only results that were {' and '.join(filter(None, conditions))}, without the rest of the run "
        "and its failures."
        if any(conditions)
        else "",
    )
    return list(filter(None, notes))


def _table(header: Sequence[str], rows: Iterable[str], kind: str = "") -> str:
    """Return a table of rows in HTML; the first column has names, the others numbers."""
    head = "".join(
        f'<th scope="col"{" class=n" if place else ""}>{escape(name)}</th>' for place, name in enumerate(header)
    )
    return f'<table class="{kind}"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def _share(count: int, most: int) -> str:
    """Return a table cell with a bar as long as the count; hidden from screen readers, which read the number beside it."""
    return (
        '<td class="share"><svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect width="{100 * count / most if most else 0:.1f}" height="8"/></svg></td>'
    )


def _verdicts(figures: Figures) -> str:
    counts, most = figures.verdicts, max(figures.verdicts.values(), default=0)
    rows = [
        f'<tr><th scope="row"><button type="button" class="pick" data-verdict="{verdict}">{_WORDS[verdict]}</button></th>'
        f'<td class="n">{counts[verdict]:,}</td>{_share(counts[verdict], most)}</tr>'
        for verdict in REPORT_VERDICTS
        if counts[verdict]
    ]
    if not rows:
        return _note("This run is empty.")
    parts = [f"{figures.agreements[name]:,} {words}" for name, words in _AGREEING.items() if figures.agreements[name]]
    reviews = _note(f"Reviewed: {figures.reviewed:,} ({', '.join(parts)}).") if parts else ""
    return _table(("verdict", "regions", ""), rows) + reviews


def _taxa(figures: Figures, names: CommonNames) -> str:
    """Return a table per rank, the most specific one first and open; each name is a button that filters the gallery."""
    ranks = [rank for rank in ("label", "group", *(rank.value for rank in reversed(RANKS))) if figures.taxa.get(rank)]
    if not ranks:
        return _note("Nothing was named.")
    return "".join(_rank(rank, figures.taxa[rank], names, is_open=rank == ranks[0]) for rank in ranks)


def _rank(rank: str, tallies: Mapping[tuple[str, ...], Tally], names: CommonNames, *, is_open: bool) -> str:
    ordered = sorted(tallies.values(), key=lambda tally: (-tally.regions, tally.name, tally.taxon.lineage))
    rows = []
    for tally in ordered[:_MOST_TAXA]:
        name, common = escape(legible(tally.name)), names.of(tally.taxon)
        shown = f"<i>{name}</i>" if rank in ("genus", "species") else name
        beside = f" <small>{escape(legible(common))}</small>" if common and common != tally.name else ""
        rows.append(
            f'<tr><th scope="row" title="{name}"><button type="button" class="pick" data-rank="{rank}" data-name="{name}">{shown}</button>'
            f'{beside}</th><td class="n">{tally.regions:,}</td><td class="n">{tally.images:,}</td>'
            f"{_share(tally.regions, ordered[0].regions)}</tr>"
        )
    rest = len(ordered) - _MOST_TAXA
    more = _note(f"{rest:,} more are in the gallery's list of taxa.") if rest > 0 else ""
    return (
        f"<details{' open' if is_open else ''}><summary>{rank.capitalize()} <b>{len(ordered):,}</b></summary>"
        f'<div class="scroll" tabindex="0" role="region" aria-label="Named at the rank of {rank}">'
        f"{_table((rank, 'regions', 'images', ''), rows, 'one-line')}</div>{more}</details>"
    )


def _activity(figures: Figures) -> str:
    if not figures.timed:
        return _note("No image states when it was taken.")
    untimed = figures.done - figures.timed
    missing = f" Images without a capture time: {untimed:,}." if untimed else ""
    rows = [
        f'<tr><th scope="row">{hour:02}:00</th><td class="n">{count:,}</td></tr>'
        for hour, count in enumerate(figures.hours)
    ]
    note = _note(
        f"Regions by the hour of the camera's clock, without blank images.{missing} Filters redraw the dark bars; the pale "
        "bars keep the figures of the whole run, on a scale of their own."
    )
    return (
        f'{activity_svg(figures.hours)}{note}<details class="small"><summary>As a table</summary>'
        f"{_table(('hour', 'regions'), rows)}</details>"
    )


def _places(figures: Figures, data: PageData, decimals: int | None) -> str:
    """Return the map of cameras with coordinates, and a table of all cameras."""
    spots, rows = [], []
    for number, station in sorted(enumerate(figures.stations), key=lambda one: (not one[1].name, one[1].name, one[0])):
        place, name = station.place(decimals), data.station_name(number)
        if place:
            spots.append(Spot(number, name, *place, station.regions))
        where, name = data.place_of(number) or "–", escape(name)
        days = f" <small>{station.first_day} – {station.last_day}</small>" if station.first_day else ""
        rows.append(
            f'<tr><th scope="row" title="{name}"><button type="button" class="pick" data-camera="{number}">{name}</button></th>'
            f'<td class="n">{where}{days}</td><td class="n">{station.images:,}</td><td class="n">{station.regions:,}</td></tr>'
        )
    rest = _note(f"and {len(rows) - _MOST_PLACES:,} more") if len(rows) > _MOST_PLACES else ""
    table = _table(("camera", "place, days", "images", "regions"), rows[:_MOST_PLACES], "one-line cameras") + rest
    shown = f'<div class="scroll" tabindex="0" role="region" aria-label="Cameras">{table}</div>' if rows else ""
    if not spots:
        return _note("No image states where it was taken.") + shown
    note = _note(f"The area of a point is proportional to its number of regions.{_rounded(decimals)}")
    return map_svg(spots, decimals) + note + shown


def _rounded(decimals: int | None) -> str:
    if decimals is None:
        return ""
    return f" Coordinates are rounded to {decimals} decimal{'s' if decimals != 1 else ''} of a degree."


def _failures(gathered: Gathered) -> str:
    figures = gathered.figures
    if not figures.failed:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{escape(legible(reason))}</th><td>{escape(stage)}</td><td class="n">{count:,}</td></tr>'
        for (stage, reason), count in sorted(figures.failures.by_reason().items(), key=lambda one: (-one[1], one[0]))[
            :_MOST_TAXA
        ]
    )
    header = '<thead><tr><th scope="col">reason</th><th scope="col">stage</th><th scope="col" class="n">images</th></tr></thead>'
    listed = f"{len(gathered.failed):,} of {figures.failed:,}" if len(gathered.failed) < figures.failed else "All"
    note = _note(
        f"{figures.failed:,} of {figures.images:,} images have no answer. The same classify command tries them again."
    )
    return (
        f'<section id="failures" aria-labelledby="failures-title"><h2 id="failures-title">Failures</h2>{note}'
        '<div class="panel"><div class="scroll short" tabindex="0" role="region" aria-label="Failures by reason">'
        f"<table>{header}<tbody>{rows}</tbody></table></div></div>"
        f'<h3>{listed} by name</h3><div class="bar"><label>Find a name or a reason <input id="failure-search" type="search" '
        'spellcheck="false"></label><p id="failure-count" role="status" aria-live="polite"></p>'
        '<span class="pager"><button type="button" id="failure-previous">‹ Previous</button><button type="button" '
        'id="failure-next">Next ›</button></span></div><ul id="failure-list" class="failures"></ul></section>'
    )


def _made(options: ReportOptions) -> str:
    people = (
        "People are shown as they are."
        if options.show_people
        else "People are blurred where a detector, the model, a rule or a reviewer found them; others may be visible."
    )
    language = f" Common names: {legible(options.language)}." if options.language else ""
    return (
        f"{people}{_rounded(options.coordinate_precision)} Thumbnails carry no metadata.{language} Probabilities and names are "
        f"those of the model and the rules; reviews by people are marked as such. Made with bioclip-plugin {__version__}; this "
        "file needs no network."
    )

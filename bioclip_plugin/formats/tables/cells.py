"""Cells of our tables: place and time, the best name, and the newest review."""

from __future__ import annotations

from bioclip_core.classify import Candidate
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.contracts.export_options import ExportOptions
from bioclip_plugin.formats.tables.columns import BEST, REVIEW_COLUMNS, Cells
from bioclip_plugin.items.media import Place
from bioclip_plugin.items.time_zones import in_zone
from bioclip_plugin.store.records import Review, StoredItem

_REMEMBERED_TAXA = 65_536

# A run names the same few thousand taxa over and over, and the store gives one object per taxon. The object is kept beside its
# cells, so that its id stays its own; hashing its nine names instead would take as long as all the rest of a row.
_known_cells: dict[int, tuple[Taxon, Cells]] = {}

NO_REVIEW: Cells = (None,) * len(REVIEW_COLUMNS)


def media_cells(stored: StoredItem, options: ExportOptions) -> Cells:
    """Return capture time, place, deployment, sequence and status."""
    item = stored.item
    moment = in_zone(item.captured_at, options.time_zone or None).isoformat() if item.captured_at is not None else None
    return (moment, *place_cells(item.place, options), item.deployment, item.sequence, stored.status)


def place_cells(place: Place, options: ExportOptions) -> Cells:
    """Return latitude, longitude and country, rounded as asked for."""
    latitude, longitude, decimals = place.latitude, place.longitude, options.coordinate_precision
    if decimals is not None and latitude is not None and longitude is not None:
        latitude, longitude = round(latitude, decimals), round(longitude, decimals)
    return latitude, longitude, place.country


def best_cells(best: Candidate | None) -> Cells:
    """Return the name, rank and probability of a candidate, and the names above it."""
    if best is None:
        return (None,) * len(BEST)
    name, *lineage = taxon_cells(best.taxon)
    return (name, best.rank, best.probability, *lineage)


def taxon_cells(taxon: Taxon) -> Cells:
    """Return the scientific name (or a label's words), the seven ranks and the common name; None for an unknown one."""
    known = _known_cells.get(id(taxon))
    if known is not None:
        return known[1]
    if len(_known_cells) >= _REMEMBERED_TAXA:
        _known_cells.clear()
    names = (taxon.scientific_name or taxon.common_name, *taxon.lineage, taxon.common_name)
    cells = tuple(text or None for text in names)
    _known_cells[id(taxon)] = (taxon, cells)
    return cells


def review_cells(review: Review | None) -> Cells:
    """Return the cells of a review."""
    if review is None:
        return NO_REVIEW
    name = taxon_cells(review.taxon)[0] if review.taxon is not None else None
    return review.verdict, name, review.reviewer, review.reviewed_at.isoformat(), review.comment or None

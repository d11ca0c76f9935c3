"""Values of any kind in a store: no format refuses the whole export for one of them, and its own check accepts the result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bioclip_core.classify import Candidate
from bioclip_core.taxonomy import Taxon
from bioclip_plugin import create_plugin_manager
from bioclip_plugin.contracts.export import Export
from bioclip_plugin.contracts.export_options import ExportOptions
from bioclip_plugin.items.answers import Failure
from bioclip_plugin.items.media import MediaItem, Place, Region
from bioclip_plugin.store import ItemRecord, RegionRecord, ReviewTarget, Run, RunPlan, Store

BOX = Region(0.1, 0.2, 0.3, 0.4, "finder", "2", "animal", 0.875)
PLAN = RunPlan(
    sources=("photos",), settings={}, feature_id="f", feature_settings={"weights_sha256": "w"}, dimension=4, answer_id="a",
    answer_settings={"rank": "species"}, rule_id="r", rule_settings={}, provenance={"model": {"name": "fake"}},
)  # fmt: skip
LYNX = Taxon("Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae", "Lynx", "fictus", "invented lynx")
ODD = "a\x07\x1b[31m|;\"'\n\r\t=\u202e\ufffe\U0001f98a, "
EXPORTERS = {one.name: one for one in create_plugin_manager(installed=False).exporters().values()}
_FROM_FILES = {
    ODD: ODD,
    "width": "wide",
    "height": 10**30,
    "frame_rate": "fast",
    "frames_processed": [None, "x"],
    "media": "no",
}
_FROM_PACKAGES = {
    "camtrap_media": {"mediaID": 7, "timestamp": "s.d."},
    "camtrap_deployment": [1],
    "media": {"identifier": None},
}
_TERMS = ("catalogNumber", "occurrenceID", "institutionCode", "basisOfRecord", "eventDate", "File")
ITEMS: tuple[dict[str, Any], ...] = (
    {"uri": f"photos/{ODD}.jpg"},
    {"uri": "photos/=1+1.jpg"},
    {"uri": "photos/K%FChn.jpg"},
    {"metadata": _FROM_FILES},
    {"metadata": _FROM_PACKAGES},
    {"metadata": dict.fromkeys(_TERMS, ODD)},
    {"captured_at": datetime(1, 1, 1)},
    {"captured_at": datetime(9999, 12, 31, 23, 59, 59, 999999, UTC)},
    {"place": Place("XX", ODD, -90.0, 180.0)},
    {"place": Place(None, None, None, 4.5)},
    {"deployment": ODD, "sequence": ODD},
    {"metadata": {"catalogNumber": "x" * 100_000}, "deployment": "d" * 1000},
    {"regions": (Region(0, 0, 1, 1, ODD, ODD, ODD, None),)},
)
NAMES = [
    Taxon(common_name=ODD),
    Taxon(genus="Lynx", species="cf. fictus"),
    Taxon("", "", "", "", "", "", "fictus"),
    Taxon(ODD),
]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "results.db") as opened:
        yield opened


def run_of(store: Store, names: Sequence[Taxon]) -> Run:
    """Return a run with all images, one more per name, and one that failed; each with a review."""
    run = store.begin_run(PLAN)
    plain: dict[str, Any] = {
        "captured_at": datetime(2031, 5, 6, 4, 30, tzinfo=UTC),
        "place": Place(None, None, 52.0, 5.0),
    }
    plain |= {"deployment": "cam1", "regions": (BOX,), "detected": True}
    items = [MediaItem(**{"uri": f"photos/{number}.jpg", **plain, **fields}) for number, fields in enumerate(ITEMS)]
    items += [MediaItem(**{"uri": f"photos/name{number}.jpg", **plain}) for number in range(len(names))]
    *listed, broken = store.list_items(
        run, [*items, MediaItem("photos/broken.jpg", deployment="cam1")], [None] * (len(items) + 1)
    )
    records = [ItemRecord(broken, broken.item, failure=Failure("decode", ODD))]
    for one, name in zip(listed, [LYNX] * len(ITEMS) + list(names), strict=True):
        best = Candidate(name, name.rank or "label", 0.75)
        region = RegionRecord(one.item.regions[0], None, {"species": (best,)}, (), best)
        records.append(ItemRecord(one, one.item, None, one.item.uri, 1, (region,)))
    store.commit(run, records)
    for item, name in zip(items[-len(names) :], names, strict=True):
        store.add_review(ReviewTarget("media", item.uri), "taxon", name, reviewer=ODD, comment=ODD)
    store.end_run(run, "finished", {})
    return store.run(run.id)


def exported(name: str, store: Store, run: Run, path: Path, **options: Any) -> None:
    exporter, export = EXPORTERS[name], Export(store, run, ExportOptions(**options))
    if exporter.folder:
        path.mkdir()
    assert exporter.write(path, export) > 0
    assert exporter.recognises(path)
    assert [str(one) for one in exporter.check(path, export.options) if one.severity == "error"] == []


def options_of(name: str) -> dict[str, Any]:
    return (
        {"time_zone": "UTC"}
        if name == "camtrap-dp"
        else {"keep_columns": ("*",)}
        if name in ("csv", "parquet", "xlsx", "jsonl")
        else {}
    )


FORMATS = [name for name in EXPORTERS if name not in ("folders", "wildlife-insights")]  # these need files, and projects


@pytest.mark.parametrize("name", FORMATS)
def test_no_value_refuses_an_export(store: Store, tmp_path: Path, name: str) -> None:
    exported(name, store, run_of(store, NAMES), tmp_path / "out", **options_of(name))


@pytest.mark.parametrize("per", ["image", "event"])
def test_no_value_refuses_a_table_of_images_or_events(store: Store, tmp_path: Path, per: str) -> None:
    exported("csv", store, run_of(store, NAMES), tmp_path / "out", per=per, keep_columns=("*",))

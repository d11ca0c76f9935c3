"""Rule pass over 10,000 stored regions, as a share of the cost of a run over the same images: ``pytest benchmarks/bench_rules.py -s``.

Both sides are processor time of the whole process, so that a busy machine does not change them. The run is the cheapest one
possible: the ``demo`` model (ViT of 19 MB) on photos of 640 x 480. With a published model, the share of the rules is a hundredth of this.
"""

from __future__ import annotations

import json
import time
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks import fixtures
from benchmarks.photos import write_photos
from bioclip_plugin import Session
from bioclip_plugin.items.media import MediaItem, Place, Region, place_of
from bioclip_plugin.rules.settings import parse_rules
from bioclip_plugin.store import ItemRecord, RegionRecord, Run, Store

REGIONS = 2_000 if fixtures.QUICK else 10_000
PHOTOS = 32 if fixtures.QUICK else 200
SHARE = 0.05
_BATCH = 500
_NOISE = 0.02
_NOON = datetime(2024, 5, 1, 12, 0, 0)

RULES = {
    "thresholds, blanks, unknown": ("thresholds:species=0.8", "blanks", "unknown"),
    "geofence": ("geofence:file={fence},country=KEN",),
    "only": ("only:file={taxa}",),
    "sequences": ("sequences",),
    "sequences, only, prior, thresholds, geofence, blanks, unknown": (
        "sequences", "only:file={taxa}", "prior:file={ranges}", "thresholds:species=0.8", "geofence:file={fence},country=KEN",
        "blanks", "unknown",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def run_cost_s(tmp_path_factory: pytest.TempPathFactory) -> float:
    """Processor seconds per image of a run: read, decode, encode, classify, store."""
    folder = tmp_path_factory.mktemp("run")
    photos = write_photos(folder / "photos", PHOTOS, 640, 480)
    with Session(model="demo", store=folder / "run.db") as session:
        list(session.classify_stream(photos[:8]))  # opens the model
        before = time.process_time()
        list(session.classify_stream(photos[8:]))
        return (time.process_time() - before) / (PHOTOS - 8)


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Store with answers to REGIONS regions in sequences of three images, and the folder with the files that rules read."""
    folder = tmp_path_factory.mktemp("rules")
    with Session(model="demo", store=folder / "answers.db") as session:
        _write_answers(session)
        labels = session.engine.label_set
        taxa = [labels.taxon(row) for row in range(0, len(labels), 2)]
    (folder / "taxa.txt").write_text("\n".join(taxon.scientific_name for taxon in taxa))
    rows = [f"{taxon.scientific_name},0.1,UGA,{month}" for taxon in taxa for month in range(1, 13)]
    (folder / "ranges.csv").write_text("\n".join(["taxon,weight,country,month", *rows]))
    fence: dict[str, dict[str, dict[str, list[str]]]] = {
        ";".join(taxon.lineage[2:]).lower(): {"allow": {"UGA": []}} for taxon in taxa[:10]
    }
    (folder / "fence.json").write_text(json.dumps(fence))
    return folder / "answers.db", folder


def _write_answers(session: Session) -> None:
    store = session.store
    assert store is not None
    run = session.begin_run(["photos"])
    rng = np.random.default_rng(7)
    labels_ND = session.engine.label_set.embeddings_ND
    for start in range(0, REGIONS, _BATCH):
        items = [_item(n) for n in range(start, start + _BATCH)]
        # Features near a label, so that most answers are as confident as in a real run.
        near_BD = labels_ND[rng.integers(0, len(labels_ND), _BATCH)].astype(np.float32)
        rows = near_BD + _NOISE * rng.standard_normal((_BATCH, run.dimension))
        features_BD = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)
        found = session.engine.classify(features_BD, [place_of(item) for item in items])
        listed = store.list_items(run, items, [(1, 1)] * _BATCH)
        store.commit(run, [
            ItemRecord(
                one, one.item, (1, 1), f"{start + n:064x}", 1,
                (RegionRecord(one.item.regions[0], features_BD[n], found[n].by_rank, (), session.engine.consensus(found[n].by_rank)),),
            )
            for n, one in enumerate(listed)
        ])  # fmt: skip
    store.end_run(run, "finished", {})


def _item(n: int) -> MediaItem:
    """Return the n-th image: ten deployments, sequences of three images, five minutes between sequences."""
    sequence, shot = divmod(n // 10, 3)
    return MediaItem(
        f"site{n % 10}/{n:07d}.jpg", captured_at=_NOON + timedelta(seconds=sequence * 300 + shot * 2), deployment=f"site{n % 10}",
        place=Place("UGA" if n % 2 else "KEN"), regions=(Region(0.1, 0.1, 0.5, 0.5, "md", "5", "animal", 0.9),),
    )  # fmt: skip


@pytest.mark.benchmark(group="rules")
@pytest.mark.parametrize("name", RULES)
def test_rules_beside_a_run(
    benchmark: BenchmarkFixture, answered: tuple[Path, Path], run_cost_s: float, name: str
) -> None:
    address, folder = answered
    files = {"taxa": folder / "taxa.txt", "ranges": folder / "ranges.csv", "fence": folder / "fence.json"}
    rules = tuple(rule.format(**files) for rule in RULES[name])
    costs_s: list[float] = []

    def apply() -> None:
        with Session(model="demo", store=address, rules=rules) as session:
            run = _derived(session)
            before = time.process_time()
            applied = session.apply_rules(run)
            costs_s.append((time.process_time() - before) / REGIONS)
            assert applied.regions == REGIONS

    benchmark.pedantic(apply, rounds=1)  # type: ignore[no-untyped-call]
    share = 100 * costs_s[0] / run_cost_s
    benchmark.extra_info.update(
        title=name,
        unit="% of a run",
        ours={"median": share, "low": share, "high": share},
        limit=100 * SHARE,
        note=(
            f"processor time, {1e6 * costs_s[0]:.0f} µs per region beside {1e3 * run_cost_s:.2f} ms per image of the cheapest run: the "
            f"demo model on photos of 640×480; {REGIONS:,} regions"
        ),
    )


def _derived(session: Session) -> Run:
    """Begin a run of the session's rules over the stored answers."""
    from bioclip_plugin.commands.rules import plan_of

    store: Store | None = session.store
    assert store is not None
    base = store.run(1)
    rules = parse_rules(session.request.rules, session.plugins.rules())
    for rule in rules:
        rule.read()
    return store.derive_run(base, plan_of(base, rules, session.request.rules))

"""Files to stored answers through a Session, beside pybioclip's ``predict``. These benchmarks have the targets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks import fixtures, ours
from benchmarks.pairs import beside_peer
from benchmarks.peer import Peer
from bioclip_plugin import Session

WORK = fixtures.WORKLOAD


def _session(labels: Path, rank: str, store: Path) -> Session:
    return Session(model=ours.model_name(), labels=str(ours.label_set(labels)), rank=rank, store=str(store))


def _measure(
    benchmark: BenchmarkFixture,
    peer: Peer,
    folder: Path,
    photos: Sequence[Path],
    *,
    count: int,
    rank: str,
    mark: float | None,
    peer_items: int | None = None,
) -> None:
    labels = fixtures.label_files(count)
    peer.use_labels(labels)

    def classify(files: Sequence[Path]) -> None:
        answers = list(session.classify_stream([str(file) for file in files]))
        assert all(answer.failure is None for answer in answers)
        assert len(answers) == len(files)

    def of_peer(files: Sequence[Path]) -> float:
        images = [str(file) for file in files[: peer_items or len(files)]]
        return float(peer.call("classify", images=images, rank=rank)["seconds"])

    with _session(labels, rank, folder / "bench.db") as session:
        beside_peer(
            benchmark,
            prepare=lambda: ours.fresh_copies(photos, folder),
            ours=classify,
            peer=of_peer,
            ours_items=len(photos),
            peer_items=peer_items,
            pairs=WORK.pairs,
            mark=mark,
        )


@pytest.mark.benchmark(group="end to end")
def test_small_photos(benchmark: BenchmarkFixture, peer: Peer, tmp_path: Path) -> None:
    count = fixtures.LABEL_COUNTS[1]
    benchmark.extra_info["title"] = f"500×375 photos, species over {count:,} labels"
    _measure(benchmark, peer, tmp_path, fixtures.small_photos(), count=count, rank="species", mark=3.0)
    benchmark.extra_info["note"] = (
        "ours decodes, encodes, classifies at every rank and commits features and answers to SQLite; pybioclip answers in memory"
    )


@pytest.mark.benchmark(group="end to end")
def test_large_photos(benchmark: BenchmarkFixture, peer: Peer, tmp_path: Path) -> None:
    count = fixtures.LABEL_COUNTS[1]
    benchmark.extra_info["title"] = f"12-megapixel photos, species over {count:,} labels"
    _measure(benchmark, peer, tmp_path, fixtures.large_photos(), count=count, rank="species", mark=4.0)


@pytest.mark.benchmark(group="end to end")
def test_genus_over_many_labels(benchmark: BenchmarkFixture, peer: Peer, tmp_path: Path) -> None:
    count = fixtures.LABEL_COUNTS[-1]
    benchmark.extra_info["title"] = f"500×375 photos, genus over {count:,} labels"
    _measure(
        benchmark,
        peer,
        tmp_path,
        fixtures.small_photos(),
        count=count,
        rank="genus",
        mark=50.0 if count == 400_000 else None,
        peer_items=WORK.grouped,
    )
    benchmark.extra_info["note"] = (
        f"a round is {WORK.small} photos for us and {WORK.grouped} for pybioclip, whose cost is per photo"
    )

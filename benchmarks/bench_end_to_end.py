"""Files to stored answers through a Session, beside pybioclip's ``predict`` and plain open_clip. These benchmarks have the targets.

A round is the peer, our default and int8, one after the other on new files, so that one peer serves both of ours.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks import fixtures, machine, ours
from benchmarks.pairs import in_turn, pair_figures, timed
from benchmarks.peer import Peer
from bioclip_core.device import INT8
from bioclip_plugin import Session

SIZES = fixtures.WORKLOAD
VARIANTS = {"default": "auto", "int8": "int8"}
"""``--precision`` of each side of ours."""


@dataclass(frozen=True, slots=True)
class Work:
    """One job of users, and what it must reach by default and in int8."""

    title: str
    photos: Callable[[], list[Path]]
    labels: int
    rank: str
    marks: tuple[float, float]
    peer_items: int | None = None
    """Photos per round that the peer gets, if fewer."""
    note: str = ""


MANY, MOST = fixtures.LABEL_COUNTS[1], fixtures.LABEL_COUNTS[-1]
WORKS = {
    "small": Work(
        f"500×375 photos, species over {MANY:,} labels", fixtures.small_photos, MANY, "species", (3.3, 4.5),
        note="ours decodes, encodes, classifies at every rank and commits features and answers to SQLite; pybioclip answers in memory",
    ),
    "large": Work(f"12-megapixel photos, species over {MANY:,} labels", fixtures.large_photos, MANY, "species", (5.3, 7.0)),
    "genus": Work(
        f"500×375 photos, genus over {MOST:,} labels", fixtures.small_photos, MOST, "genus", (65.0, 90.0), SIZES.grouped,
        note=f"a round is {SIZES.small} photos for us and {SIZES.grouped} for pybioclip, whose cost is per photo",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def rounds(peer: Peer) -> Iterator[Callable[[str], dict[str, list[float]]]]:
    """Seconds of each side of a work, measured once per session."""
    found: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as folder:

        def of(name: str) -> dict[str, list[float]]:
            if name not in found:
                found[name] = _measured(WORKS[name], peer, Path(folder) / name)
            return found[name]

        yield of


@pytest.mark.benchmark(group="end to end")
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", WORKS)
def test_end_to_end(
    benchmark: BenchmarkFixture, rounds: Callable[[str], dict[str, list[float]]], name: str, variant: str
) -> None:
    if reason := _why_not(VARIANTS[variant]):
        pytest.skip(reason)
    work = WORKS[name]
    seconds = benchmark.pedantic(rounds, args=(name,), rounds=1)  # type: ignore[no-untyped-call]
    photos = len(work.photos())
    is_target = not fixtures.QUICK
    benchmark.extra_info.update(
        title=work.title + ("" if variant == "default" else f", {variant}"),
        key=f"end-to-end-{name}" + ("" if variant == "default" else f"-{variant}"),
        unit="images/s",
        **pair_figures(seconds[variant], seconds["peer"], photos, work.peer_items or photos),
        mark=work.marks[list(VARIANTS).index(variant)] if is_target else None,
        needs_amx=not machine.has_amx(),
        note=work.note if variant == "default" else "",
    )


@pytest.mark.benchmark(group="end to end")
def test_beside_plain_open_clip(benchmark: BenchmarkFixture, peer: Peer, tmp_path: Path) -> None:
    """Pillow at full size, open_clip's transform, model and a softmax in fp32, batches of 16: the loop of its documentation."""
    work = WORKS["small"]
    labels, photos = fixtures.label_files(work.labels), work.photos()
    peer.use_labels(labels)
    with _session(work, labels, tmp_path / "bench.db", "auto") as session:
        sides: dict[str, Callable[[Sequence[Path]], float]] = {
            "peer": lambda files: float(peer.call("plain", images=[str(file) for file in files])["seconds"]),
            "ours": timed(lambda files: _classified(session, files)),
        }

        def measure() -> dict[str, list[float]]:
            return in_turn(sides, prepare=lambda: ours.fresh_copies(photos, tmp_path), pairs=2)

        seconds = benchmark.pedantic(measure, rounds=1)  # type: ignore[no-untyped-call]
    benchmark.extra_info.update(
        title=work.title + ", beside plain open_clip",
        peer_name="plain open_clip",
        unit="images/s",
        **pair_figures(seconds["ours"], seconds["peer"], len(photos), len(photos)),
    )


@pytest.mark.benchmark(group="encode")
def test_encode_in_a_session(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """A session from files to stored answers beside its own encoder on prepared inputs: what the other stages cost in time."""
    work = WORKS["small"]
    labels, photos = fixtures.label_files(work.labels), work.photos()
    inputs = np.random.default_rng(1).integers(0, 256, size=(len(photos), 224, 224, 3), dtype=np.uint8)
    with _session(work, labels, tmp_path / "bench.db", "auto") as session:
        session_s, alone_s = [], []

        def measure() -> None:
            sides: dict[str, Callable[[Sequence[Path]], float]] = {
                "alone": timed(lambda _files: _encoded(session, inputs)),
                "session": timed(lambda files: _classified(session, files)),
            }
            found = in_turn(sides, prepare=lambda: ours.fresh_copies(photos, tmp_path), pairs=SIZES.pairs)
            session_s.extend(found["session"])
            alone_s.extend(found["alone"])

        benchmark.pedantic(measure, rounds=1)  # type: ignore[no-untyped-call]
    benchmark.extra_info.update(
        title=f"in a Session, {len(photos)} photos of 500×375 per round",
        key="session-share",
        peer_name="its encoder alone, on prepared inputs",
        unit="images/s",
        **pair_figures(session_s, alone_s, len(photos), len(photos)),
        mark=0.97,
        note="the first batch waits for its photos and the last for its commit: a round is short, so both weigh more than in a long run",
    )


def _measured(work: Work, peer: Peer, folder: Path) -> dict[str, list[float]]:
    labels, photos = fixtures.label_files(work.labels), work.photos()
    peer.use_labels(labels)

    def of_peer(files: Sequence[Path]) -> float:
        images = [str(file) for file in files[: work.peer_items or len(files)]]
        return float(peer.call("classify", images=images, rank=work.rank)["seconds"])

    with ExitStack() as stack:
        sides: dict[str, Callable[[Sequence[Path]], float]] = {"peer": of_peer}
        for variant, precision in VARIANTS.items():
            if not _why_not(precision):
                session = stack.enter_context(_session(work, labels, folder / f"{variant}.db", precision))
                session.calibrate(list(map(str, fixtures.small_photos(ours.CALIBRATED_ON))))  # for int8
                sides[variant] = timed(_classifier(session))
        return in_turn(sides, prepare=lambda: ours.fresh_copies(photos, folder), pairs=min(4, SIZES.pairs))


def _why_not(precision: str) -> str:
    return ours.why_not("openvino", precision) if precision == INT8 else ""


def _session(work: Work, labels: Path, store: Path, precision: str) -> Session:
    store.parent.mkdir(parents=True, exist_ok=True)
    return Session(
        model=ours.model_name(),
        labels=str(ours.label_set(labels)),
        rank=work.rank,
        store=str(store),
        precision=precision,
    )


def _classifier(session: Session) -> Callable[[Sequence[Path]], None]:
    return lambda files: _classified(session, files)


def _classified(session: Session, files: Sequence[Path]) -> None:
    answers = list(session.classify_stream([str(file) for file in files]))
    assert all(answer.failure is None for answer in answers)
    assert len(answers) == len(files)


def _encoded(session: Session, inputs_NHWC: Any) -> None:
    size = session.engine.batch_size
    for start in range(0, len(inputs_NHWC), size):
        session.engine.encoder.encode_images(inputs_NHWC[start : start + size])

"""Profile of a run: processor time per stage, the machine's arithmetic ceiling, and the rate that each missed target would need.

python -m benchmarks.profile_stages [--bench FILE.json] [--output FILE.json]
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import fixtures, machine, ours, profile_run, taxa
from benchmarks.limits import GFLOP_PER_IMAGE
from benchmarks.pairs import percentile_90
from benchmarks.store_load import StoreLoad
from bioclip_core.device import choose_compute
from bioclip_core.images.decoding import decode_regions, read_bytes
from bioclip_plugin.items.media import item_of
from bioclip_plugin.items.metadata import with_metadata
from bioclip_plugin.store import Store

BATCH = 16
REPEATS = 3
STORED = 320


def cpu_ms(work: Callable[[], object], items: int) -> float:
    """Return the processor time of all threads in milliseconds per item: the lowest of some repeats, after a warm-up."""
    work()
    found = []
    for _ in range(REPEATS):
        started = time.process_time()
        work()
        found.append(time.process_time() - started)
    return 1000 * min(found) / items


def stages() -> dict[str, dict[str, float]]:
    """Return milliseconds of processor time per image, by workload and stage, each stage measured alone."""
    common = {"encode": _encode_ms(), "store (SQLite)": _store_ms()}
    middle, most = fixtures.LABEL_COUNTS[1], fixtures.LABEL_COUNTS[-1]
    small, large = _files_ms(fixtures.small_photos()), _files_ms(fixtures.large_photos())
    species, genus = _classify_ms(middle, "species"), _classify_ms(most, "genus")
    return {
        f"500×375, species, {middle:,} labels": {**small, **common, "classify": species},
        f"12 MP, species, {middle:,} labels": {**large, **common, "classify": species},
        f"500×375, genus, {most:,} labels": {**small, **common, "classify": genus},
    }


def _files_ms(paths: Sequence[Path]) -> dict[str, float]:
    contract = ours.preprocessing()
    contents = [read_bytes(path) for path in paths]

    def metadata() -> None:
        for path, content in zip(paths, contents, strict=True):
            with_metadata(item_of(path), content)

    return {
        "read": cpu_ms(lambda: [read_bytes(path) for path in paths], len(paths)),
        "metadata": cpu_ms(metadata, len(paths)),
        "decode, resize": cpu_ms(lambda: [decode_regions(data, [None], contract) for data in contents], len(paths)),
    }


def _encode_ms() -> float:
    images_BHWC = np.random.default_rng(1).integers(0, 256, size=(BATCH, 224, 224, 3), dtype=np.uint8)
    return cpu_ms(lambda: ours.encoder().encode_images(images_BHWC), BATCH)


def _classify_ms(count: int, rank: str) -> float:
    classifier = ours.classifier(fixtures.label_files(count))
    features_BD = taxa.random_units(BATCH, fixtures.DIMENSION, seed=5).astype(np.float16)
    return cpu_ms(lambda: classifier.classify(features_BD, rank=rank), BATCH)


def _store_ms() -> float:
    load = StoreLoad.of(STORED)
    with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder) / "profile.db") as store:
        return cpu_ms(lambda: load.write(store), STORED)


def ceiling() -> dict[str, float]:
    """Return the rate of the model's own matrix products in 10⁹ operations per second, by number format."""
    return {
        number: percentile_90(machine.product_gflops(number, images=4, samples=8))
        for number in ("fp32", "bf16", "int8")
    }


def findings(
    stage_ms: dict[str, dict[str, float]], gflops: dict[str, float], bench: dict[str, Any] | None
) -> list[str]:
    """Return sentences on the measured figures and on the rate that each missed target would need."""
    compute = choose_compute()
    best = gflops[compute.precision] if compute.precision in gflops else gflops["fp32"]
    most = best / GFLOP_PER_IMAGE
    lines = [
        f"- A ViT-B/16 takes {GFLOP_PER_IMAGE:.1f}·10⁹ operations per image. In the model's own matrix products this machine does "
        f"{gflops['fp32']:,.0f}·10⁹ per second in fp32, {gflops['bf16']:,.0f}·10⁹ in bf16 and {gflops['int8']:,.0f}·10⁹ in int8. "
        f"Chosen: {compute.described()}.",
        f"- Therefore a program encodes at most {most:.1f} images/s here in {compute.precision}, even if it does nothing else.",
    ]
    for workload, parts in stage_ms.items():
        top = max(parts, key=lambda name: parts[name])
        lines.append(f"- {workload}: {top} takes {parts[top] / sum(parts.values()):.0%} of our processor time.")
    for entry in (bench or {}).get("benchmarks", []):
        info = entry["extra_info"]
        if entry["group"] == "end to end" and info.get("mark") and info["ratio"]["median"] < info["mark"]:
            lines.append(_missed(info, most))
    return lines


def _missed(info: dict[str, Any], most: float) -> str:
    peer, mark = info["peer"]["median"], info["mark"]
    needed = mark * peer
    verdict = (
        f"out of reach here: the encoder's ceiling of {most:.1f} images/s is {most / peer:.1f}× pybioclip"
        if needed > most
        else f"within the encoder's ceiling of {most:.1f} images/s: our other stages must become faster"
    )
    return (
        f"- **{info['title']}**: {mark:g}× pybioclip's {peer:.2f} images/s is {needed:.1f} images/s, which takes "
        f"{needed * GFLOP_PER_IMAGE:,.0f}·10⁹ operations per second for encoding alone. That is {verdict}."
    )


def tables(stage_ms: dict[str, dict[str, float]], bench: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Return a table of processor time by stage, its sum, and the time measured end to end."""
    measured = [
        1000 / entry["extra_info"]["ours"]["median"]
        for entry in (bench or {}).get("benchmarks", [])
        if entry["group"] == "end to end"
    ]
    cores = os.cpu_count() or 1
    rows = [
        [name, *(f"{parts[name]:.1f} ({parts[name] / sum(parts.values()):.0%})" for parts in stage_ms.values())]
        for name in next(iter(stage_ms.values()))
    ]
    rows.append(["sum", *(f"{sum(parts.values()):.1f}" for parts in stage_ms.values())])
    rows.append([f"sum over {cores} cores", *(f"{sum(parts.values()) / cores:.1f}" for parts in stage_ms.values())])
    if len(measured) == len(stage_ms):
        rows.append(["measured end to end, wall clock", *(f"{value:.1f}" for value in measured)])
    title = "Our stages, each alone: milliseconds of processor time per image (share)"
    return [{"title": title, "columns": ["", *stage_ms], "rows": rows}]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bench", type=Path, help="JSON file of the benchmark run, to explain its missed targets.")
    parser.add_argument("--output", type=Path, help="JSON file for the profile.")
    arguments = parser.parse_args()
    bench = json.loads(arguments.bench.read_text()) if arguments.bench and arguments.bench.exists() else None
    stage_ms, gflops = stages(), ceiling()
    sentences = findings(stage_ms, gflops, bench)
    profile = {
        "findings": sentences,
        "tables": [*tables(stage_ms, bench), *profile_run.measure()],
        "stages_cpu_ms": stage_ms,
        "gflops": gflops,
    }
    print("\n".join(sentences))
    if arguments.output:
        arguments.output.write_text(json.dumps(profile, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

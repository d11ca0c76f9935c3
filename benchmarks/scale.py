"""Program of ``make bench-scale``: how cost grows with images, labels, regions and stored regions, without a time limit.

python -m benchmarks.scale                  every cell that is not finished; then benchmarks/RESULTS-SCALE.md
python -m benchmarks.scale images labels    the cells of these series
python -m benchmarks.scale --list           all cells, and which are finished
python -m benchmarks.scale --again ray-2000 measure a finished cell again
python -m benchmarks.scale --most 10000     no amounts beyond this, for a first look
python -m benchmarks.scale --report         the page of what is finished, without measuring

A finished cell is kept as JSON under ``results/scale``, so that an interrupted run continues with the next one. With
``BENCH_QUICK=1`` cells are shortened, and kept with their page under ``results/quick-scale``.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from benchmarks import fixtures, machine, training_cells, training_page
from benchmarks.__main__ import CELLS, HERE, figures_of

PAGE = CELLS / "page.md" if fixtures.QUICK else HERE / "RESULTS-SCALE.md"
Cells = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Series:
    """Cells that differ in one amount."""

    kind: str
    """Name of the function in ``scale_cells``."""
    title: str
    amounts: tuple[int, ...]
    columns: Mapping[str, str] = field(default_factory=dict)
    """Column titles by the names of the figures."""
    costs: Mapping[str, str] = field(default_factory=dict)
    """Figures whose growth with the amount is fitted, with their words."""

    def cells(self) -> list[tuple[str, int]]:
        return [(f"{self.kind}-{amount}", amount) for amount in self.amounts]


SERIES = (
    Series(
        "images", "Images (fake encoder; real decoding, classification and store)", (100, 1_000, 10_000, 100_000),
        {"per_second": "images/s", "seconds": "s", "store_mb": "store, MB", "growth_mb": "memory growth after the first 1,000, MB"},
        {"seconds": "time", "store_mb": "store"},
    ),
    Series(
        "encoded", "Images (ViT-B/16, 50,000 labels)", (10, 100, 1_000),
        {"per_second": "images/s", "seconds": "s"}, {"seconds": "time"},
    ),
    Series(
        "labels", "Labels × 768 (per row, groups of 64 rows)", (1_000, 10_000, 100_000, 1_000_000),
        {
            "seconds": "s per row, flat", "peaked_seconds": "s per row, peaked", "opened_s": "opened, s",
            "first_answer_s": "opened and one image answered, s", "private_mb": "private memory, MB",
        },
        {"seconds": "time per row, flat", "peaked_seconds": "time per row, peaked", "first_answer_s": "time to the first answer"},
    ),
    Series(
        "regions", "Regions per image (12 megapixels)", (1, 4, 16, 64),
        {"seconds": "s per image", "regions_per_second": "regions/s"}, {"seconds": "time per image"},
    ),
    Series(
        "stored", "Stored regions (SQLite; five species and six higher ranks each)", (10_000, 100_000, 1_000_000, 10_000_000),
        {
            "seconds": "written in, s", "per_second": "regions/s", "store_mb": "store, MB", "runs list": "`runs list`",
            "runs show": "`runs show`", "export csv": "`export`",
        },
        {"seconds": "writing", "runs list": "`runs list`", "runs show": "`runs show`", "export csv": "`export`"},
    ),
    Series(
        "megadetector", "Images of a MegaDetector file, read beside megadetector-utils (processor time)", (10_000, 100_000, 1_000_000),
        {"seconds": "ours, s", "peer_seconds": "peer, s", "times": "× its time", "peak_mb": "ours, MB", "peer_peak_mb": "peer, MB"},
        {"seconds": "ours", "peer_seconds": "peer", "peak_mb": "our memory"},
    ),
    Series(
        "ray", "Ray on this machine against the local pipeline (demo model; per image, start-up apart)", (2_000,),
        {"seconds": "Ray, s per image", "local_seconds": "local, s per image", "slower": "slower, %",
         "processor_slower": "more processor time, %"},
    ),
)  # fmt: skip


def exponent(amounts: Sequence[float], costs: Sequence[float]) -> tuple[float, float] | None:
    """Fit cost = c · amount^e and return e with its standard error; None with fewer than two points, no error with two."""
    points = [(math.log(a), math.log(c)) for a, c in zip(amounts, costs, strict=True) if a > 0 and c > 0]
    if len(points) < 2:
        return None
    mean_x, mean_y = (sum(point[side] for point in points) / len(points) for side in (0, 1))
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    left = sum((y - mean_y - slope * (x - mean_x)) ** 2 for x, y in points)
    return slope, math.sqrt(left / (len(points) - 2) / spread) if len(points) > 2 else math.nan


def measure(name: str, module: str, arguments: Sequence[str]) -> bool:
    """Measure one cell in its own process, keep its figures, and return True; on failure print the end of its output."""
    began = time.monotonic()
    print(f"{name} …", end=" ", flush=True, file=sys.stderr)
    try:
        figures = figures_of("-m", module, *arguments)
    except RuntimeError as error:
        print(f"failed:\n{error}", file=sys.stderr)
        return False
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    figures |= {
        "command": " ".join(["python -m", module, *arguments]), "commit": machine.commit(), "load": load,
        "date": datetime.now(UTC).date().isoformat(),
    }  # fmt: skip
    CELLS.mkdir(parents=True, exist_ok=True)
    part = CELLS / f"{name}.part"
    part.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    part.replace(CELLS / f"{name}.json")
    print(f"{time.monotonic() - began:.0f} s", file=sys.stderr)
    return True


def page(cells: Cells, described: Mapping[str, Any]) -> str:
    """Return the page of all finished cells."""
    parts = [
        "# Growth of cost",
        "Generated by `python -m benchmarks.scale`; do not edit. Each row is one process. An exponent e means that the cost grows as "
        "amount^e: 1 is proportional, 0 is flat; ± is its standard error. The machine's load while a cell was measured stands in its row: "
        "1 for each core that something kept busy, ours included.",
        f"{described['cores']} cores, {described['processor']}, {described['memory_gib']} GiB, GPU: {described['gpu'] or 'none'}, "
        f"torch {described['packages']['torch']}, AMX {'yes' if described['amx_bf16'] else 'no'}.",
    ]
    parts += [text for series in SERIES if (text := _series(series, cells))]
    parts += training_page.sections(cells)
    return "\n\n".join(parts) + "\n"


def _series(series: Series, cells: Cells) -> str:
    done = [(amount, cells[name]) for name, amount in series.cells() if name in cells]
    if not done:
        return ""
    columns = [*series.columns.values(), "peak RSS, MB", "load", "commit"]
    lines = [f"## {series.title}", "", "| amount | " + " | ".join(columns) + " |", "|--:|" + "--:|" * len(columns)]
    for amount, figures in done:
        values = [_value(figures.get(name)) for name in (*series.columns, "peak_rss_mb", "load")]
        lines.append(f"| {amount:,} | " + " | ".join([*values, str(figures["commit"])]) + " |")
    fits = [text for name, words in series.costs.items() if (text := _fit(words, name, done))]
    command = str(done[-1][1]["command"]).rsplit(" ", 1)[0]
    return "\n".join(
        [*lines, "", f"`{command} AMOUNT`, {done[-1][1]['date']}. Exponents: {'; '.join(fits) or 'none yet'}."]
    )


def _fit(words: str, name: str, done: Sequence[tuple[int, Mapping[str, Any]]]) -> str:
    known = [(amount, cost) for amount, figures in done if (cost := _cost(figures.get(name))) is not None]
    found = exponent([amount for amount, _ in known], [cost for _, cost in known])
    if found is None:
        return ""
    return f"{words} {found[0]:.2f}" + ("" if math.isnan(found[1]) else f" ± {found[1]:.2f}")


def _cost(value: Any) -> float | None:
    return value.get("wall_s") if isinstance(value, Mapping) else value


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{value['wall_s']:.3g} s, {value['peak_mb']:.0f} MB"
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def finished() -> dict[str, dict[str, Any]]:
    """Return the figures of the finished cells by name."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(CELLS.glob("*.json"))}


def planned(names: Sequence[str], most: int | None) -> list[tuple[str, str, list[str]]]:
    """Return name, module and arguments of each cell, small amounts of all series first."""
    known = {series.kind for series in SERIES} | set(training_cells.KINDS)
    if unknown := sorted(set(names) - known):
        raise SystemExit(f"no series {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    wanted = [series for series in SERIES if not names or series.kind in names]
    found = [
        (amount, (name, "benchmarks.scale_cells", [series.kind, str(amount)]))
        for series in wanted
        for name, amount in series.cells()
        if most is None or amount <= most
    ]
    cells = [cell for _, cell in sorted(found, key=lambda one: one[0])]
    return cells + [
        (name, "benchmarks.training_cells", arguments)
        for name, arguments in training_cells.cells()
        if not names or arguments[0] in names
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("series", nargs="*", help="names of series; without any, all")
    parser.add_argument("--list", action="store_true", help="show all cells")
    parser.add_argument("--report", action="store_true", help="write the page of what is finished")
    parser.add_argument("--again", action="append", default=[], metavar="CELL", help="measure a finished cell again")
    parser.add_argument("--most", type=int, help="largest amount")
    given = parser.parse_args()
    cells, done = planned(given.series, given.most), finished()
    if unknown := sorted(set(given.again) - {name for name, _, _ in cells}):
        raise SystemExit(f"--again: no cell {', '.join(unknown)} among those of this call; --list shows them")
    if given.list:
        print("\n".join(f"{'finished' if name in done else '        '}  {name}" for name, _, _ in cells))
        return 0
    failed = 0
    for name, module, arguments in [] if given.report else cells:
        if name not in done or name in given.again:
            failed += not measure(name, module, arguments)
    CELLS.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(finished(), machine.describe()), encoding="utf-8")
    print(PAGE.read_text(encoding="utf-8"))
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())

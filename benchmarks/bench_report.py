"""Report of a large run, made and opened: `python -m benchmarks.bench_report --regions 10000 [--photos FOLDER] [--cache FOLDER]`.

The run is invented and made once in the cache folder. The photographs are invented too, unless ``--photos`` names a folder of real ones.
The program prints processor time, wall time and highest memory of making the file, and its size. For Chromium it prints medians of
several openings, each in a fresh profile: the time from the start of navigation until the first page of the gallery is on the screen
with its pictures decoded, and then the times of a filter and of a page turn.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks import taxa
from benchmarks.__main__ import command_figures
from benchmarks.photos import write_photos
from bioclip_core.classify import Candidate
from bioclip_core.identity import user_cache
from bioclip_plugin.items.media import MediaItem, Place, Region
from bioclip_plugin.store import ItemRecord, RegionRecord, RunPlan, Store

SPECIES, CAMERAS, PHOTOS = 400, 60, 150
BEGUN = datetime(2031, 5, 1, 4, 30)
BOXES = (
    Region(0.35, 0.4, 0.25, 0.3, "MegaDetector", "v5a", "animal", 0.9),
    Region(0.7, 0.55, 0.15, 0.2, "MegaDetector", "v5a", "animal", 0.6),
)

# The first page of the gallery counts as shown when its pictures are decoded and two more frames are drawn.
USABLE = """async () => {
  const shown = [...document.querySelectorAll(".card svg image")].filter((one) => one.getBoundingClientRect().top < innerHeight);
  await Promise.all(shown.map((one) => { const picture = new Image(); picture.src = one.href.baseVal; return picture.decode(); }));
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  return performance.now();
}"""


TURN = """() => {
  const began = performance.now();
  document.getElementById("next").click();
  return performance.now() - began;
}"""
FILTER = """() => new Promise((done) => {
  const began = performance.now(), least = document.getElementById("least");
  least.value = 60;
  least.dispatchEvent(new Event("input", {bubbles: true}));
  requestAnimationFrame(() => setTimeout(() => done(performance.now() - began)));
})"""


def make(folder: Path, regions: int, photos: Path | None) -> None:
    """Store a finished run of images with one or two boxes each. Each image is a link to one of the photographs."""
    originals = sorted(photos.glob("*.[jJ][pP][gG]")) if photos else write_photos(folder / "photos", PHOTOS, 1600, 1200)
    answers = _answers()
    (folder / "images").mkdir(parents=True, exist_ok=True)
    items: list[MediaItem] = []
    left = regions
    while left > 0:
        number = len(items)
        path = folder / "images" / f"IMG_{number:06d}.JPG"
        path.unlink(missing_ok=True)
        path.symlink_to(originals[number % len(originals)].resolve())
        boxes = BOXES[: min(left, 1 + (number % 3 == 0))]
        left -= len(boxes)
        items.append(_item(path, number, boxes))
    with Store.open(folder / "run.db") as store:
        plan = RunPlan(
            sources=("survey",), settings={}, feature_id="feature", feature_settings={"weights_sha256": "0" * 64},
            dimension=512, answer_id="answer", answer_settings={"rank": "species"}, rule_id="rule", rule_settings={},
            provenance={"model": {"name": "invented"}},
        )  # fmt: skip
        run = store.begin_run(plan)
        for start in range(0, len(items), 2_000):
            page = items[start : start + 2_000]
            listed = store.list_items(run, page, [(1, 1)] * len(page), start + 1)
            store.commit(run, [
                ItemRecord(one, one.item, (1, 1), f"{start + place:064x}", 1, tuple(
                    RegionRecord(box, None, *answers[(start + place * 7 + number) % SPECIES]) for number, box in enumerate(one.item.regions)
                )) for place, one in enumerate(listed)
            ])  # fmt: skip
        store.end_run(run, "finished", {})


def _item(path: Path, number: int, boxes: tuple[Region, ...]) -> MediaItem:
    camera = number % CAMERAS
    return MediaItem(
        uri=str(path), regions=boxes, detected=True, captured_at=BEGUN + timedelta(minutes=13 * number),
        place=Place("NL", "Gelderland", 52.0 + camera % 8 / 20, 5.75 + camera // 8 / 20, 5), deployment=f"camera {camera:02d}",
    )  # fmt: skip


def _answers() -> list[tuple[dict[str, tuple[Candidate, ...]], tuple[str, ...], Candidate | None]]:
    def sure(index: int) -> float:
        return 0.4 + 0.55 * (index * 37 % SPECIES) / SPECIES

    found = taxa.invented_answers(
        SPECIES,
        lambda index, place: sure(index) if place == 0 else (1 - sure(index)) / (place + 2),
        higher=0.95,
    )
    return [
        (best, (), best["species"][0] if sure(index) > 0.65 else best["genus"][0]) for index, best in enumerate(found)
    ]


def write(folder: Path, report: Path) -> dict[str, float]:
    """Make the report with the command in its own process and return its cost."""
    figures = command_figures("report", "--store", str(folder / "run.db"), "--output", str(report), "--force")
    return {
        "process_s": round(figures["process_s"], 1),
        "wall_s": round(figures["wall_s"], 1),
        "memory_mb": round(figures["peak_mb"]),
        "file_mb": round(report.stat().st_size / 1e6, 1),
    }


def open_in_browser(report: Path, times: int) -> dict[str, Any]:
    """Return seconds until the first page of the gallery is usable, and milliseconds of a page turn and of a filter."""
    from playwright.sync_api import sync_playwright

    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    usable, filtered, turned = [], [], []
    with sync_playwright() as playwright:
        for _ in range(times):
            arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
            browser = playwright.chromium.launch(executable_path=found, args=arguments)
            page = browser.new_page(viewport={"width": 1360, "height": 900})
            page.goto(report.as_uri(), wait_until="commit")
            page.wait_for_selector("html[data-ready]")
            page.evaluate("document.getElementById('gallery').scrollIntoView()")
            usable.append(page.evaluate(USABLE) / 1000)
            turned.append(page.evaluate(TURN))
            filtered.append(page.evaluate(FILTER))
            browser.close()
    return {
        "usable_s": round(statistics.median(usable), 2),
        "usable_s_all": [round(seconds, 2) for seconds in usable],
        "page_turn_ms": round(statistics.median(turned)),
        "filter_ms": round(statistics.median(filtered)),
    }


def main() -> None:
    """Make the run if it is missing, write the report and open it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--regions", type=int, default=10_000, help="Number of regions.")
    parser.add_argument("--photos", type=Path, help="Folder of JPEG photographs to use instead of invented ones.")
    parser.add_argument("--cache", type=Path, default=user_cache() / "bench", help="Folder of the run and the report.")
    parser.add_argument("--times", type=int, default=5, help="Number of openings in the browser.")
    parser.add_argument("--only-open", action="store_true", help="Open the existing report without making it again.")
    given = parser.parse_args()
    folder = given.cache / f"report_{given.regions}"
    report = folder / "report.html"
    figures: dict[str, Any] = {"regions": given.regions}
    made = folder / "made"
    if not made.exists():
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob("run.db*"):  # of an interrupted call
            left.unlink()
        make(folder, given.regions, given.photos)
        made.touch()
    if not given.only_open:
        figures |= write(folder, report)
    print(json.dumps(figures | open_in_browser(report, given.times)))


if __name__ == "__main__":
    main()

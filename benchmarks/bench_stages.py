"""Stages without a suite of their own: reading, crops, export and the search for labels, each beside the plain way to do it."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from PIL import Image
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks import bench_export, fixtures, ours, taxa
from benchmarks.__main__ import output_of
from benchmarks.pairs import beside_peer, timed
from bioclip_core.images.decoding import decode_regions, read_bytes

PILLOW = "Pillow at full size"
BOXES = ((0.1, 0.1, 0.25, 0.3), (0.5, 0.4, 0.2, 0.25), (0.7, 0.1, 0.2, 0.2), (0.05, 0.6, 0.3, 0.3))
"""Regions of a photograph, as a detector finds them: a few percent of it each."""
EXPORTED = 2_000 if fixtures.QUICK else 20_000
SEARCHED = 8
CROPPED = 8  # photographs per round


@pytest.mark.benchmark(group="read")
@pytest.mark.parametrize("size", fixtures.PHOTOS)
def test_read(benchmark: BenchmarkFixture, size: str) -> None:
    paths = fixtures.PHOTOS[size]()
    benchmark.extra_info.update(title=f"{size}, files in the system's cache", peer_name="open(path).read()")
    beside_peer(
        benchmark,
        prepare=lambda: paths,
        ours=lambda files: [read_bytes(file) for file in files],
        peer=timed(lambda files: [_plainly_read(file) for file in files]),
        ours_items=len(paths),
        pairs=4 * fixtures.WORKLOAD.pairs,
        unit="files/s",
        note="ours also refuses empty files and pipes and holds no more than the limit" if size == "12 MP" else "",
    )


def _plainly_read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read()


@pytest.mark.benchmark(group="crop")
@pytest.mark.parametrize("boxes", [1, 4])
@pytest.mark.parametrize("size", fixtures.PHOTOS)
def test_crop(benchmark: BenchmarkFixture, size: str, boxes: int) -> None:
    paths, contract = fixtures.PHOTOS[size]()[:CROPPED], ours.preprocessing()
    contents = [path.read_bytes() for path in paths]
    wanted = list(BOXES[:boxes])
    benchmark.extra_info.update(title=f"{size}, {boxes} region{'s' if boxes > 1 else ''} per image", peer_name=PILLOW)
    beside_peer(
        benchmark,
        prepare=lambda: contents,
        ours=lambda found: [decode_regions(content, wanted, contract) for content in found],
        peer=timed(lambda found: [_plainly_cropped(content, wanted) for content in found]),
        ours_items=len(paths),
        pairs=fixtures.WORKLOAD.pairs,
    )


def _plainly_cropped(content: bytes, boxes: Sequence[tuple[float, float, float, float]]) -> list[Image.Image]:
    with Image.open(io.BytesIO(content)) as opened:
        image = opened.convert("RGB")
    crops = []
    for x, y, width, height in boxes:
        left, top = round(x * image.width), round(y * image.height)
        right, bottom = round((x + width) * image.width), round((y + height) * image.height)
        crops.append(image.crop((left, top, right, bottom)).resize((224, 224), Image.Resampling.BILINEAR))
    return crops


@pytest.mark.benchmark(group="export")
def test_export(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    store = fixtures.cache() / f"export-{EXPORTED}.db"
    made = store.with_suffix(".made")
    if not made.exists():
        store.unlink(missing_ok=True)
        bench_export.make(str(store), EXPORTED, None)
        made.touch()
    export = ["-m", "bioclip_plugin", "export", "--store", str(store), "--format", "csv", "--force", "--output"]
    peer = ["-m", "benchmarks.export_peer", str(store)]
    benchmark.extra_info.update(
        title=f"{EXPORTED:,} images to CSV, whole process",
        peer_name="one joined query by SQLAlchemy, row by row",
    )
    beside_peer(
        benchmark,
        prepare=lambda: tmp_path,
        ours=lambda folder: output_of(*export, str(folder / "ours.csv")),
        peer=timed(lambda folder: output_of(*peer, str(folder / "peer.csv"))),
        ours_items=EXPORTED,
        pairs=2 if fixtures.QUICK else 3,
        note="ours also writes place, time, decision and metadata, and reads the file again to check it",
    )


@pytest.mark.benchmark(group="search")
def test_search(benchmark: BenchmarkFixture) -> None:
    from bioclip_core.labels.checklist import find_labels
    from bioclip_core.labels.label_set import LabelSet

    count = fixtures.LABEL_COUNTS[-1]
    labels = LabelSet.open(ours.label_set(fixtures.label_files(count)))
    species = taxa.invented_taxa(count)
    names = [species[number * 37 % count].scientific_name for number in range(SEARCHED)]
    written = [taxon.scientific_name.lower() for taxon in species]
    scan: Callable[[list[str]], object] = lambda wanted: [  # noqa: E731 -- handed on as it stands
        [row for row, name in enumerate(written) if one.lower() in name] for one in wanted
    ]
    assert find_labels(labels, names[0])
    benchmark.extra_info.update(
        title=f"a species among {count:,} labels, by name", peer_name="a scan of all names in Python"
    )
    beside_peer(
        benchmark,
        prepare=lambda: names,
        ours=lambda wanted: [find_labels(labels, name) for name in wanted],
        peer=timed(scan),
        ours_items=SEARCHED,
        pairs=fixtures.WORKLOAD.pairs,
        unit="searches/s",
        note="ours finds every rank and common names, by all words of the name",
    )

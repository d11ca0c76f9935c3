"""A whole rendering: plan, pictures, the collections in their formats, evaluation sets, taxonomy and truth; resumable."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bioclip_training.biosphere.publishing import truth
from bioclip_training.biosphere.publishing.configuration import curate_yaml
from bioclip_training.biosphere.publishing.dirt import Dirt, load
from bioclip_training.biosphere.publishing.formats import (
    bioscan,
    eol,
    evaluation,
    gbif,
    inat21,
    lila,
    taxonomy,
    treeoflife,
)
from bioclip_training.biosphere.publishing.formats.target import Target
from bioclip_training.biosphere.publishing.pictures import write_pictures
from bioclip_training.biosphere.publishing.plan import HOLDOUT, RARE, Plan
from bioclip_training.biosphere.publishing.planning import make_plan

VERSION = 4
"""Changes with every change of the bytes."""
MANIFEST, BEGUN = "manifest.json", "begun.json"
_PICTURES = "pictures"
_SOURCES: dict[str, Callable[[Target], None]] = {
    "inat21": inat21.write,
    "bioscan-5m": bioscan.write,
    "eol": eol.write,
    "gbif": gbif.write_archive,
    "gbif-parquet": gbif.write_parquet,
    "treeoflife-200m": treeoflife.write,
    "lila": lila.write,
}
_BESIDE: dict[str, Callable[[Target], None]] = {
    f"evaluation/{RARE}": evaluation.write_rare_species,
    f"evaluation/{HOLDOUT}": evaluation.write_holdout,
    "taxonomy": taxonomy.write,
}


class OtherRendering(ValueError):
    """The folder holds another rendering, or something else."""


@dataclass(frozen=True, slots=True)
class Rendering:
    """Numbers of a finished rendering."""

    images: int
    species: int
    unrecoverable: float
    """Share of the records whose species cannot be told by design."""


def render(
    folder: Path,
    *,
    seed: int,
    images: int,
    processes: int,
    progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> Rendering:
    """Write a rendering; the same call after an interruption continues, and gives the same bytes.

    Args:
        folder: new, empty, or of an interrupted or finished call with the same seed and number of images.
        seed: 0 or more.
        images: number of records of all sources together.
        processes: number of processes that draw; the bytes do not depend on it.
        progress: called with the number of finished pictures and of all.

    Raises:
        OtherRendering: if the folder holds something else.
        OSError: if it cannot be written.
    """
    settings = {"version": VERSION, "seed": seed, "images": images}
    _begin(folder, settings)
    if (folder / MANIFEST).is_file():
        made = json.loads((folder / MANIFEST).read_text("utf-8"))
        return Rendering(made["images"], made["species"], made["unrecoverable"])
    dirt = load()
    plan = make_plan(seed, images, dirt)
    done = 0

    def count(number: int) -> None:
        nonlocal done
        done += number
        progress(done, len(plan.pictures))

    write_pictures(plan, folder / _PICTURES, processes=processes, progress=count)
    for name, write in {**_SOURCES, **_BESIDE}.items():
        write(Target(plan, folder / _PICTURES, folder / name))
    truth.write(Target(plan, folder / _PICTURES, folder / "truth"), dirt)
    (folder / "curate.yaml").write_text(curate_yaml(list(_SOURCES)), "utf-8")
    return _finished(folder, plan, dirt, settings)


def _begin(folder: Path, settings: dict[str, int]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    begun = folder / BEGUN
    if not begun.is_file():
        if any(folder.iterdir()):
            raise OtherRendering(f"{folder} is not empty and holds no rendering: give a new folder")
        begun.write_text(json.dumps(settings) + "\n", "utf-8")
    elif (held := json.loads(begun.read_text("utf-8"))) != settings:
        raise OtherRendering(f"{folder} holds a rendering with {held}, not {settings}: give a new folder")


def _finished(folder: Path, plan: Plan, dirt: Dirt, settings: dict[str, int]) -> Rendering:
    counts = Counter(kind for record in plan.records for kind in truth.kinds_of(record))
    lost = sum(any(not dirt.kinds[kind].is_recoverable for kind in truth.kinds_of(record)) for record in plan.records)
    made = Rendering(len(plan.records), len(plan.tree.species), lost / len(plan.records))
    manifest = {
        **settings,
        "images": made.images,
        "species": made.species,
        "unrecoverable": made.unrecoverable,
        "kinds": {kind: counts[kind] for kind in dirt.kinds},
    }
    shutil.rmtree(folder / _PICTURES)
    draft = folder / f"{MANIFEST}.part"
    draft.write_text(json.dumps(manifest, indent=1) + "\n", "utf-8")
    draft.replace(folder / MANIFEST)
    return made

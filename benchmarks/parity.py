"""Parity with pybioclip 2.1.6 in fp32: the same top-5 species and the same genus sums for at least 98% of photos.

python -m benchmarks.parity [--output FILE.json]    exit code 0 if parity holds; BIOCLIP_DATA adds real photographs
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import fixtures, machine, ours, photos, taxa
from benchmarks.peer import Peer
from bioclip_core.taxonomy import RANKS, Rank
from bioclip_plugin import Session

PHOTOS = int(os.environ.get("BENCH_PARITY_PHOTOS", "12"))
TAXA = 10_000
_SPAN = 100  # photos whose features the labels are made of
ASKED = 0.98  # share of photos whose answers agree
SUM_TOLERANCE = 0.01  # two sums are the same within this
# Expected differences: our features and labels are float16, which moves a logit of 100 × cosine by one or two thousandths,
# and a probability of a half by a quarter of that. pybioclip resizes in floating point, Pillow in whole grey values.
CLOSE = 1e-3
TOP = 5
DEPTH = 50  # answers requested from both sides, so that a taxon in only one of the two top fives is compared too
_TO_GENUS = tuple(rank.value for rank in RANKS[:-1])

Answer = dict[tuple[str, ...], float]
"""Probability by lineage, most probable first."""
AnswerPair = tuple[Answer, Answer]
"""Answers to one photo at species and at genus rank."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Numbers of photos that both sides answer alike."""

    kind: str
    """``generated`` or ``real``."""
    preprocessing: str
    """pybioclip's path: ``published`` resizes a float tensor, ``folder`` is open_clip's transform."""
    photos: int
    same_species: int
    """Photos with the same five species."""
    same_order: int
    """Photos with the same five species in the same order."""
    same_genera: int
    """Photos with the same five genera, each with the same sum within ``SUM_TOLERANCE``."""
    close_genera: int
    """Photos with the same five genera, each with the same sum within ``CLOSE``."""
    species_difference: float
    """Largest difference between both sides' probabilities of one of the best five species."""
    genus_difference: float
    median_top1: float
    """pybioclip's probability of its best species in the median photo. Near 0 or 1, the comparison would mean nothing."""
    different_top1: int
    """Number of different best species over the photos."""

    @property
    def holds(self) -> bool:
        return min(self.same_species, self.same_genera) >= ASKED * self.photos


def label_files() -> Path:
    """Make labels of 10,000 invented taxa whose vectors are near features of this model, so that answers differ by photo.

    A genus is a random mixture of the features of other photos. A species is its genus plus noise from the same span.
    """
    folder = fixtures.cache() / f"labels-parity-{TAXA}"
    if (folder / taxa.JSON).exists():
        return folder
    others = photos.write_photos(fixtures.cache() / "photos-parity", _SPAN, *fixtures.SMALL, first_seed=800_000)
    features_PD = _features_of(others)
    species = taxa.invented_taxa(TAXA, seed=1)
    genera = {lineage: index for index, lineage in enumerate(sorted({taxon.lineage[:6] for taxon in species}))}
    rng = np.random.default_rng(23)
    centres_GD = _unit(rng.dirichlet(np.full(_SPAN, 0.5), size=len(genera)) @ features_PD)
    noise_ND = _unit(rng.standard_normal((TAXA, _SPAN)) @ features_PD)
    vectors_ND = _unit(centres_GD[[genera[taxon.lineage[:6]] for taxon in species]] + noise_ND)
    return taxa.write_label_files(folder, species, vectors_ND.astype(np.float32))


def compare(
    kind: str, preprocessing: str, our_pairs: Sequence[AnswerPair], peer_pairs: Sequence[AnswerPair]
) -> Comparison:
    """Compare the answers of both sides to the same photos."""
    pairs = list(zip(our_pairs, peer_pairs, strict=True))
    return Comparison(
        kind=kind,
        preprocessing=preprocessing,
        photos=len(pairs),
        same_species=sum(set(_best(mine[0])) == set(_best(theirs[0])) for mine, theirs in pairs),
        same_order=sum(_best(mine[0]) == _best(theirs[0]) for mine, theirs in pairs),
        same_genera=sum(_same_sums(mine[1], theirs[1], SUM_TOLERANCE) for mine, theirs in pairs),
        close_genera=sum(_same_sums(mine[1], theirs[1], CLOSE) for mine, theirs in pairs),
        species_difference=max(_difference(mine[0], theirs[0]) for mine, theirs in pairs),
        genus_difference=max(_difference(mine[1], theirs[1]) for mine, theirs in pairs),
        median_top1=statistics.median(next(iter(theirs[0].values())) for _, theirs in pairs),
        different_top1=len({_best(theirs[0])[0] for _, theirs in pairs}),
    )


def _best(answer: Answer) -> list[tuple[str, ...]]:
    return list(answer)[:TOP]


def _same_sums(mine: Answer, theirs: Answer, tolerance: float) -> bool:
    """Compare sums genus by genus, since the order of two equally small sums at fifth place means nothing."""
    return _difference(mine, theirs) <= tolerance


def _difference(mine: Answer, theirs: Answer) -> float:
    """Return the largest difference over the best five of both sides. A taxon outside the other side's best fifty counts as 0."""
    return max(abs(mine.get(key, 0.0) - theirs.get(key, 0.0)) for key in {*_best(mine), *_best(theirs)})


def our_answers(paths: Sequence[Path], labels: Path, store: Path) -> list[AnswerPair]:
    """Return our best species and genera of each photo, in fp32 with full decoding; the second rank uses stored features."""
    sides: list[list[Answer]] = []
    for rank in (Rank.SPECIES, Rank.GENUS):
        with Session(
            model=ours.model_name(),
            labels=str(ours.label_set(labels)),
            rank=rank.value,
            top=DEPTH,
            precision="fp32",
            device="cpu",
            exact=True,
            store=str(store),
        ) as session:
            answers = session.classify_stream([str(path) for path in paths])
            sides.append(
                [{c.taxon.lineage[: rank.depth + 1]: c.probability for c in answer.candidates} for answer in answers]
            )
    return list(zip(*sides, strict=True))


def peer_answers(peer: Peer, paths: Sequence[Path]) -> list[AnswerPair]:
    """Return pybioclip's best species and genera of each photo."""
    sides: list[list[Answer]] = []
    images = [str(path) for path in paths]
    rows = peer.call("answers", images=images, ranks=["species", "genus"], k=DEPTH)["rows"]
    for rank, names in (("species", (*_TO_GENUS, "species_epithet")), ("genus", _TO_GENUS)):
        answers: dict[str, Answer] = {image: {} for image in images}
        for row in rows[rank]:
            answers[row["file_name"]][tuple(row[name] for name in names)] = row["score"]
        sides.append([answers[image] for image in images])
    return list(zip(*sides, strict=True))


def real_photos() -> list[Path]:
    """Return up to ``PHOTOS`` real photographs under ``BIOCLIP_DATA``, spread evenly: complete, in RGB, and upright without EXIF.

    pybioclip ignores the EXIF orientation and crashes on a truncated file, so it has no answer for comparison.
    """
    root = os.environ.get("BIOCLIP_DATA")
    every = Path(root, "data").rglob("*") if root else []
    found = sorted(path for path in every if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    step = max(1, len(found) // PHOTOS)
    return [path for path in found[::step] if _upright_rgb(path)][:PHOTOS]


def _upright_rgb(path: Path) -> bool:
    from PIL import Image

    try:
        with Image.open(path) as image:
            image.load()
            return image.mode in ("RGB", "L") and image.getexif().get(0x0112, 1) == 1
    except OSError:
        return False


def _features_of(paths: Sequence[Path]) -> Any:
    """Encode photos with plain open_clip, so that the labels do not depend on the code under test."""
    import open_clip
    import torch

    model = open_clip.create_model(f"local-dir:{fixtures.model_folder()}").eval()
    with torch.inference_mode():
        batches = [paths[start : start + 16] for start in range(0, len(paths), 16)]
        return torch.cat(
            [model.encode_image(torch.from_numpy(fixtures.model_inputs(batch)), normalize=True) for batch in batches]
        ).numpy()


def _unit(rows: Any) -> Any:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def measure() -> list[Comparison]:
    """Run every possible comparison: generated photos on both of pybioclip's paths, and real photos if they are available."""
    labels = label_files()
    generated = photos.write_photos(fixtures.cache() / "photos-parity", PHOTOS, *fixtures.SMALL, first_seed=810_000)
    sets = {"generated": generated, "real": [] if fixtures.QUICK else real_photos()}
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "parity.db"
        mine = {kind: our_answers(paths, labels, store) for kind, paths in sets.items() if paths}
    found = []
    with Peer() as peer:
        for preprocessing in ("published",) if fixtures.QUICK else ("published", "folder"):
            peer.open(fixtures.model_folder(), labels, preprocessing=preprocessing)
            found += [compare(kind, preprocessing, mine[kind], peer_answers(peer, sets[kind])) for kind in mine]
    return found


def report(comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """Return the content of the JSON file for the page of results."""
    return {
        "asked": ASKED,
        "comparisons": [asdict(comparison) for comparison in comparisons],
        "commit": machine.commit(),
        "date": datetime.now(UTC).date().isoformat(),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, help="JSON file for the figures.")
    arguments = parser.parse_args()
    comparisons = measure()
    for row in comparisons:
        print(
            f"{row.photos} {row.kind} photos, pybioclip's {row.preprocessing} preprocessing: same top-5 species {row.same_species} "
            f"(in the same order {row.same_order}), same genus sums {row.same_genera} "
            f"(within {CLOSE:g}: {row.close_genera}); largest difference: species "
            f"{row.species_difference:.1e}, genus {row.genus_difference:.1e}; best species: median probability {row.median_top1:.2f}, "
            f"{row.different_top1} different ones: {'holds' if row.holds else 'DOES NOT HOLD'}"
        )
    if arguments.output:
        arguments.output.write_text(json.dumps(report(comparisons), indent=1) + "\n", encoding="utf-8")
    return 0 if all(row.holds for row in comparisons) else 1


if __name__ == "__main__":
    sys.exit(main())

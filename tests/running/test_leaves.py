"""The main job on real leaf scans and reef fish with a real checkpoint, compared with plain open_clip."""

from __future__ import annotations

import csv
import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from bioclip_core.labels.building import build_label_set
from bioclip_core.taxonomy import taxon_from_row
from bioclip_plugin import Session

pytestmark = pytest.mark.shared_data


def data() -> Path:
    return Path(os.environ["BIOCLIP_DATA"]).resolve()


def rows(name: str) -> list[dict[str, str]]:
    with (data() / "data" / name / "collection.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def model_name() -> str:
    return f"local-dir:{data() / 'models' / 'mini'}"


def images(name: str, every: int) -> tuple[Path, ...]:
    return tuple(data() / "data" / name / row["image"] for row in rows(name)[::every])


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Label set of both collections' taxa: 114, with a genus and a family among them."""
    from bioclip_core.device import choose_compute
    from bioclip_core.models import find_model
    from bioclip_core.open_clip_encoder import open_encoder

    folder = tmp_path_factory.mktemp("labels") / "both"
    encoder = open_encoder(find_model(model_name(), {}), choose_compute("cpu", "fp32"))
    built = build_label_set([taxon_from_row(row) for row in rows("leaves") + rows("reef_fish")], encoder, folder)
    assert len(built.labels) == 114
    return folder


def plain_open_clip(paths: tuple[Path, ...]) -> list[dict[str, float]]:
    """Compute probabilities by scientific name with open_clip alone: its own transform, and prompts written by hand."""
    import open_clip
    import torch
    from PIL import Image

    names = {
        " ".join(row[r] for r in "kingdom phylum class order family genus specificEpithet".split() if row[r]): row[
            "scientificName"
        ]
        for row in rows("leaves") + rows("reef_fish")
    }
    source = model_name()
    model, _, transform = open_clip.create_model_and_transforms(source)
    model.eval()
    normalize = torch.nn.functional.normalize
    found = []
    with torch.inference_mode():
        tokens = open_clip.get_tokenizer(source)([f"a photo of {name}." for name in names])
        texts_ND = normalize(model.encode_text(tokens), dim=-1)
        for start in range(0, len(paths), 32):
            pixels = torch.stack([transform(Image.open(path).convert("RGB")) for path in paths[start : start + 32]])
            logits = model.logit_scale.exp() * normalize(model.encode_image(pixels), dim=-1) @ texts_ND.T
            found += [dict(zip(names.values(), row.tolist(), strict=True)) for row in logits.softmax(-1)]
    return found


def classified(paths: tuple[Path, ...], **options: Any) -> list[dict[str, float]]:
    with Session(model=model_name(), top=20, **options) as session:
        answers = list(session.classify_stream(paths))
    assert all(answer.failure is None for answer in answers)
    return [{candidate.name: candidate.probability for candidate in answer.candidates} for answer in answers]


kept = cache(classified)
"""The same answers, computed once per test session."""


def best(probabilities: dict[str, float]) -> str:
    return max(probabilities, key=lambda name: probabilities[name])


@pytest.mark.parametrize(("name", "every"), [("leaves", 8), ("reef_fish", 10)])
def test_exact_answers_are_those_of_plain_open_clip(name: str, every: int, labels: Path) -> None:
    paths = images(name, every)
    ours = kept(paths, labels=str(labels), precision="fp32", exact=True)
    theirs = plain_open_clip(paths)
    agree = sum(best(a) == best(b) for a, b in zip(ours, theirs, strict=True))
    assert agree >= 0.995 * len(paths)
    # 0.01 allows for features rounded to float16, which moves a logit by about 0.001 at this model's scale of 15.6
    assert max(abs(p - b[n]) for a, b in zip(ours, theirs, strict=True) for n, p in a.items()) <= 0.01


def test_defaults_change_few_answers(labels: Path) -> None:
    paths = images("leaves", every=8)
    exact = kept(paths, labels=str(labels), precision="fp32", exact=True)
    default = classified(paths, labels=str(labels))
    agree = sum(best(a) == best(b) for a, b in zip(exact, default, strict=True))
    assert agree >= 0.97 * len(paths)


def test_both_databases_hold_the_same_answers(labels: Path, store_address: str, tmp_path: Path) -> None:
    paths = images("reef_fish", every=13)
    direct = kept(paths, labels=str(labels))
    stored = classified(paths, labels=str(labels), store=store_address)
    again = classified(paths, labels=str(labels), store=store_address)
    assert stored == again
    for a, b in zip(direct, stored, strict=True):
        assert a.keys() == b.keys()
        assert all(abs(a[n] - b[n]) < 1e-4 for n in a)  # the two runs may batch the images differently


def test_the_marked_orientation_gives_the_answer_of_the_upright_photograph(labels: Path) -> None:
    folder = data() / "data" / "camera_trap_samples"
    pair = (folder / "african_elephants.jpg", folder / "african_elephants_with_exif_orientation.jpg")
    upright, turned = classified(pair, labels=str(labels), exact=True, precision="fp32")
    assert max(abs(p - turned.get(name, p)) for name, p in upright.items()) < 0.05

"""Our answers equal those of the published recipe: plain open_clip, a softmax over all labels, and sums of species.

Of a trained checkpoint on real photographs they are compared in the tests of runs, room ``running``.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from bioclip_core.device import Compute
from bioclip_core.labels.building import import_label_set
from bioclip_core.models import find_model
from bioclip_core.open_clip_encoder import open_encoder
from bioclip_plugin import Session
from bioclip_plugin.items.answers import Answer

FP32 = Compute("cpu", "fp32", "for the test")
LOGIT_SCALE = 100.0
# Features and labels are kept in float16. A number is off by at most 2^-11 of itself, so a cosine of 32 numbers is off by
# about 1e-4, a logit (times 100) by 1e-2, and a probability of a half by a quarter of that.
TOLERANCE = 5e-3

TINY: dict[str, Any] = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}
SQUASH = {"interpolation": "bilinear", "resize_mode": "squash"}


@dataclass(frozen=True)
class Reference:
    """Answers of plain open_clip and a few lines of numpy: P photos, N taxa by their seven names."""

    probabilities_PN: NDArray[np.float64]
    lineages: list[tuple[str, ...]]

    def species(self, photo: int) -> dict[tuple[str, ...], float]:
        return dict(zip(self.lineages, self.probabilities_PN[photo].tolist(), strict=True))

    def genera(self, photo: int) -> dict[tuple[str, ...], float]:
        sums: dict[tuple[str, ...], float] = defaultdict(float)
        for lineage, probability in self.species(photo).items():
            sums[lineage[:6]] += probability
        return dict(sums)


def best(sums: dict[tuple[str, ...], float], count: int = 5) -> list[tuple[str, ...]]:
    return sorted(sums, key=lambda name: -sums[name])[:count]


def answered(answer: Answer, ranks: int) -> dict[tuple[str, ...], float]:
    return {one.taxon.lineage[:ranks]: one.probability for one in answer.candidates}


def opened(folder: Path) -> tuple[Any, Any]:
    """Open the model and the transform of a folder with open_clip."""
    model, transform = open_clip.create_model_from_pretrained(f"local-dir:{folder}", return_transform=True)
    return model.eval(), transform


def features(model: Any, transform: Any, paths: Sequence[Path]) -> NDArray[np.float64]:
    with torch.inference_mode():
        batch = torch.stack([transform(Image.open(path)) for path in paths])
        rows: NDArray[np.float64] = model.encode_image(batch, normalize=True).double().numpy()
    return rows


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def photos(folder: Path, seeds: range) -> list[Path]:
    """Write smooth coloured photographs of different shapes, as PNG so that only the resize is compared."""
    folder.mkdir(exist_ok=True)
    paths = []
    for seed in seeds:
        grid = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
        path = folder / f"{seed:03d}.png"
        Image.fromarray(grid).resize((120 + seed, 90), Image.Resampling.BICUBIC).save(path)
        paths.append(path)
    return paths


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny random CLIP with the logit scale of a trained one, its features centred so that they differ by photo."""
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("parity") / "model"
    folder.mkdir()
    torch.manual_seed(4)
    model = open_clip.CLIP(
        TINY["embed_dim"], open_clip.CLIPVisionCfg(**TINY["vision_cfg"]), open_clip.CLIPTextCfg(**TINY["text_cfg"])
    ).eval()
    config = {"model_cfg": TINY, "preprocess_cfg": {"size": 32, **SQUASH}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    seen: list[torch.Tensor] = []
    hook = model.visual.ln_post.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    with torch.no_grad():
        model.encode_image(torch.randn(64, 3, 1, 1).expand(-1, -1, 32, 32) + 0.3 * torch.randn(64, 3, 32, 32))
        hook.remove()
        pooled = seen[0][:, 0] if seen[0].ndim == 3 else seen[0]
        model.visual.ln_post.bias.copy_(-pooled.mean(0))
        model.logit_scale.fill_(float(np.log(LOGIT_SCALE)))
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "open_clip_model.safetensors")
    return folder


@pytest.fixture(scope="module")
def published(model_folder: Path) -> tuple[Path, Path, list[tuple[str, ...]]]:
    """Label files in TreeOfLife's shape: 120 unsorted species in 30 genera, near the features of other photos."""
    folder = model_folder.parent
    rng = np.random.default_rng(5)
    others = features(*opened(model_folder), photos(folder / "others", range(100, 140)))
    centres = rng.dirichlet(np.full(len(others), 0.3), size=30) @ others
    rows = centres[np.arange(120) % 30] + 0.5 * rng.dirichlet(np.full(len(others), 0.3), size=120) @ others
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    lineages: list[tuple[str, ...]] = [
        ("Animalia", "Fictozoa", "Inventa", order, f"Family{genus % 9}", f"Genus{genus}", f"species{number}")
        for number, genus in enumerate([number % 30 for number in range(120)])
        for order in ["" if genus % 7 == 0 else f"Order{genus % 3}"]
    ]
    np.save(folder / "labels.npy", rows.T.astype(np.float32))
    (folder / "labels.json").write_text(json.dumps([[list(lineage), ""] for lineage in lineages]))
    return folder / "labels.npy", folder / "labels.json", lineages


@pytest.fixture(scope="module")
def labels(model_folder: Path, published: tuple[Path, Path, list[tuple[str, ...]]]) -> Path:
    encoder = open_encoder(find_model(f"local-dir:{model_folder}", {}), FP32)
    import_label_set(published[0], published[1], encoder, model_folder.parent / "label_set")
    return model_folder.parent / "label_set"


@pytest.fixture(scope="module")
def questions(model_folder: Path) -> list[Path]:
    return photos(model_folder.parent / "questions", range(25))


@pytest.fixture(scope="module")
def reference(
    model_folder: Path, published: tuple[Path, Path, list[tuple[str, ...]]], questions: list[Path]
) -> Reference:
    vectors_DN = np.load(published[0]).astype(np.float64)
    logits_PN = LOGIT_SCALE * features(*opened(model_folder), questions) @ vectors_DN
    return Reference(softmax(logits_PN), published[2])


def answers_of(model: Path, labels: Path, paths: Sequence[Path], rank: str) -> list[Answer]:
    with Session(
        model=f"local-dir:{model}", labels=str(labels), rank=rank, precision="fp32", device="cpu", exact=True
    ) as session:
        return list(session.classify_stream([str(path) for path in paths]))


def test_the_photos_of_this_test_have_different_and_undecided_answers(reference: Reference) -> None:
    first = {best(reference.species(photo))[0] for photo in range(len(reference.probabilities_PN))}
    assert len(first) >= 10
    assert 0.05 < np.median(reference.probabilities_PN.max(axis=1)) < 0.95


def test_species_are_those_of_a_softmax_over_all_labels(
    model_folder: Path, labels: Path, questions: list[Path], reference: Reference
) -> None:
    for photo, answer in enumerate(answers_of(model_folder, labels, questions, "species")):
        ours, theirs = answered(answer, 7), reference.species(photo)
        assert {name: ours[name] for name in ours} == pytest.approx({n: theirs[n] for n in ours}, abs=TOLERANCE)
        assert min(theirs[name] for name in ours) >= theirs[best(theirs)[-1]] - TOLERANCE
        assert list(ours.values()) == sorted(ours.values(), reverse=True)
        assert len(ours) == 5


def test_a_genus_has_the_sum_of_its_species(
    model_folder: Path, labels: Path, questions: list[Path], reference: Reference
) -> None:
    for photo, answer in enumerate(answers_of(model_folder, labels, questions, "genus")):
        ours, theirs = answered(answer, 6), reference.genera(photo)
        assert {name: ours[name] for name in ours} == pytest.approx({n: theirs[n] for n in ours}, abs=TOLERANCE)
        assert min(theirs[name] for name in ours) >= theirs[best(theirs)[-1]] - TOLERANCE

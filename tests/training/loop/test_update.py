"""Gradient of one step: the same in one piece, in parts, and over two processes."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from collections_of_discs import TAXA, TINY, disc
from ready_processes import Ready

from bioclip_core.device import Compute
from bioclip_core.preprocessing import Preprocessing
from bioclip_core.taxonomy import Taxon
from bioclip_training.batches.stream import Batch
from bioclip_training.loop.distributed import World, joined_world
from bioclip_training.loop.recipe import Loss, TrainConfig
from bioclip_training.loop.update import Ancestors, Side, back_propagate, log_priors
from bioclip_training.towers.model import Towers

LOSSES: tuple[Loss, ...] = ("clip", "taxon")
CONTRACT = Preprocessing(size=32, resize_mode="squash")


def towers_of(captions: list[str]) -> Towers:
    import open_clip

    torch.manual_seed(3)
    config = TINY["model_cfg"]
    model = open_clip.CLIP(config["embed_dim"], config["vision_cfg"], config["text_cfg"])
    towers = Towers(
        model, open_clip.get_tokenizer("ViT-B-32"), captions=captions, preprocessing=CONTRACT, compute=Compute("cpu", "fp32", "a test"),
        drop_path=0.3, replay_projection=True,
    )  # fmt: skip
    with torch.no_grad():
        assert towers.vision.replay_projection is not None
        towers.vision.replay_projection.mul_(1.5)
    return towers


def batch_of(numbers: range, shift: int = 0) -> Batch:
    images = np.stack([np.asarray(disc(TAXA[number % 5], number + shift).resize((32, 32))) for number in numbers])
    captions = tuple(f"a photo of {TAXA[number % 5].scientific_name}." for number in numbers)
    return Batch(0, 0.0, images, np.array([number % 5 for number in numbers]), captions, tuple(map(str, numbers)), ())


def gradients(
    rows: range, world: World, *, loss: Loss = "taxon", accumulate: int = 1, seeds: int = 0
) -> tuple[float, dict[str, torch.Tensor]]:
    """Return the loss and all gradients of a step on these rows of a batch of eight, with the same rows of a replay batch."""
    everything, others = batch_of(range(8)), batch_of(range(8), shift=100)
    captions = list(dict.fromkeys([*everything.captions, *others.captions]))
    towers = towers_of(captions)
    if not seeds:
        towers.vision.eval()  # so that dropout does not depend on how the batch is split
    config = TrainConfig(data="", start="", output="", loss=loss, batch_size=8, accumulate=accumulate)
    ancestors = Ancestors([taxon.lineage for taxon in TAXA])
    sides = [
        Side(Batch(0, 0.0, b.images_BHWC[rows.start : rows.stop], b.taxa_B[rows.start : rows.stop], b.captions[rows.start : rows.stop],
                   b.keys[rows.start : rows.stop], ()), weight, log_priors(np.array([0, 0, 1, 2, 3, 4]), 6), ancestors)
        for b, weight in ((everything, 1.0), (others, 0.5))
    ]  # fmt: skip
    found = back_propagate(towers, sides[0], sides[1], config, world, lambda part: torch.manual_seed(seeds + part))
    named = {item.name: item.parameter.grad for item in towers.trainable()}
    return found.total, {name: grad.clone() for name, grad in named.items() if grad is not None}


@pytest.mark.parametrize("loss", ["clip", "taxon"])
@pytest.mark.parametrize("parts", [2, 4, 8])
def test_a_batch_in_parts_has_the_gradient_of_the_whole_batch(loss: Loss, parts: int) -> None:
    whole, in_parts = gradients(range(8), World(), loss=loss), gradients(range(8), World(), loss=loss, accumulate=parts)
    assert in_parts[0] == pytest.approx(whole[0], abs=1e-5)
    assert set(in_parts[1]) == set(whole[1])
    for name, expected in whole[1].items():
        assert torch.allclose(in_parts[1][name], expected, atol=1e-5), name


def test_the_same_paths_are_dropped_in_both_passes_over_a_part() -> None:
    """Other paths in the second pass would give the gradient of another loss. The same seeds give the same gradient."""
    one, other = (
        gradients(range(8), World(), accumulate=2, seeds=7),
        gradients(range(8), World(), accumulate=2, seeds=7),
    )
    third = gradients(range(8), World(), accumulate=2, seeds=900)
    assert one[0] == other[0]
    assert all(torch.equal(one[1][name], other[1][name]) for name in one[1])
    assert one[0] != third[0]


OTHER_PROCESS = """
import sys, torch
sys.path.insert(0, sys.argv[2])
from test_update import gradients_of_half
torch.set_num_threads(1)
torch.save(gradients_of_half(), sys.argv[1])
"""


def gradients_of_half() -> dict[Loss, tuple[float, dict[str, torch.Tensor]]]:
    """Return loss and gradients of this process's half of the batch, in a world of two processes."""
    with joined_world("cpu") as world:
        rows = range(world.rank * 4, world.rank * 4 + 4)
        return {loss: gradients(rows, world, loss=loss) for loss in LOSSES}


def test_the_gradient_of_two_processes_is_that_of_one_on_the_joined_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    world = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    other = Ready(
        OTHER_PROCESS,
        str(tmp_path / "1.pt"),
        str(Path(__file__).parent),
        environment={**os.environ, **world, "RANK": "1"},
    )
    for name, value in {**world, "RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    of_first = gradients_of_half()
    assert other.wait(timeout=180) == 0
    of_second = torch.load(tmp_path / "1.pt", weights_only=True)
    for loss in LOSSES:
        total, expected = gradients(range(8), World(), loss=loss)
        for found_total, found in (of_first[loss], of_second[loss]):
            assert found_total == pytest.approx(total, abs=1e-5)
            assert set(found) == set(expected)
            for name, gradient in expected.items():
                assert torch.allclose(found[name], gradient, atol=1e-5), name


def test_an_ancestor_is_related_to_its_descendants_and_to_nothing_else() -> None:
    family = Taxon.of(["Fictalia", "Fictozoa", "Fictia", "Fictales", "Fictidae"])
    ancestors = Ancestors([family.lineage, TAXA[0].lineage, TAXA[1].lineage])
    related = ancestors.related(np.array([0, 1, 2, 0]))
    assert related is not None
    assert related.tolist() == [
        [False, True, True, False],
        [True, False, False, True],
        [True, False, False, True],
        [False, True, True, False],
    ]
    assert Ancestors([taxon.lineage for taxon in TAXA]).related(np.array([0, 1])) is None


def test_a_prior_is_the_share_of_the_samples() -> None:
    assert np.exp(log_priors(np.array([0, 0, 0, 1]), 2)).tolist() == pytest.approx([0.75, 0.25])

"""Losses against open_clip's, against numbers worked out by hand, and in parts against the whole."""

from __future__ import annotations

import math

import pytest
import torch
from open_clip.loss import ClipLoss, SigLipLoss

from bioclip_training.loop.losses import clip_loss, siglip_loss, taxon_loss

ZERO = torch.zeros(())  # logarithm of the scale: the scale is 1


def features(seed: int, count: int = 12, width: int = 16) -> torch.Tensor:
    drawn = torch.randn(count, width, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(drawn, dim=-1)


def corners() -> tuple[torch.Tensor, torch.Tensor]:
    """Return three images and texts whose products are 1 on the diagonal and 0 elsewhere."""
    return torch.eye(3), torch.eye(3)


def test_the_clip_loss_and_its_gradients_are_those_of_open_clip() -> None:
    log_scale = torch.tensor(math.log(1 / 0.07))
    ours = [value.clone().requires_grad_() for value in (features(1), features(2), log_scale)]
    theirs = [value.clone().requires_grad_() for value in (features(1), features(2), log_scale)]
    loss = clip_loss(*ours)
    reference = ClipLoss()(theirs[0], theirs[1], theirs[2].exp())
    torch.autograd.backward(loss)
    torch.autograd.backward(reference)
    assert loss.item() == pytest.approx(reference.item(), abs=1e-6)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=0, atol=1e-6)


def test_the_siglip_loss_equals_that_of_open_clip_if_all_captions_differ() -> None:
    images, texts, ids = features(1), features(2), torch.arange(12)
    log_scale, bias = torch.tensor(math.log(10.0)), torch.tensor(-10.0)
    loss = siglip_loss(images, texts, log_scale, bias, ids, ids)
    assert loss.item() == pytest.approx(SigLipLoss()(images, texts, log_scale.exp(), bias).item(), abs=1e-6)


def test_the_taxon_loss_is_the_clip_loss_if_all_taxa_and_captions_differ() -> None:
    images, texts, ids, log_scale = features(1), features(2), torch.arange(12), torch.tensor(2.0)
    loss = taxon_loss(images, texts, log_scale, ids, ids + 100)
    assert loss.item() == pytest.approx(clip_loss(images, texts, log_scale).item(), abs=1e-6)


def test_images_and_captions_of_one_taxon_are_equal_positives() -> None:
    images, texts = corners()
    loss = taxon_loss(images, texts, ZERO, torch.tensor([0, 0, 1]), torch.arange(3))
    # Each row of logits is (1, 0, 0) in some order, so the logarithm of its denominator is log(e + 2).
    # The targets of rows 0 and 1 are half their 1 and half a 0, that of row 2 is only its 1.
    whole = math.log(math.e + 2)
    assert loss.item() == pytest.approx((2 * (whole - 0.5) + (whole - 1)) / 3, abs=1e-6)


def test_the_same_caption_of_another_taxon_is_never_a_negative() -> None:
    images, texts = corners()
    loss = taxon_loss(images, texts, ZERO, torch.arange(3), torch.tensor([7, 7, 8]))
    # Rows 0 and 1 keep two columns, 1 and 0; row 2 keeps all three.
    expected = (2 * (math.log(math.e + 1) - 1) + math.log(math.e + 2) - 1) / 3
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_a_true_statement_about_an_image_is_neither_positive_nor_negative() -> None:
    images, texts = corners()
    family_of_the_first = torch.zeros(3, 3, dtype=torch.bool)
    family_of_the_first[0, 2] = True  # caption 2 is right for image 0, too
    loss = taxon_loss(images, texts, ZERO, torch.arange(3), torch.arange(3), related_BB=family_of_the_first)
    two, three = math.log(math.e + 1) - 1, math.log(math.e + 2) - 1
    # Image 0 keeps two texts, and text 2 keeps two images; the four other rows keep three.
    assert loss.item() == pytest.approx(((two + 2 * three) / 3 + (2 * three + two) / 3) / 2, abs=1e-6)


def test_the_logits_of_frequent_taxa_are_raised_in_training_when_an_image_picks() -> None:
    images, texts = corners()
    frequency = torch.tensor([0.5, 0.25, 0.25])
    loss = taxon_loss(images, texts, ZERO, torch.arange(3), torch.arange(3), adjust_B=frequency.log())
    # Row 0: e·0.5 among e·0.5 + 0.25 + 0.25; rows 1 and 2: e·0.25 among e·0.25 + 0.5 + 0.25. Texts pick as before.
    first = -math.log(math.e * 0.5 / (math.e * 0.5 + 0.5))
    other = -math.log(math.e * 0.25 / (math.e * 0.25 + 0.75))
    by_text = math.log(math.e + 2) - 1
    assert loss.item() == pytest.approx(((first + 2 * other) / 3 + by_text) / 2, abs=1e-6)


def test_siglip_takes_one_taxon_as_true_and_leaves_the_same_words_of_another_out() -> None:
    images, texts = corners()
    loss = siglip_loss(images, texts, ZERO, ZERO, torch.tensor([0, 0, 1]), torch.tensor([4, 5, 5]))
    # True pairs: three with product 1, and (0, 1), (1, 0) with product 0. Omitted: (1, 2), (2, 1), of one caption.
    # False: (0, 2), (2, 0), product 0.
    expected = (3 * math.log(1 + math.exp(-1)) + 2 * math.log(2) + 2 * math.log(2)) / 3
    assert loss.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("kind", ["clip", "taxon", "siglip"])
def test_the_mean_of_the_parts_losses_is_the_whole_batchs_and_so_are_the_gradients(kind: str) -> None:
    related = torch.rand(12, 12, generator=torch.Generator().manual_seed(3)) < 0.1
    taxa = torch.tensor([0, 0, 1, 2, 3, 3, 3, 4, 5, 6, 0, 7])
    captions = torch.tensor([0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 8])
    adjust = torch.linspace(-3, 0, 12)

    def losses(parts: list[slice]) -> tuple[float, list[torch.Tensor]]:
        images, texts = features(1).requires_grad_(), features(2).requires_grad_()
        log_scale, bias = torch.tensor(2.0, requires_grad=True), torch.tensor(-5.0, requires_grad=True)
        values = []
        for rows in parts:
            if kind == "clip":
                values.append(clip_loss(images, texts, log_scale, rows=rows))
            elif kind == "taxon":
                values.append(
                    taxon_loss(images, texts, log_scale, taxa, captions, rows=rows, adjust_B=adjust, related_BB=related)
                )
            else:
                values.append(
                    siglip_loss(images, texts, log_scale, bias, taxa, captions, rows=rows, related_BB=related)
                )
        loss = torch.stack(values).mean()
        torch.autograd.backward(loss)
        return loss.item(), [value.grad for value in (images, texts, log_scale) if value.grad is not None]

    whole, whole_gradients = losses([slice(None)])
    parts, part_gradients = losses([slice(0, 4), slice(4, 8), slice(8, 12)])
    assert parts == pytest.approx(whole, abs=1e-6)
    assert len(whole_gradients) == 3
    for one, other in zip(whole_gradients, part_gradients, strict=True):
        assert torch.isfinite(one).all()
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)

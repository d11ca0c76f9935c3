"""The open_clip encoder: features equal open_clip's, shortcuts for texts are exact, and the rest of the process is unchanged."""

from __future__ import annotations

import logging
import pickle
import threading
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ready_processes import run_ready

from bioclip_core import caption_tower
from bioclip_core.device import Compute
from bioclip_core.errors import ModelError, UnsafeWeights
from bioclip_core.models import ModelEntry, find_model
from bioclip_core.open_clip_encoder import OpenClipEncoder, open_encoder

FP32 = Compute("cpu", "fp32", "for the test")
CAPTIONS = [
    "a photo of Acer.",
    "a photo of Plantae Tracheophyta Magnoliopsida Sapindales Sapindaceae Acer palmatum with common name Japanese maple.",
    "a photo of Animalia Chordata Actinopterygii Perciformes Pomacentridae Dascyllus reticulatus.",
    "leaf",
    " ".join(["longer than the context"] * 40),
]


def opened(folder: Path, compute: Compute = FP32) -> OpenClipEncoder:
    encoder = open_encoder(find_model(f"local-dir:{folder}", {}), compute)
    assert isinstance(encoder, OpenClipEncoder)
    return encoder


def plain(folder: Path) -> tuple[Any, Any]:
    """Open the same folder with open_clip itself."""
    import open_clip

    model = open_clip.create_model(f"local-dir:{folder}").eval()
    return model, open_clip.get_tokenizer(f"local-dir:{folder}")


def unit(rows: torch.Tensor) -> np.ndarray[Any, Any]:
    return torch.nn.functional.normalize(rows.float(), dim=-1).numpy()


def noise(count: int, size: int = 32) -> np.ndarray[Any, Any]:
    return np.random.default_rng(3).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def clip(clip_folder: Path) -> OpenClipEncoder:
    return opened(clip_folder)


@pytest.fixture(scope="module")
def plain_clip(clip_folder: Path) -> tuple[Any, Any]:
    return plain(clip_folder)


def test_image_features_are_open_clips_own_rounded_to_float16(clip: OpenClipEncoder, clip_folder: Path) -> None:
    images = noise(5)
    model, _ = plain(clip_folder)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        expected = unit(model.encode_image((pixels - 0.5) / 0.25))
    found = clip.encode_images(images)
    assert found.dtype == np.float16
    assert found.shape == (5, clip.dimension) == (5, 24)
    np.testing.assert_allclose(
        found.astype(np.float32), expected, atol=6e-4
    )  # half a step of float16 below 1 is 2.4e-4


def test_caption_features_are_open_clips_own(clip: OpenClipEncoder, clip_folder: Path) -> None:
    model, tokenizer = plain(clip_folder)
    with torch.no_grad():
        expected = unit(model.encode_text(tokenizer(CAPTIONS)))
    # the first call checks that trimming is exact, later calls use it
    for captions in (CAPTIONS, CAPTIONS[:1], CAPTIONS[::-1]):
        found = clip.encode_texts(captions)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected[[CAPTIONS.index(text) for text in captions]], atol=2e-6)


class Reading:
    """Counter of the tokens that a model's text tower reads."""

    def __init__(self, embedding: torch.nn.Module) -> None:
        self.shapes: list[tuple[int, ...]] = []
        embedding.register_forward_pre_hook(lambda _module, given: self.shapes.append(tuple(given[0].shape)))


def test_beginnings_that_captions_have_in_common_are_computed_once(clip_folder: Path) -> None:
    encoder = opened(clip_folder)
    encoder.encode_texts(["a photo of Acer."])
    reading = Reading(encoder.model.token_embedding)
    encoder.encode_texts(["a photo of Acer.", "leaf"])  # begin, a, photo, of, acer, ., end; leaf, end
    assert reading.shapes == [(9,)]


@settings(max_examples=25, deadline=None)
@given(texts=st.lists(st.text("abx ", max_size=90), min_size=1, max_size=12), most=st.integers(1, 60))
def test_captions_of_any_words_have_open_clips_own_features_however_they_are_shared_out(
    clip: OpenClipEncoder, plain_clip: tuple[Any, Any], texts: list[str], most: int
) -> None:
    model, tokenizer = plain_clip
    with torch.no_grad():
        expected = unit(model.encode_text(tokenizer(texts)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(caption_tower, "_TOKENS_AT_ONCE", most)
        np.testing.assert_allclose(clip.encode_texts(texts), expected, atol=3e-6)


def test_many_captions_at_once_see_their_own_tokens_alone(
    clip: OpenClipEncoder, clip_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    captions = [f"{first} {n} of a leaf" for n in range(60) for first in ("fish", "bird", "moth")]
    model, tokenizer = plain(clip_folder)
    monkeypatch.setattr(caption_tower, "_TOKENS_AT_ONCE", 4096)  # more than the 512 keys that torch computes at once
    with torch.no_grad():
        expected = unit(model.encode_text(tokenizer(captions)))
    np.testing.assert_allclose(clip.encode_texts(captions), expected, atol=3e-6)


def test_a_tower_that_pools_at_a_token_with_a_low_number_is_cut_behind_that_token(clip_folder: Path) -> None:
    encoder = opened(clip_folder)
    model, tokenizer = plain(clip_folder)
    end = int(tokenizer(["leaf"])[0, 1])
    for one in (encoder.model, model):
        one.text_pool_type, one.text_eos_id = "eos", end
    captions = ["a leaf of a moth", "the moth and a leaf", "a leaf", "leaf of a leaf"]
    with torch.no_grad():
        expected = unit(model.encode_text(tokenizer(captions)))
    reading = Reading(encoder.model.token_embedding)
    for _ in range(2):
        np.testing.assert_allclose(encoder.encode_texts(captions), expected, atol=2e-6)
    assert reading.shapes[-1] == (9,)  # begin, a, leaf; leaf; the, moth, and, a, leaf


def test_captions_have_the_same_features_on_any_number_of_cores(clip: OpenClipEncoder) -> None:
    captions = [f"a photo of a leaf with {n} teeth" for n in range(400)]
    found, before = [], torch.get_num_threads()
    for threads in (2, 3):
        torch.set_num_threads(threads)
        try:
            found.append(clip.encode_texts(captions))
        finally:
            torch.set_num_threads(before)
    np.testing.assert_array_equal(*found)


def test_the_batch_that_proves_the_trimming_has_the_features_of_later_batches(clip_folder: Path) -> None:
    captions = [f"a photo of Acer number {n}." for n in range(40)]
    encoder = opened(clip_folder)
    first, second = encoder.encode_texts(captions), encoder.encode_texts(captions)
    np.testing.assert_array_equal(first, second)  # otherwise a resumed build would differ from an uninterrupted one


def test_captions_in_bf16_are_cut_as_in_fp32_and_point_the_same_way(clip_folder: Path) -> None:
    encoder = opened(clip_folder, replace(FP32, text_precision="bf16"))
    expected = opened(clip_folder).encode_texts(CAPTIONS[:1])
    reading = Reading(encoder.model.token_embedding)
    first, second = encoder.encode_texts(CAPTIONS[:1]), encoder.encode_texts(CAPTIONS[:1])
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, expected)
    assert float((first * expected).sum()) > 0.999
    assert reading.shapes[-1] < (77,)
    assert encoder.model.token_embedding.weight.dtype == torch.float32


def test_a_text_tower_that_is_not_causal_reads_every_token(siglip_folder: Path) -> None:
    encoder = opened(siglip_folder)
    reading = Reading(encoder.model.text.token_embedding)
    model, tokenizer = plain(siglip_folder)
    for captions in (CAPTIONS, CAPTIONS[:1]):
        with torch.no_grad():
            expected = unit(model.encode_text(tokenizer(captions)))
        np.testing.assert_allclose(encoder.encode_texts(captions), expected, atol=1e-6)
    assert {width for _, width in reading.shapes} == {32}


def test_a_clip_whose_mask_was_taken_away_fails_the_proof_and_is_not_trimmed(clip_folder: Path) -> None:
    encoder = opened(clip_folder)
    encoder.model.attn_mask = torch.zeros_like(encoder.model.attn_mask)  # the mask exists, but hides no tokens
    model, tokenizer = plain(clip_folder)
    model.attn_mask = torch.zeros_like(model.attn_mask)
    for _ in range(2):
        with torch.no_grad():
            expected = unit(model.encode_text(tokenizer(CAPTIONS[:1])))
        np.testing.assert_allclose(encoder.encode_texts(CAPTIONS[:1]), expected, atol=1e-6)


def test_identical_captions_are_encoded_once_and_answered_each(clip_folder: Path) -> None:
    encoder = opened(clip_folder)
    reading = Reading(encoder.model.token_embedding)
    found = encoder.encode_texts(["leaf", "fish", "leaf", "leaf"])
    assert reading.shapes[0][0] == 2  # the proof
    assert reading.shapes[-1] == (5,)  # begin, fish, end, leaf, end
    np.testing.assert_array_equal(found[[0, 0]], found[2:])
    assert not np.allclose(found[0], found[1])


def test_many_captions_are_encoded_in_batches_that_fit_in_memory(clip_folder: Path) -> None:
    encoder = opened(clip_folder)
    encoder.encode_texts(["leaf"])
    reading = Reading(encoder.model.token_embedding)
    found = encoder.encode_texts([f"leaf {n}" for n in range(600)])
    assert len(reading.shapes) > 1
    assert max(tokens for (tokens,) in reading.shapes) < 400
    np.testing.assert_allclose(found[599], encoder.encode_texts(["leaf 599"])[0], atol=2e-6)


def test_no_captions_and_no_images_are_no_features(clip: OpenClipEncoder) -> None:
    assert clip.encode_texts([]).shape == (0, 24)
    assert clip.encode_images(noise(0)).shape == (0, 24)


def test_scale_and_bias_are_the_models_own(clip: OpenClipEncoder, siglip_folder: Path) -> None:
    assert clip.logit_scale == pytest.approx(1 / 0.07, rel=1e-6)  # open_clip's initial value
    assert clip.logit_bias == 0
    assert opened(siglip_folder).logit_bias == -10


def test_bf16_on_the_processor_stays_close_to_fp32(clip: OpenClipEncoder, clip_folder: Path) -> None:
    in_bf16 = opened(clip_folder, Compute("cpu", "bf16", "for the test"))
    images = noise(16)
    one, other = (e.encode_images(images).astype(np.float64) for e in (clip, in_bf16))
    cosines = (one * other).sum(axis=1) / (np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1))
    assert cosines.min() > 0.999  # bf16 has 8 bits, so each number is right to 0.4%
    assert not np.array_equal(one, other)
    # texts stay in fp32
    np.testing.assert_allclose(in_bf16.encode_texts(CAPTIONS), clip.encode_texts(CAPTIONS), atol=2e-6)


def test_threads_that_share_an_encoder_get_the_same_as_alone(clip: OpenClipEncoder) -> None:
    batches = [noise(8)[n : n + 3] for n in range(5)]
    alone = [clip.encode_images(batch) for batch in batches]
    found: dict[int, Any] = {}
    threads = [threading.Thread(target=lambda n=n: found.update({n: clip.encode_images(batches[n])})) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for n in range(5):
        np.testing.assert_array_equal(found[n], alone[n])


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_batch_that_is_shared_out_among_the_cores_has_the_features_of_each_image_in_order(
    clip_folder: Path, precision: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bioclip_core import open_clip_encoder

    encoder, least = opened(clip_folder, Compute("cpu", precision, "test")), open_clip_encoder._LEAST_PER_CORE
    monkeypatch.setattr(open_clip_encoder, "threads_on", lambda _device: 2)
    threads = torch.get_num_threads()
    for count in (1, 7, 8, 19):
        images = noise(count)
        monkeypatch.setattr(open_clip_encoder, "_LEAST_PER_CORE", least)
        shared = encoder.encode_images(images)
        assert torch.get_num_threads() == threads
        monkeypatch.setattr(open_clip_encoder, "_LEAST_PER_CORE", 1_000)
        whole = encoder.encode_images(images)
        assert shared.shape == whole.shape
        # Another number of rows may round the last bits otherwise.
        np.testing.assert_allclose(
            shared.astype(np.float32), whole.astype(np.float32), atol=1e-3 if precision == "fp32" else 1e-2
        )


def test_opening_a_model_leaves_the_hosts_logging_threads_and_warnings_alone(
    clip_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = logging.getLogger()
    before = (list(root.handlers), list(root.filters), root.level, torch.get_num_threads(), list(warnings.filters))
    random_state = torch.random.get_rng_state()
    with caplog.at_level(logging.DEBUG):
        handlers_within = list(root.handlers)
        opened(clip_folder).encode_texts(["leaf"])
        assert list(root.handlers) == handlers_within
    after = (list(root.handlers), list(root.filters), root.level, torch.get_num_threads(), list(warnings.filters))
    assert after == before
    assert torch.equal(torch.random.get_rng_state(), random_state)
    assert {record.name for record in caplog.records if record.levelno >= logging.INFO} <= {"bioclip_plugin.encoder"}


AS_A_HOST = """
import logging, sys, warnings
import torch, open_clip
threads, filters = torch.get_num_threads(), list(warnings.filters)
assert logging.getLogger().handlers == []
from bioclip_core.device import Compute
from bioclip_core.open_clip_encoder import open_encoder
from bioclip_core.models import find_model
open_encoder(find_model(f"local-dir:{sys.argv[1]}", {}), Compute("cpu", "fp32", "test")).encode_texts(["leaf"])
assert logging.getLogger().handlers == [], logging.getLogger().handlers
assert logging.getLogger().filters == []
assert torch.get_num_threads() == threads
assert list(warnings.filters) == filters
"""


def test_opening_a_model_in_a_host_without_logging_leaves_no_handler_and_says_nothing(clip_folder: Path) -> None:
    """It runs in its own process: under pytest the root logger already has handlers, so open_clip would not add one."""
    done = run_ready(AS_A_HOST, str(clip_folder))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


class RunsCode:
    def __init__(self, touched: Path) -> None:
        self.touched = touched

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.touched,)


@pytest.mark.parametrize("written_by", ["pickle", "torch"])
def test_weights_that_want_to_run_code_are_refused_and_do_not_run_it(
    written_by: str, clip_folder: Path, tmp_path: Path
) -> None:
    trap = {"logit_scale": RunsCode(tmp_path / "touched")}
    weights = tmp_path / "open_clip_pytorch_model.bin"
    if written_by == "torch":
        torch.save(trap, weights)
    else:
        weights.write_bytes(pickle.dumps(trap, protocol=2))
    (tmp_path / "open_clip_config.json").write_bytes((clip_folder / "open_clip_config.json").read_bytes())
    with pytest.raises(UnsafeWeights, match=r"run code.*safetensors") as refusal:
        opened(tmp_path)
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize("content", [b"", b"this is no weight file", b"PK\x03\x04 and then nothing", b"\x80\x02}q\x00"])
@pytest.mark.parametrize("name", ["open_clip_pytorch_model.bin", "open_clip_model.safetensors"])
def test_a_damaged_weight_file_is_called_damaged_and_not_dangerous(
    content: bytes, name: str, clip_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    (tmp_path / "open_clip_config.json").write_bytes((clip_folder / "open_clip_config.json").read_bytes())
    with pytest.raises(ModelError, match="cannot be loaded") as failure:
        opened(tmp_path)
    assert not isinstance(failure.value, UnsafeWeights)
    assert "\n" not in str(failure.value)


def test_weights_of_another_architecture_are_one_readable_line(
    siglip_folder: Path, clip_folder: Path, tmp_path: Path
) -> None:
    name = "open_clip_model.safetensors"
    (tmp_path / name).write_bytes((siglip_folder / name).read_bytes())
    (tmp_path / "open_clip_config.json").write_bytes((clip_folder / "open_clip_config.json").read_bytes())
    with pytest.raises(ModelError, match=name) as failure:
        opened(tmp_path)
    assert "\n" not in str(failure.value)


def test_a_plugins_own_encoder_is_opened_by_the_plugin_on_the_device_that_was_chosen() -> None:
    from bioclip_plugin.testing import FakeEncoder

    fake = FakeEncoder("own")
    asked: list[Compute] = []

    def open_own(compute: Compute) -> FakeEncoder:
        asked.append(compute)
        return fake

    found = find_model("own", {"own": ModelEntry("own", "own", open_encoder=open_own)})
    assert open_encoder(found, FP32) is fake
    assert asked == [FP32]
    assert found.identity() == fake.identity

"""Runtimes of the image tower: OpenVINO gives torch's features, the choice between them, and int8 models in the cache."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ready_processes import run_ready

from bioclip_core.acceleration import runtime_choice as choosing
from bioclip_core.acceleration.measuring import rates_of
from bioclip_core.acceleration.runtime_choice import choose_runtime, why_not_int8
from bioclip_core.device import RUNTIME_VARIABLE, Compute
from bioclip_core.errors import ModelError, UsageError
from bioclip_core.models import FoundModel, ModelEntry, find_model
from bioclip_core.open_clip_encoder import OpenClipEncoder
from bioclip_core.preprocessing import preprocessing_of
from bioclip_core.runtimes import library, openvino_tower
from bioclip_core.runtimes.quantised import (
    MODEL,
    RECORD,
    WEIGHTS,
    Agreement,
    Quantised,
    find_quantised,
    keeping_quantised,
    quantised_file,
    quantised_folder,
    record_of,
    write_record,
)

FP32 = Compute("cpu", "fp32", "for the test")
BF16 = replace(FP32, precision="bf16")


def noise(count: int, size: int = 32) -> np.ndarray[Any, Any]:
    return np.random.default_rng(3).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


@pytest.fixture
def found(clip_folder: Path) -> FoundModel:
    return find_model(f"local-dir:{clip_folder}", {})


@pytest.fixture(autouse=True)
def no_preset(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(RUNTIME_VARIABLE, raising=False)
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    monkeypatch.setenv("BIOCLIP_CACHE", str(tmp_path / "cache"))


def test_the_hosts_default_type_and_device_do_not_reach_a_conversion(found: FoundModel) -> None:
    expected = OpenClipEncoder(found, replace(FP32, runtime="openvino")).encode_images(noise(1))
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    try:
        got = OpenClipEncoder(found, replace(FP32, runtime="openvino")).encode_images(noise(1))
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)
    np.testing.assert_array_equal(got, expected)


def test_openvino_gives_the_features_of_torch_for_batches_of_any_size(found: FoundModel) -> None:
    plain = OpenClipEncoder(found, FP32)
    exact = OpenClipEncoder(found, replace(FP32, runtime="openvino"))
    for count in (1, 5):
        expected = plain.encode_images(noise(count)).astype(np.float32)
        # One step of float16 for numbers below 1.
        np.testing.assert_allclose(exact.encode_images(noise(count)).astype(np.float32), expected, atol=2**-10)
    assert exact.encode_images(noise(0)).shape == (0, plain.dimension)
    half = OpenClipEncoder(found, replace(BF16, runtime="openvino")).encode_images(noise(5)).astype(np.float32)
    assert (half * expected).sum(axis=1).min() > 0.99
    np.testing.assert_array_equal(exact.encode_texts(["leaf"]), plain.encode_texts(["leaf"]))


GUEST = """
import logging, os, sys, threading, warnings
shown = []
warnings.showwarning = lambda *found: shown.append(str(found[0]))
warnings.simplefilter("always")
import sympy, torch  # torch imports it late, and it sets a filter for its own warnings
before = dict(os.environ), list(logging.root.handlers), logging.root.level, torch.get_num_threads(), torch.matmul
from bioclip_core.device import Compute
from bioclip_core.models import find_model
from bioclip_core.open_clip_encoder import OpenClipEncoder
from bioclip_core.preprocessing import preprocessing_of
import numpy as np
found = find_model(f"local-dir:{sys.argv[1]}", {})
shown.clear()
warnings.resetwarnings()
warnings.simplefilter("always")
filters = list(warnings.filters)
encoder = OpenClipEncoder(found, Compute("cpu", "fp32", "", "openvino"))
encoder.encode_images(np.zeros((1, 32, 32, 3), np.uint8))
assert "openvino" in sys.modules
assert not [name for name in sys.modules if name.startswith("openvino_telemetry")], "statistics"
assert not [t.name for t in threading.enumerate() if t is not threading.main_thread()], threading.enumerate()
after = dict(os.environ), list(logging.root.handlers), logging.root.level, torch.get_num_threads(), torch.matmul
assert after == before
assert not shown, shown
assert warnings.filters == filters
import openvino_telemetry
"""


def test_openvino_is_a_guest_that_sends_no_statistics_and_leaves_the_process_as_it_was(clip_folder: Path) -> None:
    """It reports its import in a thread by default (openvinotoolkit/openvino#23832)."""
    done = run_ready(GUEST, str(clip_folder))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_conversion_with_other_features_is_refused_and_torch_works_instead(
    found: FoundModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(openvino_tower, "_LEAST_COSINE", {"fp32": 1.1})
    with caplog.at_level(logging.WARNING):
        assert choose_runtime(found, FP32, "openvino") == (FP32, None)
    assert "OpenVINO gives other features than torch in fp32" in caplog.text
    assert "torch encodes instead, in fp32" in caplog.text


def test_a_runtime_that_fails_in_the_driver_is_one_line_and_torch_works_instead(
    found: FoundModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails() -> Any:
        raise RuntimeError("[CPU] no plugin\nsecond line")

    monkeypatch.setattr(openvino_tower, "openvino", fails)
    with caplog.at_level(logging.INFO):
        assert choose_runtime(found, FP32, "openvino") == (FP32, None)
        assert choose_runtime(found, FP32)[0] == FP32
    (asked, _, measured) = caplog.messages
    assert asked == "OpenVINO cannot run this model: [CPU] no plugin: torch encodes instead, in fp32"
    assert "here and in later runs" in measured


OWN = FoundModel(
    "remote", "remote", "", "w", preprocessing_of(8),
    entry=ModelEntry("remote", "remote", open_encoder=lambda _compute: None),  # type: ignore[arg-type, return-value]
)  # fmt: skip


@pytest.mark.parametrize(
    ("model", "compute", "installed", "line"),
    [
        (None, FP32, False, "OpenVINO is not installed (pip install"),
        (None, replace(FP32, device="cuda"), True, "OpenVINO runs on the CPU here, and the device is cuda"),
        (None, replace(FP32, precision="fp16"), True, "OpenVINO has no fp16 on the CPU"),
        (
            OWN,
            FP32,
            True,
            "the model remote has an encoder of its own, to which runtimes do not apply: it encodes as ever",
        ),
    ],
)
def test_a_runtime_that_is_asked_for_and_not_possible_is_one_line(
    model: FoundModel | None, compute: Compute, installed: bool, line: str, found: FoundModel,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr(choosing, "has_openvino", lambda: installed)
    with caplog.at_level(logging.INFO):
        assert choose_runtime(model or found, compute) == (compute, None)
        assert caplog.messages == []  # nobody asked
        assert choose_runtime(model or found, compute, "openvino") == (compute, None)
    (said,) = caplog.messages
    assert line in said


class Opened:
    """Stands for an opened encoder."""

    def __init__(self, _found: FoundModel, compute: Compute) -> None:
        self.compute = compute

    def encode_images(self, images: Any) -> Any:
        return images


@pytest.mark.parametrize(("openvino", "chosen"), [(1.05, "torch"), (1.5, "openvino"), (0.5, "torch")])
def test_the_faster_runtime_is_measured_once_and_remembered_for_the_model_and_machine(
    openvino: float, chosen: str, found: FoundModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    measured: list[set[str]] = []

    def rates(ways: dict[str, Callable[..., Any]], _size: int) -> dict[str, float]:
        measured.append(set(ways))
        return {"torch": 1.0, "openvino": openvino}

    monkeypatch.setattr(choosing, "OpenClipEncoder", Opened)
    monkeypatch.setattr(choosing, "rates_of", rates)
    with caplog.at_level(logging.INFO):
        compute, encoder = choose_runtime(found, BF16)
    assert compute.runtime == chosen
    assert isinstance(encoder, Opened)
    assert encoder.compute.runtime == chosen  # the one that was measured is used
    assert [line for line in caplog.messages if line.startswith("Measured")]
    assert choose_runtime(found, BF16)[0].runtime == chosen
    assert measured == [{"torch", "openvino"}]
    choose_runtime(replace(found, weights_sha256="other"), BF16)
    choose_runtime(found, FP32)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")  # as another machine
    choose_runtime(found, BF16)
    assert len(measured) == 4


def test_rates_that_cannot_be_kept_or_read_are_measured_again_and_reported(
    found: FoundModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setattr(choosing, "OpenClipEncoder", Opened)
    monkeypatch.setattr(choosing, "rates_of", lambda _ways, _size: {"torch": 1.0, "openvino": 2.0})
    choose_runtime(found, BF16)
    book = tmp_path / "cache" / "runtimes.json"
    (key,) = json.loads(book.read_text())
    assert caplog.messages == []
    for damaged in ({"torch": 0, "openvino": 0}, {"torch": 1.0}, {"torch": float("nan"), "openvino": 1.0}, [], None):
        book.write_text(json.dumps({key: damaged}))
        assert choose_runtime(found, BF16)[0].runtime == "openvino"
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BIOCLIP_CACHE", str(tmp_path / "file"))
    assert choose_runtime(found, BF16)[0].runtime == "openvino"
    (line,) = caplog.messages
    assert line.startswith(
        f"The rates cannot be kept in {tmp_path / 'file' / 'runtimes.json'}, so the next run measures"
    )


def test_openvino_is_not_tried_where_memory_is_short(
    found: FoundModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(choosing, "available_bytes", lambda: 1000)
    with caplog.at_level(logging.INFO):
        assert choose_runtime(found, FP32) == (FP32, None)
    assert caplog.messages == ["Memory is short, so OpenVINO is not tried this time; torch encodes, in fp32"]


def test_the_runtime_of_the_environment_is_used_and_nothing_is_measured(
    found: FoundModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing, "OpenClipEncoder", Opened)
    monkeypatch.setenv(RUNTIME_VARIABLE, "torch")
    assert choose_runtime(found, BF16) == (BF16, None)
    assert choose_runtime(found, BF16, "openvino")[0].runtime == "openvino"
    monkeypatch.setenv(RUNTIME_VARIABLE, "OpenVINO")
    assert choose_runtime(found, BF16)[0].runtime == "openvino"
    assert choose_runtime(found, BF16, recorded="torch")[0].runtime == "torch"
    monkeypatch.setenv(RUNTIME_VARIABLE, "tensorrt")
    with pytest.raises(UsageError, match="BIOCLIP_RUNTIME 'tensorrt': allowed are auto, torch, openvino"):
        choose_runtime(found, BF16)


def test_rates_are_medians_of_rounds_taken_in_turn() -> None:
    order: list[str] = []
    ways: dict[str, Callable[..., Any]] = {name: lambda _, name=name: order.append(name) for name in "ab"}
    assert set(rates_of(ways, 8)) == {"a", "b"}
    assert order[-4:] == ["a", "b", "a", "b"]


@pytest.mark.parametrize(
    ("flags", "limit", "has"),
    [
        ("fpu avx2 avx512_vnni", "", True), ("fpu avx2 avx_vnni", "", True), ("fpu avx2 avx512f", "", False),
        ("asimd i8mm", "", True), ("fpu avx2 avx512_vnni", "AVX2", False), ("fpu avx2 avx512_vnni", "avx512_core", False),
        ("fpu avx2 avx512_vnni", "AVX2_VNNI", True),
    ],
)  # fmt: skip
def test_int8_needs_a_processor_that_sums_its_products(
    flags: str, limit: str, has: bool, found: FoundModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without VNNI sums saturate, and features are others than elsewhere (microsoft/onnxruntime#6004)."""
    monkeypatch.setattr(library, "_units", lambda: frozenset(flags.split()))
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert library.multiplies_int8() is has
    assert ("VNNI" in why_not_int8(found, "cpu")) is not has


def kept(found: FoundModel, **changed: Any) -> Quantised:
    """Put an int8 model into the cache, of two files that are none."""
    with keeping_quantised(found) as folder:
        (folder / MODEL).write_text("<net/>")
        (folder / WEIGHTS).write_bytes(b"weights")
        record = replace(record_of(found, folder, 8, "2026-01-02"), **changed)
        write_record(folder, record)
    return record


def test_an_int8_model_in_the_cache_is_found_with_its_agreement(found: FoundModel) -> None:
    assert find_quantised(found) == (None, "")
    record = kept(found, agreement=Agreement(8, 0.97, 0.9912345, "labels", {"species": 0.875}))
    assert find_quantised(found) == (record, "")
    assert record.described() == (
        "int8 model calibrated on 8 images on 2026-01-02: on 8 images, cosine to fp32 at least 0.9700, 0.9912 on average; "
        "same species for 87.5%"
    )
    assert quantised_file(found, record.sha256).name == MODEL


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"weights_sha256": "0" * 64}, "it was made from another checkpoint (weights 000000000000, here "),
        ({"preprocessing": {"size": 1}}, "it was made with another preprocessing"),
        ({"config": "other"}, "it was made with another config of the model"),
        ({"openvino": "2024.1.0"}, "it was made with openvino 2024.1.0, here is "),
        ({"nncf": "1.0"}, "it was made with nncf 1.0, here is "),
        ({"format_version": 99}, "it has format 99, this version uses 1"),
        ({"sha256": "0" * 64}, "its files are not those that were made"),
    ],
)
def test_an_int8_model_of_something_else_is_not_used_and_the_reason_is_given(
    changed: dict[str, Any], reason: str, found: FoundModel
) -> None:
    record = kept(found, **changed)
    none, said = find_quantised(found)
    assert none is None
    assert reason in said
    with pytest.raises(ModelError, match=r"is not in .* any more: it"):
        quantised_file(found, record.sha256)


def test_a_damaged_record_or_file_of_an_int8_model_is_a_reason_too(found: FoundModel) -> None:
    kept(found)
    (quantised_folder(found) / WEIGHTS).unlink()
    assert "its files cannot be read" in find_quantised(found)[1]
    kept(found)
    (quantised_folder(found) / RECORD).write_text(json.dumps({"format_version": "one"}))
    assert "its record is damaged" in find_quantised(found)[1]
    kept(found)
    (quantised_folder(found) / RECORD).write_text('{"format_')
    assert "its record is damaged" in find_quantised(found)[1]

"""Runtimes and int8 models in words: the reason, or what was measured on this machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bioclip_core.acceleration import describing
from bioclip_core.acceleration import runtime_choice as choosing
from bioclip_core.acceleration.describing import int8_described, runtime_described
from bioclip_core.device import RUNTIME_VARIABLE, Compute
from bioclip_core.models import FoundModel
from bioclip_core.preprocessing import preprocessing_of
from bioclip_core.runtimes import library
from bioclip_core.runtimes.quantised import MODEL, WEIGHTS, Agreement, keeping_quantised, record_of, write_record

BF16 = Compute("cpu", "bf16", "for the test")
FOUND = FoundModel("mine", "mine", "", "w", preprocessing_of(32))


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BIOCLIP_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(RUNTIME_VARIABLE, raising=False)
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    monkeypatch.setattr(library, "_units", lambda: frozenset({"avx512_vnni"}))
    monkeypatch.setattr(choosing, "has_openvino", lambda: True)
    monkeypatch.setattr(choosing, "has_nncf", lambda: True)


@pytest.mark.parametrize(
    ("rates", "said"),
    [
        (None, "torch or openvino, the faster one: the first run measures both on this machine"),
        ((10.0, 12.0), "openvino (measured in bf16: 10.0 images/s with torch, 12.0 with OpenVINO)"),
        ((10.0, 10.5), "torch (measured in bf16: 10.0 images/s with torch, 10.5 with OpenVINO)"),
        ((1.0, 0.0), "torch (OpenVINO could not run this model here)"),
    ],
)
def test_a_runtime_is_described_by_what_was_measured(
    rates: tuple[float, float] | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = None if rates is None else dict(zip(("torch", "openvino"), rates, strict=True))
    monkeypatch.setattr(describing, "kept_rates", lambda _found, _compute: kept)
    assert runtime_described(FOUND, BF16) == said


def test_a_runtime_that_is_set_or_not_possible_is_described_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    assert runtime_described(FOUND, replace(BF16, device="cuda")) == (
        "torch (OpenVINO runs on the CPU here, and the device is cuda)"
    )
    monkeypatch.setenv(RUNTIME_VARIABLE, "openvino")
    assert runtime_described(FOUND, BF16) == "openvino (set by BIOCLIP_RUNTIME)"
    monkeypatch.setattr(choosing, "has_openvino", lambda: False)
    assert runtime_described(FOUND, BF16).startswith("torch (OpenVINO is not installed")


def test_an_int8_model_is_described_with_its_agreement_and_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    assert int8_described(FOUND, "cpu") == "none in the cache; made from your images by --precision int8"
    with keeping_quantised(FOUND) as folder:
        (folder / MODEL).write_text("<net/>")
        (folder / WEIGHTS).write_bytes(b"weights")
        record = record_of(FOUND, folder, 8, "2026-01-02")
        record = replace(record, agreement=Agreement(8, 0.97, 0.99), rates={"int8": 3.0, "other": 2.0})
        write_record(folder, record)
    said = int8_described(FOUND, "cpu")
    assert said.startswith("int8 model calibrated on 8 images on 2026-01-02: on 8 images, cosine to fp32 at least 0.97")
    assert "; 3.0 images/s, 2.0 without (" in said
    monkeypatch.setattr(library, "_units", lambda: frozenset({"avx2"}))
    assert int8_described(FOUND, "cpu").startswith("not used here: this processor has no sums of int8 products")
    monkeypatch.setattr(library, "_units", lambda: frozenset({"avx512_vnni"}))
    monkeypatch.setattr(choosing, "has_nncf", lambda: False)
    (folder.parent / "x").mkdir()
    other = replace(FOUND, weights_sha256="other")
    assert int8_described(other, "cpu").startswith("none in the cache; not possible: NNCF")

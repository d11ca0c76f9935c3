"""Choice of device and precision, and its stated reason."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bioclip_core import device as device_module
from bioclip_core.device import PRECISION_VARIABLE, PRECISIONS, choose_compute, cpu_multiplies_bf16
from bioclip_core.errors import UsageError


@pytest.fixture(autouse=True)
def nothing_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the precision that these tests were started with from deciding them."""
    monkeypatch.delenv(PRECISION_VARIABLE, raising=False)


def test_a_processor_computes_in_bf16_only_with_native_multiplication() -> None:
    compute = choose_compute("cpu")
    native = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    assert compute.device == "cpu"
    assert compute.precision == ("bf16" if native else "fp32")
    assert ("this CPU has" if native else "this CPU has neither") in compute.reason
    assert compute.described() == f"cpu, {compute.precision} ({compute.reason})"


@pytest.mark.parametrize(
    ("amx", "avx512", "precision", "reason"),
    [(True, True, "bf16", "this CPU has AMX"), (False, True, "bf16", "this CPU has AVX512-bf16"),
     (False, False, "fp32", "this CPU has neither AMX nor AVX512-bf16")],
)  # fmt: skip
def test_the_processors_units_decide(
    amx: bool, avx512: bool, precision: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    compute = choose_compute("cpu")
    assert (compute.precision, compute.reason) == (precision, reason)


@pytest.mark.parametrize("variable", ["ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"])
def test_a_limit_of_the_instruction_set_leaves_bf16_only_where_it_is_native(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under AVX2 a linear layer took four times as long in bf16 as in fp32."""
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    for limit, precision in (
        ("avx2", "fp32"),
        ("AVX512_CORE_VNNI", "fp32"),
        ("AVX512_CORE_BF16", "bf16"),
        ("", "bf16"),
    ):
        monkeypatch.setenv(variable, limit)
        compute = choose_compute("cpu")
        assert compute.precision == precision
        assert (f"limited to {limit.upper()}" in compute.reason) == (precision == "fp32")
        assert cpu_multiplies_bf16() == (precision == "bf16")


def test_the_precision_of_an_earlier_run_is_kept_and_a_request_goes_before_it() -> None:
    for recorded in PRECISIONS:
        compute = choose_compute("cpu", recorded=recorded)
        assert (compute.precision, compute.reason) == (recorded, "as recorded by an earlier run in this store")
    asked = choose_compute("cpu", "fp32", recorded="bf16")
    assert (asked.precision, asked.reason) == ("fp32", "as requested")


@pytest.mark.parametrize("preset", ["fp32", "bf16"])
def test_the_environment_sets_the_precision_of_a_process(preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIOCLIP_PRECISION", preset)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: preset == "fp32")
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: preset == "fp32")
    assert choose_compute("cpu").described() == f"cpu, {preset} (BIOCLIP_PRECISION is set)"


def test_a_request_and_an_earlier_run_go_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIOCLIP_PRECISION", "bf16")
    assert choose_compute("cpu", "fp32").described() == "cpu, fp32 (as requested)"
    kept = choose_compute("cpu", recorded="fp32")
    assert kept.precision == "fp32"
    assert kept.reason == "as recorded by an earlier run in this store, not BIOCLIP_PRECISION=bf16"
    assert choose_compute("cpu", recorded="bf16").reason == "as recorded by an earlier run in this store"


@pytest.mark.parametrize("preset", ["", " ", "auto", "AUTO"])
def test_an_empty_or_automatic_preset_leaves_the_choice_to_the_device(
    preset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    undecided = choose_compute("cpu")
    monkeypatch.setenv("BIOCLIP_PRECISION", preset)
    assert choose_compute("cpu") == undecided


def test_a_wrong_preset_is_refused_with_the_allowed_words_unless_a_precision_is_requested(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BIOCLIP_PRECISION", "half")
    with pytest.raises(UsageError, match="BIOCLIP_PRECISION 'half': allowed are auto, fp32, bf16, fp16"):
        choose_compute("cpu")
    assert choose_compute("cpu", "bf16").precision == "bf16"


def test_auto_takes_the_accelerator_if_there_is_one() -> None:
    expected = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert choose_compute("auto").device == expected


def test_an_unknown_precision_lists_the_allowed_ones() -> None:
    with pytest.raises(UsageError, match="precision 'fp8': allowed are auto, fp32, bf16, fp16"):
        choose_compute("cpu", "fp8")


@pytest.mark.parametrize("device", ["", "gpu", "cpu:x", "tpu:0:0"])
def test_a_malformed_device_lists_the_allowed_forms(device: str) -> None:
    with pytest.raises(UsageError, match="allowed are auto, cpu, cuda, cuda:N and mps"):
        choose_compute(device)


@pytest.mark.parametrize("device", ["meta", "xpu", "cuda:99"])
def test_a_missing_device_lists_those_of_this_machine(device: str) -> None:
    with pytest.raises(UsageError, match=r"is not available.*this machine has.*(cpu|cuda:0)"):
        choose_compute(device)


def test_the_processor_has_one_name() -> None:
    assert choose_compute("cpu:0").device == "cpu"  # other code compares the device with the word "cpu"


@pytest.mark.parametrize(
    "fault",
    [
        "CUDA error: no kernel image is available for execution on the device",
        "CUDA error: all CUDA-capable devices are busy or unavailable\nCUDA kernel errors might be reported elsewhere",
    ],
)
def test_a_gpu_that_does_not_compute_is_left_for_the_cpu_with_one_line_and_refused_if_it_was_asked_for(
    fault: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """torch says that such a GPU is available."""
    ones = torch.ones

    def failing(*given: Any, device: str = "cpu", **named: Any) -> torch.Tensor:
        if device.startswith("cuda"):
            raise RuntimeError(fault)
        return ones(*given, device=device, **named)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "ones", failing)
    line = fault.partition("\n")[0]
    assert choose_compute("auto").device == "cpu"
    assert [record.getMessage() for record in caplog.records] == [
        f"cuda does not compute ({line}); the CPU is used instead"
    ]
    with pytest.raises(UsageError, match=r"does not compute.*--device cpu"):
        choose_compute("cuda")


@pytest.mark.parametrize(("hidden", "lines"), [(None, 1), ("0", 1), ("", 0), ("-1", 0)])
def test_a_driver_that_torch_cannot_use_is_said_once_unless_the_gpu_is_hidden_on_purpose(
    hidden: str | None, lines: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A driver that is older than torch's CUDA is the usual reason; torch then says that there is no GPU."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if hidden is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(device_module, "has_nvidia_driver", lambda: True)
    device_module._say_unused_driver.cache_clear()
    for _ in range(2):
        choose_compute("auto")
    device_module._say_unused_driver.cache_clear()
    assert len(caplog.records) == lines
    assert all("torch cannot use it (this torch needs one for CUDA 13.0)" in r.getMessage() for r in caplog.records)

"""Converted image towers in the cache: made once, read with the same features, and made again whenever anything is wrong."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bioclip_core.acceleration import runtime_choice as choosing
from bioclip_core.acceleration.runtime_choice import choose_runtime
from bioclip_core.device import Compute
from bioclip_core.models import FoundModel, find_model
from bioclip_core.open_clip_encoder import OpenClipEncoder
from bioclip_core.runtimes import converted, openvino_tower
from bioclip_core.runtimes.converted import MODEL, RECORD, WEIGHTS, converted_folder, find_converted

FP32 = Compute("cpu", "fp32", "for the test", "openvino")
IMAGES = np.random.default_rng(3).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)


@pytest.fixture
def found(clip_folder: Path) -> FoundModel:
    return find_model(f"local-dir:{clip_folder}", {})


@pytest.fixture(autouse=True)
def conversions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> list[Any]:
    """Return one entry per conversion."""
    monkeypatch.setenv("BIOCLIP_CACHE", str(tmp_path / "cache"))
    made: list[Any] = []
    convert = openvino_tower._converted
    monkeypatch.setattr(openvino_tower, "_converted", lambda tower: made.append(tower) or convert(tower))
    caplog.set_level(logging.INFO)
    return made


def another(found: FoundModel, name: str) -> FoundModel:
    """Return a model that counts as another one."""
    return replace(found, config={**found.config, "name": name})


def kept(found: FoundModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a converted model into the cache, of two files that are none."""

    def write(_model: Any, file: Path) -> None:
        file.write_text("<net/>")
        file.with_suffix(".bin").write_bytes(bytes(1000))

    with monkeypatch.context() as patched:
        patched.setattr(converted, "save_model", write)
        patched.setattr(converted, "check_readable", lambda _: None)
        converted._keep(found, None, np.ones((3, 4), np.float32))


def encoded(found: FoundModel, compute: Compute = FP32) -> Any:
    return OpenClipEncoder(found, compute).encode_images(IMAGES)


def test_a_model_is_converted_once_for_both_precisions_and_read_with_the_same_features(
    found: FoundModel, conversions: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    first = encoded(found)
    np.testing.assert_array_equal(encoded(found), first)
    bf16 = replace(FP32, precision="bf16")
    kept = encoded(found, bf16)
    assert len(conversions) == 1
    shutil.rmtree(converted_folder(found))
    np.testing.assert_array_equal(encoded(found, bf16), kept)
    assert len(conversions) == 2
    assert caplog.messages == []


def _flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0xFF
    file.write_bytes(data)


def _cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def _of_other_features(folder: Path, found: FoundModel) -> None:
    """Record other features, as after a change of OpenVINO's kernels."""
    kept, _ = find_converted(found)
    assert kept is not None
    text = (folder / RECORD).read_text("utf-8")
    numbers = str(list(kept.features[0]))
    assert numbers in text
    (folder / RECORD).write_text(text.replace(numbers, str([-number for number in kept.features[0]])), "utf-8")


def _of_another_model(folder: Path, found: FoundModel) -> None:
    record = json.loads((folder / RECORD).read_text("utf-8"))
    record["made_from"]["weights_sha256"] = "0" * 64
    (folder / RECORD).write_text(json.dumps(record), "utf-8")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda folder, _: _flip(folder / WEIGHTS), "its files are not those that were made"),
        (lambda folder, _: _cut(folder / WEIGHTS), "its files are not those that were made"),
        (lambda folder, _: _cut(folder / MODEL), "its files are not those that were made"),
        (lambda folder, _: (folder / WEIGHTS).unlink(), "its files cannot be read (No such file or directory)"),
        (lambda folder, _: _cut(folder / RECORD), "its record is damaged"),
        (lambda folder, _: (folder / RECORD).write_text('{"features": 1}'), "its record is damaged"),
        (_of_another_model, "it was made from something else"),
    ],
)
def test_a_damaged_or_foreign_converted_model_is_not_used_and_the_reason_is_given(
    damage: Callable[[Path, FoundModel], Any], reason: str, found: FoundModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept(found, monkeypatch)
    damage(converted_folder(found), found)
    none, said = find_converted(found)
    assert none is None
    assert said.startswith(reason)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda folder, _: _flip(folder / WEIGHTS), "its files are not those that were made"),
        (_of_other_features, "OpenVINO gives other features than torch in fp32: their cosine is -1.0"),
    ],
)
def test_what_cannot_be_used_is_converted_again_with_a_line(
    damage: Callable[[Path, FoundModel], Any],
    reason: str,
    found: FoundModel,
    conversions: list[Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """OpenVINO's own cache gave garbage from its second run on (openvinotoolkit/openvino#21942)."""
    encoded(found)
    damage(converted_folder(found), found)
    conversions.clear()
    encoded(found)
    (line,) = caplog.messages
    assert line.startswith(f"The converted model of {found.name} in the cache is not used: {reason}")
    assert line.endswith("; it is converted again")
    assert len(conversions) == 1
    assert find_converted(found)[0] is not None


def test_another_version_config_or_preprocessing_has_a_converted_model_of_its_own(
    found: FoundModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same weights compute other features with quick GELU, which is a word of the config."""
    folders = {
        converted_folder(replace(found, **changed))
        for changed in (
            {},
            {"weights_sha256": "0" * 64},
            {"config": {**found.config, "quick_gelu": True}},
            {"preprocessing": replace(found.preprocessing, mean=(0.1, 0.2, 0.3))},
        )
    }
    monkeypatch.setattr(converted, "version_of", lambda package: f"{package} 2027.1")
    assert len({*folders, converted_folder(found)}) == 5


def test_how_images_are_decoded_does_not_make_another_converted_model(clip_folder: Path, found: FoundModel) -> None:
    exact = find_model(f"local-dir:{clip_folder}", {}, exact=True)
    assert exact.preprocessing != found.preprocessing
    assert converted_folder(exact) == converted_folder(found)


def _full_disk(model: Any, file: Path) -> None:
    openvino_tower.save_model(model, file)
    _cut(file.with_suffix(".bin"))


def _refused(_model: Any, file: Path) -> None:
    raise RuntimeError(f"Can't open bin file to save {file}\nmore")


@pytest.mark.parametrize(
    ("save", "cache", "reason"),
    [
        (openvino_tower.save_model, "file/cache", "Not a directory"),
        (_full_disk, "cache", "OpenVINO could not write it whole, perhaps since the disk is full: OpenVINO cannot run"),
        (
            _refused,
            "cache",
            "OpenVINO could not write it whole, perhaps since the disk is full: Can't open bin file to save",
        ),
    ],
)
def test_a_cache_that_cannot_be_written_costs_time_and_is_reported(
    save: Callable[[Any, Path], None], cache: str, reason: str, found: FoundModel,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """With a full disk OpenVINO's own cache ends the program (openvinotoolkit/openvino#20190)."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BIOCLIP_CACHE", str(tmp_path / cache))
    monkeypatch.setattr(converted, "save_model", save)
    encoded(found)
    assert not find_converted(found)[0]
    (one,) = caplog.messages
    assert one.startswith(
        f"The converted model of {found.name} cannot be kept in {tmp_path / cache / 'converted'} ({reason}"
    )
    assert one.endswith("), so it is converted at each opening")
    assert not list((tmp_path / "cache").glob("converted/*"))


def test_models_that_were_not_used_for_longest_go_when_all_of_them_take_too_much(
    found: FoundModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """OpenVINO's own cache only grows (openvinotoolkit/openvino#31672)."""
    models = [another(found, letter) for letter in "abc"]
    for age, model in zip((3, 2, 1), models, strict=True):
        kept(model, monkeypatch)
        os.utime(converted_folder(model) / RECORD, (1e9 - age, 1e9 - age))
    os.utime(converted_folder(models[0]) / RECORD)  # used now
    size = sum(file.stat().st_size for file in converted_folder(found).parent.glob("*/*")) // 3
    monkeypatch.setattr(converted, "MOST_BYTES", int(2.5 * size))
    assert caplog.messages == []
    kept(found, monkeypatch)
    assert [converted_folder(model).exists() for model in (*models, found)] == [True, False, False, True]
    (line,) = caplog.messages
    assert line.startswith("Removed 2 converted models from ")
    monkeypatch.setattr(converted, "MOST_BYTES", 1)
    kept(another(found, "d"), monkeypatch)  # too large alone: it stays until the next one
    assert len(list(converted_folder(found).parent.iterdir())) == 1


def test_a_model_that_torch_is_faster_with_is_not_kept_converted(
    found: FoundModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing, "rates_of", lambda _ways, _size: {"torch": 2.0, "openvino": 1.0})
    assert choose_runtime(found, Compute("cpu", "fp32", "for the test"))[0].runtime == "torch"
    assert not converted_folder(found).exists()

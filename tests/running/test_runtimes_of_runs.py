"""Runs with other runtimes than torch: identities of features, runs that go on, and the int8 model of the user's own images."""

from __future__ import annotations

import errno
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bioclip_core.acceleration import quantising
from bioclip_core.acceleration import runtime_choice as choosing
from bioclip_core.device import Compute
from bioclip_core.encoder import ENCODE_VERSION
from bioclip_core.errors import UsageError
from bioclip_core.runtimes import library
from bioclip_core.runtimes.quantised import (
    MODEL,
    WEIGHTS,
    find_quantised,
    keeping_quantised,
    quantised_folder,
    record_of,
    write_record,
)
from bioclip_plugin.contracts.manager import BioclipPluginManager
from bioclip_plugin.host import Session
from bioclip_plugin.items.media import MediaItem
from bioclip_plugin.items.request import ClassifyRequest
from bioclip_plugin.plugins import create_plugin_manager
from bioclip_plugin.report.provenance import provenance_rows
from bioclip_plugin.running import engine as engines
from bioclip_plugin.running import runtime_settings
from bioclip_plugin.running.engine import Engine
from bioclip_plugin.store import Run, Store
from bioclip_plugin.store.records import ENCODED_WITH
from bioclip_plugin.testing import FakeModel


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIOCLIP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(library, "_units", lambda: frozenset({"avx512_vnni"}))  # whatever this processor has


@pytest.fixture
def manager() -> Iterator[BioclipPluginManager]:
    manager = create_plugin_manager(installed=False)
    manager.register(FakeModel())
    yield manager
    manager.close()


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(5)
    for number in range(20):
        pixels = np.kron(rng.integers(0, 256, (6, 6, 3)), np.ones((16, 16, 1))).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02}.png")
    (folder / "19.png").write_bytes(b"no image")
    return sorted(folder.iterdir())


def engine(manager: BioclipPluginManager, recorded: tuple[Mapping[str, Any], ...] = (), **options: Any) -> Engine:
    made = Engine(ClassifyRequest(**{"model": "demo", "device": "cpu", **options}), manager)
    made.keep_precision(recorded)
    return made


def test_features_of_torch_and_of_fp32_have_the_identity_that_they_always_had(
    manager: BioclipPluginManager,
) -> None:
    torch_bf16 = engine(manager, precision="bf16", runtime="torch")
    assert torch_bf16.feature_settings == {
        "weights_sha256": torch_bf16.model.weights_sha256,
        "preprocessing": torch_bf16.model.preprocessing.identity(),
        "precision": "bf16",
        "encode_version": ENCODE_VERSION,
    }
    for runtime in ("auto", "torch", "openvino"):
        assert engine(manager, precision="fp32", runtime=runtime).feature_settings == {
            **torch_bf16.feature_settings,
            "precision": "fp32",
        }


def test_openvino_in_bf16_has_an_identity_of_its_own_and_a_run_goes_on_with_it(
    manager: BioclipPluginManager, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def chosen(_found: Any, compute: Compute, asked: str, kept: str | None) -> tuple[Compute, None]:
        return replace(compute, runtime="openvino") if kept is None and asked == "openvino" else compute, None

    monkeypatch.setattr(engines, "choose_runtime", chosen)
    began = engine(manager, precision="bf16", runtime="openvino").feature_settings
    assert began["runtime"] == "openvino"
    assert engine(manager, (began,)).feature_settings == began
    assert engine(manager, (began,), precision="bf16").feature_settings == began
    torch_too = {name: value for name, value in began.items() if name != "runtime"}
    assert engine(manager, (began, torch_too), runtime="torch").feature_settings == torch_too
    assert engine(manager, (began,), precision="fp32").feature_settings == {**torch_too, "precision": "fp32"}
    assert engine(manager, (torch_too, began)).feature_settings == torch_too
    monkeypatch.setattr(choosing, "has_openvino", lambda: False)
    caplog.clear()
    assert engine(manager, (began, torch_too)).feature_settings == torch_too
    (line,) = caplog.messages
    assert line.startswith(
        "Earlier images of this store were encoded in bf16 with OpenVINO, which is not possible here: "
    )
    assert line.endswith("; they are encoded again")


def test_a_run_whose_runtime_fails_later_stops_before_it_stores_other_features(
    manager: BioclipPluginManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = {**engine(manager, precision="bf16", runtime="torch").feature_settings, "runtime": "openvino"}
    monkeypatch.setattr(engines, "choose_runtime", lambda _found, compute, _asked, _kept: (compute, None))
    with pytest.raises(
        UsageError, match="in bf16 with OpenVINO, which cannot run the model here; give --runtime torch"
    ):
        _ = engine(manager, (began,)).encoder


def test_an_encoder_of_a_plugin_says_that_a_runtime_does_not_apply(
    manager: BioclipPluginManager, photos: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    with Session(
        model="fake", labels=["a red fish", "a blue fish"], runtime="openvino", device="cpu", plugins=manager
    ) as s:
        assert s.classify(photos[0]).best is not None
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert line == "the model fake has an encoder of its own, to which runtimes do not apply: it encodes as ever"


def test_int8_with_torch_alone_is_refused() -> None:
    with pytest.raises(UsageError, match="int8 is run by OpenVINO alone, and runtime is torch"):
        ClassifyRequest(precision="int8", runtime="torch")


@pytest.fixture
def no_nncf(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray[Any, Any]]:
    """Take the exact model for the int8 one; return the images of each calibration."""
    seen: list[np.ndarray[Any, Any]] = []

    def copied(model: Path, images: Path, output: Path) -> None:
        seen.append(np.load(images))
        shutil.copyfile(model, output)
        shutil.copyfile(model.parent / WEIGHTS, output.parent / WEIGHTS)

    monkeypatch.setattr(quantising, "_in_a_process", copied)
    monkeypatch.setattr(quantising, "rates_of", lambda _ways, _size: {"int8": 2.0, "other": 1.0})
    return seen


def test_int8_is_calibrated_once_on_the_users_images_and_kept_by_runs_that_go_on(
    manager: BioclipPluginManager,
    photos: list[Path],
    tmp_path: Path,
    no_nncf: list[Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked: dict[str, Any] = {"model": "demo", "device": "cpu", "plugins": manager, "store": tmp_path / "results.db"}
    caplog.set_level(logging.INFO)
    none = "has no int8 model of demo that can be used; it is made from images of yours"
    with Session(precision="int8", **asked) as s, pytest.raises(UsageError, match=none):
        s.classify(photos[0])
    with Session(precision="int8", **asked) as s:
        s.calibrate(photos)
        answers = list(s.classify_stream(photos[:4]))
        began = s.engine.feature_settings
    assert [images.shape for images in no_nncf] == [(10, 72, 72, 3)]  # every other one of those that can be read
    kept, _ = find_quantised(s.engine.model)
    assert kept is not None
    assert (began["precision"], began["runtime"], began["quantised"]) == ("int8", "openvino", kept.sha256)
    assert kept.agreement is not None
    assert kept.agreement.images == 9
    assert kept.agreement.cosine_min > 0.9999
    assert kept.agreement.top1["species"] == kept.agreement.top1["kingdom"] == 1.0
    assert any("cosine to fp32 at least 0.9999" in line or "at least 1.0" in line for line in caplog.messages)
    with Store.open(asked["store"], create=False) as store:
        (run,) = store.runs()
    assert run.provenance[ENCODED_WITH]["runtime"] == "openvino"
    assert run.provenance[ENCODED_WITH]["precision"] == "int8"
    assert run.provenance[ENCODED_WITH]["int8_model"]["sha256"] == kept.sha256
    assert run.provenance[ENCODED_WITH]["int8_model"]["agreement"]["images"] == 9
    with Session(**asked) as s:  # nothing is asked for: the run goes on
        assert s.engine.feature_settings == began
        assert list(s.classify_stream(photos[:4])) == answers
    assert len(no_nncf) == 1

    write_record(quantised_folder(s.engine.model), replace(kept, openvino="2024.1.0"))
    caplog.clear()
    with Session(**asked) as s:
        assert s.engine.precision != "int8"
    assert [
        line for line in caplog.messages if "it was made with openvino 2024.1.0" in line and "encoded again" in line
    ]
    stored = Engine(s.request, manager)
    stored.keep_precision([began], encodes=False)  # rules need no encoder
    assert stored.feature_settings == began
    caplog.clear()
    with Session(precision="int8", **asked) as s:
        s.calibrate(photos[:3])
    assert [line for line in caplog.messages if "in the cache is not used: it was made with openvino 2024.1.0" in line]
    assert [line for line in caplog.messages if "3 images that can be read are too few" in line]


def test_of_two_programs_that_calibrate_at_once_the_first_one_counts(
    manager: BioclipPluginManager, photos: list[Path], no_nncf: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {
        "model": "demo",
        "device": "cpu",
        "plugins": manager,
        "precision": "int8",
        "labels": ["a leaf"],
    }
    make = quantising._in_a_process
    first: list[str] = []

    def make_slowly(model: Path, images: Path, output: Path) -> None:
        make(model, images, output)
        if not first:
            first.append("")
            with Session(**asked) as other:
                other.calibrate(photos)
                first[0] = other.engine.quantised
            output.write_text(output.read_text("utf-8") + "\n", "utf-8")  # as other images give another model

    monkeypatch.setattr(quantising, "_in_a_process", make_slowly)
    with Session(**asked) as s:
        s.calibrate(photos)
        assert s.engine.quantised == first[0]
    assert len(no_nncf) == 2


@pytest.mark.parametrize("case", ["few images", "no nncf", "no vnni", "nncf fails", "no room", "slower"])
def test_int8_that_is_of_no_use_is_one_line_and_the_usual_precision_instead(
    case: str, manager: BioclipPluginManager, photos: list[Path], no_nncf: list[Any], monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    reasons = {
        "few images": "5 images that can be read are too few to calibrate it on, 16 are needed",
        "no nncf": "NNCF, which makes int8 models, is not installed",
        "no vnni": "this processor has no sums of int8 products (VNNI)",
        "nncf fails": "its process ended with -9",
        "no room": "cannot be written (Not a directory): set BIOCLIP_CACHE to a folder of your own",
        "slower": "it encodes 1.0 images/s on this machine, and 2.0 without",
    }
    if case == "no nncf":
        monkeypatch.setattr(choosing, "has_nncf", lambda: False)
    if case == "no vnni":
        monkeypatch.setattr(library, "_units", lambda: frozenset({"avx2"}))
    if case == "nncf fails":
        monkeypatch.setattr(quantising, "_in_a_process", lambda *_: quantising.check_ended(-9, b""))
    if case == "no room":
        monkeypatch.setenv("BIOCLIP_CACHE", str(photos[0]))
    if case == "slower":
        monkeypatch.setattr(quantising, "rates_of", lambda _ways, _size: {"int8": 1.0, "other": 2.0})
    with Session(model="demo", device="cpu", precision="int8", labels=["a leaf", "a fish"], plugins=manager) as s:
        s.calibrate(photos[:5] if case == "few images" else photos)
        assert s.engine.precision == s.engine.compute.precision
        assert "quantised" not in s.engine.feature_settings
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    (line,) = warnings
    assert line.startswith("precision int8 is not used: ")
    assert reasons[case] in line
    assert ("delete " in line and "quantised" in line) == (case == "slower")
    assert f"encoded in {s.engine.compute.precision}" in line
    assert case != "no room" or not no_nncf, "it is refused before it takes minutes"


@pytest.mark.parametrize("precision", ["auto", "int8"])
def test_calibrate_says_where_its_model_would_not_be_used(
    precision: str,
    manager: BioclipPluginManager,
    photos: list[Path],
    no_nncf: list[Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    reasons = {
        "auto": "precision is auto; open a Session with precision='int8'",
        "int8": "this Session has left int8 for ",
    }
    with Session(model="demo", device="cpu", precision=precision, labels=["a leaf", "a fish"], plugins=manager) as s:
        if precision == "int8":
            s.calibrate(photos[:5])
            assert s.classify(photos[0]).best is not None
        caplog.clear()
        s.calibrate(photos)
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert line.startswith("calibrate() has no effect: ")
    assert reasons[precision] in line
    assert not no_nncf, "no model is made that would not be used"


def test_a_full_disk_while_the_int8_model_is_made_is_a_line_with_what_to_do(
    manager: BioclipPluginManager, photos: list[Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/tmp/made/model.bin", None, "/cache/.part/model.bin")

    monkeypatch.setattr(quantising, "_in_a_process", full)
    with Session(model="demo", device="cpu", precision="int8", labels=["a leaf", "a fish"], plugins=manager) as s:
        s.calibrate(photos)
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "No space left on device" in line
    assert "make room in" in line
    assert "BIOCLIP_CACHE" in line
    assert "Errno" not in line


def test_int8_is_proposed_in_one_line_after_many_images_where_the_processor_has_it(
    manager: BioclipPluginManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = engine(manager, precision="bf16", runtime="torch")
    assert made.int8_proposal(10_000) == ""  # nothing was encoded
    made.use_encoder(FakeModel().encoder)
    assert made.int8_proposal(100) == ""
    assert made.int8_proposal(10_000).startswith(
        "This processor multiplies int8, and --precision int8 may encode faster: "
    )
    monkeypatch.setattr(runtime_settings, "has_nncf", lambda: False)
    assert "(needs pip install" in made.int8_proposal(10_000)
    with keeping_quantised(made.model) as folder:
        (folder / MODEL).write_text("<net/>")
        (folder / WEIGHTS).write_bytes(b"weights")
        record = replace(record_of(made.model, folder, 8, "2026-01-02"), rates={"int8": 3.0, "other": 2.0})
        write_record(folder, record)
    assert made.int8_proposal(10_000).startswith(
        "--precision int8 encodes 1.5 times as fast here, with other features: "
    )
    write_record(quantised_folder(made.model), replace(record, rates={"int8": 2.0, "other": 3.0}))
    assert made.int8_proposal(10_000) == ""  # it was measured, and is slower
    write_record(quantised_folder(made.model), replace(record, rates={"int8": 2.0, "other": 3.0}, processor="another"))
    assert "may encode faster" in made.int8_proposal(10_000)
    monkeypatch.setattr(library, "_units", lambda: frozenset({"avx2"}))
    assert made.int8_proposal(10_000) == ""


def test_a_run_says_with_what_its_images_were_encoded_each_time(
    manager: BioclipPluginManager, photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In fp32 every runtime gives the same features, so that their settings do not tell."""
    store = Store.open(tmp_path / "results.db")
    asked: dict[str, Any] = {"model": "fake", "labels": ["a red fish"], "device": "cpu", "plugins": manager}
    used = {"runtime": "torch"}
    monkeypatch.setattr(Engine, "encoded_with", lambda _: dict(used))

    def classified(*names: Path) -> Run:
        with Session(**asked, store=tmp_path / "results.db") as s:
            run = s.begin_run(["photos"])
            for _ in s.pipeline(run).answers([MediaItem(str(name)) for name in names]):
                pass
        return store.run(run.id)

    first = classified(photos[0])
    assert first.provenance[ENCODED_WITH] == used
    used["runtime"] = "openvino"
    again = classified(photos[0])  # nothing is encoded
    assert (again.id, again.provenance[ENCODED_WITH]) == (first.id, {"runtime": "torch"})
    assert again.earlier_provenance == ()
    monkeypatch.setattr(engines.platform, "node", lambda: "another machine")
    assert classified(photos[0]).provenance[ENCODED_WITH] == {"runtime": "torch"}
    other = classified(photos[1])
    assert other.provenance[ENCODED_WITH] == used
    assert {entry[ENCODED_WITH]["runtime"] for entry in other.earlier_provenance} == {"torch"}
    assert ("Encoded with", "runtime: openvino") in provenance_rows(other, {})
    store.close()


@pytest.mark.slow
def test_nncf_makes_an_int8_model_in_a_process_of_its_own(
    manager: BioclipPluginManager, photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setattr(quantising, "rates_of", lambda _ways, _size: {"int8": 2.0, "other": 1.0})
    with Session(model="demo", device="cpu", precision="int8", plugins=manager) as s:
        s.calibrate(photos)
        answers = list(s.classify_stream(photos))
    assert "nncf" not in sys.modules
    kept, _ = find_quantised(s.engine.model)
    assert kept is not None
    assert kept.agreement is not None
    assert 0.9 < kept.agreement.cosine_mean < 0.999999  # it is another model
    assert "FakeQuantize" in (quantised_folder(s.engine.model) / MODEL).read_text("utf-8")
    assert [answer.failure is None for answer in answers] == [True] * 19 + [False]

"""Each problem of plugins, models and torch, made and found."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace

import pytest
from doctor_samples import codes

from bioclip_core.errors import ModelUnavailable, UnsafeWeights
from bioclip_core.files.whole import write_whole
from bioclip_core.models import ModelEntry
from bioclip_plugin.doctor import (
    DoctorOptions,
    Problem,
    Report,
    computing,
    detector_files,
    model_files,
    plugin_faults,
)
from bioclip_plugin.doctor.report import Fact, Finding
from bioclip_plugin.fetching.cache import Cache
from bioclip_plugin.plugin_api import Detection

Package = Callable[..., Path]
Examine = Callable[..., Report]

DEMO = Path(str(files("bioclip_plugin") / "demo_model"))
PLUGIN = "from bioclip_plugin import hookimpl\nclass P:\n    @hookimpl\n    def {0}\nplugin = P()"
COMMAND = "register_commands(self, cli): cli.add_lazy('mine', 'no_such_module:mine', 'Mine.')"


def problems(found: Iterable[Finding]) -> dict[str, str]:
    return {one.code: one.line() for one in found if isinstance(one, Problem)}


# Plugins


@pytest.mark.parametrize(
    ("code", "name", "words"),
    [
        ("raise RuntimeError('no licence key')", "skipped.colours", "RuntimeError: no licence key"),
        ("plugin = None", "skipped.colours", "is None; a plugin is needed"),
        (PLUGIN.format("clasify_images(self): ..."), "skipped.colours", "unknown hook 'clasify_images'"),
        (PLUGIN.format("register_models(self, register): 1 / 0"), "skipped.colours", "ZeroDivisionError"),
        (PLUGIN.format("register_models(self, register): register('x')"), "skipped.colours", "register_models"),
        (PLUGIN.format("register_rules(self, register): register(7)"), "skipped.colours", "register_rules"),
        (PLUGIN.format(COMMAND), "command.mine", "No module named 'no_such_module'"),
        ("class P: ...\nplugin = P()", "no-hooks.colours", "lack the mark @hookimpl"),
    ],
)
def test_a_bad_plugin_is_named_with_its_reason(package: Package, code: str, name: str, words: str) -> None:
    package("bioclip_colours", code, "2.1", "colours")
    found = problems(plugin_faults.look(DoctorOptions()))
    assert words in found[f"plugins.{name}"]
    assert "bioclip_colours 2.1" in found[f"plugins.{name}"]


def test_a_good_plugin_is_listed(package: Package) -> None:
    package(
        "bioclip_colours", "from bioclip_plugin.testing import FakeModel\nplugin = FakeModel('own')", "2.1", "colours"
    )
    found = list(plugin_faults.look(DoctorOptions()))
    assert problems(found) == {}
    assert Fact("plugins", {"colours": "bioclip_colours 2.1: register_models"}) in found


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (
            "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)",
            "loading the plugin colours (bioclip_colours 2.1) ended with the",
        ),
        ("import time\ntime.sleep(600)", "did not end within 3 s"),
    ],
)
def test_a_plugin_that_crashes_or_hangs_is_named_and_the_others_are_looked_at(
    package: Package, look: Examine, code: str, words: str
) -> None:
    package("bioclip_colours", code, "2.1", "colours")
    package("bioclip_other", "from bioclip_plugin.testing import FakeModel\nplugin = FakeModel('own')", "1.0", "other")
    report = look("plugins", patience=3)
    assert codes(report) == ["plugins.crash.colours"]
    assert words in report.problems[0].line()
    assert "upgrade it, or uninstall it: pip uninstall bioclip_colours" in report.problems[0].advice
    assert list(report.results[0].facts["plugins"]) == ["other"]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise KeyboardInterrupt", "loading the plugin colours (bioclip_colours 2.1) failed: KeyboardInterrupt; every command"),
        (PLUGIN.format("register_models(self, register): raise KeyboardInterrupt('x\\ny')"), "failed: KeyboardInterrupt: x; "),
        ("import sys\nsys.modules.clear()", "of sys.modules, such as "),
        ("import sys\nsys.modules['json'] = None", "of sys.modules, such as json; "),
        ("import sys\nsys.modules['bioclip_core.errors'] = sys", "such as bioclip_core.errors; "),
    ],
)  # fmt: skip
def test_a_plugin_that_would_end_or_break_every_command_is_named_and_the_others_are_looked_at(
    package: Package, look: Examine, code: str, words: str
) -> None:
    package("bioclip_colours", code, "2.1", "colours")
    package("bioclip_other", "from bioclip_plugin.testing import FakeModel\nplugin = FakeModel('own')", "1.0", "other")
    report = look("plugins")
    assert codes(report) == ["plugins.crash.colours"]
    assert words in report.problems[0].line()
    assert "uninstall it: pip uninstall bioclip_colours" in report.problems[0].advice
    assert list(report.results[0].facts["plugins"]) == ["other"]


@pytest.mark.parametrize("hook", ["identity(self): raise KeyboardInterrupt", "identity(self): sys.exit(3)"])
def test_a_detector_that_would_end_every_command_is_named(package: Package, look: Examine, hook: str) -> None:
    code = PLUGIN.format(
        "register_detectors(self, register): register(D())\nimport sys\nclass D:\n    name, version, side = 'own', '1', 640\n"
        f"    def {hook}\n    def detect(self, images, device): ..."
    )
    package("bioclip_colours", code.replace("plugin = P()", "") + "\nplugin = P()", "2.1", "colours")
    (problem,) = look("plugins").problems
    assert "detector own" in problem.line() or "plugin colours" in problem.line()
    assert "Traceback" not in problem.line()


def test_a_fake_plugin_that_replaces_a_module_of_others_is_no_problem(package: Package, look: Examine) -> None:
    """A known way to another SQLite."""
    code = (
        "import sqlite3, sys\nfrom bioclip_plugin.testing import FakeModel\nsys.modules['sqlite3'] = FakeModel('x')\n"
    )
    package("bioclip_colours", code + "plugin = FakeModel('own')", "2.1", "colours")
    assert look("plugins").is_healthy


# Models of plugins


@pytest.mark.parametrize("text_tower", [True, False])
def test_a_healthy_model_of_a_plugin_is_there_and_timed(
    package: Package, look: Examine, monkeypatch: pytest.MonkeyPatch, text_tower: bool
) -> None:
    model = f"FakeModel('own', text_tower={text_tower})"
    package("bioclip_colours", f"from bioclip_plugin.testing import FakeModel\nplugin = {model}", "2.1", "colours")
    report = look("models", model="own")
    assert codes(report) == []
    assert report.results[0].facts["models"]["own"] == "there"
    monkeypatch.setattr(computing, "_WANTED_S", 0.05)
    found = list(computing._timed_with_plugins(DoctorOptions(model="own"), frozenset()))
    assert problems(found) == {}
    shown = {one.key: one.value for one in found if isinstance(one, Fact)}
    assert shown["model"] == "own" if text_tower else "no text tower" in shown["left_out"]


def test_a_model_of_nobody_is_one_problem(look: Examine) -> None:
    report = look("models", model="nobodys")
    assert codes(report) == ["models.unusable.nobodys"]
    found = list(computing._timed_with_plugins(DoctorOptions(model="nobodys"), frozenset()))
    assert problems(found) == {}
    assert any(isinstance(one, Fact) and "nobodys" in str(one.value) for one in found)


def test_a_plugin_that_crashes_is_one_problem_although_several_checks_load_it(package: Package, look: Examine) -> None:
    package("bioclip_colours", "import os\nos._exit(3)", "2.1", "colours")
    report = look("plugins", "models")
    assert codes(report) == ["plugins.crash.colours"]
    assert report.results[1].facts["models"]["demo"] == "there"


# Detectors and fetched images


class Detector:
    name, version, side = "own", "1.0", 640

    def __init__(self, error: Exception | None = None, install: str = "") -> None:
        self.error, self.install = error, install

    def missing(self) -> str:
        return self.install

    def identity(self) -> dict[str, str]:
        if self.error is not None:
            raise self.error
        return {"weights": "x"}

    def detect(self, images: object, device: str) -> list[list[Detection]]:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("detector", "state", "expected"),
    [
        (Detector(), "there, 1.0", []),
        (Detector(install="pip install x"), "needs packages: pip install x", []),
        (Detector(ModelUnavailable("fetch it: models fetch own")), "not fetched: fetch it: models fetch own", []),
        (
            Detector(ModelUnavailable("detector own: the checkpoint is missing")),
            "not fetched: the checkpoint is missing",
            [],
        ),
        (Detector(UnsafeWeights("the checkpoint has another sha256")), "unusable", ["detectors.unusable.own"]),
    ],
)
def test_the_state_of_a_detector_is_shown(detector: Detector, state: str, expected: list[str]) -> None:
    found = list(detector_files.detectors({"own": detector}, DoctorOptions(), frozenset()))
    assert found[-1] == Fact("detectors", {"own": state})
    assert list(problems(found)) == expected


def test_without_torch_a_detector_has_the_state_that_its_version_says() -> None:
    detector, missing = Detector(), Detector()
    missing.version = "not fetched"
    found = list(
        detector_files.detectors({"own": detector, "other": missing}, DoctorOptions(no_model=True), frozenset())
    )
    assert found[-1] == Fact("detectors", {"own": "1.0", "other": "not fetched"})


def test_a_detector_of_a_plugin_that_fails_is_named(package: Package) -> None:
    code = PLUGIN.format(
        "register_detectors(self, register): register(D())\nclass D:\n    name, version, side = 'own', '1', 640\n"
        "    def identity(self): return 1 / 0\n    def detect(self, images, device): ..."
    )
    package("bioclip_colours", code.replace("plugin = P()", "") + "\nplugin = P()", "2.1", "colours")
    found = problems(plugin_faults.look(DoctorOptions()))
    assert "plugin colours (bioclip_colours 2.1)" in found["detectors.unusable.own"]


def test_a_checkpoint_of_the_built_in_detector_that_was_replaced_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from bioclip_plugin.detectors.speciesnet import SpeciesNetDetector

    monkeypatch.setenv("BIOCLIP_CACHE", str(tmp_path))
    (tmp_path / "md.pt").write_bytes(b"PK\x03\x04 other bytes")
    detector = SpeciesNetDetector(str(tmp_path / "md.pt"))
    found = problems(detector_files.detectors({"speciesnet": detector}, DoctorOptions(), frozenset()))
    if not detector.missing():
        assert "nobody confirmed it" in found["detectors.unusable.speciesnet"]


def test_a_folder_of_fetched_images_is_looked_at_and_not_changed(tmp_path: Path) -> None:
    folder = tmp_path / "fetched"
    Cache(folder)
    (folder / "working" / "left.part").touch()
    record = folder / "manifest" / "aa" / "bb" / "aabb.json"
    record.parent.mkdir(parents=True)
    record.write_text("{")
    before = sorted(path.relative_to(folder) for path in folder.rglob("*"))
    found = list(detector_files.look_at_fetched(DoctorOptions(fetch=folder)))
    assert "1 record of" in problems(found)["fetched.damaged"]
    assert "fetch check" in problems(found)["fetched.damaged"]
    assert sorted(path.relative_to(folder) for path in folder.rglob("*")) == before
    (folder / "cache.json").write_text('{"layout": "bioclip-plugin images by address", "version": 99}')
    found = list(detector_files.look_at_fetched(DoctorOptions(fetch=folder)))
    assert "has version 99" in problems(found)["fetched.unusable"]
    found = list(detector_files.look_at_fetched(DoctorOptions(fetch=tmp_path / "none")))
    assert "fetched.unusable" in problems(found)


# Models


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Cache of the hub's client with the demo model as ``org/tiny``, the only known model."""
    import huggingface_hub.constants as constants
    import huggingface_hub.file_download as download

    cache = tmp_path / "hub"
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(download.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setenv("BIOCLIP_CACHE", str(tmp_path / "cache"))
    commit = "a" * 40
    snapshot = cache / "models--org--tiny" / "snapshots" / commit
    snapshot.mkdir(parents=True)
    blobs = cache / "models--org--tiny" / "blobs"
    blobs.mkdir()
    for name in ("open_clip_config.json", "open_clip_model.safetensors"):
        blob = blobs / hashlib.sha256((DEMO / name).read_bytes()).hexdigest()
        shutil.copyfile(DEMO / name, blob)
        (snapshot / name).symlink_to(blob)
    refs = cache / "models--org--tiny" / "refs"
    refs.mkdir()
    (refs / "main").write_text(commit)
    entries = {"tiny": ModelEntry("tiny", "hf-hub:org/tiny")}
    monkeypatch.setattr("bioclip_plugin.contracts.manager.BioclipPluginManager.models", lambda _: entries)
    return snapshot


def look_at_models(**options: object) -> list[Finding]:
    return list(model_files.look(DoctorOptions(model="tiny", **options)))  # type: ignore[arg-type]


def test_a_model_that_is_whole_is_there(hub: Path) -> None:
    found = look_at_models()
    assert problems(found) == {}
    assert found[-1] == Fact("models", {"tiny": "there"})


def test_weights_with_other_bytes_than_recorded_are_found(hub: Path) -> None:
    weights = (hub / "open_clip_model.safetensors").resolve()
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    found = problems(look_at_models())
    assert f"remove {weights}, then: bioclip-plugin models fetch tiny" in found["models.other-bytes.tiny"]
    assert problems(look_at_models(no_model=True)) == {}  # which reads no weights


@pytest.mark.parametrize("offline", ["", "1"])
def test_a_model_that_is_not_there_is_a_problem_only_without_network(
    hub: Path, monkeypatch: pytest.MonkeyPatch, offline: str
) -> None:
    shutil.rmtree(hub.parent.parent)
    monkeypatch.setenv("HF_HUB_OFFLINE", offline)
    found = look_at_models()
    assert found[-1] == Fact("models", {"tiny": "not fetched"})
    assert ("models.not-fetched.tiny" in problems(found)) is bool(offline)


@pytest.mark.parametrize("no_model", [False, True])
def test_a_model_is_not_called_there_without_its_files_whether_they_are_read_or_not(
    hub: Path, tmp_path: Path, no_model: bool
) -> None:
    for name, code in (
        (f"local-dir:{tmp_path / 'none'}", "unusable"), ("nobodys", "unusable"), (str(tmp_path / "x.bin"), "unusable"),
        (f"local-dir:{hub.parent}", "unusable"), (f"ViT-B-16={tmp_path / 'x.bin'}", "unusable"),
    ):  # fmt: skip
        found = list(model_files.look(DoctorOptions(model=name, no_model=no_model)))
        assert list(problems(found)) == [f"models.{code}.{name}"]
    (hub / "open_clip_model.safetensors").unlink()
    found = look_at_models(no_model=no_model)
    assert [one.value for one in found if isinstance(one, Fact) and one.key == "models"][-1] == {"tiny": "half fetched"}


def test_a_download_that_did_not_end_is_a_note_with_the_command_that_goes_on(hub: Path) -> None:
    (hub / "open_clip_model.safetensors").resolve().unlink()
    (hub / "open_clip_model.safetensors").unlink()
    (hub.parent.parent / "blobs" / "abc.incomplete").write_bytes(b"x" * 9_000)
    found = look_at_models()
    assert "models fetch hf-hub:org/tiny" in problems(found)["models.half-fetched"]
    assert "only a part of the model tiny is on this machine" in problems(found)["models.half-fetched.tiny"]
    assert [one.value for one in found if isinstance(one, Fact) and one.key == "models"][-1] == {"tiny": "half fetched"}


def test_a_label_set_of_another_model_and_a_damaged_one_are_found(hub: Path) -> None:
    shutil.copytree(DEMO / "label_set", hub / "label_set")
    assert problems(look_at_models()) == {}
    manifest = hub / "label_set" / "label_set.json"
    about = json.loads(manifest.read_text())
    about["encoder"]["weights_sha256"] = "0" * 64
    write_whole(manifest, json.dumps(about))
    assert "models.labels.tiny" in problems(look_at_models())
    manifest.write_text("{")
    assert "models.labels.tiny" in problems(look_at_models())


def test_a_model_that_may_not_be_read_is_a_line_and_the_others_are_looked_at(
    hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bioclip_core import models

    def refused(name: str, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", f"/hub/{name}")

    monkeypatch.setattr(models, "find_model", refused)
    found = list(model_files.look(DoctorOptions(model="other")))
    assert "Permission denied: /hub/tiny" in problems(found)["models.unreadable.tiny"]
    assert found[-1] == Fact("models", {"tiny": "unreadable", "other": "unreadable"})


def test_a_pointer_of_git_lfs_in_place_of_weights_is_found(hub: Path, tmp_path: Path) -> None:
    folder = tmp_path / "clone"
    folder.mkdir()
    shutil.copyfile(DEMO / "open_clip_config.json", folder / "open_clip_config.json")
    (folder / "open_clip_model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    found = list(model_files.look(DoctorOptions(model=f"local-dir:{folder}")))
    assert "git lfs pull" in problems(found)[f"models.unusable.local-dir:{folder}"]


# Computing


class Torch(SimpleNamespace):
    """As much of torch as says which GPUs it can use."""

    def __init__(self, *, cuda: str | None = None, hip: str | None = None, gpu: tuple[int, int] | None = None) -> None:
        kinds = ["sm_75", "sm_80", "sm_90a", "compute_120"]
        of_cuda = SimpleNamespace(
            is_available=lambda: gpu is not None, get_device_capability=lambda: gpu, get_arch_list=lambda: kinds
        )
        super().__init__(cuda=of_cuda, version=SimpleNamespace(cuda=cuda, hip=hip), __version__="2.9")


@pytest.mark.parametrize(
    ("torch", "driver", "expected"),
    [
        (Torch(), False, []),
        (Torch(cuda="13.0"), False, []),
        (Torch(cuda="13.0"), True, ["computing.gpu-unusable"]),
        (Torch(), True, ["computing.cpu-build"]),
        (Torch(hip="6.4"), True, []),
        (Torch(cuda="13.0", gpu=(9, 0)), True, []),
        (Torch(cuda="13.0", gpu=(6, 1)), True, ["computing.gpu-too-old"]),
    ],
)
def test_a_gpu_that_torch_cannot_use_is_found(
    monkeypatch: pytest.MonkeyPatch, torch: Torch, driver: bool, expected: list[str]
) -> None:
    monkeypatch.setattr(computing, "has_nvidia_driver", lambda: driver)
    assert list(problems(computing._gpu_problems(torch))) == expected


def test_hidden_gpus_are_named_as_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(computing, "has_nvidia_driver", lambda: True)
    assert "CUDA_VISIBLE_DEVICES=''" in problems(computing._gpu_problems(Torch(cuda="13.0")))["computing.gpu-unusable"]


@pytest.mark.parametrize(
    ("code", "state", "code_of_problem", "words"),
    [
        (
            "import os, signal\nos.kill(os.getpid(), signal.SIGILL)", "done", "packages.crash.torch",
            "importing torch ended with the signal SIGILL (illegal instruction); this build of torch needs instructions",
        ),
        ("raise ImportError('libcudnn.so.9: cannot open shared object file')", "done", "packages.broken.torch", "CUDA build"),
    ],
)  # fmt: skip
def test_a_torch_that_crashes_or_cannot_be_imported_is_one_problem(
    package: Package, look: Examine, code: str, state: str, code_of_problem: str, words: str
) -> None:
    package("torch", code)
    report = look("computing", patience=1)
    assert codes(report) == [code_of_problem]
    assert words in report.problems[0].line()
    assert report.results[0].state == state
    assert report.results[0].facts == {"left_out": "everything that needs torch"}


def test_the_timed_classification_says_why_it_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(computing, "_photographs", lambda: [b"no image"])
    found = problems(computing._timed_with_plugins(DoctorOptions(), frozenset()))
    assert "an image that was just drawn cannot be read" in found["computing.classification"]


def test_a_model_that_is_not_here_is_not_fetched_to_be_timed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "")
    found = problems(
        computing._timed_with_plugins(DoctorOptions(model="hf-hub:no-such-org/no-such-model"), frozenset())
    )
    assert "models fetch hf-hub:no-such-org/no-such-model" in found["computing.model-missing"]

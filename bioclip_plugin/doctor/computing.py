"""Torch, the device and precision that it gives, and a timed classification."""

from __future__ import annotations

import io
import math
import os
import time
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from typing import TYPE_CHECKING, Any

from bioclip_core.errors import BioclipError, ModelUnavailable, NoTextTower, UnknownModel, first_line
from bioclip_core.next_commands import command
from bioclip_core.nouns import size_of
from bioclip_core.process.machine import usable_cores
from bioclip_core.process.quiet import quiet
from bioclip_core.process.system import has_nvidia_driver
from bioclip_plugin.doctor.options import DoctorOptions
from bioclip_plugin.doctor.packages import imported
from bioclip_plugin.doctor.plugin_loading import load_installed
from bioclip_plugin.doctor.report import Fact, Finding, Problem, Step

if TYPE_CHECKING:
    from bioclip_plugin.contracts.manager import BioclipPluginManager
    from bioclip_plugin.running.session import Session

_NEEDED = ("torch", "torchvision", "open_clip_torch")
_SIDES = (1024, 768)
"""Width and height of the images that are classified, in pixels."""
_DIFFERENT, _WARM_UP, _FEWEST, _MOST = 8, 2, 4, 256
_WANTED_S, _PARTS = 2.0, 4


def look(options: DoctorOptions, without: frozenset[str] = frozenset()) -> Iterator[Finding]:
    """Yield what torch says of itself and of the device, and the speed of a classification."""
    broken = set(without)
    for name in _NEEDED:
        if broken:
            break  # the others need it
        yield Step(f"importing {name}", name, True, f"packages.crash.{name}")
        for found in imported(name, _distribution(name)):
            yield found
            if isinstance(found, Problem) and ".broken." in found.code:
                broken.add(name)
    if broken & set(_NEEDED):
        yield Fact("left_out", "everything that needs " + ", ".join(sorted(broken)))
        return
    if "device" not in broken:
        yield Step("asking torch for its devices", "device", True, "computing.device")
        yield from _torch()
    if "classification" not in broken:
        yield from _timed_with_plugins(options, without)


def _timed_with_plugins(options: DoctorOptions, without: frozenset[str]) -> Iterator[Finding]:
    """Yield the speed of a classification; plugins are loaded only for a model that may be theirs."""
    from bioclip_plugin.plugins import create_plugin_manager

    manager = create_plugin_manager(installed=False)
    if options.model not in manager.models() and not options.model.startswith(("hf-hub:", "local-dir:")):
        yield from load_installed(manager, without)
    yield Step(
        f"the timed classification with the model {options.model}", "classification", True, "computing.classification"
    )
    yield from _timed(options, manager)


def _distribution(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def _torch() -> Iterator[Finding]:
    import torch

    from bioclip_core.device import choose_compute

    yield Fact("torch", torch.__version__)
    yield Fact("torch_cuda", torch.version.cuda)
    yield Fact("torch_hip", torch.version.hip)
    yield Fact("cpu_capability", torch.backends.cpu.get_cpu_capability())
    yield Fact("onednn", bool(torch.backends.mkldnn.is_available()))  # type: ignore[no-untyped-call]
    yield Fact("threads", torch.get_num_threads())
    gpus = []
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            about = torch.cuda.get_device_properties(number)
            gpus.append(
                f"cuda:{number} {about.name}, {size_of(about.total_memory)}, compute capability {about.major}.{about.minor}"
            )
    yield Fact("gpus", gpus)
    try:
        chosen = choose_compute()
    except BioclipError as error:
        yield Problem("computing.device", str(error), "commands that open a model are refused", "change that setting")
    else:
        yield Fact("device", chosen.device)
        yield Fact("precision", chosen.precision)
        yield Fact("reason", chosen.reason)
    yield from _gpu_problems(torch)
    cores = usable_cores() or 1
    if torch.get_num_threads() > 2 * cores:
        yield Problem(
            "computing.threads", f"torch computes with {torch.get_num_threads()} threads on {cores} usable cores",
            "they disturb each other", f"set OMP_NUM_THREADS={cores}", grave=False,
        )  # fmt: skip


def _gpu_problems(torch: Any) -> Iterator[Problem]:
    has_driver = has_nvidia_driver()
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if not torch.cuda.is_available() and torch.version.cuda and has_driver:
        yield Problem(
            "computing.gpu-unusable",
            "this machine has an NVIDIA driver, but torch cannot use it",
            "everything is computed on the processor"
            + (f"; CUDA_VISIBLE_DEVICES={hidden!r} hides GPUs" if hidden is not None else ""),
            f"compare the driver (nvidia-smi) with CUDA {torch.version.cuda} of this torch, and upgrade it or install a torch for it",
        )
    if not torch.version.cuda and not torch.version.hip and has_driver:
        yield Problem(
            "computing.cpu-build",
            f"this machine has an NVIDIA driver, but torch {torch.__version__} is a build without CUDA",
            "everything is computed on the processor", "install a torch with CUDA (docs/install.md)", grave=False,
        )  # fmt: skip
    if torch.cuda.is_available() and torch.version.cuda:
        major, minor = torch.cuda.get_device_capability()
        kinds = [
            int(kind.partition("_")[2].rstrip("af"))
            for kind in torch.cuda.get_arch_list()
            if kind.startswith(("sm_", "compute_"))
        ]
        if kinds and 10 * major + minor < min(kinds):
            yield Problem(
                "computing.gpu-too-old",
                f"this GPU has the compute capability {major}.{minor}, and torch {torch.__version__} begins at {min(kinds) / 10}",
                "work on the GPU fails (no kernel image)", "use --device cpu, or install an older torch",
            )  # fmt: skip


def _timed(options: DoctorOptions, manager: BioclipPluginManager) -> Iterator[Finding]:
    os.environ["HF_HUB_OFFLINE"] = "1"  # nothing is fetched
    began_at = time.monotonic()
    try:
        with _session(options.model, manager) as session:
            photographs = _photographs()
            _classified(session, photographs, 1)
            yield Fact("first_answer_s", time.monotonic() - began_at)
            began_at = time.monotonic()
            _classified(session, photographs, _WARM_UP)
            per_image = (time.monotonic() - began_at) / _WARM_UP
            at_once = min(max(int(_WANTED_S / _PARTS / max(per_image, 1e-4)), _FEWEST), _MOST)
            count, began_at, seconds = 0, time.monotonic(), 0.0
            while seconds < _WANTED_S:
                _classified(session, photographs, at_once)
                count, seconds = count + at_once, time.monotonic() - began_at
            runtimes = list(_runtimes(session))
    except ModelUnavailable:
        yield Problem(
            "computing.model-missing", f"the model {options.model} is not on this machine", "it could not be timed",
            f"fetch it, with network: {command('models fetch', options.model)}", grave=False,
        )  # fmt: skip
        return
    except UnknownModel:
        yield Fact("left_out", f"the timed classification: no model is called {options.model}")
        return
    except NoTextTower:
        yield Fact("left_out", f"the timed classification: {options.model} has no text tower and no label set here")
        return
    except Exception as error:
        text = str(error) if isinstance(error, BioclipError) else f"{type(error).__name__}: {first_line(error)}"
        yield Problem(
            "computing.classification", f"the timed classification with the model {options.model} failed: {text}",
            "classify would fail too", f"see whether this does: {command('demo')}",
        )  # fmt: skip
        return
    yield Fact("model", options.model)
    yield Fact("images", count)
    yield Fact("image_pixels", "{} x {}".format(*_SIDES))
    yield Fact("images_per_s", round(count / seconds, 1))
    yield from runtimes


def _runtimes(session: Session) -> Iterator[Fact]:
    """Yield the runtime of the model with the measured rates, and the state of its int8 model."""
    from bioclip_core.acceleration.describing import int8_described, runtime_described

    model, compute = session.engine.model, session.engine.compute
    yield Fact("runtime", runtime_described(model, compute))
    yield Fact("int8_model", int8_described(model, compute.device))


def _session(model: str, manager: BioclipPluginManager) -> Session:
    from bioclip_core.models import find_model
    from bioclip_plugin.host import Session
    from bioclip_plugin.running.label_choice import label_folder_here

    found = find_model(model, manager.models(), fetch=False)
    # Any words do for the time; a label set that would have to be fetched does not.
    labels = ("animal", "plant") if label_folder_here(found) is None else None
    return Session(model=model, labels=labels, plugins=manager)


def _classified(session: Session, photographs: list[bytes], count: int) -> None:
    """Classify some photographs.

    Raises:
        BioclipError: if one of them has no answer, or one without a probability.
    """
    with quiet():
        for answer in session.classify_stream(photographs[number % len(photographs)] for number in range(count)):
            if answer.failure is not None:
                raise BioclipError(f"an image that was just drawn cannot be read: {answer.failure.reason}")
            probabilities = [best.probability for region in answer.regions for best in region.candidates]
            if not probabilities or not all(math.isfinite(one) for one in probabilities):
                raise BioclipError(
                    f"the answer has no probabilities: {probabilities}; device or precision may be broken, try --device cpu"
                )


def _photographs() -> list[bytes]:
    """Return a few JPEG files of the size of a small photograph: smooth shapes with the noise of a camera."""
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(1)
    files = []
    for _ in range(_DIFFERENT):
        coarse = Image.fromarray(random.integers(0, 255, (12, 16, 3), np.uint8)).resize(
            _SIDES, Image.Resampling.BICUBIC
        )
        noisy = np.asarray(coarse, np.int16) + random.integers(-12, 12, (_SIDES[1], _SIDES[0], 3), np.int16)
        file = io.BytesIO()
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
        files.append(file.getvalue())
    return files

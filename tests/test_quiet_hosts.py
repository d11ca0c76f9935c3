"""A host's process after our work is as it was before, and hears nothing of the libraries that worked for us."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from opening_samples import cut, write_dng, write_video
from PIL import Image

# Everything that a component could change or say, of a process in which the heavy libraries are imported: what they change
# when they are imported is theirs.
HOST = r"""
import csv, decimal, json, locale, logging, os, random, signal, socket, sys, threading, warnings
import numpy, pandas, rich.style, sqlalchemy, torch
from PIL import Image, ImageFile
from bioclip_core.process.quiet import importing
from pathlib import Path

environment = dict(os.environ)
with importing():
    import av, open_clip, openpyxl
assert dict(os.environ) == environment, set(os.environ) - set(environment)
heard = []
warnings.simplefilter(sys.argv[1])
warnings.showwarning = lambda message, category, file, line, *_: heard.append(f"{file}:{line}: {category.__name__}: {message}")
handler = logging.Handler()
handler.emit = lambda record: None if record.name.startswith("bioclip") else heard.append(f"{record.name}: {record.getMessage()}")
logging.root.addHandler(handler)
logging.root.setLevel(logging.DEBUG)

def open_files():
    found = (os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd"))
    return sorted(path for path in found if not path.startswith(("/proc", "/dev")) and "label_set" not in path)

def state():
    umask = os.umask(0o77)
    os.umask(umask)
    loggers = {"root": logging.root, **logging.root.manager.loggerDict}
    return {
        "environment": dict(os.environ),
        "warnings": [repr(one) for one in warnings.filters] + [repr(warnings.showwarning)],
        "pillow": [Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, ImageFile.MAXBLOCK],
        "formats": sorted(name for name, (reader, _) in Image.OPEN.items() if not reader.__module__.startswith("PIL.")),
        "torch": [torch.get_num_threads(), torch.get_num_interop_threads(), torch.is_grad_enabled(), torch.is_inference_mode_enabled(),
                  torch.get_float32_matmul_precision(), str(torch.get_default_dtype()), str(torch.get_default_device()),
                  torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32],
        "random": [hash(random.getstate()), numpy.random.get_state()[1].tolist()[:9], numpy.random.get_state()[2],
                   hash(bytes(torch.get_rng_state().tolist()))],
        "numpy": [numpy.geterr(), str(numpy.get_printoptions())],
        "signals": {str(number): repr(signal.getsignal(number)) for number in sorted(signal.valid_signals())},
        "logging": {name: [one.level, one.disabled, one.propagate, repr(one.handlers)] for name, one in loggers.items()
                    if isinstance(one, logging.Logger) and name in known},
        "root": [repr(logging.root.filters), repr(logging.lastResort), logging.raiseExceptions, logging.root.manager.disable],
        "hooks": [repr(sys.excepthook), repr(threading.excepthook), repr(sys.unraisablehook), repr(sys.meta_path)],
        "process": [os.getcwd(), umask, locale.setlocale(locale.LC_ALL), sys.path, sys.getrecursionlimit(), sys.getswitchinterval(),
                    csv.field_size_limit(), repr(decimal.getcontext()), socket.getdefaulttimeout()],
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "files": open_files(),
        "temporary": sorted(os.listdir(os.environ["TMPDIR"])),
    }

from bioclip_plugin import ClassifyRequest, Session, create_plugin_manager
known = {"root", *(name for name, one in logging.root.manager.loggerDict.items() if isinstance(one, logging.Logger))}
before = state()

import contextlib, io
from bioclip_plugin.cli import run
from bioclip_plugin.plugin_api import ListingOptions
from bioclip_plugin.testing import FakeModel
folder = Path(sys.argv[2])
store = str(folder / "results.db")
pm = create_plugin_manager(installed=False)
pm.register(FakeModel())
answered = {}
with Session(model="demo", store=store, rules=("sequences:gap=60",), device="cpu", workers=2, plugins=pm) as session:
    with session.listing([str(folder / "in")], ListingOptions(frames_per_second=5)) as items:
        for answer in session.classify_stream(items):
            answered[f"{answer.item.uri.rsplit('/', 1)[-1]} {answer.item.frame}"] = answer.failure is None
fake = ClassifyRequest(model="fake", labels=("a red fish", "a blue fish"))
pm.hook.classify_images(items=[str(path) for path in sorted((folder / "in").iterdir())], request=fake)
pm.hook.embed_images(items=[str(folder / "in" / "whole.jpg")], request=fake)
pm.close()
codes, said = [], io.StringIO()
with contextlib.redirect_stdout(said):
    for name in ("csv", "xlsx", "megadetector", "darwin-core"):
        codes.append(run(["export", "--store", store, "--format", name, "--output", str(folder / f"out_{name}")], pm))
    codes.append(run(["report", "--store", store, "--output", str(folder / "report.html")], pm))
pm.close()
after = state()
changed = {}
for key, value in before.items():
    if value != after[key]:
        one, other = value, after[key]
        changed[key] = [(name, one.get(name), other.get(name)) for name in {**one, **other} if one.get(name) != other.get(name)] \
            if isinstance(one, dict) else [one, other]
print(json.dumps({"changed": changed, "heard": heard, "answered": answered, "codes": codes, "said": said.getvalue()}))
"""


def write_kinds(folder: Path) -> None:
    """Write a whole file and a damaged one of every kind that a reader of its own opens."""
    folder.mkdir()
    pixels = (np.add.outer(np.arange(60) * 4, np.arange(80) * 3)[..., None] * np.array([1, 2, 3]) % 251).astype(
        np.uint8
    )
    photo = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0132] = "2021:05:06 07:08:09"
    for suffix, options in {
        "jpg": {"exif": exif}, "png": {"exif": exif}, "webp": {}, "jp2": {}, "gif": {}, "bmp": {}, "tif": {"compression": "tiff_lzw"},
    }.items():  # fmt: skip
        photo.save(folder / f"whole.{suffix}", **options)  # type: ignore[arg-type]
    photo.save(folder / "pages.tif", save_all=True, append_images=[photo.rotate(90)], compression="tiff_adobe_deflate")
    pillow_heif.from_pillow(photo).save(folder / "whole.heic")
    write_dng(folder / "whole.dng", pixels)
    write_video(folder / "whole.avi", 3)
    draw = random.Random(1)
    for path in sorted(folder.iterdir()):
        cut(path, folder / f"cut_{path.name}", 0.6)
        data = bytearray(path.read_bytes())
        for _ in range(12):
            data[draw.randrange(8, len(data))] = draw.randrange(256)
        (folder / f"hit_{path.name}").write_bytes(bytes(data))
    buffer = io.BytesIO()
    photo.save(buffer, "PNG")
    huge = bytearray(buffer.getvalue())
    huge[16:24] = (40_000).to_bytes(4, "big") * 2  # at which Pillow itself would warn or raise
    (folder / "huge.png").write_bytes(bytes(huge))


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("host")
    write_kinds(folder / "in")
    return folder


def test_the_process_of_a_host_is_as_it_was_and_hears_nothing(kinds: Path) -> None:
    (kinds / "tmp").mkdir()
    environment = {
        **{name: value for name, value in os.environ.items() if name not in ("TOKENIZERS_PARALLELISM", "PYTHONWARNINGS")},
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "HF_HUB_OFFLINE": "1", "TMPDIR": str(kinds / "tmp"),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", HOST, "always", str(kinds)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert (found["changed"], found["heard"]) == ({}, [])
    assert found["codes"] == [0, 0, 0, 0, 0], found["said"]
    whole = ("jpg", "png", "webp", "jp2", "gif", "bmp", "tif", "heic", "dng", "avi")
    assert [suffix for suffix in whole if not found["answered"].get(f"whole.{suffix} 0")] == []
    cut_off = ("jpg", "png", "tif", "dng", "heic")
    assert [suffix for suffix in cut_off if found["answered"].get(f"cut_whole.{suffix} 0")] == []
    assert list(csv.reader((kinds / "out_csv").open(newline="", encoding="utf-8")))

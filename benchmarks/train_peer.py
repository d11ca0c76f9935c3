"""Inputs of the training benchmark: the peer's environment, initial weights, and the reef fish as shards for either side."""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import fixtures
from benchmarks.__main__ import environment
from benchmarks.peer import environment_with
from bioclip_core.files.whole import write_whole

OPEN_CLIP, WEBDATASET = "open_clip_torch[training]==3.3.0", "webdataset==0.2.86"
VENV = Path(__file__).parent / ".venv-train-peer"
ROOT = Path(__file__).parent.parent
ARCHITECTURE = "ViT-B-32"


class WorkerFailed(RuntimeError):
    """Failure of one side of the benchmark, with the end of its error output."""


def peer_python() -> Path:
    """Return the interpreter with open_clip's trainer: ``BIOCLIP_TRAIN_PEER_PYTHON``, else an environment that is made if missing."""
    named = os.environ.get("BIOCLIP_TRAIN_PEER_PYTHON")
    pinned = ("torch", "torchvision", "pillow", "numpy")
    return Path(named) if named else environment_with([OPEN_CLIP, WEBDATASET], VENV, pinned=pinned, shares=False)


def ask_peer(**request: Any) -> dict[str, float]:
    """Return one answer of ``train_peer_worker.py``, run in its own process."""
    worker = str(Path(__file__).with_name("train_peer_worker.py"))
    return _answer([str(peer_python()), worker, json.dumps(request)], {"PYTHONPATH": ""})


def ask_ours(**request: Any) -> dict[str, float]:
    """Return one answer of ``train_worker.py``, run in its own process with the settings of our command line."""
    return _answer([sys.executable, "-m", "benchmarks.train_worker", json.dumps(request)], environment())


def _answer(command: list[str], variables: dict[str, str]) -> dict[str, float]:
    ours = {"GOMP_SPINCOUNT", "PYTHONPATH"}
    inherited = {name: value for name, value in os.environ.items() if name not in ours}
    run = subprocess.run(
        command,
        cwd=ROOT,
        env={**inherited, "HF_HUB_OFFLINE": "1", **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode:
        raise WorkerFailed(f"{' '.join(command[:-1])}: {run.stderr.strip()[-2000:]}")
    answer: dict[str, float] = json.loads(run.stdout.splitlines()[-1])
    return answer


def start_folder() -> Path:
    """Return the open_clip folder that both sides start from: a ViT-B/32 with random weights from a fixed seed."""
    folder = fixtures.cache() / f"train-start-{ARCHITECTURE}"
    if not (folder / "open_clip_config.json").exists():
        import open_clip
        import torch
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(0)
        model = open_clip.create_model(ARCHITECTURE)
        save_file(model.state_dict(), folder / "open_clip_model.safetensors")
        config = {
            "model_cfg": open_clip.get_model_config(ARCHITECTURE),
            "preprocess_cfg": {
                "mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD, "interpolation": "bicubic",
                "resize_mode": "shortest",
            },
        }  # fmt: skip
        write_whole(folder / "open_clip_config.json", json.dumps(config))
    return folder


def our_shards() -> Path:
    """Return the folder with the training images of the reef fish, which ``shards write`` puts into two tar files."""
    folder = fixtures.cache() / "train-reef-fish"
    if not (folder / "shards.json").exists():
        table = Path(os.environ["BIOCLIP_DATA"]) / "data" / "reef_fish" / "collection.csv"
        catalog = fixtures.cache() / "train-reef-fish.parquet"
        for command in (
            ["catalog", "build", str(table), "--output", str(catalog), "--force"],
            [
                "shards",
                "write",
                str(catalog),
                "--split",
                "train",
                "--samples-per-shard",
                "500",
                "--output",
                str(folder),
            ],
        ):
            subprocess.run(
                [sys.executable, "-m", "bioclip_plugin", *command], cwd=ROOT, check=True, capture_output=True
            )
    return folder


def peer_shards() -> str:
    """Return the same samples in the peer's form: the text of each is one caption drawn from the recipe's mixture."""
    from bioclip_core.taxonomy import RANKS, Taxon
    from bioclip_training.batches.caption_drawing import CaptionDrawing
    from bioclip_training.loop.recipe import CAPTION_MIX

    folder = fixtures.cache() / "train-reef-fish-peer"
    tars = sorted(our_shards().glob("*.tar"))
    if not (folder / tars[-1].name).exists():
        folder.mkdir(parents=True, exist_ok=True)
        drawn = random.Random(0)
        for file in tars:
            with tarfile.open(file) as source, tarfile.open(folder / file.name, "w") as target:
                for member in source:
                    data = _content(source, member)
                    if member.name.endswith(".json"):
                        cells = json.loads(data)
                        taxon = Taxon.of([cells[rank.value] for rank in RANKS], cells["common_name"])
                        data = CaptionDrawing([taxon], CAPTION_MIX).draw(0, drawn.random()).encode()
                        member.name = member.name.removesuffix("json") + "txt"
                        member.size = len(data)
                    target.addfile(member, io.BytesIO(data))
    return f"{folder}/train-{{000000..{len(tars) - 1:06d}}}.tar"


def one_batch(size: int) -> Path:
    """Return the file with one batch of prepared inputs: the first images, uncropped, and their captions."""
    file = fixtures.cache() / f"train-batch-{size}.npz"
    if not file.exists():
        from PIL import Image

        peer_shards()
        tar = sorted((fixtures.cache() / "train-reef-fish-peer").glob("*.tar"))[0]
        images, captions = [], []
        with tarfile.open(tar) as source:
            for member in source:
                data = _content(source, member)
                if member.name.endswith(".txt"):
                    captions.append(data.decode())
                else:
                    images.append(np.asarray(Image.open(io.BytesIO(data)).convert("RGB").resize((224, 224))))
        np.savez(file, images=np.stack(images[:size]), captions=np.array(captions[:size]))
    return file


def _content(source: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    opened = source.extractfile(member)
    assert opened is not None
    return opened.read()

"""Worker with pybioclip: runs in the peer's environment and answers each JSON line on standard input with one JSON line.

pybioclip's arithmetic is unchanged. Only the source of its files is replaced: a local model folder and a local label file take
the place of the hub, under names for which pybioclip treats the folder as a published BioCLIP model.

    .venv-peer/bin/python benchmarks/peer_worker.py
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

State = dict[str, Any]


def load(state: State, *, model: str, labels: str, preprocessing: str = "published") -> dict[str, Any]:
    """Open a model folder and a label folder.

    ``preprocessing``: ``published`` is pybioclip's path for BioCLIP and BioCLIP 2 (the whole photo as a tensor, then
    resized); ``folder`` is its path for other checkpoints (open_clip's transform with the folder's ``preprocess_cfg``).
    """
    import bioclip.predict as peer  # type: ignore[import-not-found]  # only in the peer's environment

    name = f"local-dir:{model}"
    peer.TOL_MODELS[name] = "local"
    peer.hf_hub_download = _from(labels)
    started = time.perf_counter()
    classifier = peer.TreeOfLifeClassifier(model_str=name)
    if preprocessing == "folder":
        import open_clip

        _, classifier.preprocess = open_clip.create_model_from_pretrained(name, return_transform=True)
    state["classifier"] = classifier
    return {"seconds": time.perf_counter() - started, "labels": len(classifier.txt_names)}


def labels(state: State, *, labels: str) -> dict[str, Any]:
    """Load other labels for the open model."""
    import bioclip.predict as peer

    peer.hf_hub_download = _from(labels)
    classifier = state["classifier"]
    classifier.txt_embeddings = classifier.txt_names = None  # frees the old labels before the new ones are loaded
    started = time.perf_counter()
    classifier.txt_embeddings = classifier.get_txt_emb()
    classifier.txt_names = classifier.get_txt_names()
    return {"seconds": time.perf_counter() - started, "labels": len(classifier.txt_names)}


def _from(folder: str) -> Callable[..., str]:
    """Return a replacement for the hub's download, which takes the file of the same name in a folder."""
    return lambda filename, **_where: str(Path(folder) / Path(filename).name)


def classify(state: State, *, images: list[str], rank: str, k: int = 5, batch_size: int = 10) -> dict[str, Any]:
    """Run ``predict`` with pybioclip's defaults: decode, encode, probabilities, and the best ``k`` at one rank."""
    from bioclip import Rank

    started = time.perf_counter()
    rows = state["classifier"].predict(
        images, rank=Rank[rank.upper()], k=k, batch_size=batch_size, callback=lambda _done, _total: None
    )
    return {"seconds": time.perf_counter() - started, "rows": rows}


def answers(state: State, *, images: list[str], ranks: list[str], k: int, batch_size: int = 10) -> dict[str, Any]:
    """Return the rows of ``predict`` for several ranks, from probabilities that are computed once; not timed."""
    from bioclip import Rank

    classifier = state["classifier"]
    probabilities = classifier.create_batched_probabilities_for_images(
        images, classifier.get_txt_embeddings(), batch_size=batch_size, callback=lambda _done, _total: None
    )
    rows: dict[str, list[dict[str, Any]]] = {rank: [] for rank in ranks}
    for image in images:
        for rank in ranks:
            if rank == "species":
                rows[rank] += classifier.format_species_probs(image, probabilities[image], k)
            else:
                rows[rank] += classifier.format_grouped_probs(image, probabilities[image], Rank[rank.upper()], 1e-9, k)
    return {"rows": rows}


def decode(state: State, *, images: list[str]) -> dict[str, Any]:
    """Decode each image in turn, from the file to the model's input."""
    classifier = state["classifier"]
    started = time.perf_counter()
    for image in images:
        classifier.preprocess(classifier.ensure_rgb_image(image))
    return {"seconds": time.perf_counter() - started}


def encode(state: State, *, batch: int, size: int = 224) -> dict[str, Any]:
    """Encode one batch of prepared inputs."""
    import torch

    images = torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(1))
    started = time.perf_counter()
    with torch.no_grad():
        torch.nn.functional.normalize(state["classifier"].model.encode_image(images), dim=-1)
    return {"seconds": time.perf_counter() - started}


def plain(state: State, *, images: list[str], k: int = 5, batch: int = 16) -> dict[str, Any]:
    """Classify as open_clip's documentation does: Pillow at full size, open_clip's transform, a softmax over all labels, in fp32."""
    import torch
    from open_clip.transform import image_transform
    from PIL import Image

    classifier = state["classifier"]
    if "transform" not in state:
        state["transform"] = image_transform(224, is_train=False, resize_mode="squash", interpolation="bilinear")
    labels_DN = classifier.get_txt_embeddings()
    started = time.perf_counter()
    best = []
    with torch.no_grad():
        for start in range(0, len(images), batch):
            inputs = torch.stack([state["transform"](Image.open(image)) for image in images[start : start + batch]])
            features_BD = classifier.model.encode_image(inputs, normalize=True)
            best.append((100.0 * features_BD @ labels_DN).softmax(dim=-1).topk(k).indices.tolist())
    return {"seconds": time.perf_counter() - started, "batches": len(best)}


def reduce(state: State, *, features: str, rank: str, k: int = 5) -> dict[str, Any]:
    """Find the best ``k`` taxa of each row of stored features (a ``.npy`` file, B×D)."""
    import numpy as np
    import torch
    from bioclip import Rank

    classifier, wanted = state["classifier"], Rank[rank.upper()]
    rows = torch.from_numpy(np.load(features))
    started = time.perf_counter()
    with torch.no_grad():
        probabilities = classifier.create_probabilities(rows, classifier.get_txt_embeddings())
        for index, row in enumerate(probabilities):
            if wanted is Rank.SPECIES:
                classifier.format_species_probs(str(index), row, k)
            else:
                classifier.format_grouped_probs(str(index), row, wanted, 1e-9, k)
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "above_min_prob": int((probabilities > 1e-9).sum(dim=1).float().median())}


def product(state: State, *, features: str) -> dict[str, Any]:
    """Compute the probabilities of all labels for each row of stored features, without looking for the best ones."""
    import numpy as np
    import torch

    classifier = state["classifier"]
    rows = torch.from_numpy(np.load(features))
    started = time.perf_counter()
    with torch.no_grad():
        classifier.create_probabilities(rows, classifier.get_txt_embeddings())
    return {"seconds": time.perf_counter() - started}


def write(_state: State, *, rows: list[dict[str, Any]], output: str) -> dict[str, Any]:
    """Write results to a CSV file, pybioclip's only store."""
    from bioclip.commands import write_results  # type: ignore[import-not-found]

    started = time.perf_counter()
    write_results(rows, "csv", output)
    return {"seconds": time.perf_counter() - started}


def memory(_state: State) -> dict[str, Any]:
    """Return the private memory of this process in bytes, without mapped files."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return {"private_bytes": int(line.split()[1]) * 1024}
    return {"private_bytes": 0}


def versions(_state: State) -> dict[str, Any]:
    """Return the versions of the packages, and the number of torch's threads."""
    from importlib.metadata import version

    import torch

    found = {name: version(name) for name in ("pybioclip", "torch", "open_clip_torch", "pillow", "numpy")}
    return {"versions": found, "threads": torch.get_num_threads()}


OPERATIONS: dict[str, Callable[..., dict[str, Any]]] = {
    operation.__name__: operation
    for operation in (load, labels, classify, answers, decode, encode, plain, product, reduce, write, memory, versions)
}


def main() -> None:
    """Answer requests until standard input ends. Output of libraries goes to standard error."""
    replies, sys.stdout = sys.stdout, sys.stderr
    state: State = {}
    for line in sys.stdin:
        request = json.loads(line)
        try:
            reply = OPERATIONS[request.pop("op")](state, **request)
        except Exception as error:  # the benchmark reports the error; the worker keeps running
            reply = {"error": f"{type(error).__name__}: {error}"}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()

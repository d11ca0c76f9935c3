"""CUDA graphs: the launches of a whole batch as one, where that was measured to be faster."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from bioclip_core.errors import first_line
from bioclip_core.gpu.double_buffers import Encode
from bioclip_core.gpu.streams import Mark, Streams
from bioclip_core.identity import read_cache, settings_id, user_cache, write_cache
from bioclip_core.process.memory_errors import is_out_of_memory

if TYPE_CHECKING:
    import torch

log = logging.getLogger("bioclip_plugin.gpu")

LEAST_GAIN = 1.05
"""Rate with a graph over that without from which it is used: a smaller one is noise."""
TRIED_AT = 3
"""Batch of a size at which a graph is tried: libraries have chosen their kernels by then."""
_ROUNDS = 5
_TOLERANCE = 2e-3
"""Largest difference of a number of a feature of length 1; the launches are the same, so that there is hardly any."""


class GraphChoice:
    """The way to encode a batch: launch by launch, or as a graph of the size that most batches have. One thread at a time calls it.

    A graph has a fixed shape: a batch of more than half of its size is padded to it.
    """

    def __init__(self, streams: Streams, encode: Encode, model: Mapping[str, Any]) -> None:
        """Set up; nothing is tried before the third batch of a size.

        Args:
            streams: the device.
            encode: queues the computation.
            model: what else decides the rates, to remember them.
        """
        self._streams, self._encode, self._model = streams, encode, model
        self._size = self._seen = 0
        self._is_off = False
        self._graph: _Graph | None = None

    def __call__(self, images_BHWC: torch.Tensor, after: Mark) -> Encode:
        """Return the way to encode images that are on the device after a mark."""
        count = len(images_BHWC)
        if self._is_off:
            return self._encode
        if count > self._size:
            self._size, self._seen, self._graph = count, 0, None
        if count == self._size:
            self._seen += 1
            if self._seen == TRIED_AT:
                self._try(images_BHWC, after)
        return self._graph if self._graph is not None and 2 * count > self._size else self._encode

    def forget(self) -> None:
        """Use no graph any more: its memory is needed."""
        self._graph, self._is_off = None, True

    def _try(self, images_BHWC: torch.Tensor, after: Mark) -> None:
        key = settings_id({**self._model, "device": self._streams.name, "images": list(images_BHWC.shape)})
        rates: Any = read_cache(_book()).get(key)
        if _are_rates(rates) and rates["graph"] < LEAST_GAIN * rates["launches"]:
            return
        try:
            graph = _Graph(self._streams, self._encode, images_BHWC, after)
            if not _are_rates(rates):
                rates = self._measured(graph, images_BHWC)
                write_cache(_book(), {**read_cache(_book()), key: rates})
        except RuntimeError as error:
            self._streams.wait(self._streams.compute(lambda: None))  # a device that failed says so again
            log.warning("CUDA graphs are not used (%s); batches are encoded without them", first_line(error))
            if not is_out_of_memory(error):
                write_cache(_book(), {**read_cache(_book()), key: {"launches": 1.0, "graph": 0.0}})
            return
        if rates["graph"] >= LEAST_GAIN * rates["launches"]:
            self._graph = graph

    def _measured(self, graph: _Graph, images_BHWC: torch.Tensor) -> dict[str, float]:
        """Return images per second of both, in turn; the rate of a graph that gives other features is 0."""
        if not self._difference(graph, images_BHWC) <= _TOLERANCE:
            log.warning("CUDA graphs are not used (they gave other features); batches are encoded without them")
            return {"launches": 1.0, "graph": 0.0}
        seconds: dict[str, list[float]] = {"launches": [], "graph": []}
        for _ in range(_ROUNDS):
            for name, encode in {"launches": self._encode, "graph": graph}.items():
                began_at = time.perf_counter()
                self._streams.wait(self._streams.compute(lambda encode=encode: encode(images_BHWC)))  # type: ignore[misc]
                seconds[name].append(max(time.perf_counter() - began_at, 1e-6))
        rates = {name: round(len(images_BHWC) / median(taken), 2) for name, taken in seconds.items()}
        log.info(
            "Measured %.0f images/s launch by launch and %.0f with a CUDA graph, %d at once",
            rates["launches"], rates["graph"], len(images_BHWC),
        )  # fmt: skip
        return rates

    def _difference(self, graph: _Graph, images_BHWC: torch.Tensor) -> float:
        import torch

        largest = self._streams.host((1,), torch.float32)

        def compare() -> None:
            difference_BD = self._encode(images_BHWC).float() - graph(images_BHWC).float()
            largest.copy_(difference_BD.abs().max().reshape(1), non_blocking=True)

        self._streams.wait(self._streams.compute(compare))
        return float(largest[0])


class _Graph:
    """The launches of one size of batch, recorded once."""

    def __init__(self, streams: Streams, encode: Encode, images_BHWC: torch.Tensor, after: Mark) -> None:
        self._images_BHWC = streams.device(images_BHWC.shape, images_BHWC.dtype)
        made: list[torch.Tensor] = []

        def first() -> None:
            self._images_BHWC.copy_(images_BHWC)
            made.append(encode(self._images_BHWC))

        streams.wait(streams.compute(first, after))
        self._features_BD = made[0]
        self._repeat = streams.repeated(lambda: self._features_BD.copy_(encode(self._images_BHWC)))

    def __call__(self, images_BHWC: torch.Tensor) -> torch.Tensor:
        """Queue a batch of up to the graph's size; its features are valid until the next one."""
        count = len(images_BHWC)
        self._images_BHWC[:count].copy_(images_BHWC)
        self._repeat()
        return self._features_BD[:count]


def _are_rates(rates: Any) -> bool:
    if not isinstance(rates, dict):
        return False
    numbers = [rates.get(name) for name in ("launches", "graph")]
    return all(isinstance(number, (int, float)) and number >= 0 for number in numbers) and rates["launches"] > 0


def _book() -> Path:
    return user_cache() / "cuda_graphs.json"

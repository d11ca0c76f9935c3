"""A GPU as its two queues of work: copies to it, and computation. Everything that calls ``torch.cuda`` for batches is here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from bioclip_core.errors import first_line

if TYPE_CHECKING:
    import torch

log = logging.getLogger("bioclip_plugin.gpu")

Mark = Any
"""A place in a queue of work, which can be waited for."""
Work = Callable[[], object]
"""Operations of torch, which are queued and not awaited."""


class Streams(Protocol):
    """Queues of work of one device. Work of a queue is done in its order, that of the two queues at the same time."""

    @property
    def name(self) -> str:
        """Model of the device, with the versions that compute on it."""

    def host(self, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        """Return memory of the machine that the device copies from and to by itself."""

    def device(self, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        """Return memory of the device."""

    def copy(self, work: Work) -> Mark:
        """Queue copies to the device; return the mark behind them."""

    def compute(self, work: Work, after: Mark | None = None) -> Mark:
        """Queue computation, which begins after a mark of the other queue; return the mark behind it."""

    def wait(self, mark: Mark) -> None:
        """Wait on this thread until everything before a mark is done."""

    def repeated(self, work: Work) -> Work:
        """Return work that does the same with the same tensors in one launch, to be queued as computation."""

    def free_bytes(self) -> int:
        """Return the memory of the device that this process can still use."""

    def peak_bytes(self, work: Work) -> int:
        """Do work and return the memory of the device that it took for itself."""


class CudaStreams:
    """Streams of a GPU of NVIDIA, or of AMD, which torch calls cuda too."""

    def __init__(self, device: str) -> None:
        import torch

        self._device = torch.device(device)
        self._copies, self._computation = (
            torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
            for _ in range(2)
        )
        # The weights were copied in the queue of this thread.
        self._computation.wait_stream(torch.cuda.current_stream(self._device))
        self._pins = True

    @property
    def name(self) -> str:
        import torch

        versions = f"torch {torch.__version__}, CUDA {torch.version.cuda}, ROCm {torch.version.hip}"
        return f"{torch.cuda.get_device_name(self._device)}, {versions}"

    def host(self, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        import torch

        if self._pins:
            try:
                return torch.empty(tuple(shape), dtype=dtype, pin_memory=True)
            except RuntimeError as error:  # WSL and containers allow little of it, whatever is free
                self._pins = False
                log.warning(
                    "memory cannot be pinned for the GPU (%s): it waits for each copy, which costs time alone",
                    first_line(error),
                )
        return torch.empty(tuple(shape), dtype=dtype)

    def device(self, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        import torch

        with torch.cuda.stream(self._computation):
            memory = torch.zeros(tuple(shape), dtype=dtype, device=self._device)
        # Computation that is queued may still use it for something else, and fills it with zeros.
        self._copies.wait_stream(self._computation)
        return memory

    def copy(self, work: Work) -> Mark:
        return self._queued(self._copies, work)

    def compute(self, work: Work, after: Mark | None = None) -> Mark:
        if after is not None:
            self._computation.wait_event(after)
        return self._queued(self._computation, work)

    def _queued(self, stream: torch.cuda.Stream, work: Work) -> Mark:
        import torch

        with torch.cuda.stream(stream):
            work()
        # blocking: a thread that waits sleeps, instead of taking a core from the decoders
        return stream.record_event(torch.cuda.Event(blocking=True))  # type: ignore[no-untyped-call]

    def wait(self, mark: Mark) -> None:
        mark.synchronize()

    def repeated(self, work: Work) -> Work:
        import torch

        graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(self._device):
            # A queue of its own: one whose recording failed may be unusable. Whatever happens, the thread has its own again.
            recording = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
            with (
                torch.cuda.stream(torch.cuda.current_stream(self._device)),
                # thread_local: other threads may use the GPU meanwhile
                torch.cuda.graph(graph, stream=recording, capture_error_mode="thread_local"),
            ):
                work()
        return graph.replay

    def free_bytes(self) -> int:
        import torch

        free, _ = torch.cuda.mem_get_info(self._device)
        kept = torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)
        return int(free + kept)

    def peak_bytes(self, work: Work) -> int:
        import torch

        torch.cuda.synchronize(self._device)
        before = torch.cuda.memory_allocated(self._device)
        torch.cuda.reset_peak_memory_stats(self._device)  # a statistic alone, which a host may see
        work()
        return int(torch.cuda.max_memory_allocated(self._device) - before)


def streams_on(device: str) -> Streams | None:
    """Return the queues of a GPU; None for a device whose work is awaited as it is called."""
    return CudaStreams(device) if device.startswith("cuda") else None

"""The adapter to ``torch.cuda``: its calls exist in the installed torch, and their order is right with a stand-in for it."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import pytest
import torch

from bioclip_core.gpu.streams import CudaStreams, streams_on


class Stream:
    """A stream of a stand-in for ``torch.cuda``, where work is done at once, that keeps a log."""

    log: ClassVar[list[str]]
    names: ClassVar[Iterator[str]]

    def __init__(self, device: Any = None) -> None:
        assert device == torch.device("cpu")
        self.name = next(Stream.names)

    def wait_stream(self, other: Stream) -> None:
        self.log.append(f"{self.name} waits for {other.name}")

    def wait_event(self, event: Event) -> None:
        self.log.append(f"{self.name} waits for the event on {event.on}")

    def record_event(self, event: Event) -> Event:
        event.on = self.name
        return event


class Event:
    on = ""

    def __init__(self, *, blocking: bool) -> None:
        assert blocking  # a thread that spins takes a core from the decoders

    def synchronize(self) -> None:
        Stream.log.append(f"the host waits for {self.on}")


class Graph:
    def replay(self) -> None:
        Stream.log.append("replay")


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> CudaStreams:
    Stream.log, Stream.names = [], iter(("copies", "computation", "recording"))
    current = Stream.__new__(Stream)
    current.name = "default"

    @contextmanager
    def on(stream: Stream) -> Iterator[None]:
        Stream.log.append(f"on {stream.name}")
        yield

    @contextmanager
    def device(_device: Any) -> Iterator[None]:
        yield

    @contextmanager
    def graph(_graph: Graph, *, stream: Stream, capture_error_mode: str) -> Iterator[None]:
        Stream.log.append(f"capture on {stream.name}, errors {capture_error_mode}")
        yield

    stand_ins = {
        "Stream": Stream, "Event": Event, "stream": on, "device": device, "graph": graph, "CUDAGraph": Graph,
        "current_stream": lambda _device: current, "get_device_name": lambda _device: "a GPU",
        "mem_get_info": lambda _device: (100, 1000), "memory_reserved": lambda _device: 50,
        "memory_allocated": lambda _device: 20, "max_memory_allocated": lambda _device: 90,
        "reset_peak_memory_stats": lambda _device: None, "synchronize": lambda _device: None,
    }  # fmt: skip
    for name, stand_in in stand_ins.items():
        assert hasattr(torch.cuda, name)
        monkeypatch.setattr(torch.cuda, name, stand_in)
    return CudaStreams("cpu")


def test_copies_and_computation_are_queued_apart_and_wait_for_each_other_on_the_device(cuda: CudaStreams) -> None:
    assert Stream.log == ["computation waits for default"]
    Stream.log.clear()
    on_device = cuda.device((2,), torch.uint8)
    assert Stream.log == [
        "on computation",
        "copies waits for computation",
    ]  # which may still use the memory for something else
    Stream.log.clear()
    copied = cuda.copy(lambda: on_device.fill_(3))
    done = cuda.compute(lambda: on_device.add_(1), copied)
    cuda.wait(done)
    assert Stream.log == [
        "on copies", "computation waits for the event on copies", "on computation", "the host waits for computation",
    ]  # fmt: skip
    assert on_device.tolist() == [4, 4]


def test_a_graph_is_captured_beside_other_threads_that_use_the_gpu(cuda: CudaStreams) -> None:
    Stream.log.clear()
    repeat = cuda.repeated(lambda: None)
    repeat()
    assert Stream.log == ["on default", "capture on recording, errors thread_local", "replay"]


def test_free_memory_is_that_of_the_device_and_what_torch_keeps_for_later(cuda: CudaStreams) -> None:
    assert cuda.free_bytes() == 130
    assert cuda.peak_bytes(lambda: None) == 70
    assert cuda.name.startswith("a GPU, torch ")


def test_memory_that_cannot_be_pinned_is_plain_memory_and_one_line(
    cuda: CudaStreams, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """WSL and containers refuse to pin more than some hundred megabytes, with an error of the GPU's memory."""
    empty, asked = torch.empty, []

    def refusing(*given: Any, pin_memory: bool = False, **named: Any) -> torch.Tensor:
        asked.append(pin_memory)
        if pin_memory:
            raise RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported")
        return empty(*given, **named)

    monkeypatch.setattr(torch, "empty", refusing)
    caplog.set_level(logging.WARNING)
    assert [tuple(cuda.host((2, 3), torch.uint8).shape) for _ in range(2)] == [(2, 3)] * 2
    assert asked == [True, False, False]
    assert [record.getMessage() for record in caplog.records] == [
        "memory cannot be pinned for the GPU (CUDA error: out of memory): it waits for each copy, which costs time alone"
    ]


def test_each_call_of_the_adapter_exists_in_this_torch_with_its_arguments() -> None:
    called = {
        torch.cuda.Stream.__new__: ["device"],
        torch.cuda.Event.__new__: ["blocking"],
        torch.cuda.Stream.wait_stream: ["stream"],
        torch.cuda.Stream.wait_event: ["event"],
        torch.cuda.Stream.record_event: ["event"],
        torch.cuda.Event.synchronize: [],
        torch.cuda.graph.__init__: ["cuda_graph", "stream", "capture_error_mode"],
        torch.cuda.CUDAGraph.replay: [],
        **{
            getattr(torch.cuda, name): ["device"]
            for name in (
                "current_stream", "get_device_name", "mem_get_info", "memory_reserved", "memory_allocated",
                "max_memory_allocated", "reset_peak_memory_stats", "synchronize",
            )
        },
    }  # fmt: skip
    for function, arguments in called.items():
        assert set(arguments) <= set(inspect.signature(function).parameters), function


def test_only_gpus_have_queues() -> None:
    assert streams_on("cpu") is None
    assert streams_on("mps") is None

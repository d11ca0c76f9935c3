"""Memory and speed of many small images by address, from a server in a process of its own.

python -m benchmarks.remote_images                          10,000 images of one host at 500 requests per second
python -m benchmarks.remote_images --images 2000 --rate 200

A fake model answers, so that fetching, decoding and the store are measured. The private memory of the process is sampled every
tenth of the images; it is flat if the samples after the first do not grow.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests" / "fetching"))


def serve(pipe: Connection) -> None:
    """Serve images below /photos/ until the parent says that it has had enough; send the number of requests."""
    from image_server import ImageServer

    with ImageServer() as server:
        pipe.send(server.port)
        pipe.recv()
        pipe.send(server.count())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=500.0, help="requests per second that the host allows")
    given = parser.parse_args()
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,), daemon=True)
    server.start()
    port = ours.recv()
    with TemporaryDirectory(prefix="bioclip-remote-") as folder:
        _measure(Path(folder), [f"http://127.0.0.1:{port}/photos/{n}.jpg" for n in range(given.images)], given.rate)
        shutil.rmtree(folder, ignore_errors=True)
    ours.send("enough")
    print(f"{ours.recv():,} requests for {given.images:,} images")


def _measure(folder: Path, addresses: list[str], rate: float) -> None:
    from benchmarks.memory_worker import private_bytes
    from bioclip_plugin import FetchOptions, Session, create_plugin_manager
    from bioclip_plugin.testing import FakeModel

    manager = create_plugin_manager(installed=False)
    manager.register(FakeModel())
    manners = FetchOptions(
        fetch_private=True, fetch_rate=rate, fetch_per_host=8, fetch_contact="benchmark@museum.example"
    )
    samples: list[float] = []
    began = time.perf_counter()
    with Session(
        model="fake", labels=("a red fish", "a blue fish"), store=folder / "r.db", plugins=manager, fetch=folder / "images",
        fetch_options=manners,
    ) as session:  # fmt: skip
        failed = 0
        for count, answer in enumerate(session.classify_stream(iter(addresses)), start=1):
            failed += answer.failure is not None
            began = time.perf_counter() if count == 1 else began  # without the start of torch
            if count % max(1, len(addresses) // 10) == 0:
                samples.append(private_bytes() / 1e6)
                print(
                    f"{count:>7,} images  {samples[-1]:7.1f} MB  {count / (time.perf_counter() - began):7.1f} images/s"
                )
    seconds = time.perf_counter() - began
    print(f"{len(addresses):,} images, {failed} failed, {seconds:.1f} s, {len(addresses) / seconds:.1f} images/s of {rate:g} allowed; "
          f"memory {samples[0]:.1f} MB after a tenth, {max(samples):.1f} MB at most")  # fmt: skip


if __name__ == "__main__":
    main()

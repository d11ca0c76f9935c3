"""The peer: a separate environment with pybioclip 2.1.6, and the process in it that answers the benchmarks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks import fixtures

PYBIOCLIP = "pybioclip==2.1.6"
VENV = Path(__file__).parent / ".venv-peer"
# Same versions on both sides, so that the numerics are equal and only the program differs.
_SHARED = ("torch", "torchvision", "open_clip_torch", "pillow", "numpy")


class PeerFailed(RuntimeError):
    """Failure of pybioclip or its process, with the original message."""


def peer_python() -> Path:
    """Return the interpreter with pybioclip: ``BIOCLIP_PEER_PYTHON``, else that of ``benchmarks/.venv-peer``, made if missing."""
    named = os.environ.get("BIOCLIP_PEER_PYTHON")
    return Path(named) if named else environment_with([PYBIOCLIP], VENV, pinned=_SHARED, shares=True)


def environment_with(packages: Sequence[str], folder: Path, *, pinned: Sequence[str], shares: bool) -> Path:
    """Return the interpreter of an environment with packages, which is made if it is missing or half-made.

    Args:
        packages: with their versions, as pip takes them.
        folder: of the environment.
        pinned: packages that it has in the versions of ours.
        shares: True to find the packages of ours too.
    """
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    ready = folder / "ready"
    if not ready.exists():
        print(f"making {folder} with {' and '.join(packages)} (once, takes a few minutes)", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        if shares:
            _share_packages(python)
        pins = [f"{name}=={version(name).partition('+')[0]}" for name in pinned]
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-warn-conflicts", *packages, *pins], check=True)
        ready.write_text(" ".join(packages) + "\n")
    return python


def _share_packages(python: Path) -> None:
    """Have an environment find the packages of ours too, behind its own: torch alone takes 5 GB.

    A plain path in a ``.pth`` file does not run the ``.pth`` files in that folder, so that this project is not found there.
    """
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    folder = subprocess.run([python, "-c", ask], check=True, capture_output=True, text=True).stdout.strip()
    ours = dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib"))
    (Path(folder) / "shared.pth").write_text("".join(f"{path}\n" for path in ours), encoding="utf-8")


class Peer:
    """Process with pybioclip that keeps its model and labels open between calls. Use it as a context manager."""

    def __init__(self) -> None:
        self._log = (fixtures.cache() / "peer.log").open("w", encoding="utf-8")
        self._process = subprocess.Popen(
            [str(peer_python()), str(Path(__file__).with_name("peer_worker.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=_environment(),
        )
        self._labels: Path | None = None

    def __enter__(self) -> Peer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        if self._process.stdin:
            self._process.stdin.close()
        self._process.wait(timeout=60)
        self._log.close()

    def call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """Run one operation of ``peer_worker.py`` and return its reply, with ``seconds`` if it was timed.

        Raises:
            PeerFailed: with pybioclip's message.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"op": operation, **arguments}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise PeerFailed(f"pybioclip's process ended during {operation!r}; see its log, {self._log.name}")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise PeerFailed(f"pybioclip, {operation}: {reply['error']} (see {self._log.name})")
        return reply

    def open(self, model: Path, labels: Path, *, preprocessing: str = "published") -> None:
        """Load a model folder and a label folder."""
        self.call("load", model=str(model), labels=str(labels), preprocessing=preprocessing)
        self._labels = labels

    def use_labels(self, labels: Path) -> None:
        """Load another label folder, unless it is already loaded."""
        if labels != self._labels:
            self.call("labels", labels=str(labels))
            self._labels = labels


if __name__ == "__main__":
    print(peer_python())


def _environment() -> dict[str, str]:
    """Return the environment of the peer's process: as its users have it, without our settings and without network."""
    ours = {"GOMP_SPINCOUNT", "PYTHONPATH"}
    return {**{name: value for name, value in os.environ.items() if name not in ours}, "HF_HUB_OFFLINE": "1"}

"""Processes that have imported torch and open_clip already: it takes seconds, and most programs that tests start are not about it.

They are forked from a server that has computed nothing, and exit as an interpreter does. What a program imports, and what
happens at its very beginning, is for ``subprocess``.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

PRELOADED = ["torch", "open_clip", "bioclip_plugin.running.session", "bioclip_plugin.store.store", __name__]
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(PRELOADED)


class Ready:
    """A process that runs a program, with the methods of ``subprocess.Popen`` that tests need; its output goes to files."""

    def __init__(
        self, code: str, *arguments: str, cwd: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        self._files = tempfile.TemporaryDirectory(prefix="ready-")
        self.out, self.err = (Path(self._files.name) / name for name in ("out", "err"))
        self._process = PROCESSES.Process(
            target=_work,
            args=(
                code,
                arguments,
                str(cwd or Path.cwd()),
                dict(environment or os.environ),
                str(self.out),
                str(self.err),
            ),
        )
        self._process.start()

    def poll(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def wait(self, timeout: float = 300) -> int:
        """Wait for the end and return the exit code.

        Raises:
            TimeoutError: after which the process is killed.
        """
        self._process.join(timeout)
        if self._process.exitcode is None:
            self._give_up()
        assert self._process.exitcode is not None
        return self._process.exitcode

    def wait_for_output(self, timeout: float = 300) -> None:
        """Wait until it has written something to its output, or has ended.

        Raises:
            TimeoutError: after which the process is killed.
        """
        until = time.monotonic() + timeout
        while self.poll() is None and not (self.out.exists() and self.out.stat().st_size):
            if time.monotonic() > until:
                self._give_up()
            time.sleep(0.01)

    def _give_up(self) -> None:
        self._process.kill()
        raise TimeoutError(self.err.read_text("utf-8") if self.err.exists() else "")

    def communicate(self, timeout: float = 300) -> tuple[int, str, str]:
        """Wait for the end and return exit code, output and errors."""
        said = self.wait(timeout), self.out.read_text("utf-8"), self.err.read_text("utf-8")
        self._files.cleanup()
        return said


def run_ready(
    code: str, *arguments: str, cwd: Path | None = None, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program in a process that has imported torch and open_clip, and return what it said."""
    returned, out, err = Ready(code, *arguments, cwd=cwd, environment=environment).communicate()
    return subprocess.CompletedProcess(["python", *arguments], returned, out, err)


def _work(code: str, arguments: tuple[str, ...], cwd: str, environment: dict[str, str], out: str, err: str) -> None:
    for number, path in ((1, out), (2, err)):
        file = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
        os.dup2(file, number)
        os.close(file)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["-c", *arguments]
    main = sys.modules["__main__"] = ModuleType("__main__")
    try:
        exec(compile(code, "<string>", "exec"), main.__dict__)
    finally:  # also in children that the program forks: what the interpreter does at its exit, and multiprocessing would not
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()

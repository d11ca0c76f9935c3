"""Checks in processes of their own: one that crashes, hangs or ends its process is a line of the report."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import IO, Any

from bioclip_core.errors import one_line
from bioclip_core.process import system
from bioclip_plugin.doctor.machine import units_of_processor
from bioclip_plugin.doctor.options import DoctorOptions
from bioclip_plugin.doctor.report import Fact, Finding, Problem, State, Step

_BEGIN = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from bioclip_plugin.doctor.child import main; main()"
_MOST_BEGINNINGS = 20
"""Number of processes for one check; each further one leaves out a step that did not end."""
_CLOSING_S = 1.0
"""Time for the end of a process and of its pipes."""
_LAST_WORDS = 400
"""Characters of standard error that are shown of a crashed process."""
_MOST_WORDS = 16_000
_OF_TRACEBACK = re.compile(
    r"\s|Traceback \(|Exception in thread |(?:Current t|T)hread 0x|Stack \(most recent|Extension modules:|"
    r"(?:During handling|The above exception) .*:$|Exception ignored in: |$"
)
"""Lines of a traceback, except its last one."""
_ENDINGS = {
    "SIGILL": "illegal instruction", "SIGSEGV": "access to memory that is not its own", "SIGABRT": "abort",
    "SIGBUS": "bus error", "SIGKILL": "killed by the system", "SIGFPE": "arithmetic error",
    0xC000001D: "illegal instruction", 0xC0000005: "access to memory that is not its own", 0xC0000135: "a DLL is missing",
}  # fmt: skip

Line = dict[str, Any] | None
Silence = Callable[[Step | None, float], Problem]


class Apart:
    """The processes of an examination. Close it to end those that still run."""

    def __init__(self) -> None:
        self.is_possible = bool(sys.executable) and not getattr(sys, "frozen", False)
        """False inside of a program that is not Python's own."""
        self._running: set[subprocess.Popen[bytes]] = set()
        self._is_closed = False

    def run(
        self,
        name: str,
        look: str,
        options: DoctorOptions,
        limits_s: tuple[float, float],
        take: Callable[[Finding], None],
        silent: Silence,
    ) -> State:
        """Make a check in a process, and again without the step that ended it.

        Args:
            name: name of the check.
            look: place of the function, ``module:function``; it takes the options and the keys of the steps to leave out.
            options: the options of the examination.
            limits_s: longest silence in a usual step, and in a long one.
            take: called with each finding.
            silent: returns the problem for a step that does not end within its limit.
        """
        without: list[str] = []
        for _ in range(_MOST_BEGINNINGS):
            step, problem, state = self._once(
                {
                    "name": name,
                    "look": look,
                    "options": options.as_json(),
                    "without": without,
                },
                limits_s,
                take,
                silent,
            )
            if problem is not None and not self._is_closed:
                take(problem)
            if state == "done" or step is None or not step.key or self._is_closed:
                return state
            without.append(step.key)
        return "failed"

    def close(self) -> None:
        """End all processes."""
        self._is_closed = True
        for process in list(self._running):
            _kill(process)

    def _once(
        self,
        request: dict[str, Any],
        limits_s: tuple[float, float],
        take: Callable[[Finding], None],
        silent: Silence,
    ) -> tuple[Step | None, Problem | None, State]:
        """Make the check once; return the last step, the problem that ended it, and the state."""
        process = _begun(request)
        self._running.add(process)
        if self._is_closed:
            _kill(process)
        lines, words = _Lines(process.stdout), _Words(process.stderr)
        step: Step | None = None
        try:
            while True:
                limit_s = limits_s[1] if step is None or step.is_long else limits_s[0]  # the first: Python begins
                try:
                    line = lines.queue.get(timeout=limit_s)
                except Empty:
                    return step, silent(step, limit_s), "given up"
                if line is None:
                    return step, _died(step, _code_of(process), words.last()), "failed"
                if "end" in line:
                    return step, None, "done"
                if "error" in line:
                    return step, Problem(**line["error"]), "failed"
                found = _finding(line)
                step = found if isinstance(found, Step) else step
                take(found)
        finally:
            _kill(process)
            self._running.discard(process)
            for reader in (lines, words):
                reader.thread.join(
                    _CLOSING_S
                )  # it closes its pipe, unless a program that was left behind holds it open


def _begun(request: dict[str, Any]) -> subprocess.Popen[bytes]:
    """Begin a process and give it its request, by a pipe, since others can read the arguments of a process."""
    process = subprocess.Popen(
        [sys.executable, "-c", _BEGIN, json.dumps(sys.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        start_new_session=not system.is_windows(),  # so that Ctrl-C is heard by one process, which ends the others
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    )
    assert process.stdin is not None
    with suppress(OSError):  # it may be gone already
        process.stdin.write(json.dumps(request).encode() + b"\n")
        process.stdin.flush()  # and stays open: the process ends when this one is gone
    return process


class _Lines:
    """The lines that a process writes, in a queue, and None at their end."""

    def __init__(self, stream: IO[bytes] | None) -> None:
        assert stream is not None
        self.queue: SimpleQueue[Line] = SimpleQueue()
        self._stream = stream
        self.thread = threading.Thread(target=self._read, name="bioclip-doctor-lines", daemon=True)
        self.thread.start()

    def _read(self) -> None:
        with suppress(OSError, ValueError), self._stream as stream:
            for text in stream:
                with suppress(ValueError):  # half a line of a process that crashed
                    self.queue.put(json.loads(text))
        self.queue.put(None)


class _Words:
    """The end of what a process writes on standard error."""

    def __init__(self, stream: IO[bytes] | None) -> None:
        assert stream is not None
        self._stream, self._kept, self._is_cut = stream, b"", False
        self.thread = threading.Thread(target=self._read, name="bioclip-doctor-words", daemon=True)
        self.thread.start()

    def last(self) -> str:
        """Return the end of it without the lines of tracebacks; the last line of one says what happened."""
        self.thread.join(_CLOSING_S)
        lines = self._kept.decode("utf-8", "replace").splitlines()
        if self._is_cut:
            del lines[:1]
        return one_line(" ".join(line for line in lines if not _OF_TRACEBACK.match(line)))[-_LAST_WORDS:]

    def _read(self) -> None:
        with suppress(OSError, ValueError), self._stream as stream:
            while read := stream.read1(4096):  # type: ignore[attr-defined]
                self._kept += read
                self._is_cut = self._is_cut or len(self._kept) > _MOST_WORDS
                self._kept = self._kept[-_MOST_WORDS:]


def _finding(line: dict[str, Any]) -> Finding:
    kinds: dict[str, Callable[..., Finding]] = {"fact": Fact, "problem": Problem, "step": Step}
    name, given = next(iter(line.items()))
    return kinds[name](**given)


def _code_of(process: subprocess.Popen[bytes]) -> int | None:
    try:
        return process.wait(5)
    except subprocess.TimeoutExpired:
        return None


def ending_of(code: int | None) -> str:
    """Return how a process ended, in words."""
    if code is None:
        return "closed its output and did not end"
    if code < 0:
        with suppress(ValueError):
            name = signal.Signals(-code).name
            return f"ended with the signal {name}" + (f" ({_ENDINGS[name]})" if name in _ENDINGS else "")
    if code & 0xFFFFFFFF in _ENDINGS:
        return f"ended with the code 0x{code & 0xFFFFFFFF:08X} ({_ENDINGS[code & 0xFFFFFFFF]})"
    return f"ended its process with the code {code}"


def _died(step: Step | None, code: int | None, words: str) -> Problem:
    what, ending = step.what if step is not None else "a check", ending_of(code)
    key, own = (step.key, step.code) if step is not None else ("", "")
    shown = f" and wrote: {words}" if words else ""
    if "illegal instruction" in ending:
        return Problem(
            own or "check.crashed",
            f"{what} {ending}",
            f"this build of {key or 'a package'} needs instructions, such as AVX2, that this processor does not have (it has "
            f"{', '.join(units_of_processor() or ['none that are known'])})",
            "install a build for older processors (docs/install.md), or use another machine",
        )
    if "killed by the system" in ending:
        return Problem(
            own or "check.crashed", f"{what} {ending}", "the machine, container or job has too little memory for it",
            "end other programs, or give the container or job more memory",
        )  # fmt: skip
    usual = f"install {key} again, in a new environment if that does not help" if key else "please report it"
    return Problem(own or "check.crashed", f"{what} {ending}{shown}", "it would end every command that uses it",
                   (step.advice if step is not None else "") or usual)  # fmt: skip


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a process and those that it began. One that hangs in the system is left alone."""
    if process.poll() is None:
        with suppress(OSError):
            if system.is_windows():
                process.kill()
            else:
                os.killpg(process.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_CLOSING_S)
    with suppress(OSError, ValueError):
        if process.stdin is not None:
            process.stdin.close()

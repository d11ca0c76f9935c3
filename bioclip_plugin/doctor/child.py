"""The other end of :mod:`.apart`: a process that makes one check and writes each finding as one line of JSON, at once."""

from __future__ import annotations

import json
import os
import sys
import threading
from dataclasses import asdict
from typing import Any


def main() -> None:
    """Make the check that standard input asks for. Nothing is torn down at the end: libraries may crash even there."""
    # Before anything is looked at: a plugin may take away the modules that are needed to say so.
    from bioclip_plugin.doctor.failures import failed
    from bioclip_plugin.doctor.report import Step

    request, last = json.loads(sys.stdin.readline()), _Last()
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as output:
        os.dup2(2, 1)  # whatever libraries and plugins print
        threading.Thread(target=_end_with_parent, daemon=True).start()

        def write(**line: Any) -> None:
            if "step" in line:
                last.step = Step(**line["step"])
            output.write(json.dumps(line) + "\n")
            output.flush()

        try:
            _look(request, write)
            write(end=True)
        except BaseException as error:  # KeyboardInterrupt too: Ctrl-C ends this process by another way
            write(error=asdict(failed(request["name"], error, last.step)))
    os._exit(0)


class _Last:
    """The step that was begun last."""

    step: Any = None


def _look(request: dict[str, Any], write: Any) -> None:
    from bioclip_plugin.doctor.examining import function_at
    from bioclip_plugin.doctor.options import DoctorOptions
    from bioclip_plugin.doctor.report import Fact, Problem

    options = DoctorOptions(**request["options"])
    for found in function_at(request["look"])(options, frozenset(request["without"])):
        name = "fact" if isinstance(found, Fact) else "problem" if isinstance(found, Problem) else "step"
        write(**{name: asdict(found)})


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)

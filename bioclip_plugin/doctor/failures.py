"""Problems that a check has instead of an outcome: it failed, or did not end."""

from __future__ import annotations

from bioclip_core.errors import BioclipError, first_line
from bioclip_core.next_commands import command
from bioclip_plugin.doctor.report import Problem, Step


def failed(name: str, error: BaseException) -> Problem:
    """Return the problem of a check that raised an error."""
    kind = "" if isinstance(error, BioclipError) else f"{type(error).__name__}: "
    text = first_line(error) if isinstance(error, Exception) else str(error)
    is_import = isinstance(error, ImportError)
    return Problem(
        f"{name}.failed",
        f"the check {name} failed: {kind}{text}".rstrip(": "),
        "a package that it needs is missing or broken" if is_import else "",
        "install bioclip-plugin again, in a new environment if that does not help" if is_import else "",
    )


def silent(name: str, step: Step | None, seconds: float) -> Problem:
    """Return the problem of a check that did not end within its limit."""
    what = step.what if step is not None else f"the check {name}"
    return Problem(
        (step.code if step else "") or f"{name}.no-answer",
        f"{what} did not end within {seconds:g} s and was given up",
        "every other command would hang too"
        if step is not None and step.advice
        else "a disk, a server or a package does not answer",
        (f"{step.advice}; " if step is not None and step.advice else "")
        + f"if this machine is only slow, give it more time: {command('doctor', patience=f'{seconds * 10:g}')}",
    )

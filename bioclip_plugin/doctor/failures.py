"""Problems that a check has instead of an outcome: it failed, or did not end."""

from __future__ import annotations

from bioclip_core.errors import BioclipError, one_line
from bioclip_core.next_commands import command
from bioclip_plugin.doctor.report import Problem, Step

_LONGEST = 300


def failed(name: str, error: BaseException, step: Step | None = None) -> Problem:
    """Return the problem of a check that raised an error, or of its step if that has a name of its own."""
    kind = "" if isinstance(error, BioclipError) else f"{type(error).__name__}: "
    text = one_line((str(error).strip().splitlines() or [""])[0])[:_LONGEST]
    is_import = isinstance(error, ImportError)
    if step is not None and step.key:
        ends_all = isinstance(error, (KeyboardInterrupt, SystemExit))
        return Problem(
            step.code if ".crash." in step.code else f"{name}.failed",
            f"{step.what} failed: {kind}{text}".rstrip(": "),
            "every command that uses it ends there" if ends_all else "commands that use it fail too",
            step.advice or ("install what is missing, or the package again" if is_import else ""),
        )
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

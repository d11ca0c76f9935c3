"""``python -m bioclip_plugin.doctor``: the examination where the command line itself cannot begin."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from bioclip_core.errors import BioclipError, UsageError, first_line
from bioclip_core.options import help_of, options_of
from bioclip_plugin.doctor.examining import examine, show
from bioclip_plugin.doctor.options import DoctorOptions

# As commands/context.py has them, which may not be importable.
_DONE, _COULD_NOT_RUN, _WRONG_USAGE, _WITH_PROBLEMS, _INTERRUPTED = 0, 1, 2, 3, 130


def main(arguments: Sequence[str]) -> int:
    """Examine and return the exit code; with the options of ``bioclip-plugin doctor``."""
    parser = argparse.ArgumentParser("python -m bioclip_plugin.doctor", description=__doc__)
    parser.add_argument("--json", action="store_true", help="Print JSON.")
    for option in options_of(DoctorOptions):
        flag, text = f"--{option.name.replace('_', '-')}", help_of(DoctorOptions).get(option.name)
        if option.kind is bool:
            parser.add_argument(flag, action="store_true", help=text)
        else:
            parser.add_argument(flag, type=option.kind, default=option.default, help=text)
    given = vars(parser.parse_args(arguments))
    as_json = given.pop("json")
    try:
        report = examine(DoctorOptions(**given))
        show(report, as_json=as_json)
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted.\n")
        return _INTERRUPTED
    except UsageError as error:
        sys.stderr.write(f"Error: {error}\n")
        return _WRONG_USAGE
    except (BioclipError, OSError) as error:  # a full disk behind standard output, too
        sys.stderr.write(f"Error: {error}\n")
        return _COULD_NOT_RUN
    return _DONE if report.is_healthy else _WITH_PROBLEMS


def stranded(error: Exception, arguments: Sequence[str]) -> int:
    """Examine if that was asked for, else say why the command line cannot begin; return the exit code."""
    if arguments and arguments[0] == "doctor":
        sys.stderr.write(f"The command line cannot begin ({type(error).__name__}: {first_line(error)}).\n")
        return main(arguments[1:])
    sys.stderr.write(
        f"Error: bioclip-plugin cannot begin: {type(error).__name__}: {first_line(error)}. A package that it needs is missing or "
        f"broken; this shows which: {sys.executable or 'python'} -m bioclip_plugin.doctor\n"
    )
    return _COULD_NOT_RUN


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

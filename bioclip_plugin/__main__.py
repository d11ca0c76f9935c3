"""``python -m bioclip_plugin``: the command line, for launchers such as torchrun that take a module; and the program's beginning.

A package that the command line itself needs may be missing or broken. Then this says so in a line, and ``doctor`` still works.
"""

from __future__ import annotations

import sys

_INTERRUPTED = 130


def main() -> None:
    """Run the command line; without a package that it needs, say which, or examine what is wrong."""
    try:
        from bioclip_plugin.cli import main as command_line
    except KeyboardInterrupt:  # Ctrl-C before the command line can handle it
        sys.stderr.write("Interrupted.\n")
        sys.exit(_INTERRUPTED)
    except Exception as error:
        from bioclip_plugin.doctor.__main__ import stranded

        sys.exit(stranded(error, sys.argv[1:]))
    command_line()


if __name__ == "__main__":
    main()

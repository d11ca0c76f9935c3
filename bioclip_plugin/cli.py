"""The command line: it collects the commands of plugins, reads ``bioclip.toml``, and turns errors into one line."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import Any, NoReturn

import click

from bioclip_core import __version__
from bioclip_core.errors import BioclipError, DataError, UsageError, one_line
from bioclip_core.hub import progress_bars
from bioclip_core.next_commands import command
from bioclip_core.process.threads import finish, hung_threads
from bioclip_plugin.commands.config import CONFIG_FILE, ConfigFile
from bioclip_plugin.commands.context import EXIT_COULD_NOT_RUN, EXIT_DONE, EXIT_INTERRUPTED, EXIT_USAGE
from bioclip_plugin.commands.last_resort import explained, leave_output, say, show_traceback_if_wanted
from bioclip_plugin.commands.signals import guarded
from bioclip_plugin.contracts.commands import LazyGroup, PluginCommand
from bioclip_plugin.contracts.manager import BioclipPluginManager
from bioclip_plugin.plugins import create_plugin_manager

_DOCTOR = "doctor"
"""The command that works whatever is wrong with the options file and the plugins, which it examines by itself."""
_LAST_COMMITS_S = 1.0
"""Longest wait for work that must not be lost, after Ctrl-C."""


class _ReaderLeft(Exception):
    """The reader of our output is gone (``| head``), which is not an error; click and rich would exit with 1."""


class CommandGroup(LazyGroup):
    """The group of all commands, those of plugins among them."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, imported if need be; None for an unknown name.

        Raises:
            BioclipError: if a plugin's command cannot be imported.
        """
        known = super().get_command(ctx, cmd_name)
        return known.imported() if isinstance(known, PluginCommand) else known

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the called command and give it its options from the options file, also if a plugin added it."""
        name, command, rest = super().resolve_command(ctx, args)
        if name is not None and command is not None:
            with suppress(*((BioclipError,) if name == _DOCTOR else ())):  # which shows what is wrong with the file
                config = ConfigFile.read(ctx.params.get("config"))
                with self._blaming(name):
                    ctx.default_map = {name: config.defaults_for(self, name, command, ctx)}
        return name, command, rest

    def invoke(self, ctx: click.Context) -> Any:
        """Run the called command."""
        try:
            with self._blaming_called(ctx):
                return super().invoke(ctx)
        except (BrokenPipeError, SystemExit) as error:
            if isinstance(error, BrokenPipeError) or isinstance(error.__context__, BrokenPipeError):
                raise _ReaderLeft from None
            raise

    @contextmanager
    def _blaming_called(self, ctx: click.Context) -> Iterator[None]:
        """Name the plugin of the called command in its error, once click has found the command."""
        try:
            yield
        except BaseException as error:
            with self._blaming(ctx.invoked_subcommand or ""):
                raise error

    @contextmanager
    def _blaming(self, name: str) -> Iterator[None]:
        """Name the plugin of a command in its error. Errors of click, exits and Ctrl-C pass unchanged."""
        command = self.commands.get(name)
        try:
            yield
        except (click.ClickException, click.exceptions.Exit, click.Abort, KeyboardInterrupt, BrokenPipeError):
            raise
        except BaseException as error:
            if not isinstance(command, PluginCommand):
                raise
            if not isinstance(error, SystemExit):
                raise command.blamed(error) from error
            if isinstance(error.__context__, BrokenPipeError):
                raise
            if isinstance(error.code, str):
                say(one_line(error.code))
            raise click.exceptions.Exit(error.code if isinstance(error.code, int) else int(bool(error.code))) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands without importing those that were not called."""
        rows = [(name, command.get_short_help_str(90)) for name, command in self.commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def command_line(manager: BioclipPluginManager) -> CommandGroup:
    """Return the command line with the commands of a manager's plugins."""

    @click.group(
        cls=CommandGroup,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
        epilog="Every option may be set in bioclip.toml: a key for all commands, or under [COMMAND]."
        "\n\n\b\nStart with: bioclip-plugin demo",
    )
    @click.version_option(__version__, package_name="bioclip-plugin")
    @click.option(
        "--config",
        type=click.Path(path_type=Path),
        help="Options file.",
        show_default=f"{CONFIG_FILE} of the working directory",
    )
    def cli(config: Path | None) -> None:
        """Name the organisms in images with BioCLIP, and keep every result."""

    assert isinstance(cli, CommandGroup)
    manager.add_commands(cli)
    return cli


def run(arguments: Sequence[str] | None = None, manager: BioclipPluginManager | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        arguments: the arguments after the program's name; None: those of the process.
        manager: the plugin manager of a host; None: a new one.
    """
    try:
        with guarded(), progress_bars():
            with redirect_stdout(sys.stderr):  # for plugins that print while they are imported or registered
                given = list(arguments) if arguments is not None else sys.argv[1:]
                manager = manager or create_plugin_manager(installed=not _asks_for_doctor(given))
                line = command_line(manager)
            result = line.main(args=given, prog_name="bioclip-plugin", standalone_mode=False, obj=manager)
            if sys.stdout is not None:  # it is None if the process was started without one
                sys.stdout.flush()  # while a broken pipe can still be handled here
        _report_skipped(manager, line, given)
        return result if isinstance(result, int) else EXIT_DONE
    except click.ClickException as error:
        with suppress(OSError, ValueError):
            error.show()
        return error.exit_code
    except BioclipError as error:
        show_traceback_if_wanted(error)
        say(f"Error: {one_line(str(error))}")
        is_misuse = isinstance(error, UsageError) and not isinstance(error, DataError)
        return EXIT_USAGE if is_misuse else EXIT_COULD_NOT_RUN
    except (KeyboardInterrupt, click.Abort):
        say("Interrupted.")
        return EXIT_INTERRUPTED
    except (_ReaderLeft, BrokenPipeError):
        return EXIT_DONE
    except Exception as error:  # the last resort: no file may end in a traceback
        show_traceback_if_wanted(error)
        say(*explained(error))
        return EXIT_COULD_NOT_RUN
    finally:
        leave_output()


def _asks_for_doctor(arguments: Sequence[str]) -> bool:
    """True if the command is ``doctor``, which imports plugins in other processes: one of them may hang or crash."""
    words = list(arguments)
    if words[:1] == ["--config"]:
        del words[:2]
    return next((word for word in words if not word.startswith("--config=")), "") == _DOCTOR


def _report_skipped(manager: BioclipPluginManager, line: CommandGroup, arguments: Sequence[str]) -> None:
    """Name the plugins that are left out after any command of a user, except after the one that shows the reasons."""
    if manager.failures and "plugins" not in arguments and any(name in arguments for name in line.commands):
        names = ", ".join(dict.fromkeys(one_line(failure.name) for failure in manager.failures))
        say(f"Skipped plugins: {names}; see: {command('plugins')}")


def escape_what_cannot_be_written(stream: Any) -> None:
    """Write characters that a terminal's or a pipe's encoding lacks as escapes, instead of ending the work with an error."""
    if getattr(stream, "errors", "") == "strict" and hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="backslashreplace")


def main() -> None:
    """Run the ``bioclip-plugin`` command in a process of its own."""
    # torch's threads wait for each other by spinning for long, and take the cores from the threads that decode images and
    # from other programs. Waiting shortly and then sleeping gave 135 images/s instead of 123 on two quiet cores, and 85
    # instead of 13 beside a busy program. OpenMP reads it when torch is imported; a value of the user's own is kept.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    for stream in (sys.stdout, sys.stderr):
        escape_what_cannot_be_written(stream)
    leave(run())


def leave(code: int) -> NoReturn:
    """End the process with an exit code.

    Hung threads are not waited for, nor what C libraries tear down beneath them; and after Ctrl-C a batch of a slow model is not.
    """
    is_at_work = code == EXIT_INTERRUPTED and not finish(_LAST_COMMITS_S)
    if is_at_work or hung_threads():
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    main()

"""The command line: gathers the commands that plugins register, reads ``bioclip.toml``, and turns errors into one line."""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from bioclip_core.errors import BioclipError, UsageError
from bioclip_plugin import __version__
from bioclip_plugin.plugins import BioclipPluginManager, create_plugin_manager

CONFIG_FILE = "bioclip.toml"

EXIT_DONE, EXIT_COULD_NOT_RUN, EXIT_USAGE, EXIT_WITH_FAILURES, EXIT_INTERRUPTED = 0, 1, 2, 3, 130


class CommandGroup(click.Group):
    """A group whose commands are imported when they are called, so that ``--help`` imports nothing heavy."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._lazy: dict[str, tuple[str, str]] = {}

    def add_lazy(self, name: str, place: str, short_help: str) -> None:
        """Add a command by the place of its object, ``package.module:attribute``, and its line in ``--help``."""
        self._lazy[name] = (place, short_help)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(dict.fromkeys([*self._lazy, *super().list_commands(ctx)]))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        known = super().get_command(ctx, cmd_name)
        if known is None and cmd_name in self._lazy:
            module, _, attribute = self._lazy[cmd_name][0].partition(":")
            known = getattr(import_module(module), attribute)
        return known

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing those that were not called."""
        rows = []
        for name in self.list_commands(ctx):
            known = self.commands.get(name)
            rows.append((name, known.get_short_help_str(90) if known else self._lazy[name][1]))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.group(
    cls=CommandGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Every option can stand in bioclip.toml: a key for all commands, or under [COMMAND]. Start with: bioclip-plugin demo",
)
@click.version_option(__version__, package_name="bioclip-plugin")
@click.option(
    "--config", type=click.Path(path_type=Path), help=f"Options file; without it, {CONFIG_FILE} of the working directory."
)
@click.pass_context
def cli(ctx: click.Context, config: Path | None) -> None:
    """Name the organisms in images with BioCLIP, and keep every result."""
    ctx.default_map = _defaults(cli, read_config(config))


def read_config(path: Path | None) -> dict[str, Any]:
    """The options file as nested names and values; empty where there is none and none was asked for.

    Raises:
        UsageError: if the file cannot be read.
    """
    place = path or Path(os.environ.get("BIOCLIP_CONFIG", CONFIG_FILE))
    if path is None and not place.is_file():
        return {}
    try:
        return tomllib.loads(place.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{place} cannot be read: {error}") from None


def _defaults(group: click.Group, config: Mapping[str, Any]) -> dict[str, Any]:
    """Click's default map: what stands for all commands, and under each command's own name."""
    common = {key: value for key, value in config.items() if not isinstance(value, Mapping)}
    sections = {key: value for key, value in config.items() if isinstance(value, Mapping)}
    ctx = click.Context(group)
    names = group.list_commands(ctx)
    unknown = sorted(set(sections) - set(names))
    if unknown:
        raise UsageError(f"{CONFIG_FILE}: no command is called {', '.join(unknown)}; there are {', '.join(names)}")
    return {name: {**common, **sections.get(name, {})} for name in names}


def check_config(ctx: click.Context) -> None:
    """Refuse a key of ``bioclip.toml`` that the called command does not know and no other does either."""
    section = read_config(ctx.find_root().params.get("config")).get(ctx.command.name or "", {})
    known = {parameter.name for parameter in ctx.command.params}
    unknown = sorted(set(section) - known)
    if unknown:
        allowed = ", ".join(sorted(name for name in known if name))
        raise UsageError(f"{CONFIG_FILE}, [{ctx.command.name}]: unknown {', '.join(unknown)}; allowed are {allowed}")


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    try:
        manager = create_plugin_manager()
        manager.hook.register_commands(cli=cli)
        result = cli.main(args=list(arguments) if arguments is not None else None, standalone_mode=False, obj=manager)
        return result if isinstance(result, int) else EXIT_DONE
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except UsageError as error:
        _say(error)
        return EXIT_USAGE
    except BioclipError as error:
        _say(error)
        return EXIT_COULD_NOT_RUN
    except (KeyboardInterrupt, click.Abort):
        click.echo("Interrupted.", err=True)
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of our output left; that is its right
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_DONE


def _say(error: BioclipError) -> None:
    click.echo(f"Error: {' '.join(str(error).split())}", err=True)


def plugins_of(ctx: click.Context) -> BioclipPluginManager:
    """The plugin manager that the command line was started with."""
    manager = ctx.find_root().obj
    assert isinstance(manager, BioclipPluginManager)
    return manager


def main() -> None:
    """The ``bioclip-plugin`` command."""
    sys.exit(run())


if __name__ == "__main__":
    main()

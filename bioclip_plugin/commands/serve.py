"""``bioclip-plugin serve``: one model and one store for programs that ask over HTTP."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bioclip_core.errors import (
    DataError,
    InstallationError,
    LabelSetError,
    ModelError,
    StoreError,
    first_line,
)
from bioclip_plugin.commands.context import EXIT_DONE, EXIT_INTERRUPTED, plugins_of
from bioclip_plugin.commands.options import DEFAULT_STORE, filled, options_from
from bioclip_plugin.commands.reporting import console_for, log_lines
from bioclip_plugin.commands.signals import asked_to_stop
from bioclip_plugin.items.request import ClassifyRequest
from bioclip_plugin.serving.options import ServeOptions
from bioclip_plugin.store import open_store

if TYPE_CHECKING:
    from bioclip_plugin.running.session import Session
    from bioclip_plugin.serving.state import Workbench
    from bioclip_plugin.store import Store

_NEEDED = ("fastapi", "uvicorn", "jinja2", "python_multipart", "prometheus_client")


@click.command()
@options_from(ClassifyRequest, omit=["rules", "detector", "detection_threshold"], store=DEFAULT_STORE)
@options_from(ServeOptions)
@click.pass_context
def serve(ctx: click.Context, /, **options: Any) -> int:
    """Answer programs over HTTP: classify images, look up labels and runs. Ends with Ctrl-C.

    The printed link opens the description of the API in a browser; programs send the token. Images that clients send
    are classified and forgotten: the store is only read.

    \b
    bioclip-plugin serve --model demo
    bioclip-plugin serve --store results.db --media-root photos/ --token-file token.txt
    bioclip-plugin serve --host 0.0.0.0 --allowed-host museum.example.org
    """
    chosen, request = filled(ServeOptions, options), filled(ClassifyRequest, options)
    roots = _checked_roots(chosen)
    _check_installed()
    with log_lines(console_for()), asked_to_stop() as stop:
        from bioclip_core.process.threads import Workers
        from bioclip_plugin.serving.app import create_app
        from bioclip_plugin.serving.limits import MB, Limits
        from bioclip_plugin.serving.security import Access
        from bioclip_plugin.serving.server import listening
        from bioclip_plugin.serving.server import serve as serve_app
        from bioclip_plugin.serving.state import Workbench

        opened = listening(chosen.host, chosen.port)
        with opened:
            port = opened.getsockname()[1]
            session, why_no_model = _session(ctx, request)
            store, why_no_store = _store(request, read_only=chosen.read_only)
            if session is None and store is None:
                raise ModelError(f"there is nothing to serve: {why_no_model}; {why_no_store}")
            bench = Workbench(
                Access.of(chosen, port),
                session,
                why_no_model,
                store,
                why_no_store,
                roots,
                chosen.read_only,
                Limits(chosen.max_upload_mb * MB, chosen.max_megapixels * MB),
                chosen.max_waiting,
            )
            opener = Workers(1, "bioclip-serve-open", must_finish=True)
            opener.submit(bench.open_model)
            is_idle = serve_app(create_app(bench), opened, stop.is_asked, lambda: _say(bench, chosen))
            is_idle = opener.close(wait_s=0.2) and is_idle
            click.echo("Ended.", err=True)
            if not is_idle:  # in the middle of a batch, whose thread is not waited for
                return EXIT_INTERRUPTED
            if session is not None:
                session.close()
            if store is not None:
                store.close()
    return EXIT_DONE


def _checked_roots(options: ServeOptions) -> tuple[Path, ...]:
    roots = tuple(map(Path, options.media_roots))
    for root in roots:
        if not root.is_dir():
            raise DataError(f"--media-root {root}: there is no such folder")
    return roots


def _check_installed() -> None:
    from importlib import import_module

    for name in _NEEDED:
        try:
            import_module(name)
        except ImportError as error:
            raise InstallationError(
                f"serve needs {name} ({first_line(error)}): pip install 'bioclip-plugin[serve]'"
            ) from None


def _session(ctx: click.Context, request: ClassifyRequest) -> tuple[Session | None, str]:
    """Return a Session without a store, or the reason why its model cannot be had."""
    from bioclip_plugin.running.session import Session

    try:
        session = Session(replace(request, store=None), plugins_of(ctx))
        _ = session.engine.labels
    except (ModelError, LabelSetError, InstallationError) as error:
        click.echo(f"Images cannot be classified: {error}", err=True)
        return None, str(error)
    return session, ""


def _store(request: ClassifyRequest, *, read_only: bool) -> tuple[Store | None, str]:
    """Return the store, or the reason why there is none."""
    assert request.store is not None
    try:
        return open_store(request.store, upgrade=False if read_only else None), ""
    except StoreError as error:
        click.echo(f"There are no stored results: {error}", err=True)
        return None, str(error)


def _say(bench: Workbench, options: ServeOptions) -> None:
    """Print what a person and a program need."""
    access = bench.access
    if bench.session is not None:
        click.echo(f"Model {bench.session.engine.model.name}")
    if bench.store is not None:
        click.echo(f"Store {bench.store.shown_address}")
    click.echo(f"Open in a browser: {access.link(options.host)}")
    if access.token is None:
        click.echo("Every program of this machine may use it, since --no-token was given.")
    elif options.token_file is not None:
        click.echo(f"Programs send the token in {options.token_file}: Authorization: Bearer TOKEN")
    else:
        click.echo(f"Programs send: Authorization: Bearer {access.token}")
    click.echo("It ends with Ctrl-C.")

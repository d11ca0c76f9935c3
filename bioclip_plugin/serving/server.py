"""The process around the app: its socket, slow clients, and an end within seconds whatever it is busy with."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from contextlib import contextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from bioclip_core.errors import DataError
from bioclip_core.process.threads import Workers
from bioclip_plugin.serving.state import Workbench

HEADERS_S = 20.0
"""Time that a client has for the headers of a request."""
MOST_CONNECTIONS = 1_000
"""Connections and requests at once; further ones are answered 503."""
DRAIN_S = 2.0
"""Time for requests that are on their way when the server is asked to end."""
_LAST_ANSWERS_S = 1.0
_LOOK_S = 0.1


class PatientForAWhile(H11Protocol):
    """HTTP/1.1 that closes a connection whose headers do not come, which uvicorn would keep for ever."""

    _overdue: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for headers."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Wait further if these bytes did not complete the headers."""
        super().data_received(data)
        if self._is_idle():
            if self._overdue is None:
                self._wait()
        else:
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _is_idle(self) -> bool:
        return self.cycle is None or bool(self.cycle.response_complete)

    def _wait(self) -> None:
        self._overdue = self.loop.call_later(HEADERS_S, self._give_up)

    def _stop_waiting(self) -> None:
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None

    def _give_up(self) -> None:
        self._overdue = None
        if self._is_idle() and not self.transport.is_closing():
            self.transport.close()


class _Server(uvicorn.Server):
    """uvicorn without signal handlers of its own: the command line has them."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        DataError: for a port in use, and an address that is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With its protocol named, asyncio sends the second part of a response at once, instead of 40 ms later (TCP_NODELAY).
    opened = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):  # on Windows SO_REUSEADDR would share the port
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((host.strip("[]"), port))
        opened.listen(2048)
    except OSError as error:
        opened.close()
        if error.errno == errno.EADDRINUSE:
            raise DataError(
                f"port {port} of {host} is in use by another program, perhaps by another `serve`: end that one, or give another "
                "--port (0 takes a free one)"
            ) from None
        raise DataError(f"--host {host} --port {port}: {error.strerror or error}; give another one") from None
    return opened


def serve(
    app: FastAPI, opened: socket.socket, is_asked_to_end: Callable[[], bool], on_start: Callable[[], None]
) -> bool:
    """Serve an app until the end is asked for; True if nothing is left at work then.

    Requests on their way have :data:`DRAIN_S` to be answered; what is not done by then is answered 503.

    Args:
        app: the app of :func:`create_app`.
        opened: a listening socket.
        is_asked_to_end: asked ten times a second.
        on_start: called when requests are answered.
    """
    bench: Workbench = app.state.workbench
    server = _Server(
        uvicorn.Config(
            app,
            http=PatientForAWhile,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=MOST_CONNECTIONS,
            timeout_graceful_shutdown=round(DRAIN_S + _LAST_ANSWERS_S),
        )
    )

    async def watch() -> None:
        while not server.started:
            await asyncio.sleep(_LOOK_S)
        on_start()
        while not is_asked_to_end():
            await asyncio.sleep(_LOOK_S)
        server.should_exit = True
        if bench.batcher is not None:
            await asyncio.to_thread(bench.batcher.end, DRAIN_S)

    async def run() -> None:
        watching = asyncio.ensure_future(watch())
        await server.serve([opened])
        if server.should_exit:
            await watching

    # On a thread of its own: the caller's may have a loop already, as in a notebook.
    loop = Workers(1, "bioclip-serve-loop")
    try:
        served = loop.submit(lambda: asyncio.run(run())).future
        while not served.done():
            wait([served], _LOOK_S)  # in parts, since Ctrl-C ends no endless wait on Windows
        served.result()
    finally:
        opened.close()
        loop.close(wait_s=0)
    return bench.close(0.5)

"""Figures of the server for Prometheus: requests by route, images by outcome, batches, the queue, and the memory of the process."""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bioclip_core import __version__

CONTENT_TYPE = CONTENT_TYPE_LATEST
UNMATCHED = "unmatched"
"""Label of requests for paths that do not exist."""
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_IMAGES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """The figures of one app, in a registry of their own. Never labelled by taxon, image or user."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        Info("bioclip", "The program.", registry=registry).info({"version": __version__})
        self.requests = Counter(
            "bioclip_requests", "Requests by route.", ["method", "route", "status"], registry=registry
        )
        self.request_seconds = Histogram(
            "bioclip_request_seconds",
            "Time from request to response.",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.images = Counter("bioclip_images", "Images by outcome.", ["outcome"], registry=registry)
        self.batch_images = Histogram(
            "bioclip_batch_images",
            "Images that the encoder got at once.",
            buckets=_IMAGES,
            registry=registry,
        )
        self.model_seconds = Histogram(
            "bioclip_model_seconds",
            "Time of the encoder for one batch.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.waiting_seconds = Histogram(
            "bioclip_waiting_seconds",
            "Time of an image from its arrival to the encoder.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._queue = Gauge("bioclip_queue_images", "Images that wait or are worked on.", registry=registry)

    def watch_queue(self, count: Callable[[], int]) -> None:
        """Ask this function for the length of the queue whenever the figures are read."""
        self._queue.set_function(count)

    def text(self) -> bytes:
        """Return all figures in Prometheus' text format."""
        return generate_latest(self.registry)


class Measured:
    """Middleware that counts requests and their time by the template of their route."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on, and count it when it is answered or has failed."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, began_at = 500, time.perf_counter()

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            route = getattr(scope.get("route"), "path", UNMATCHED)
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.requests.labels(method, route, str(status)).inc()
            self._metrics.request_seconds.labels(route).observe(time.perf_counter() - began_at)


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

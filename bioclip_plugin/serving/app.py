"""The app: routes, middleware and errors put together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.middleware import Middleware

from bioclip_core import __version__
from bioclip_plugin.serving import images_api, own_pages, schemas, store_api
from bioclip_plugin.serving.metrics import Measured
from bioclip_plugin.serving.problems import MEDIA_TYPE, add_handlers
from bioclip_plugin.serving.security import Guard
from bioclip_plugin.serving.state import Workbench

_DESCRIPTION = "Names for the organisms in images, from one model for all clients."
_ERRORS: dict[int | str, dict[str, Any]] = {
    "default": {
        "model": schemas.ProblemDetails,
        "description": "A problem document",
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}},
    }
}


def create_app(bench: Workbench, routers: Sequence[APIRouter] = ()) -> FastAPI:
    """Return the app of a workbench.

    Args:
        bench: what the routes work with; closed by the caller after the server's end.
        routers: further routes, behind the same checks.
    """
    app = FastAPI(
        title="bioclip-plugin",
        version=__version__,
        description=_DESCRIPTION,
        docs_url=None,  # FastAPI's own pages load scripts from elsewhere
        redoc_url=None,
        openapi_url=None,
        middleware=[Middleware(Guard, access=bench.access), Middleware(Measured, metrics=bench.metrics)],
    )
    app.state.workbench = bench
    add_handlers(app)
    for router in (images_api.router, store_api.router):
        app.include_router(router, responses=_ERRORS)
    for router in (*routers, own_pages.router):
        app.include_router(router)
    return app

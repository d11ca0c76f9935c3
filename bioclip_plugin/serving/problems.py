"""Errors of the HTTP API as problem details (RFC 9457): every status above 399, whoever raised it."""

from __future__ import annotations

import html
import json
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from bioclip_core.errors import (
    BioclipError,
    DataError,
    ImageError,
    InstallationError,
    LabelSetError,
    ModelError,
    StoreError,
    UsageError,
    one_line,
)

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Headers of every response, unless its route sets another value."""
_WAIT_S = 5
_LONGEST_VALUE = 200


class Problem(Exception):
    """An error that a client gets: a status, a sentence, and further members of the document."""

    def __init__(self, status: int, detail: str, *, retry_after_s: int | None = None, **more: Any) -> None:
        super().__init__(detail)
        self.status, self.detail, self.more = status, one_line(detail), more
        self.headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}


def problem_of(error: BaseException) -> Problem:
    """Return the problem that an error of the library means for a client."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, ImageError):
        return Problem(422, str(error), stage=error.stage)
    if isinstance(error, StoreError):
        return Problem(503, str(error), retry_after_s=_WAIT_S)
    if isinstance(error, (ModelError, LabelSetError, InstallationError, DataError)):
        return Problem(503, str(error))
    if isinstance(error, UsageError):
        return Problem(422, str(error))
    if isinstance(error, BioclipError):
        return Problem(500, str(error))
    return Problem(500, "the server met an error that it does not know; its log has the details")


def response_of(problem: Problem, accept: str = "") -> Response:
    """Return the document of a problem, for a browser that asks for a page as a page."""
    title = HTTPStatus(problem.status).phrase
    headers = {**HEADERS, **problem.headers}
    if "text/html" in accept:
        page = (
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
            f"<h1>{title}</h1><p>{html.escape(problem.detail)}</p></html>"
        )
        return HTMLResponse(page, problem.status, headers)
    document = {
        "type": "about:blank",
        "title": title,
        "status": problem.status,
        "detail": problem.detail,
        **problem.more,
    }
    return Response(json.dumps(document, ensure_ascii=False), problem.status, headers, MEDIA_TYPE)


def add_handlers(app: FastAPI) -> None:
    """Let every error of an app become a problem document."""
    for kind in (Problem, BioclipError):
        app.add_exception_handler(kind, _of_library)
    app.add_exception_handler(HTTPException, _of_framework)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(Exception, _unexpected)


async def _of_library(request: Request, error: Exception) -> Response:
    return response_of(problem_of(error), request.headers.get("accept", ""))


async def _of_framework(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = {
        404: f"there is nothing at {request.url.path[:_LONGEST_VALUE]}",
        405: f"{request.method[:20]} is not possible at {request.url.path[:_LONGEST_VALUE]}",
    }.get(error.status_code, str(error.detail))
    problem = Problem(error.status_code, detail)
    problem.headers = dict(error.headers or {})
    return response_of(problem, request.headers.get("accept", ""))


async def _of_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = [
        {"pointer": "/".join(["#", *map(str, fault["loc"])]), "detail": one_line(str(fault["msg"]))}
        for fault in error.errors()
    ]
    detail = "; ".join(f"{fault['pointer']}: {fault['detail']}" for fault in faults[:3])
    return response_of(Problem(422, detail, errors=faults), request.headers.get("accept", ""))


async def _unexpected(request: Request, error: Exception) -> Response:
    return response_of(problem_of(error), request.headers.get("accept", ""))

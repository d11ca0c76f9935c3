"""The server's own pages: the one that swaps a link or a token for a cookie, and the description of the API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from fastapi import APIRouter
from jinja2 import Environment, StrictUndefined
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from bioclip_plugin.serving.limits import read_body
from bioclip_plugin.serving.security import ENTER
from bioclip_plugin.serving.state import workbench_of
from bioclip_plugin.serving.uploads import form_fields

HOME = "/v1/docs"
STYLE = "/serving.css"
_LARGEST_FORM = 10_000

router = APIRouter(include_in_schema=False)


@router.get("/")
def home() -> Response:
    """Lead to the page of the API."""
    return RedirectResponse(HOME, 303)


@router.get("/health")
def alive() -> Response:
    """Say without a token that the server answers, and nothing else."""
    return JSONResponse({"status": "ok"})


@router.get(STYLE)
def style() -> Response:
    """Return the style of these pages."""
    return Response(_text("serving.css"), media_type="text/css", headers={"Cache-Control": "max-age=3600"})


@router.get(ENTER)
def enter(request: Request, code: str = "") -> Response:
    """Swap the code of the printed link for a cookie, once; without one, ask for the token."""
    access = workbench_of(request).access
    if access.token is None:
        return RedirectResponse(HOME, 303)
    if code and access.take_code(code):
        return _with_cookie(request)
    used = "This link was used already, or it is of an earlier start of the server." if code else ""
    return HTMLResponse(
        _page("enter.html", reason=f"{used} Give the token of this server.".strip()), 403 if code else 200
    )


@router.post(ENTER)
async def enter_token(request: Request) -> Response:
    """Swap the token for a cookie."""
    bench = workbench_of(request)
    given = form_fields(await read_body(request, _LARGEST_FORM, bench.limits)).get("token", "")
    if not bench.access.is_token(given.strip()):
        return HTMLResponse(_page("enter.html", reason="This is not the token of this server."), 403)
    return _with_cookie(request)


@router.get("/v1/openapi.json")
def description(request: Request) -> Response:
    """Return the OpenAPI description."""
    return JSONResponse(request.app.openapi())


@router.get(HOME)
def described(request: Request) -> Response:
    """Show the OpenAPI description as a page, without a script."""
    document = request.app.openapi()
    info = document["info"]
    routes = list(_routes(document, str(request.base_url).rstrip("/")))
    return HTMLResponse(
        _page("api.html", title=info["title"], version=info["version"], description=info["description"], routes=routes)
    )


def _with_cookie(request: Request) -> Response:
    response = RedirectResponse("/", 303)
    workbench_of(request).access.set_cookie(MutableHeaders(raw=response.raw_headers))
    return response


@cache
def _text(name: str) -> str:
    return (files("bioclip_plugin.serving") / name).read_text("utf-8")


@cache
def _environment() -> Environment:
    return Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)


def _page(name: str, **values: Any) -> str:
    return _environment().from_string(_text(name)).render(**values)


# The description of the API


def _routes(document: Mapping[str, Any], address: str) -> Iterator[dict[str, Any]]:
    schemas = document["components"]["schemas"]
    for path, methods in document["paths"].items():
        for method, route in methods.items():
            answer = route["responses"].get("200", {}).get("content", {}).get("application/json", {}).get("schema", {})
            yield {
                "anchor": f"{method}-{path.strip('/').replace('/', '-')}",
                "method": method.upper(),
                "path": path,
                "text": route.get("description", ""),
                "example": _example(method, path, address, route),
                "parameters": [
                    {
                        "name": one["name"],
                        "in": one["in"],
                        "type": _type(one["schema"]),
                        "required": one.get("required", False),
                        "text": one.get("description", ""),
                    }
                    for one in route.get("parameters", [])
                ],
                "bodies": [
                    (kind, ", ".join(content["schema"].get("properties", {"the image": None})))
                    for kind, content in route.get("requestBody", {}).get("content", {}).items()
                ],
                "answer": list(_members(answer, schemas)),
            }


def _members(schema: Mapping[str, Any], schemas: Mapping[str, Any], before: str = "") -> Iterator[dict[str, str]]:
    """Yield the members of a document, those of documents within it by their paths."""
    for name, member in _resolved(schema, schemas).get("properties", {}).items():
        inner = next((one for one in member.get("anyOf", [member]) if one.get("type") != "null"), member)
        yield {"name": f"{before}{name}", "type": _type(member), "text": member.get("description", "")}
        items = inner.get("items", inner)
        if "$ref" in items:
            yield from _members(items, schemas, f"{before}{name}{'[]' if 'items' in inner else ''}.")


def _resolved(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" not in schema:
        return schema
    found: Mapping[str, Any] = schemas[schema["$ref"].rpartition("/")[2]]
    return found


def _type(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    return str(schema.get("type") or "object")


def _example(method: str, path: str, address: str, route: Mapping[str, Any]) -> str:
    words = ["curl", "-H", '"Authorization: Bearer $TOKEN"']
    content = route.get("requestBody", {}).get("content", {})
    if "multipart/form-data" in content:
        words += ["-F", "image=@photo.jpg"] * (2 if "image/*" not in content else 1)
    elif method != "get":
        words += ["-X", method.upper()]
    query = "?q=lynx" if any(one["name"] == "q" for one in route.get("parameters", [])) else ""
    return " ".join([*words, f"{address}{path.replace('{number}', '1')}{query}"])

"""Routes of ``/v1`` that need the model: classify, classify/batch, embed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from bioclip_plugin.items.answers import Answer, RegionAnswer
from bioclip_plugin.items.media import MediaItem
from bioclip_plugin.running.engine import Engine
from bioclip_plugin.serving import schemas
from bioclip_plugin.serving.batching import Done, Lane, Wanted
from bioclip_plugin.serving.limits import check_pixels, until_gone
from bioclip_plugin.serving.problems import Problem
from bioclip_plugin.serving.state import Workbench, workbench_of
from bioclip_plugin.serving.uploads import IMAGE_PART, Incoming, images_of

LONGEST_WAIT_S = 300.0
"""Time after which a request ends without its answer."""
_GONE = 400
"""Status of a response that nobody gets."""
_STAGES_OF_SERVER = frozenset({"encode", "classify"})

router = APIRouter(prefix="/v1", tags=["images"])

_REGIONS = {
    "name": "regions",
    "in": "query",
    "required": False,
    "schema": {"type": "string"},
    "description": "For an image as the body: [[x, y, width, height], …] from 0 to 1 of the upright image.",
}
_NAME = {
    "name": "name",
    "in": "query",
    "required": False,
    "schema": {"type": "string"},
    "description": "For an image as the body: its name in the answer.",
}
_BYTES = {"schema": {"type": "string", "format": "binary"}}
_BOXES = {"type": "array", "items": {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4}}


def _body(*, several: bool) -> dict[str, Any]:
    """Return the description of a request's body for OpenAPI."""
    images = {"type": "array", "items": _BYTES["schema"]} if several else _BYTES["schema"]
    named = {"items": {"type": "array", "items": {"type": "string"}}} if several else {"item": {"type": "string"}}
    form = {
        "type": "object",
        "properties": {IMAGE_PART: images, "regions": {"type": "string"}},
        "required": [IMAGE_PART],
    }
    document = {"type": "object", "properties": {**named, "regions": _BOXES}, "required": list(named)}
    content: dict[str, Any] = {"multipart/form-data": {"schema": form}, "application/json": {"schema": document}}
    if several:
        return {"requestBody": {"required": True, "content": content}}
    content |= {"image/*": _BYTES, "application/octet-stream": _BYTES}
    return {"parameters": [_NAME, _REGIONS], "requestBody": {"required": True, "content": content}}


@router.post("/classify", response_model=schemas.Classified, openapi_extra=_body(several=False))
async def classify(request: Request) -> Response:
    """Name the organism in one image: its bytes, a form, or an item of the store (RUN-MEDIA-REGION) under a media root."""
    bench = workbench_of(request)
    session, _ = bench.needed_session()
    async with images_of(request, bench, several=False) as (image,):
        (done,) = await _outcomes(request, bench, [image], "interactive", "answer")
    _raise_failure(done)
    return JSONResponse({**_shown(image, done.answer), "model": await run_in_threadpool(_model, session.engine)})


@router.post("/classify/batch", response_model=schemas.ClassifiedBatch, openapi_extra=_body(several=True))
async def classify_batch(request: Request) -> Response:
    """Name the organisms in up to 64 images of one request; an image that cannot be read is a failure among the answers."""
    bench = workbench_of(request)
    session, _ = bench.needed_session()
    async with images_of(request, bench, several=True) as images:
        found = await _outcomes(request, bench, images, "bulk", "answer")
    results = [_shown(image, done.answer) for image, done in zip(images, found, strict=True)]
    return JSONResponse({"results": results, "model": await run_in_threadpool(_model, session.engine)})


@router.post("/embed", response_model=schemas.Embedded, openapi_extra=_body(several=False))
async def embed(request: Request) -> Response:
    """Return the features of one image, one row per region, as `classify` would compare them with the labels."""
    bench = workbench_of(request)
    session, _ = bench.needed_session()
    async with images_of(request, bench, several=False) as (image,):
        (done,) = await _outcomes(request, bench, [image], "interactive", "features")
    _raise_failure(done)
    rows = [] if done.features_RD is None else done.features_RD.astype(float).tolist()
    feature_id = await run_in_threadpool(lambda: session.engine.identities.feature_id)
    return JSONResponse(
        {"name": image.name, "features": rows, "dimension": session.engine.dimension, "feature_id": feature_id}
    )


async def _outcomes(
    request: Request, bench: Workbench, images: Sequence[Incoming], lane: Lane, wanted: Wanted
) -> list[Done]:
    """Return one outcome per image; if the client goes away, its images are dropped.

    Raises:
        Problem: of the whole request: 413 for an image with too many pixels, 503 without a model or room, 504 after too long.
    """
    _, batcher = bench.needed_session()

    def check(item: MediaItem) -> None:
        if item.data is not None:
            check_pixels(item.data, bench.limits)

    items = [image.item for image in images]
    submitted = await run_in_threadpool(batcher.submit, items, lane=lane, wanted=wanted, check=check)
    waiting = [asyncio.wrap_future(future) for future in submitted]
    all_done: asyncio.Future[Any] = asyncio.gather(*waiting, return_exceptions=True)
    gone: asyncio.Future[Any] = asyncio.ensure_future(until_gone(request))
    try:
        await asyncio.wait([all_done, gone], timeout=LONGEST_WAIT_S, return_when=asyncio.FIRST_COMPLETED)
        if not all_done.done():
            if gone.done():
                raise Problem(_GONE, "the client has gone away")
            raise Problem(504, f"no answer within {LONGEST_WAIT_S:.0f} s", retry_after_s=60)
        found = all_done.result()
    finally:
        gone.cancel()
        all_done.cancel()
        for future in waiting:  # which cancels what was submitted
            future.cancel()
    for outcome in found:
        if isinstance(outcome, BaseException):
            raise outcome
    return [outcome for outcome in found if isinstance(outcome, Done)]


def _raise_failure(done: Done) -> None:
    if (failure := done.answer.failure) is not None:
        status = 500 if failure.stage in _STAGES_OF_SERVER else 422
        raise Problem(status, failure.reason, stage=failure.stage)


def _shown(image: Incoming, answer: Answer) -> dict[str, Any]:
    if answer.failure is not None:
        failure = {"stage": answer.failure.stage, "reason": answer.failure.reason}
        return {"name": image.name, "regions": [], "failure": failure}
    return {"name": image.name, "regions": [_region(region) for region in answer.regions], "failure": None}


def _region(region: RegionAnswer) -> dict[str, Any]:
    return {
        "region": region.region.xywh if region.region else None,
        "candidates": [candidate.as_dict() for candidate in region.candidates],
        "consensus": region.consensus.as_dict() if region.consensus else None,
        "flags": list(region.flags),
    }


def _model(engine: Engine) -> dict[str, str]:
    return {"name": engine.model.name, "answer_id": engine.identities.answer_id}

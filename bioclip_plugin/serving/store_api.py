"""Routes of ``/v1`` that need no image: labels, runs, health and metrics."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from bioclip_core import __version__
from bioclip_core.labels.label_set import LabelSet
from bioclip_core.options import LARGEST_WHOLE
from bioclip_plugin.serving import metrics, schemas
from bioclip_plugin.serving.problems import Problem
from bioclip_plugin.serving.state import workbench_of
from bioclip_plugin.store.records import Run, Summary

router = APIRouter(prefix="/v1")


@router.get("/health", response_model=schemas.Health, tags=["server"])
def health(request: Request) -> Response:
    """Say what the server can do now: model, store, and images that wait."""
    bench = workbench_of(request)
    has_model = bench.can_classify and bench.session is not None
    return JSONResponse(
        {
            "status": "ok" if has_model else "no model",
            "version": __version__,
            "model": bench.session.engine.model.name if has_model and bench.session is not None else None,
            "why_no_model": None if has_model else bench.why_no_model,
            "store": bench.store.shown_address if bench.store is not None else None,
            "why_no_store": None if bench.store is not None else bench.why_no_store,
            "read_only": bench.read_only,
            "waiting": bench.batcher.waiting if bench.batcher is not None else 0,
        }
    )


@router.get("/metrics", tags=["server"], response_class=Response)
def figures(request: Request) -> Response:
    """Return the figures of this server in Prometheus' text format."""
    return Response(workbench_of(request).metrics.text(), media_type=metrics.CONTENT_TYPE)


@router.get("/labels", response_model=schemas.LabelHits, tags=["labels"])
def labels(
    request: Request,
    q: Annotated[str, Query(min_length=1, max_length=200, description="A name or a part of one, of any rank.")],
    limit: Annotated[int, Query(ge=1, le=200)] = 20,
) -> Response:
    """Find taxa of the label set by scientific or common name, in any letter case."""
    from bioclip_core.labels.checklist import find_labels

    session, _ = workbench_of(request).needed_session()
    label_set = session.engine.label_set
    hits = find_labels(label_set, q)
    return JSONResponse({"hits": [_hit(label_set, *hit) for hit in hits[:limit]], "total": len(hits)})


@router.get("/runs", response_model=schemas.Runs, tags=["runs"])
def runs(request: Request) -> Response:
    """List the runs of the store, oldest first, with their counts."""
    store = workbench_of(request).needed_store()
    return JSONResponse({"runs": [_brief(run, store.summary(run)) for run in store.runs()]})


@router.get("/runs/{number}", response_model=schemas.RunDetails, tags=["runs"])
def run(request: Request, number: Annotated[int, Path(ge=1, le=LARGEST_WHOLE)]) -> Response:
    """Show one run: its settings, and its failures by reason."""
    store = workbench_of(request).needed_store()
    found = next((run for run in store.runs() if run.id == number), None)
    if found is None:
        raise Problem(404, f"there is no run {number} in this store")
    failures = [
        {"stage": stage, "reason": reason, "count": count}
        for (stage, reason), count in store.failure_counts(found).items()
    ]
    return JSONResponse(
        {
            **_brief(found, store.summary(found)),
            "settings": dict(found.settings),
            "feature_id": found.feature_id,
            "answer_id": found.answer_id,
            "rule_id": found.rule_id,
            "failures": failures,
        }
    )


def _brief(run: Run, counts: Summary) -> dict[str, Any]:
    return {
        "run": run.id,
        "status": run.status,
        "begun_at": run.begun_at.isoformat(),
        "ended_at": _moment(run.ended_at),
        "sources": list(run.sources),
        "model": str((run.provenance.get("model") or {}).get("name", "")),
        "listed": counts.listed,
        "done": counts.done,
        "failed": counts.failed,
        "todo": counts.todo,
    }


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _hit(labels: LabelSet, level: str, row: int, rows: int) -> dict[str, Any]:
    taxon, rank = labels.taxon_at(row, level)
    return {
        "name": taxon.scientific_name or taxon.common_name,
        "rank": rank,
        "lineage": [name for name in taxon.lineage[:-1] if name],
        "common_name": taxon.common_name,
        "labels": rows,
    }

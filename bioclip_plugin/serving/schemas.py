"""Shapes of the API's responses, for its description; the documents themselves are made where they are sent."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field


class Candidate(BaseModel):
    """A taxon and its summed probability."""

    scientific_name: str = Field(description="Scientific name, or the words of a custom label.")
    rank: str
    probability: float
    kingdom: str = ""
    phylum: str = ""
    family: str = ""
    genus: str = ""
    species: str = ""
    common_name: str = ""


class RegionAnswer(BaseModel):
    """The answer for one region."""

    region: list[float] | None = Field(
        description="x, y, width, height from 0 to 1 of the upright image; null for the whole image."
    )
    candidates: list[Candidate] = Field(
        description="Most probable first, at the rank that the server was started with."
    )
    consensus: Candidate | None = Field(
        description="The most specific taxon that reaches the threshold; null if none does."
    )
    flags: list[str]


class Model(BaseModel):
    """What an answer depends on."""

    name: str
    answer_id: str = Field(description="Equal for answers that can be compared: model, labels and settings.")


class Failure(BaseModel):
    """Why one image of a batch has no answer."""

    stage: str
    reason: str


class ClassifiedImage(BaseModel):
    """The answer for one image; in a batch, a failure in its place."""

    name: str
    regions: list[RegionAnswer] = []
    failure: Failure | None = None


class Classified(ClassifiedImage):
    """The answer for one image, with the model."""

    model: Model


class ClassifiedBatch(BaseModel):
    """Answers in the order of the images."""

    results: list[ClassifiedImage]
    model: Model


class Embedded(BaseModel):
    """Features of one image."""

    name: str
    features: list[list[float]] = Field(description="One row per region, L2-normalised, rounded to float16.")
    dimension: int
    feature_id: str = Field(description="Equal for features that can be compared.")


class LabelHit(BaseModel):
    """A taxon of the label set."""

    name: str
    rank: str
    lineage: list[str]
    common_name: str
    labels: int = Field(description="Labels under it.")


class LabelHits(BaseModel):
    """Taxa that a text was found in, best first."""

    hits: list[LabelHit]
    total: int


class RunSummary(BaseModel):
    """One run with its counts."""

    run: int
    status: str
    begun_at: str
    ended_at: str | None
    sources: list[str]
    model: str
    listed: int
    done: int
    failed: int
    todo: int


class Runs(BaseModel):
    """Runs of the store, oldest first."""

    runs: list[RunSummary]


class FailureCount(BaseModel):
    """Failures with one reason."""

    stage: str
    reason: str
    count: int


class RunDetails(RunSummary):
    """One run with its settings and its failures by reason."""

    settings: dict[str, Any]
    feature_id: str
    answer_id: str
    rule_id: str
    failures: list[FailureCount]


class Alive(BaseModel):
    """The server answers."""

    status: str


class Health(Alive):
    """What the server can do now."""

    version: str
    model: str | None
    why_no_model: str | None
    store: str | None
    why_no_store: str | None
    read_only: bool
    waiting: int = Field(description="Images that wait or are worked on.")


class Fault(BaseModel):
    """One fault of a request."""

    pointer: str
    detail: str


class ProblemDetails(BaseModel):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[Fault] = []

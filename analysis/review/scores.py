"""Numbers that say which rationales to review first, from what is known before anybody has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from analysis.attention import mean
from analysis.attention_map import image_map, patch_grid
from analysis.metrics.coverage import object_mask, patch_coverage, visible_share
from analysis.metrics.grounding import in_object
from analysis.review.item import Review, Source
from analysis.types import SceneObject, Step
from models.types import AttentionRecord, Part, Prediction, Rationale


def surprise(prediction: Prediction) -> float | None:
    """Mean of -ln p over the rationale's tokens, nats: how unlikely the policy itself found what it wrote.

    None where it wrote no rationale.
    """
    first = len(prediction.layout.tokens) - prediction.written
    tokens = prediction.layout.positions(Part.RATIONALE) - first
    tokens = tokens[(tokens >= 0) & (tokens < len(prediction.token_logprobs))]
    known = prediction.token_logprobs[tokens] if len(tokens) else np.zeros(0)
    known = known[np.isfinite(known)]
    return float(-known.mean()) if len(known) else None


def grounding(prediction: Prediction, step: Step, rationale: Rationale) -> float | None:
    """Attention inside the things that the rationale or instruction names, minus their share of the area.

    0 is chance, below it looks elsewhere. The mean over layers, heads and captured rows of the language stream, then
    over the cameras whose things are known; all known things where none is named. None where nothing can be compared.
    """
    words = f"{rationale.text} {step.observation.instruction}".lower()
    records = [one for one in prediction.attention if one.stream == "language" and one.weights.size]
    found = [
        value
        for record in records
        for camera in dict.fromkeys(span.name for span in record.layout.spans if span.part is Part.IMAGE)
        if (value := _in_camera(record, camera, step, words)) is not None
    ]
    return float(np.mean(found)) if found else None


def _in_camera(record: AttentionRecord, camera: str, step: Step, words: str) -> float | None:
    images = step.observation.images
    seen = camera if camera in step.objects else next(iter(step.objects)) if len(step.objects) == 1 else None
    grids = [span.grid for span in record.layout.spans if span.part is Part.IMAGE and span.name == camera]
    if seen is None or seen not in images or len(grids) != 1 or grids[0] is None:
        return None
    height, width = images[seen].shape[:2]
    mask = object_mask(_named(step.objects[seen], words), height, width)
    if not mask.any():
        return None
    rows = mean(record).mean(axis=0)
    grid = patch_grid(record.layout, camera)
    found = in_object(
        image_map(rows, record.layout, camera), patch_coverage(grid, mask), visible_share(grid, height, width)
    )
    return None if np.isnan(found.share) else found.advantage


def _named(things: Sequence[SceneObject], words: str) -> Sequence[SceneObject]:
    return [thing for thing in things if thing.name.lower() in words] or things


def author_disagreement(sources: Sequence[Source]) -> dict[str, float]:
    """Digest -> how differently other authors put it: 1 - shared words / all words, the mean over rationales of others.

    Compared are rationales of the same episode that cover a common step; without one there is no number.
    """
    by_episode: dict[tuple[str, str], list[Source]] = {}
    for source in sources:
        by_episode.setdefault((source.episode_digest, source.episode), []).append(source)
    out = {}
    for same in by_episode.values():
        for source in same:
            apart = [_apart(source.rationale, other.rationale) for other in same if _comparable(source, other)]
            if apart:
                out[source.digest] = sum(apart) / len(apart)
    return out


def review_disagreement(reviews: Iterable[Review]) -> dict[str, float]:
    """Digest -> share of pairs of reviews, of all projects, whose overall verdicts differ; from two reviews on."""
    verdicts: dict[str, list[str]] = {}
    for review in reviews:
        if review.judgement is not None:
            verdicts.setdefault(review.digest, []).append(review.judgement.overall)
    return {digest: differing(given) for digest, given in verdicts.items() if len(given) > 1}


def differing(verdicts: Sequence[str]) -> float:
    """Share of pairs that differ; 0 without a pair."""
    count = len(verdicts)
    same = sum(verdicts.count(one) * (verdicts.count(one) - 1) for one in set(verdicts))
    return 1 - same / (count * (count - 1)) if count > 1 else 0.0


def scored(sources: Sequence[Source], known: Mapping[str, float]) -> dict[str, float]:
    """Digest -> disagreement: the larger one of authors and of earlier reviews (``known``)."""
    authors = author_disagreement(sources)
    return {
        source.digest: max(authors.get(source.digest, 0.0), known.get(source.digest, 0.0))
        for source in sources
        if source.digest in authors or source.digest in known
    }


def _comparable(one: Source, other: Source) -> bool:
    a, b = one.rationale, other.rationale
    return a.author != b.author and a.start < b.stop and b.start < a.stop


def _apart(one: Rationale, other: Rationale) -> float:
    first, second = (set(said.text.lower().split()) for said in (one, other))
    return 1 - len(first & second) / len(first | second) if first | second else 0.0

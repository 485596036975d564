"""The vision tower of a vision-language model: one picture's features, and its attention on the frame."""

from __future__ import annotations

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from models.capture import VISION, AttentionSite, RowCollector, Rows, collecting
from models.families.vlm_pictures import Picture, TowerSequence
from models.types import AttentionRecord, Part, Span, TokenLayout


def features(
    model: PreTrainedModel, picture: Picture, sites: Mapping[nn.Module, AttentionSite] | None
) -> tuple[Float[Tensor, "n width"], tuple[AttentionRecord, ...]]:
    """One picture's image tokens for the language model; the tower's rows with them where ``sites`` are given.

    One picture at a time: images of several sizes then need no padding, and no more than one is in memory.
    """
    collector = _collector(picture, sites) if sites is not None else None
    inputs = {
        name: value.to(model.device, model.dtype) if value.is_floating_point() else value.to(model.device)
        for name, value in picture.inputs.items()
    }
    with collecting(collector):
        made = model.get_image_features(**inputs).pooler_output
    found: Tensor = made if isinstance(made, Tensor) else made[0]
    records = (
        tuple(_record(collector, sample, sequence) for sample, sequence in enumerate(picture.tower))
        if collector is not None
        else ()
    )
    return found.reshape(-1, found.shape[-1]), records


def _collector(picture: Picture, sites: Mapping[nn.Module, AttentionSite]) -> RowCollector:
    """Of every row. A tower that keeps patches in an order of its own is Qwen's, which may attend window by window."""
    first = picture.tower[0]
    if first.order is None:
        return RowCollector(sites, {VISION: None})
    count = len(first.order)
    collector = RowCollector(sites, {VISION: Rows(count, count, windows=True)})
    collector.expect(slice(0, None), count)
    return collector


def _record(collector: RowCollector, sample: int, sequence: TowerSequence) -> AttentionRecord:
    grid, leading = sequence.grid, len(sequence.leading)
    count = leading + grid.rows * grid.columns
    weights = collector.weights(VISION, count, sample)
    if sequence.order is not None:
        weights = weights[:, :, sequence.order][:, :, :, sequence.order]
    texts = [f"{grid.camera} {row},{column}" for row in range(grid.rows) for column in range(grid.columns)]
    spans = [Span(Part.SPECIAL, name, place, place + 1) for place, name in enumerate(sequence.leading)]
    spans.append(Span(Part.IMAGE, grid.camera, leading, count, grid))
    layout = TokenLayout((*sequence.leading, *texts), tuple(spans))
    return AttentionRecord(weights, collector.layers(VISION), tuple(range(count)), (-1,) * count, layout, VISION)

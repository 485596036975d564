"""Which checkpoints can be taught, told from their description alone. No torch."""

from __future__ import annotations

from collections.abc import Mapping

from models.refine.settings import Order, TuneSettings
from models.types import CheckpointSpec

SILENT = {
    "pi0": "π0 policies denoise continuous actions and write no text",
    "smolvla": "SmolVLA policies denoise continuous actions and write no text",
    "openvla_oft": "OpenVLA-OFT reads continuous actions off with heads of its own and writes no text",
}
LEARNERS: Mapping[str, str] = {  # family -> what opens its learner, imported when asked for
    "paligemma": "models.refine.paligemma_learner:PaliGemmaLearner.open",
}
OTHERS = {
    "openvla": "OpenVLA checkpoints",
    "ecot": "ECoT checkpoints",
    "spatialvla": "SpatialVLA checkpoints",
    "refinevla": "SpatialVLA checkpoints with words",
}
CAN = "what can be tuned here are action-token PaliGemma checkpoints (docs/checkpoint-action-tokens.md)"


def why_not(spec: CheckpointSpec, settings: TuneSettings) -> str | None:
    """The sentence that says why a checkpoint cannot be tuned so; None where it can."""
    if spec.family in SILENT:
        told = SILENT[spec.family]
        ending = "" if settings.order is Order.ACT_ONLY else ", so no rationale can be taught"
        return f"{spec.path} cannot generate text: {told}{ending}; {CAN}"
    if spec.family == "vlm":
        return f"{spec.path} predicts no actions, it is a vision-language model; {CAN}"
    if spec.family in OTHERS:
        return (
            f"{spec.path} is of the family {spec.family}, and {OTHERS[spec.family]} are read but not tuned here; {CAN}"
        )
    if spec.family != "paligemma":
        return f"{spec.path} is of the family {spec.family}; {CAN}"
    if settings.frozen_layers > spec.layers:
        return f"{settings.frozen_layers} decoder layers are to be frozen; {spec.path} has {spec.layers}"
    return None

"""Which checkpoints can be taught, told from their description alone. No torch."""

from __future__ import annotations

from collections.abc import Mapping

from models.refine.settings import Mode, Order, TuneSettings
from models.types import CheckpointSpec

LEARNERS: Mapping[str, str] = {  # family -> what opens its learner, imported when asked for
    "paligemma": "models.refine.paligemma_learner:PaliGemmaLearner.open",
    "spatialvla": "models.refine.spatialvla_learner:SpatialVLALearner.open",
    "refinevla": "models.refine.spatialvla_learner:SpatialVLALearner.open",
    "openvla": "models.refine.openvla_learner:OpenVLALearner.open",
    "ecot": "models.refine.openvla_learner:OpenVLALearner.open_ecot",
}
SILENT = {
    "pi0": "π0 policies denoise continuous actions and write no text",
    "smolvla": "SmolVLA policies denoise continuous actions and write no text",
    "openvla_oft": "OpenVLA-OFT reads continuous actions off with heads of its own and writes no text",
}
CAN = "what can be tuned here are action-token PaliGemma, SpatialVLA, OpenVLA and ECoT checkpoints (docs/finetune.md)"


def why_not(spec: CheckpointSpec, settings: TuneSettings) -> str | None:
    """The sentence that says why a checkpoint cannot be tuned so; None where it can."""
    if spec.family in SILENT:
        told = SILENT[spec.family]
        ending = "" if settings.order is Order.ACT_ONLY else ", so no rationale can be taught"
        return f"{spec.path} cannot generate text: {told}{ending}; {CAN}"
    if spec.action_space is None:
        return f"{spec.path} predicts no actions, it is a vision-language model; {CAN}"
    if spec.family not in LEARNERS:
        return f"{spec.path} is of the family {spec.family}; {CAN}"
    if spec.family in ("openvla", "ecot") and settings.order is Order.ACT_FIRST:
        return (
            f"{spec.path} is to act first, but ECoT, the format in which an OpenVLA says why, reasons first; use the "
            f"order {str(Order.REASON_FIRST)!r} or {str(Order.ACT_ONLY)!r}"
        )
    if settings.frozen_layers > spec.layers:
        return f"{settings.frozen_layers} decoder layers are to be frozen; {spec.path} has {spec.layers}"
    if settings.mode is Mode.LORA and settings.frozen_layers == spec.layers:
        return f"LoRA changes decoder layers, and all {spec.layers} of {spec.path} are to be frozen; freeze fewer"
    return None

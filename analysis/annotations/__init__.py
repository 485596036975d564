"""Annotations that come apart from the episodes they describe, and are joined to them when one is opened."""

from analysis.annotations.annotated_episode import AnnotatedEpisode
from analysis.annotations.ecot import EcotAnnotation, LabelledBox
from analysis.annotations.ecot_index import EcotIndex, build_ecot_index, ready_ecot_index

__all__ = ["AnnotatedEpisode", "EcotAnnotation", "EcotIndex", "LabelledBox", "build_ecot_index", "ready_ecot_index"]

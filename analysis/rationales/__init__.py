"""Rationales that were written for episodes after they were recorded: by teachers, kept beside the data."""

from analysis.rationales.rationale_file import KeptRationale, RationaleFile, read_rationales
from analysis.rationales.taught_episode import TaughtEpisode, TaughtSource

__all__ = ["KeptRationale", "RationaleFile", "TaughtEpisode", "TaughtSource", "read_rationales"]

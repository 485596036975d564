"""Policies: opening checkpoints, predicting, and keeping exact attention. Importing this never imports torch."""

from models.loading import alternatives, inspect, load

__all__ = ["alternatives", "inspect", "load"]

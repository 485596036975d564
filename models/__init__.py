"""Policies: opening checkpoints, predicting, and keeping exact attention. Importing this never imports torch."""

from models.loading import inspect, load

__all__ = ["inspect", "load"]

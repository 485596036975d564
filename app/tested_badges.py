"""The badge of a map in the player: what was tested of its method on this checkpoint, looked up every few seconds."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping

from analysis.attribution.target import Target
from analysis.evidence.maps import MEAN_ATTENTION
from analysis.evidence.tested import badge_of
from analysis.records import RecordStore, Setting
from models.types import CheckpointSpec

FRESH_SECONDS = 15.0
Badge = dict[str, str]  # "state": passed, failed or not tested; "why": a sentence with n


class TestedBadges:
    """Safe to ask from several threads."""

    __test__ = False  # no test class, whatever its name says

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, str, str], tuple[float, Badge]] = {}
        self._lock = threading.Lock()

    def mean_attention(self, records: RecordStore, spec: CheckpointSpec) -> Badge:
        """Of the mean over all layers, heads and action tokens."""
        return self._badge(records, spec, MEAN_ATTENTION, {})

    def of(
        self, records: RecordStore, spec: CheckpointSpec, method: str, settings: Mapping[str, Setting], target: Target
    ) -> Badge:
        """Of an attribution method with its settings; only maps of the whole action are tested."""
        if not target.whole:
            why = "Not tested: faithfulness is tested for maps of the whole action, not of a single part or word."
            return {"state": "not tested", "why": why}
        return self._badge(records, spec, method, settings)

    def _badge(self, records: RecordStore, spec: CheckpointSpec, method: str, settings: Mapping[str, Setting]) -> Badge:
        key = (str(records.path), spec.digest, method, json.dumps(dict(settings), sort_keys=True))
        with self._lock:
            known = self._known.get(key)
        if known is not None and time.monotonic() - known[0] < FRESH_SECONDS:
            return known[1]
        found = badge_of(records, spec, method, settings)
        badge = {"state": found.badge.value, "why": found.because}
        with self._lock:
            self._known[key] = (time.monotonic(), badge)
        return badge


badges = TestedBadges()

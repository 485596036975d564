"""Policies in memory that runs and tasks of one library share, within the workspace's budget, and whose turn it is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import KW_ONLY, dataclass

import models
from analysis.running import GIGABYTE, Running, machine_memory
from app.library import Library
from app.policy_cache import PolicyCache, PolicyKey
from app.turns import Turns
from models.device_memory import device_memory
from models.policy import Policy
from models.types import CheckpointSpec


@dataclass(frozen=True)
class PolicyChoice:
    """A checkpoint of the workspace and how it is opened."""

    checkpoint: str  # digest
    _: KW_ONLY  # two texts that are easily taken for each other
    action_stats: str | None = None  # data set whose statistics un-normalise its actions
    family: str | None = None  # as which it is read; None: as its files suggest


class SharedPolicies:
    """Opened policies. ``needs`` and ``need`` may be called from any thread, ``get`` only by who has the turn."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._cache: PolicyCache | None = None  # made when the first is opened: its budget asks the device
        self._needs: dict[Hashable, frozenset[PolicyKey]] = {}
        self._lock = threading.Lock()
        self.turns = Turns()

    def need(self, who: Hashable, keys: Collection[PolicyKey]) -> None:
        """From now on ``who`` needs exactly these; they are not thrown out for others."""
        with self._lock:
            self._needs.pop(who, None)
            if keys:
                self._needs[who] = frozenset(keys)

    def needed_by_others(self, who: Hashable) -> set[PolicyKey]:
        """Loaded policies that anyone but ``who`` needs."""
        with self._lock:
            needs = [keys for other, keys in self._needs.items() if other != who]
        return {key for keys in needs for key in keys if key in self}

    def __contains__(self, key: PolicyKey) -> bool:
        return self._cache is not None and key in self._cache

    def fits(self, specs: Sequence[CheckpointSpec], needed: Collection[PolicyKey]) -> bool:
        """Whether these fit in memory together with those that are ``needed``."""
        size = sum(self._running.memory_of(spec) for spec in specs)
        return self._cache is None or self._cache.fits(size, needed)

    def get(
        self,
        spec: CheckpointSpec,
        action_stats: str | None,
        needed: Collection[PolicyKey],
        loading: Callable[[], None],
    ) -> Policy:
        """The policy; others than ``needed`` make room where it is not loaded yet. ``loading`` is told when it is not.

        Raises UserError for a checkpoint that cannot be opened.
        """
        if self._cache is None:
            self._cache = PolicyCache(_budget(self._running))

        def load() -> Policy:
            loading()
            return self._open(spec, action_stats)

        key = PolicyKey(spec.digest, spec.family, action_stats)
        return self._cache.get(key, self._running.memory_of(spec), needed, load)

    def _open(self, spec: CheckpointSpec, action_stats: str | None) -> Policy:
        return models.load(
            spec.path,
            action_stats=action_stats,
            family=spec.family,
            device=self._running.device,
            dtype=self._running.number_type(spec),
            base=self._library.workspace.base_of(spec),
            known_digest=spec.digest,
        )

    @property
    def _running(self) -> Running:
        return self._library.workspace.running


def _budget(running: Running) -> int:
    """Bytes that policies may take: what the workspace says, else half of the device's memory."""
    if running.memory_gb is not None:
        return int(running.memory_gb * GIGABYTE)
    own = device_memory(running.device)
    return (machine_memory() if own is None else own) // 2


_shared: dict[int, SharedPolicies] = {}
_making = threading.Lock()


def policies_of(library: Library) -> SharedPolicies:
    """The opened policies of a library in this process."""
    with _making:
        return _shared.setdefault(id(library), SharedPolicies(library))

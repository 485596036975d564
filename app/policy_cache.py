"""Policies in memory: as many as a budget of bytes allows, the least recently used goes first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass

from models.policy import Policy


@dataclass(frozen=True)
class PolicyKey:
    """What a policy in memory is known by."""

    digest: str
    family: str
    action_stats: str | None


class PolicyCache:
    """Used by one thread, the one that runs policies."""

    def __init__(self, budget: int) -> None:
        """``budget`` in bytes. A single policy larger than that is still loaded: alone."""
        self._budget = budget
        self._policies: OrderedDict[PolicyKey, tuple[Policy, int]] = OrderedDict()

    @property
    def used(self) -> int:
        """Bytes of all policies that are held."""
        return sum(size for _, size in self._policies.values())

    def __contains__(self, key: PolicyKey) -> bool:
        return key in self._policies

    def fits(self, size: int, needed: Collection[PolicyKey]) -> bool:
        """Whether a policy of ``size`` bytes fits beside those in ``needed``, which are not to be thrown out."""
        return size + sum(held for key, (_, held) in self._policies.items() if key in needed) <= self._budget

    def get(self, key: PolicyKey, size: int, needed: Collection[PolicyKey], load: Callable[[], Policy]) -> Policy:
        """The policy, loaded if it is not there; others make room for it, but never those in ``needed``."""
        if key not in self._policies:
            self._make_room(size, needed)
            self._policies[key] = (load(), size)
        self._policies.move_to_end(key)
        return self._policies[key][0]

    def _make_room(self, size: int, needed: Collection[PolicyKey]) -> None:
        for key in [key for key in self._policies if key not in needed]:
            if self.used + size <= self._budget:
                return
            del self._policies[key]

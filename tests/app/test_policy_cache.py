"""Which policies stay in memory."""

from __future__ import annotations

import pytest

from app.policy_cache import PolicyCache, PolicyKey
from models.errors import UserError
from models.fakes import PlantedPolicy
from models.policy import Policy


def key(name: str, stats: str | None = None) -> PolicyKey:
    return PolicyKey(name, "fake", stats)


class Loader:
    """Counts what it loads."""

    def __init__(self) -> None:
        self.loaded: list[str] = []

    def __call__(self, cache: PolicyCache, name: str, size: int, needed: tuple[str, ...] = ()) -> Policy:
        def load() -> Policy:
            self.loaded.append(name)
            return PlantedPolicy()

        return cache.get(key(name), size, [key(each) for each in needed], load)


@pytest.fixture
def load() -> Loader:
    return Loader()


def test_the_least_recently_used_goes_first(load: Loader) -> None:
    cache = PolicyCache(100)
    for name in ("a", "b", "a"):
        load(cache, name, 40)
    load(cache, "c", 40)
    assert (key("a") in cache, key("b") in cache, key("c") in cache) == (True, False, True)
    assert cache.used == 80
    load(cache, "a", 40)
    assert load.loaded == ["a", "b", "c"]


def test_only_as_many_go_as_must(load: Loader) -> None:
    cache = PolicyCache(100)
    for name, size in (("a", 10), ("b", 50), ("c", 30)):
        load(cache, name, size)
    load(cache, "d", 20)
    assert [name for name in "abcd" if key(name) in cache] == ["b", "c", "d"]


def test_what_is_needed_stays_even_over_the_budget(load: Loader) -> None:
    cache = PolicyCache(100)
    load(cache, "a", 70)
    assert not cache.fits(60, [key("a")]) and cache.fits(60, []) and cache.fits(30, [key("a")])
    load(cache, "b", 60, needed=("a",))
    assert key("a") in cache and key("b") in cache and cache.used == 130
    load(cache, "c", 40, needed=("b",))
    assert key("a") not in cache and key("b") in cache


def test_one_that_is_too_large_is_loaded_alone(load: Loader) -> None:
    cache = PolicyCache(100)
    load(cache, "a", 10)
    load(cache, "large", 500)
    assert key("a") not in cache and key("large") in cache


def test_other_statistics_are_another_policy(load: Loader) -> None:
    cache = PolicyCache(100)
    load(cache, "a", 10)
    assert key("a", "bridge") not in cache


def test_one_that_cannot_be_loaded_leaves_nothing() -> None:
    cache = PolicyCache(100)

    def refuse() -> Policy:
        raise UserError("the weights lack q_proj")

    with pytest.raises(UserError, match="q_proj"):
        cache.get(key("a"), 10, [], refuse)
    assert cache.used == 0

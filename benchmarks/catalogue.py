"""The episode index against what one would use without it: a list of all episodes and a loop over it.

``python -m benchmarks.catalogue`` indexes synthetic data sets of 1,000, 10,000 and 100,000 episodes and prints how long
that takes and how long each kind of query does, as medians, with the growth from one size to the next.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

from analysis.catalogue import EpisodeIndex, Filter, Order
from analysis.episodes import BrokenEpisode
from analysis.episodes.splits import in_splits
from analysis.types import EpisodeMeta

SIZES = (1_000, 10_000, 100_000)
TARGET = 0.2  # seconds for any query at the largest size
VERBS = "put pick place move push pull lift stack open close fold wipe sweep pour turn flip".split()
COLOURS = "red green blue yellow orange purple white black silver wooden".split()
THINGS = "carrot pot spoon towel cup block drawer banana knife plate lid bowl sponge can eggplant cloth".split()
PLACES = "table sink stove counter rack tray basket shelf burner corner".split()
NAMES = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")


class Synthetic:
    """A source of ``size`` episodes with about 100,000 different instructions; one in 500 is broken."""

    def __init__(self, size: int) -> None:
        self.size = size

    def scan(self) -> Iterator[EpisodeMeta | BrokenEpisode]:
        draw = random.Random(0)
        for number in range(self.size):
            yield _broken(number) if number % 500 == 499 else _meta(number, draw)


def _broken(number: int) -> BrokenEpisode:
    return BrokenEpisode(f"/data/synthetic/{number:06}.hdf5", f"{number:06}.hdf5 is cut short: it has {number} bytes")


def _meta(number: int, draw: random.Random) -> EpisodeMeta:
    verb, colour, thing = draw.choice(VERBS), draw.choice(COLOURS), draw.choice(THINGS)
    instruction = f"{verb} the {colour} {thing} on the {draw.choice(COLOURS)} {draw.choice(PLACES)}"
    return EpisodeMeta(
        id=f"episode_{number:06}",
        source=f"/data/synthetic/shard-{number // 1000:04}",
        instruction=instruction,
        length=draw.randint(10, 400),
        fps=5.0,
        cameras=("image_0", "image_1"),
        success=draw.choice((True, False, None)),
        robot="widowx",
        action_names=NAMES,
        action_units=("m", "m", "m", "rad", "rad", "rad", "open"),
        has_rationale=number % 3 == 0,
        digest=f"{number:016x}",
        extra={"file_path": f"/datasets/bridge/{number}/out.npy", "episode_id": str(number)}
        | in_splits(["val" if number % 10 == 0 else "train"]),
    )


def queries(last: int) -> dict[str, tuple[Filter, Order, int]]:
    """Name -> what is asked of the index; ``last`` is the number of the last page."""
    return {
        "list": (Filter(), Order(), 0),
        "list, last page": (Filter(), Order(), last),
        "search 2 words": (Filter(text="red carrot"), Order(), 0),
        "search as typed, 1 letter": (Filter(text="p"), Order("length"), 0),
        "search in Chinese": (Filter(text="红色"), Order(), 0),
        "filter length, success": (Filter(shortest=50, longest=100, success="yes"), Order(), 0),
        "filter has rationale": (Filter(has_rationale=True), Order("id", descending=True), 0),
        "filter split": (Filter(split="val"), Order(), 0),
        "broken": (Filter(broken=True), Order(), 0),
        "sort by length": (Filter(), Order("length", descending=True), 0),
        "sort by instruction": (Filter(), Order("instruction"), 0),
        "the same, last page": (Filter(), Order("instruction"), last),
    }


def median(work: Callable[[], object], repeats: int) -> float:
    """Seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def measure(folder: Path, size: int, repeats: int) -> dict[str, float]:
    """Name of what was done -> median seconds."""
    index, source = EpisodeIndex(folder / f"{size}.sqlite"), Synthetic(size)
    start = time.perf_counter()
    index.update("synthetic", source, "stamp")
    found = {"build": time.perf_counter() - start}
    found["update, nothing changed"] = median(lambda: index.update("synthetic", source, "stamp"), repeats)
    for name, (filter, order, page) in queries((size - 1) // 50).items():
        found[name] = median(lambda f=filter, o=order, p=page: index.query(f, o, p), repeats)  # type: ignore[misc]
    found["find by id"] = median(lambda: index.find(f"episode_{size // 2:06}"), repeats)
    found["names of splits"] = median(index.splits, repeats)
    found["overview"] = median(index.overview, repeats)
    start = time.perf_counter()
    entries = list(source.scan())
    found["without: list in memory"] = time.perf_counter() - start
    found["without: search 2 words"] = median(lambda: _loop(entries), repeats)
    found["without: sort by instruction"] = median(lambda: sorted(entries, key=_instruction)[:50], repeats)
    return found


def _loop(entries: list[EpisodeMeta | BrokenEpisode]) -> list[EpisodeMeta | BrokenEpisode]:
    return [entry for entry in entries if "red" in _instruction(entry) and "carrot" in _instruction(entry)]


def _instruction(entry: EpisodeMeta | BrokenEpisode) -> str:
    return entry.instruction.lower() if isinstance(entry, EpisodeMeta) else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--repeats", type=int, default=7)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        results = [measure(Path(temporary), size, asked.repeats) for size in asked.sizes]
        stored = (Path(temporary) / f"{asked.sizes[-1]}.sqlite").stat().st_size / 2**20
    print(
        f"{'milliseconds, median of ' + str(asked.repeats):32}"
        + "".join(f"{size:>12,}" for size in asked.sizes)
        + "  growth"
    )
    for name in results[0]:
        times = [result[name] * 1000 for result in results]
        growth = ", ".join(f"x{after / before:.1f}" for before, after in pairwise(times))
        print(f"{name:32}" + "".join(f"{value:12,.1f}" for value in times) + f"  {growth}")
    asks = [name for name in results[-1] if name != "build" and not name.startswith("without")]
    slowest = max(asks, key=lambda name: results[-1][name])
    print(f"slowest with the index: {slowest}, {results[-1][slowest] * 1000:,.0f} ms; target {TARGET * 1000:.0f} ms")
    print(f"the index of {asked.sizes[-1]:,} episodes takes {stored:,.0f} MiB")


if __name__ == "__main__":
    main()

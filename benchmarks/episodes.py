"""What opening an episode costs as a data set grows, a frame late in a video, and a thousand episodes in a row.

``python -m benchmarks.episodes`` writes data sets of 10, 100 and 1,000 episodes in every format and opens one in the
middle, in a process that has read nothing before: time and bytes read (by this process and the one that tries HDF5
files) are to stay flat. Then it reads step 5,000 of a video against decoding all before it, and opens 1,000 episodes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np

from tests import noisy_episodes

ROOT = Path(__file__).parents[1]
SIZES = (10, 100, 1_000)
FORMATS = ("rlds", "lerobot v2.1", "lerobot v3.0", "hdf5", "robomimic", "aloha", "images")
SIDE = 32  # pixels of a frame
STEP, RATE = 5_000, 30
WAYS = ("keyframe seek", "decode all before")


def write(format: str, folder: Path, episodes: int) -> str:
    """A data set; the id of an episode in its middle."""
    noisy_episodes.EPISODES, noisy_episodes.SIDE = episodes, SIDE
    folder.mkdir(parents=True)
    noisy_episodes.NOISY[format](folder)
    middle = episodes // 2
    names = {"rlds": f"train/{middle}", "robomimic": f"lift/demo_{middle}"}
    return names.get(format, f"episode_{middle:06d}" if format.startswith("lerobot") else f"episode_{middle}")


def bytes_read() -> int:
    """By this process and its children, from files, cached or not."""
    import psutil

    def of(process: int) -> int:
        return int(Path(f"/proc/{process}/io").read_text().split()[1])

    me = psutil.Process()
    return of(me.pid) + sum(of(child.pid) for child in me.children(recursive=True))


def open_one(folder: Path, id: str) -> dict[str, float]:
    """Seconds and bytes for opening an episode and its first frame, in a process that is ready to."""
    from analysis.episodes import open_source

    warm = open_source(folder.with_name(f"{folder.name.rpartition('-')[0]}-warm"))  # libraries are loaded with it
    first = next(iter(warm.scan())).id
    warm.open(first).step(0)
    before, start = bytes_read(), time.perf_counter()
    episode = open_source(folder).open(id)
    episode.frame(episode.meta.cameras[0], 0)
    return {"seconds": time.perf_counter() - start, "bytes": bytes_read() - before}


def growth(folder: Path, sizes: tuple[int, ...]) -> None:
    print(f"{'opening one episode':24}" + "".join(f"{size:>10,} episodes" for size in sizes) + "   growth")
    for format in FORMATS:
        found = []
        write(format, folder / f"{format.replace(' ', '')}-warm", 2)
        for size in sizes:
            place = folder / f"{format.replace(' ', '')}-{size}"
            id = write(format, place, size)
            command = [sys.executable, "-m", "benchmarks.episodes", "--one", str(place), id]
            found.append(json.loads(subprocess.run(command, capture_output=True, check=True, cwd=ROOT).stdout))
        times = "".join(f"{one['seconds'] * 1000:16,.0f} ms" for one in found)
        print(f"{format:24}{times}   x{found[-1]['seconds'] / found[0]['seconds']:.1f}")
        sums = "".join(f"{one['bytes'] / 1000:16,.0f} kB" for one in found)
        print(f"{'':24}{sums}   x{found[-1]['bytes'] / found[0]['bytes']:.1f}")


def late_frame(folder: Path, repeats: int) -> None:
    """Step 5,000 of one video, found from its keyframe, against decoding from the beginning."""
    import av

    from analysis.episodes import video
    from tests.tiny_lerobot_dataset import write_video

    pictures = [np.roll(noisy_episodes.noise(0, 0), step, 0) for step in range(64)]
    path = write_video(folder / "long.mp4", [pictures[step % 64] for step in range(STEP + 50)], RATE, 30)

    def seek() -> np.ndarray:
        video._CACHE = video.FrameCache(video.CACHE_BYTES)
        return video.video_frame(path, STEP / RATE, RATE, "the frame")

    def decode_all() -> np.ndarray:
        with av.open(str(path)) as container:
            frames = container.decode(video=0)
            return next(islice(frames, STEP, None)).to_ndarray(format="rgb24")

    assert np.array_equal(seek(), decode_all())
    seconds = [median(work, repeats) for work in (seek, decode_all)]
    print(f"\nstep {STEP:,} of a video with a keyframe every 30 frames")
    for way, time_ in zip(WAYS, seconds, strict=True):
        print(f"{way:24}{time_ * 1000:16,.1f} ms")
    print(f"{'':24}{seconds[1] / seconds[0]:16,.0f} times as long")


def median(work: Callable[[], object], repeats: int) -> float:
    """Seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def thousand(folder: Path, episodes: int) -> None:
    """Resident memory after the first tenth of the episodes and after all of them."""
    import psutil

    from analysis.episodes import open_source

    print(f"\nmemory while {episodes:,} episodes are opened, one after the other")
    for format in FORMATS:
        place = folder / f"{format.replace(' ', '')}-all"
        write(format, place, episodes)
        source, early = open_source(place), 0
        ids = [entry.id for entry in source.scan() if hasattr(entry, "id")]
        for number, id in enumerate(ids):
            episode = source.open(id)
            episode.frame(episode.meta.cameras[0], episode.meta.length - 1)
            if number == len(ids) // 10:
                early = psutil.Process().memory_info().rss
        late = psutil.Process().memory_info().rss
        print(f"{format:24}{early / 2**20:12,.0f} MiB {late / 2**20:12,.0f} MiB   {(late - early) / 2**20:+,.0f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", nargs=2, metavar=("FOLDER", "ID"), help="open one episode and print what it took")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--episodes", type=int, default=1_000, help="how many are opened one after the other")
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(open_one(Path(asked.one[0]), asked.one[1])))
        return
    with tempfile.TemporaryDirectory() as temporary:
        growth(Path(temporary), tuple(asked.sizes))
        late_frame(Path(temporary), asked.repeats)
        thousand(Path(temporary), asked.episodes)


if __name__ == "__main__":
    main()

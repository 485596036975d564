"""``python -m analysis predict``."""

from __future__ import annotations

from analysis import describe
from analysis.commands.options import (
    WORKSPACE,
    ActionStats,
    AsJson,
    Base,
    Cameras,
    CheckpointPath,
    Device,
    Dtype,
    EpisodeId,
    EpisodePath,
    Family,
    InWorkspace,
    Opening,
    Steps,
    cameras_of,
    for_episodes,
    open_episode,
    open_policy,
    parse_steps,
    print_values,
)
from analysis.running import Running


def predict(
    checkpoint: CheckpointPath,
    episode: EpisodePath,
    id: EpisodeId = None,
    steps: Steps = None,
    action_stats: ActionStats = None,
    family: Family = None,
    base: Base = None,
    device: Device = "cpu",
    dtype: Dtype = None,
    camera: Cameras = None,
    workspace: InWorkspace = WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Run a checkpoint on recorded steps and print its actions beside the recorded ones, and what it says."""
    opened = open_episode(episode, id, workspace)
    wanted = parse_steps(steps, opened.meta.length)
    policy = open_policy(for_episodes(Opening(checkpoint, action_stats, family, base, Running(device, dtype)), opened))
    cameras = cameras_of(policy, opened, camera)
    said = (describe.prediction(policy.predict(cameras.seen(opened.step(s).observation)), s, opened) for s in wanted)
    if as_json:
        head = {"checkpoint": policy.info.digest, "episode": opened.meta.digest}
        print_values(head | {"steps": list(said)}, as_json)
    else:
        for prediction in said:
            print_values(prediction, as_json)

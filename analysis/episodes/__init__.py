"""Episodes on disk, whatever their format."""

from analysis.episodes.source import BrokenEpisode, EpisodeSource, OpenedSource, open_source

__all__ = ["BrokenEpisode", "EpisodeSource", "OpenedSource", "open_source"]

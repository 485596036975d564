"""Episodes on disk, whatever their format."""

from analysis.episodes.source import BrokenEpisode, EpisodeSource, open_source

__all__ = ["BrokenEpisode", "EpisodeSource", "open_source"]

"""Writing a selection of episodes to files that training elsewhere reads."""

from analysis.export.export import FORMATS, Exported, export_episodes

__all__ = ["FORMATS", "Exported", "export_episodes"]

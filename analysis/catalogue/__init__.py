"""The index of all episodes of a workspace: listed, searched and filtered without opening their files."""

from analysis.catalogue.files_stamp import files_stamp
from analysis.catalogue.filter import COLUMNS, Filter, Order
from analysis.catalogue.index import EpisodeIndex, IndexState
from analysis.catalogue.overview import BrokenKind, LengthBin, Overview
from analysis.catalogue.page import IndexedEpisode, Page

__all__ = [
    "COLUMNS",
    "BrokenKind",
    "EpisodeIndex",
    "Filter",
    "IndexState",
    "IndexedEpisode",
    "LengthBin",
    "Order",
    "Overview",
    "Page",
    "files_stamp",
]

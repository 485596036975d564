"""Views of an episode as files: PNG, SVG, CSV, NPZ, MP4 and GIF, each with a caption that says how to make it again."""

from analysis.pictures.figure import Figure, Overlay, Panel
from analysis.pictures.files import FILMS, PICTURES, write_film, write_picture
from analysis.pictures.panels import Shown, figure_of
from analysis.pictures.view import View

__all__ = [
    "FILMS",
    "PICTURES",
    "Figure",
    "Overlay",
    "Panel",
    "Shown",
    "View",
    "figure_of",
    "write_film",
    "write_picture",
]

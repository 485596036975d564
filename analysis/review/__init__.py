"""Reviews of rationales by people: what is judged, by whom, and a store in which nothing is lost."""

from analysis.review.errors import Collision, IdTaken, ItemTaken, ReviewsUnavailable
from analysis.review.item import (
    Adjudication,
    AnnotatorProgress,
    Assignment,
    Conflict,
    Draft,
    Gold,
    Item,
    Progress,
    Review,
    Source,
)
from analysis.review.judgement import ERROR_KINDS, OVERALL, VERDICTS, Judgement, LabelScheme, PartJudgement, PartLabels
from analysis.review.project import ORDERS, Project, ProjectChange, ProjectSettings, Selection
from analysis.review.store import ReviewStore
from analysis.review.submit import Submission

__all__ = [
    "ERROR_KINDS",
    "ORDERS",
    "OVERALL",
    "VERDICTS",
    "Adjudication",
    "AnnotatorProgress",
    "Assignment",
    "Collision",
    "Conflict",
    "Draft",
    "Gold",
    "IdTaken",
    "Item",
    "ItemTaken",
    "Judgement",
    "LabelScheme",
    "PartJudgement",
    "PartLabels",
    "Progress",
    "Project",
    "ProjectChange",
    "ProjectSettings",
    "Review",
    "ReviewStore",
    "ReviewsUnavailable",
    "Selection",
    "Source",
    "Submission",
]

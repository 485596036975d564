"""What the review store says when it cannot do what was asked."""

from __future__ import annotations

from models.errors import UserError


class ReviewsUnavailable(UserError):
    """The database cannot be reached, read or written now: nothing was stored, so keep the draft and try again.

    Where the connection broke during a commit the review may be there all the same; submitting it again under the same
    id stores it once.
    """


class Collision(UserError):
    """Another person changed the same thing meanwhile; read it again and decide on what stands there now."""


class IdTaken(UserError):
    """Another review has this id, as when somebody judges an item in two windows: send it under a new one."""


class ItemTaken(UserError):
    """The item has all the annotators it may have, so this one's review cannot be taken."""

"""Names of people, projects and reviews: short, printable, so that they can be compared and shown anywhere."""

from __future__ import annotations

import re
import unicodedata

from models.errors import UserError

MAX_NAME = 200


def checked_name(name: str, what: str) -> str:
    """The name without spaces around it. Raises UserError for an empty, long or unprintable one."""
    name = unicodedata.normalize("NFC", name.strip())
    if not name or len(name) > MAX_NAME:
        raise UserError(f"{what} has {len(name)} characters; expected 1 to {MAX_NAME}")
    if bad := next((sign for sign in name if unicodedata.category(sign) in ("Cc", "Cs")), None):
        raise UserError(f"{what} has the character {bad!r}, which cannot be shown; leave it out")
    return name


def checked_id(id: str) -> str:
    """A client-made id of a review, such as a UUID. Raises UserError for anything else than 8 to 64 plain signs."""
    if not re.fullmatch(r"[A-Za-z0-9_.:-]{8,64}", id):
        raise UserError(f"{id!r:.80} is no review id; expected 8 to 64 letters, digits, '-', '_', '.' or ':'")
    return id

"""Which errors of a database are not this program's fault, and what to tell the user."""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

SAYS = {
    sqlite3.SQLITE_FULL: "the disk is full; free some space and try again",
    sqlite3.SQLITE_READONLY: "it may not be written; its file and folder have to be writable",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; its folder has to be there and writable",
    sqlite3.SQLITE_PERM: "it may not be opened; its file and folder have to be readable and writable",
    sqlite3.SQLITE_BUSY: "another program has kept it locked for a minute; try again",
    sqlite3.SQLITE_LOCKED: "another program has locked it; try again",
    sqlite3.SQLITE_IOERR: "the disk cannot be read or written; look whether it is full or failing, and try again",
    sqlite3.SQLITE_CORRUPT: "it is damaged; put it aside and bring back a copy from before",
    sqlite3.SQLITE_NOTADB: "it is no SQLite database; put it aside or name another file",
    sqlite3.SQLITE_NOLFS: "the file system takes no larger file; move it to another",
}
STATES = {  # of PostgreSQL: the first letters of an SQLSTATE
    "53100": "the disk of the server is full; free some space and try again",
    "53": "the server has no resources left; try again",
    "25006": "the server takes no writing now; try again, or name the primary server",
    "28": "the server does not let this user in; look at user and password",
    "3D000": "there is no database of that name on the server; make it with createdb",
    "42501": "this user may not do that there; grant it the rights to create and use tables",
    "57": "the server is going down or coming up; try again",
    "58": "the server's disk cannot be read or written; try again",
    "55P03": "another program has locked it; try again",
    "40": "other people's changes kept getting in the way; try again",
    "08": "the connection was lost; try again",
    "54": "the text is larger than the server takes; shorten it",
}


def is_circumstance(error: DBAPIError) -> bool:
    """Whether disk, server or another program is to blame."""
    return _said(error) is not None


def sentence(where: str, error: DBAPIError) -> str:
    return f"the reviews in {where} cannot be used: {_said(error)}"


def _said(error: DBAPIError) -> str | None:
    code = getattr(error.orig, "sqlite_errorcode", None)
    if code is not None:
        return SAYS.get(code & 0xFF)
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return next((said for start, said in STATES.items() if state.startswith(start)), None)
    if error.connection_invalidated or isinstance(error, OperationalError | InterfaceError):
        return "the server cannot be reached; look whether it runs, and try again"
    return None

"""Who uses a workspace, and what each may do: annotators judge, leads run projects, admins may do everything."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from models.errors import UserError

MAX_NAME = 200  # signs
JOINERS = "\u200c\u200d"  # shape letters and emoji; Persian names need them
KEYS = ("everyone", "claim", "hosts")


class Role(StrEnum):
    ANNOTATOR = "annotator"
    LEAD = "lead"
    ADMIN = "admin"

    @property
    def leads(self) -> bool:
        """Whether this role makes projects, sees everybody's judgements and settles conflicts."""
        return self is not Role.ANNOTATOR


@dataclass(frozen=True)
class Person:
    """Somebody who may use the workspace."""

    name: str  # under which judgements are kept: the e-mail address of who logged in, else the name that was given
    role: Role


@dataclass(frozen=True)
class People:
    """The section ``[people]`` of workspace.toml; the defaults are those of a workspace without one."""

    roles: Mapping[str, Role] = field(default_factory=dict, hash=False)  # address, name or group, folded -> role
    everyone: Role | None = None  # of people who are not listed; None: the page's own default
    claim: str | None = None  # of the identity token, whose texts (groups) are looked up as names are
    hosts: tuple[str, ...] = ()  # further names under which the app is reached

    def named(self, name: str) -> Person:
        """Who only gave a name, on loopback: an admin unless the section says otherwise.

        Raises UserError for a name that cannot be one.
        """
        usual = self.everyone or (Role.ANNOTATOR if self.roles else Role.ADMIN)
        return Person(checked_name(name), self.roles.get(_folded(name), usual))

    def logged_in(self, claims: Mapping[str, Any]) -> Person:
        """Who was identified by these claims of an OpenID provider; the highest of several roles counts.

        Raises UserError where they name nobody, an address that was not verified, or somebody without a role.
        """
        email, subject = claims.get("email"), claims.get("sub")
        if email is not None and claims.get("email_verified") is False:
            raise UserError(f"the address {str(email)[:MAX_NAME]!r} was not verified by the provider; verify it first")
        given = email if isinstance(email, str) and email else subject
        if not isinstance(given, str) or not given:
            raise UserError("the provider told neither 'email' nor 'sub'; add the scope 'email' to its client_kwargs")
        name = checked_name(given)
        groups = claims.get(self.claim) if self.claim else None
        texts = [groups] if isinstance(groups, str) else groups if isinstance(groups, list) else []
        found = [self.roles[key] for key in map(_folded, [name, *map(str, texts)]) if key in self.roles]
        role = max(found, key=list(Role).index, default=self.everyone)
        if role is None:
            raise UserError(f"{name} has no role here; an admin can name them under [people] in workspace.toml")
        return Person(name, role)


def checked_name(name: str) -> str:
    """``name`` without spaces around it. Raises UserError for an empty one, a very long one, or signs that hide."""
    text = unicodedata.normalize("NFC", " ".join(name.split()))
    if not text or len(text) > MAX_NAME:
        raise UserError(f"a name has between 1 and {MAX_NAME} signs; this one has {len(text)}")
    if any(unicodedata.category(sign) in ("Cc", "Cf", "Cs", "Co", "Cn") for sign in text if sign not in JOINERS):
        raise UserError("the name holds signs that cannot be seen; write it with letters")
    return text


def read_people(stored: Mapping[str, Any], where: str) -> People:
    """The section ``[people]`` of a configuration. Raises UserError for a wrong one."""
    section = stored.get("people", {})
    roles = [role.value for role in Role]
    if not isinstance(section, dict) or (unknown := section.keys() - {*KEYS, *roles}):
        wrong = f"the key {min(unknown)!r} in it" if isinstance(section, dict) else repr(section)
        raise UserError(f"[people] in {where}: {wrong} is not known; it knows {', '.join((*KEYS, *roles))}")
    listed: dict[str, Role] = {}
    for role in Role:  # later ones are higher and win
        listed |= dict.fromkeys(map(_folded, _texts(section, role.value, where)), role)
    everyone, claim = section.get("everyone"), section.get("claim")
    if everyone not in (None, *roles):
        raise UserError(f"[people] in {where}: everyone is {everyone!r}; it can be {', '.join(roles)}")
    if not isinstance(claim, str | None):
        raise UserError(f"[people] in {where}: claim is {claim!r}; expected the name of a claim, such as groups")
    return People(listed, Role(everyone) if everyone else None, claim, tuple(_texts(section, "hosts", where)))


def _texts(section: Mapping[str, Any], key: str, where: str) -> list[str]:
    entries = section.get(key, [])
    if not isinstance(entries, list) or not all(isinstance(entry, str) and entry for entry in entries):
        raise UserError(f"[people] in {where}: {key} is {entries!r}; expected a list of texts")
    return entries


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", " ".join(name.split())).casefold()

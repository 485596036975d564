"""Names, addresses and groups become people with roles."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.people import Person, Role, read_people
from analysis.workspace import Workspace
from models.errors import UserError

LISTED = {"people": {"lead": ["Kim@lab.org", "robot-leads"], "admin": ["ada@lab.org"], "claim": "groups"}}


def test_on_ones_own_machine_everybody_is_admin_unless_somebody_is_listed():
    assert read_people({}, "w").named("  Zoë  B. ") == Person("Zoë B.", Role.ADMIN)
    assert read_people(LISTED, "w").named("Zoë").role is Role.ANNOTATOR
    assert read_people(LISTED, "w").named("kim@LAB.org").role is Role.LEAD


def test_an_identity_has_the_highest_of_its_roles():
    people = read_people(LISTED, "w")
    assert people.logged_in({"email": "kim@lab.org", "sub": "1"}) == Person("kim@lab.org", Role.LEAD)
    assert people.logged_in({"email": "x@lab.org", "groups": ["robot-leads"]}).role is Role.LEAD
    assert people.logged_in({"email": "ada@lab.org", "groups": "robot-leads"}).role is Role.ADMIN
    assert people.logged_in({"sub": "robot-leads"}).role is Role.LEAD


def test_who_is_not_listed_comes_in_only_where_everybody_does():
    with pytest.raises(UserError, match=r"x@lab\.org has no role here"):
        read_people(LISTED, "w").logged_in({"email": "x@lab.org"})
    opened = read_people({"people": LISTED["people"] | {"everyone": "annotator"}}, "w")
    assert opened.logged_in({"email": "x@lab.org"}).role is Role.ANNOTATOR


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"email": "ada@lab.org", "email_verified": False}, "not verified"),
        ({}, "neither 'email' nor 'sub'"),
        ({"email": 3, "sub": ""}, "neither 'email' nor 'sub'"),
        ({"email": "a\u202e@lab.org"}, "cannot be seen"),
    ],
)
def test_claims_that_identify_nobody(claims, said):
    with pytest.raises(UserError, match=said):
        read_people(LISTED, "w").logged_in(claims)


@pytest.mark.parametrize("name", ["", "   ", "x" * 201, "a\x00b", "a\u202eb"])
def test_names_that_cannot_be_one(name):
    with pytest.raises(UserError):
        read_people({}, "w").named(name)


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("kim", "'kim' is not known"),
        ({"leads": []}, "'leads' in it is not known"),
        ({"lead": "kim"}, "lead is 'kim'; expected a list"),
        ({"everyone": "boss"}, "everyone is 'boss'"),
        ({"claim": 3}, "claim is 3"),
        ({"hosts": [""]}, r"hosts is \[''\]"),
    ],
)
def test_a_wrong_section_is_named(section, said):
    with pytest.raises(UserError, match=said):
        read_people({"people": section}, "w")


def test_a_workspace_knows_its_people(tmp_path: Path):
    (tmp_path / "workspace.toml").write_text('[people]\nlead = ["kim"]\n')
    assert Workspace.open(tmp_path).people.named("kim").role is Role.LEAD

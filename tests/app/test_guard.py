"""What reaches the routes: from which address, which page and whom. Cookies are signed as Streamlit signs them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.testclient import TestClient
from streamlit.runtime.secrets import secrets_singleton
from streamlit.web.server.starlette.starlette_app_utils import create_signed_value
from streamlit.web.server.starlette.starlette_server_config import USER_COOKIE_NAME

from analysis.people import read_people
from app import library as libraries
from app import oidc
from app.__main__ import main
from app.guard import Guard
from app.library import Library
from app.oidc import Oidc
from app.routes import lens_routes
from app.server import create_app
from models.errors import UserError

ORIGIN = "https://lens.lab.org"
COOKIE_SECRET = "0123456789" * 4
PEOPLE = {"people": {"annotator": ["ann@lab.org"], "lead": ["kim@lab.org"]}}
AUTH = {
    "redirect_uri": f"{ORIGIN}/oauth2callback",
    "cookie_secret": COOKIE_SECRET,
    "client_id": "id",
    "client_secret": "secret",
    "server_metadata_url": "https://provider.org/.well-known/openid-configuration",
}


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The section [auth] as Streamlit reads it; tests change it in place."""
    section = dict(AUTH)
    monkeypatch.setattr(secrets_singleton, "load_if_toml_exists", lambda: True)
    monkeypatch.setattr(secrets_singleton, "_secrets", {"auth": section})
    return section


def served(library: Library, login: Oidc | None, address: str = "http://testserver") -> TestClient:
    guard = Middleware(Guard, oidc=login, people=read_people(PEOPLE, "test"))
    return TestClient(Starlette(routes=lens_routes(lambda: library), middleware=[guard]), base_url=address)


@pytest.fixture
def guarded(library: Library, secrets: dict[str, Any]) -> Iterator[TestClient]:
    with served(library, oidc.settings()) as client:
        yield client


def cookie(origin: str = ORIGIN, secret: str = COOKIE_SECRET, name: str = USER_COOKIE_NAME, **claims: Any) -> str:
    value = json.dumps({"is_logged_in": True, "origin": origin, "provider": "default", **claims})
    return create_signed_value(secret, name, value).decode()


def status(client: TestClient, dataset: str, value: str) -> int:
    client.cookies.clear()
    client.cookies.set(USER_COOKIE_NAME, value)
    return client.get("/lens/episode", params={"dataset": dataset, "episode": "good"}).status_code


def test_without_a_cookie_every_route_says_log_in(guarded: TestClient, library: Library) -> None:
    paths = [route.path for route in lens_routes(lambda: library) if "{" not in route.path]
    assert len(paths) > 7
    for path in paths:
        assert guarded.get(path).status_code == 401, path
        assert guarded.post(path, headers={"X-VLA-Lens": "1"}).status_code == 401, path
    for path in ("/media/x.png", "/_stcore/upload_file/a/b", "/component/x", "/anything"):
        assert guarded.get(path).status_code == 401, path


def test_who_logged_in_gets_data(guarded: TestClient, dataset: str) -> None:
    assert status(guarded, dataset, cookie(email="ann@lab.org")) == 200
    assert status(guarded, dataset, cookie(email="stranger@lab.org")) == 403
    assert status(guarded, dataset, cookie(email="ann@lab.org", email_verified=False)) == 403


@pytest.mark.parametrize(
    "forged",
    [
        {"secret": "another" * 9},
        {"origin": "https://evil.org"},
        {"name": "_streamlit_user_tokens"},
        {"is_logged_in": False},
    ],
)
def test_a_forged_cookie_is_none(guarded: TestClient, dataset: str, forged: dict[str, Any]) -> None:
    assert status(guarded, dataset, cookie(email="ann@lab.org", **forged)) == 401
    assert status(guarded, dataset, "rubbish") == 401
    assert status(guarded, dataset, cookie(email="ann@lab.org")[:-3] + "AAA") == 401


def test_pages_of_other_sites_are_refused(client: TestClient, library: Library, dataset: str) -> None:
    asked = {"dataset": dataset, "episode": "good"}
    with served(library, None) as own:
        assert own.get("/lens/episode", params=asked).status_code == 200
        for headers in (
            {"Origin": "https://evil.org"},
            {"Origin": "null"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},  # another port of this machine
        ):
            assert own.get("/lens/episode", params=asked, headers=headers).status_code == 403, headers
        assert own.get("/lens/episode", params=asked, headers={"Origin": "http://testserver"}).status_code == 200


def test_without_a_login_only_this_machine_is_served(library: Library, dataset: str) -> None:
    asked = {"dataset": dataset, "episode": "good"}
    with served(library, None, "http://192.168.1.5") as client:
        assert client.get("/lens/episode", params=asked).status_code == 403
        assert client.get("/lens/episode", params=asked, headers={"Host": "127.0.0.1"}).status_code == 403


@pytest.mark.slow
def test_a_foreign_name_is_refused(monkeypatch: pytest.MonkeyPatch, workspace: Path) -> None:
    monkeypatch.setenv(libraries.WORKSPACE_VARIABLE, str(workspace))
    with TestClient(create_app(), base_url="http://rebound.evil.org") as client:
        assert client.get("/lens/episode").status_code == 400


def test_listening_elsewhere_needs_a_login(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for address in ("0.0.0.0", "192.168.1.5", "::"):
        assert main(["--address", address, "--workspace", str(workspace)]) == 2
        assert "would let anybody in: configure a login" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"redirect_uri": "https://lens.lab.org/"}, "redirect_uri is"),
        ({"redirect_uri": "lens.lab.org/oauth2callback"}, "redirect_uri is"),
        ({"cookie_secret": "short"}, "cookie_secret needs 32"),
        ({"client_secret": ""}, "lacks client_secret"),
    ],
)
def test_a_login_that_cannot_work_is_named(secrets: dict[str, Any], change: dict[str, str], said: str) -> None:
    secrets.update(change)
    with pytest.raises(UserError, match=said):
        oidc.settings()

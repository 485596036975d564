"""Logging in with an OpenID provider: what `.streamlit/secrets.toml` says, and who a request comes from.

Streamlit's ``st.login`` runs the code flow and leaves a signed cookie. Routes beside the pages do not pass it, so they
read that cookie here: same secret, same salt, same origin.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from streamlit import auth_util, config
from streamlit.web.server.server_util import get_cookie_secret
from streamlit.web.server.starlette.starlette_app_utils import decode_signed_value
from streamlit.web.server.starlette.starlette_server_config import USER_COOKIE_NAME

from models.errors import UserError

# Options are read when the first one is asked for; without the script's place app/.streamlit/config.toml is left out.
config._main_script_path = config._main_script_path or str(Path(__file__).resolve().with_name("main.py"))

SECRETS = Path(".streamlit") / "secrets.toml"
DEFAULT = "default"  # what Streamlit calls the provider that stands in [auth] itself
REQUIRED = ("client_id", "client_secret", "server_metadata_url")
SHORTEST_SECRET = 32  # signs; what signs the cookie must not be guessed


@dataclass(frozen=True)
class Oidc:
    """People log in."""

    origin: str  # of the app as browsers know it, such as https://lens.lab.org
    providers: tuple[str, ...]

    @property
    def host(self) -> str:
        """The origin's host name without its port."""
        return urlsplit(self.origin).hostname or ""

    def claims(self, cookies: Mapping[str, str]) -> dict[str, Any] | None:
        """What the provider said about who sent these cookies; None where nobody logged in."""
        decoded = auth_util.get_cookie_with_chunks(lambda name: _signed(cookies, name), USER_COOKIE_NAME)
        if decoded is None:
            return None
        try:
            claims = json.loads(decoded)
        except ValueError:
            return None
        known = isinstance(claims, dict) and claims.get("is_logged_in") is True and claims.get("origin") == self.origin
        return claims if known else None


def look_for_secrets(workspace: Path) -> None:
    """Has Streamlit read the secrets in the workspace too; they win over those beside the app."""
    own = str(workspace / SECRETS)
    files = [str(path) for path in config.get_option("secrets.files")]
    if own not in files and Path(own).is_file():
        config.set_option("secrets.files", [*files, own])


def settings() -> Oidc | None:
    """How people log in; None where nothing is configured, so that names do.

    Raises UserError for a section ``[auth]`` that cannot work.
    """
    section = auth_util.get_secrets_auth_section()
    if not section:
        return None
    where = "[auth] in secrets.toml"
    redirect, secret = auth_util.get_redirect_uri(section) or "", section.get("cookie_secret")
    parts = urlsplit(redirect)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.path != "/oauth2callback":
        raise UserError(f"{where}: redirect_uri is {redirect!r}; expected such as https://lens.lab.org/oauth2callback")
    if not isinstance(secret, str) or len(secret) < SHORTEST_SECRET:
        raise UserError(f"{where}: cookie_secret needs {SHORTEST_SECRET} random signs or more")
    named = {name: entry for name, entry in section.items() if isinstance(entry, Mapping) and name != "client_kwargs"}
    providers = named or {DEFAULT: section}
    for name, entry in providers.items():
        if missing := [key for key in REQUIRED if not entry.get(key)]:
            raise UserError(f"{where}: the provider {name!r} lacks {', '.join(missing)}")
    return Oidc(f"{parts.scheme}://{parts.netloc}", tuple(providers))


def _signed(cookies: Mapping[str, str], name: str) -> bytes | None:
    value = cookies.get(name)
    return decode_signed_value(get_cookie_secret(), name, value.encode("latin-1", "replace")) if value else None

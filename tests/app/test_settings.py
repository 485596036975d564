"""The app's own Streamlit settings count, whatever asks for an option first."""

from __future__ import annotations

import subprocess
import sys

import pytest

from app.server import MAIN


@pytest.mark.slow
def test_settings_are_read_although_the_login_asks_first() -> None:
    code = "import app.server; from streamlit import config; print(config.get_option('browser.gatherUsageStats'))"
    done = subprocess.run([sys.executable, "-c", code], cwd=MAIN.parents[1], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"

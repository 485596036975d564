"""``python -m app``: serves the app on loopback and prints its address."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

# Idle threads of libgomp spin and slow a busy machine down tenfold; read when torch is imported, so set before.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")
os.environ.setdefault("STREAMLIT_BROWSER_GATHER_USAGE_STATS", "false")
os.environ.setdefault("STREAMLIT_SERVER_ADDRESS", "127.0.0.1")
os.environ.setdefault("STREAMLIT_SERVER_HEADLESS", "true")


def main(arguments: list[str] | None = None) -> int:
    """Serves until interrupted. Returns 2 for a workspace that cannot be opened."""
    options = _parser().parse_args(arguments)
    root = str(Path(__file__).resolve().parents[1])
    if root not in sys.path:
        sys.path.insert(0, root)

    import uvicorn

    from app import library
    from app.server import check_address, create_app
    from models.errors import UserError

    os.environ[library.WORKSPACE_VARIABLE] = str(Path(options.workspace or library.DEFAULT_WORKSPACE).absolute())
    try:
        check_address(options.address)
        served = create_app()
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"VLA Lens: http://{options.address}:{options.port}", flush=True)
    uvicorn.run(served, host=options.address, port=options.port, log_level="warning", access_log=False)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m app", description="Serve VLA Lens.")
    parser.add_argument("--port", type=int, default=8501)
    parser.add_argument(
        "--address", "--host", default="127.0.0.1", help="to listen at; anything but loopback needs a login (OIDC)"
    )
    parser.add_argument("--workspace", help="folder with workspace.toml; made where there is none")
    return parser


if __name__ == "__main__":
    sys.exit(main())

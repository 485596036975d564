"""A real PostgreSQL server in a temporary folder, for the tests and the stress runs."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import psycopg

PLACES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin")
OWNERS = ("postgres", "nobody")  # the server refuses to run as root
SETTINGS = "-c listen_addresses='' -c max_connections=150 -c shared_buffers=32MB"


class NoPostgres(Exception):
    """Why there is no server."""


@dataclass(frozen=True)
class Postgres:
    """One cluster, reached through a socket in its folder."""

    folder: Path
    binaries: Path
    owner: str | None  # who runs it; None: the present user
    durable: bool  # whether it waits for the disk, as a server does unless it is told not to

    @classmethod
    def create(cls, durable: bool = True) -> Postgres:
        """A cluster that runs. Raises NoPostgres, with a reason, where it cannot be."""
        binaries = _binaries()
        owner = None
        if os.geteuid() == 0:
            owner = next((name for name in OWNERS if _exists(name)), None)
            if owner is None or shutil.which("runuser") is None:
                raise NoPostgres("root cannot run PostgreSQL, and there is no other user to run it")
        folder = Path(tempfile.mkdtemp(prefix="reviews-pg-", dir="/tmp"))  # a socket's path is short
        if owner is not None:
            shutil.chown(folder, owner)
        made = cls(folder, binaries, owner, durable)
        made._run("initdb", "-D", str(folder / "data"), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
        made.start()
        return made

    def start(self) -> None:
        options = f"-k {self.folder} {SETTINGS} -c fsync={'on' if self.durable else 'off'}"
        self._run(
            "pg_ctl",
            "start",
            "-w",
            "-t",
            "60",
            "-D",
            str(self.folder / "data"),
            "-o",
            options,
            "-l",
            str(self.folder / "log"),
        )

    def stop(self) -> None:
        self._run("pg_ctl", "stop", "-m", "immediate", "-D", str(self.folder / "data"))

    def kill(self) -> None:
        """kill -9 of the server and every process of it, as a power cut would."""
        pid = int((self.folder / "data" / "postmaster.pid").read_text().splitlines()[0])
        os.kill(pid, signal.SIGSTOP)  # no new child comes while the others are looked up
        children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        for one in (*children, pid):
            try:
                os.kill(one, signal.SIGKILL)
            except ProcessLookupError:
                continue
        until = time.monotonic() + 30
        while any(_runs(one) for one in (pid, *children)) and time.monotonic() < until:
            time.sleep(0.02)
        # a dead server that nobody waited for still looks alive to the next one
        for left in (self.folder / "data" / "postmaster.pid", *self.folder.glob(".s.PGSQL.*")):
            left.unlink(missing_ok=True)

    def database(self) -> str:
        """The URL of a new, empty schema, which is made faster than a database."""
        name = f"reviews_{uuid4().hex[:12]}"
        with psycopg.connect(host=str(self.folder), user="postgres", dbname="postgres", autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {name}".encode())
        return f"postgresql+psycopg://postgres@/postgres?host={self.folder}&options=-csearch_path%3D{name}"

    def remove(self) -> None:
        try:
            if (self.folder / "data" / "postmaster.pid").exists():
                self.stop()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, name: str, *arguments: str) -> None:
        asked = [str(self.binaries / name), *arguments]
        if self.owner is not None:
            asked = ["runuser", "-u", self.owner, "--", *asked]
        # the server inherits what it is given: a pipe would never end
        with (self.folder / "said").open("w+") as said:
            done = subprocess.run(asked, stdout=said, stderr=said, cwd=self.folder, timeout=120)
            if done.returncode:
                said.seek(0)
                log = self.folder / "log"
                tail = log.read_text()[-500:] if log.exists() else ""
                raise NoPostgres(f"{name} failed: {said.read()[-300:]} {tail}")


def _binaries() -> Path:
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    for pattern in PLACES:
        for folder in sorted(Path("/").glob(pattern[1:]), reverse=True):
            if (folder / "initdb").exists():
                return folder
    raise NoPostgres("PostgreSQL is not installed (Debian: apt-get install postgresql)")


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False

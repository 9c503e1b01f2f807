"""A study in PostgreSQL, on a private server on loopback; skipped where no server is installed."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from sanm.run import REFUSED
from tests.sweeps.conftest import children, read_until
from tests.sweeps.test_tune_command import STUDY, finish, kill_one_worker, needs_proc, records, start, trials

SERVERS = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
AS_ROOT = os.geteuid() == 0

pytestmark = [
    pytest.mark.skipif(not SERVERS, reason="no PostgreSQL server here"),
    pytest.mark.skipif(AS_ROOT and not shutil.which("runuser"), reason="root cannot run the server"),
]


def server(command: str, *arguments: str, **environment: str) -> None:
    """Run a program of the server, not as root."""
    program = [str(SERVERS[-1].parent / command), *arguments]
    subprocess.run(
        ["runuser", "-u", "postgres", "--", *program] if AS_ROOT else program,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,  # not a pipe: the server that stays would hold it open
        stderr=subprocess.DEVNULL,
        cwd="/",
        check=True,
        timeout=120,
    )


@dataclass
class Database:
    """An empty database on a private server."""

    folder: Path
    port: int
    password: str

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}/studies"

    @property
    def url(self) -> str:
        return f"postgresql://studies:{self.password}@{self.address}"

    def make(self) -> None:
        data = str(self.folder / "data")
        server("initdb", "-D", data, "-U", "studies", "-A", "scram-sha-256", f"--pwfile={self.folder / 'password'}",
               "--no-sync", "-E", "UTF8", "--locale=C")  # fmt: skip
        self.start()
        where = ("-h", "127.0.0.1", "-p", str(self.port), "-U", "studies")
        server("createdb", *where, "studies", PGPASSWORD=self.password)

    def start(self) -> None:
        options = f"-c listen_addresses=127.0.0.1 -p {self.port} -k {self.folder}"
        server("pg_ctl", "-D", str(self.folder / "data"), "-w", "-l", str(self.folder / "log"), "-o", options, "start")

    def kill(self) -> None:
        """Kill the server and whoever serves a connection, as a machine that loses its power does."""
        first = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        everybody = [first, *children(first)]
        for process in everybody:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        while any(Path(f"/proc/{process}/exe").exists() for process in everybody):
            time.sleep(0.02)

    def stop(self) -> None:
        with suppress(subprocess.CalledProcessError):  # it may not have been started
            server("pg_ctl", "-D", str(self.folder / "data"), "-m", "immediate", "-w", "stop")


@pytest.fixture
def database() -> Iterator[Database]:
    pytest.importorskip("psycopg")
    folder = Path(tempfile.mkdtemp(prefix="postgres"))  # not in tmp_path, which the server's user cannot enter
    password = secrets.token_hex(12)
    (folder / "password").write_text(password)
    if AS_ROOT:
        for path in (folder, folder / "password"):
            shutil.chown(path, "postgres", "postgres")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        found = Database(folder, probe.getsockname()[1], password)
    try:
        found.make()
        yield found
    finally:
        found.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
@needs_proc
def test_two_workers_one_killed_mid_trial(database: Database, tmp_path: Path) -> None:
    words = (*STUDY, "study.n_trials=3", "study.workers=2", "study.storage=${oc.env:STUDIES}")
    process = start(tmp_path, *words, STUDIES=database.url)
    said = kill_one_worker(process)
    said += finish(process)
    assert "died; another takes its trial up" in said
    assert [row["state"] for row in trials(tmp_path)] == ["complete"] * 3, "exactly n, nothing lost"
    assert len(records(tmp_path)) == 6
    again = finish(start(tmp_path, *words, STUDIES=database.url))
    assert "3 of 3 trials" in again
    assert "epoch 1/" not in again
    assert database.password not in said + again
    kept = [file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()]
    assert kept
    assert not [content for content in kept if database.password.encode() in content]


@pytest.mark.slow
@needs_proc
def test_the_server_is_killed_mid_trial_and_comes_back(database: Database, tmp_path: Path) -> None:
    words = (*STUDY, "study.n_trials=3", "study.workers=2", "study/pruner=median", "study.storage=${oc.env:STUDIES}",
             "trainer.epochs=8")  # fmt: skip
    process = start(tmp_path, *words, STUDIES=database.url)
    read_until(process, "epoch 1/")
    database.kill()
    out, err = process.communicate(timeout=300)
    assert process.returncode == REFUSED, out + err
    (line,) = err.splitlines()
    assert line.startswith(f"error    study.storage=postgresql+psycopg://{database.address} cannot be reached (")
    assert line.endswith("; the same command goes on later")
    assert database.password not in out + err
    assert not list(tmp_path.glob("*/failure.txt")), "that a server died is no failure of a run"
    assert list(tmp_path.glob("*/checkpoint.pt"))

    database.start()
    said = finish(start(tmp_path, *words, STUDIES=database.url))
    assert "resume   " in said, "from the checkpoint"
    assert [row["state"] for row in trials(tmp_path)] == ["complete"] * 3, "exactly n, nothing lost"
    assert len(records(tmp_path)) == 6

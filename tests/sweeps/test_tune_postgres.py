"""A study in PostgreSQL, on a private server on loopback; skipped where no server is installed."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

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


@pytest.fixture
def database() -> Iterator[tuple[str, str]]:
    """The URL of an empty database on a private server, and the password in it."""
    pytest.importorskip("psycopg")
    folder = Path(tempfile.mkdtemp(prefix="postgres"))  # not in tmp_path, which the server's user cannot enter
    password = secrets.token_hex(12)
    (folder / "password").write_text(password)
    if AS_ROOT:
        for path in (folder, folder / "password"):
            shutil.chown(path, "postgres", "postgres")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data, options = str(folder / "data"), f"-c listen_addresses=127.0.0.1 -p {port} -k {folder}"
    try:
        server("initdb", "-D", data, "-U", "studies", "-A", "scram-sha-256", f"--pwfile={folder / 'password'}",
               "--no-sync", "-E", "UTF8", "--locale=C")  # fmt: skip
        server("pg_ctl", "-D", data, "-w", "-l", str(folder / "log"), "-o", options, "start")
        try:
            server("createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "studies", "studies", PGPASSWORD=password)
            yield f"postgresql://studies:{password}@127.0.0.1:{port}/studies", password
        finally:
            server("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@needs_proc
def test_two_workers_one_killed_mid_trial(database: tuple[str, str], tmp_path: Path) -> None:
    url, password = database
    words = (*STUDY, "study.n_trials=3", "study.workers=2", "study.storage=${oc.env:STUDIES}")
    process = start(tmp_path, *words, STUDIES=url)
    said = kill_one_worker(process)
    said += finish(process)
    assert "died; another takes its trial up" in said
    assert [row["state"] for row in trials(tmp_path)] == ["complete"] * 3, "exactly n, nothing lost"
    assert len(records(tmp_path)) == 6
    again = finish(start(tmp_path, *words, STUDIES=url))
    assert "3 of 3 trials" in again
    assert "epoch 1/" not in again
    assert password not in said + again
    kept = [file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()]
    assert kept
    assert not [content for content in kept if password.encode() in content]

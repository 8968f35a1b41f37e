"""`make up` with the server on a real PostgreSQL, where one is installed."""

import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.client.schemas.objects import StateType

from tests.flows.served import Served, keep_deployments, place_small_log, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_200), pytest.mark.xdist_group("service")]

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))  # as Debian places them


class Postgres:
    """A cluster of its own in a folder, at a port of its own; it refuses to run as root."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.user = "postgres" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
        if os.getuid() == 0:
            shutil.chown(folder, self.user)

    @property
    def address(self) -> str:
        return f"postgresql+asyncpg://{self.user}@127.0.0.1:{self.port}/prefect"

    def call(self, program: str, *arguments: str) -> str:
        as_user = ["runuser", "-u", self.user, "--"] if os.getuid() == 0 else []
        command = [*as_user, str(BINARIES[-1] / program), *arguments]
        done = subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self) -> None:
        place = str(self.folder / "cluster")
        self.call("initdb", "--pgdata", place, "--auth", "trust", "--username", self.user)
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self.folder}"
        log = str(self.folder / "postgres.log")
        self.call("pg_ctl", "start", "--wait", "-D", place, "-l", log, "-o", options)
        self.ask("postgres", "create database prefect")

    def ask(self, database: str, statement: str) -> str:
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-U", self.user]
        return self.call("psql", *where, "-tA", "-c", statement, database).strip()

    def stop(self) -> None:
        self.call("pg_ctl", "stop", "-D", str(self.folder / "cluster"), "-m", "immediate")


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    if not BINARIES:
        pytest.skip("no PostgreSQL below /usr/lib/postgresql (Debian: apt-get install postgresql)")
    folder = Path(subprocess.check_output(["mktemp", "--directory"], text=True).strip())
    cluster = Postgres(folder)  # not below pytest's folder, into which only its owner may look
    cluster.start()
    try:
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder)


def test_schedules_and_a_training_on_postgresql(
    postgres: Postgres, tmp_path: Path, tiny_backbones: str
) -> None:
    url = {"PREFECT_SERVER_DATABASE_CONNECTION_URL": postgres.address}
    served = Served.make(tmp_path, **url)
    settings = {"recipe": "data/tiny.toml", "backbones": tiny_backbones}
    try:
        keep_deployments(
            served, "train-logllm/demo", "detect-anomalies/demo", "retrain-logllm/demo"
        )
        served.up()
        place_small_log(served)
        run = served.start_run("train-logllm/demo", dataset="small-log", settings=settings)
        assert served.ends(run) == StateType.COMPLETED, served.said()
        wait_until(lambda: served.planned_nightly() >= served.nightly())
    finally:
        served.end()
    assert not list((tmp_path / "data" / ".prefect").glob("*.db"))
    counted = postgres.ask(
        "prefect", "select state_type, count(*) from flow_run group by 1 order by 1"
    )
    assert "COMPLETED|1" in counted.splitlines()
    # Two of the three deployments have a nightly schedule.
    assert int(dict(line.split("|") for line in counted.splitlines())["SCHEDULED"]) >= 2
    assert list(tmp_path.glob("data/runs/small-log/*/report.html"))

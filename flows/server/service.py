"""Prefect on this machine: `python -m flows.server.service up | down | deploy`.

For the Makefile and compose.yaml; docs/operations.md tells the whole story.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from filelock import FileLock
from prefect.client.orchestration import get_client
from prefect.settings import get_current_settings

from flows.server.deployments import LOCAL, POOL, deploy
from flows.server.login import PROFILES, client_environment, logged_in
from flows.server.server_processes import Process, mark, processes_of, send, topmost
from logllm_core.errors import LogLLMError

ADDRESS = "http://127.0.0.1:4200/api"  # unless PREFECT_API_URL or the last `up` names another
HOME_DIR = Path("data/.prefect")  # the server's database, and what server and workers say
SERVER = "server"
# A worker for each queue, and how many runs it has at once. Its own limit is the one that leaks
# nothing: those that the server keeps outlive a run that was killed.
WORKERS = {"training": 1, "default": 2}
START_SECONDS = 180.0  # on a busy machine
RUN_SECONDS = 60.0  # for a run that is asked to stop: to end its step and save
SERVER_SECONDS = 20.0


def up() -> None:
    """Start what is not running yet: server and workers; bring the deployments up to date.

    Raises:
        LogLLMError: the port is taken by something else, or something does not start.
    """
    address = _address()
    HOME_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
    with FileLock(HOME_DIR / "up.lock"), logged_in(HOME_DIR, address) as login:
        running = {process.role for process in our_processes() if not process.is_run}
        if SERVER not in running:
            _start_server(address, login)
        _wait_for_server(address)
        _check_login(address, login)
        deploy()
        missing = [queue for queue in WORKERS if queue not in running]
        _start_workers(missing)
    _say(f"Workers: {', '.join(WORKERS)} ({len(missing)} started). Log files: {HOME_DIR}")
    _say(f"The UI is at {address.removesuffix('/api')}. It asks for a login: {HOME_DIR / PROFILES}")
    _say("`prefect ...` in this folder finds it there. `make down` stops all of it.")


def down() -> None:
    """Stop what `up` started, and nothing else. Runs are asked to end first, and save."""
    if not our_processes():
        _say("Nothing of ours is running.")
        return
    # A worker that stands still begins no further run, while those that it has come to their end.
    send(signal.SIGSTOP, [p for p in our_processes() if p.role in WORKERS and not p.is_run])
    runs = topmost([p for p in our_processes() if p.is_run])
    send(signal.SIGTERM, runs)
    _wait_until(lambda: not [p for p in our_processes() if p.is_run], RUN_SECONDS)
    send(signal.SIGKILL, [p for p in our_processes() if p.role != SERVER])
    send(signal.SIGTERM, topmost([p for p in our_processes() if p.role == SERVER]))
    _wait_until(lambda: not our_processes(), SERVER_SECONDS)
    send(signal.SIGKILL, our_processes())
    if not _wait_until(lambda: not our_processes(), SERVER_SECONDS):
        left = ", ".join(str(process.pid) for process in our_processes())
        raise LogLLMError(f"These processes do not end: {left}. Look what they wait for.")
    _say(f"Stopped server and workers. Runs that were under way: {len(runs)}")


def our_processes() -> list[Process]:
    return processes_of(HOME_DIR)


def _address() -> str:
    """The API of the server that is to run here."""
    address = get_current_settings().api.url or ADDRESS
    if urlsplit(address).hostname not in LOCAL:
        raise LogLLMError(
            f"Prefect's settings name the server {address}, and `up` starts one on "
            "this machine. Unset PREFECT_API_URL, or choose a port here: "
            "PREFECT_API_URL=http://127.0.0.1:4300/api make up. "
            "`python -m flows.server.service deploy` deploys to a server elsewhere."
        )
    return address


def _start_server(address: str, login: str) -> None:
    port = urlsplit(address).port or 80
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as fault:
            raise LogLLMError(
                f"Port {port} is wanted for Prefect's server, but cannot be had: {fault.strerror}. "
                "Stop what listens there (the server of another folder?), or choose another port: "
                f"PREFECT_API_URL=http://127.0.0.1:{port + 100}/api make up"
            ) from None
    command = ["server", "start", "--host", "127.0.0.1", "--port", str(port)]
    _start(SERVER, *command, PREFECT_SERVER_API_AUTH_STRING=login)


def _start(role: str, *command: str, **more: str) -> None:
    """Not with Prefect's own --background: that server dies at its first log line."""
    environment = os.environ | {
        **mark(HOME_DIR, role),
        "PREFECT_HOME": str(HOME_DIR.resolve()),  # apart from whatever else Prefect does here
        **client_environment(),
        **more,
    }
    with _log_path(role).open("ab") as log:
        subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "prefect", *command],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _wait_for_server(address: str) -> None:
    def answers() -> bool:
        try:
            return httpx.get(f"{address}/health", timeout=5, trust_env=False).text == "true"
        except httpx.HTTPError:
            return False

    _wait_for(SERVER, answers)


def _check_login(address: str, login: str) -> None:
    """Whether the server asks for a login, and for this folder's.

    Raises:
        LogLLMError: it does not.
    """
    port = urlsplit(address).port
    user, _, password = login.partition(":")

    def status(auth: tuple[str, str] | None) -> int:
        answer = httpx.get(f"{address}/admin/version", auth=auth, timeout=30, trust_env=False)
        return answer.status_code

    if status((user, password)) != httpx.codes.OK:
        raise LogLLMError(
            f"The server at {address} has another login than {HOME_DIR / PROFILES}. Run `make "
            f"down` and `make up`; if it is another folder's: PREFECT_API_URL=http://127.0.0.1:"
            f"{(port or 80) + 100}/api make up"
        )
    if status(None) == httpx.codes.OK:
        raise LogLLMError(
            f"The server at {address} asks nobody for a login: it was started by an earlier "
            "version. Run `make down` and `make up`."
        )


def _start_workers(queues: Sequence[str]) -> None:
    begun = datetime.now(UTC)
    for queue in queues:
        limit = str(WORKERS[queue])
        command = ["worker", "start", "--pool", POOL, "--work-queue", queue, "--limit", limit]
        _start(queue, *command, "--name", queue)
    with get_client(sync_client=True) as client:

        def reports(name: str) -> bool:
            workers = client.read_workers_for_work_pool(POOL)
            seen = [w.last_heartbeat_time for w in workers if w.name == name]
            return any(time is not None and time > begun for time in seen)

        for queue in queues:
            _wait_for(queue, lambda: reports(queue))  # noqa: B023


def _wait_for(role: str, is_ready: Callable[[], bool]) -> None:
    """Until it is ready.

    Raises:
        LogLLMError: it has ended, or takes too long; with the end of what it said.
    """

    def is_over() -> bool:
        return is_ready() or all(process.role != role for process in our_processes())

    _wait_until(is_over, START_SECONDS)
    if not is_ready():
        said = _log_path(role).read_text(errors="replace").strip()[-2_000:]
        raise LogLLMError(f"Prefect's {role} does not start. The end of {_log_path(role)}:\n{said}")


def _wait_until(is_done: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not (done := is_done()) and time.monotonic() < end:
        time.sleep(0.2)
    return done


def _log_path(role: str) -> Path:
    return HOME_DIR / f"{role}.log"


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


COMMANDS = {"up": up, "down": down, "deploy": deploy}


def main() -> None:
    if len(sys.argv) != 2 or sys.argv[1] not in COMMANDS:
        raise SystemExit(f"usage: python -m flows.server.service {{{','.join(COMMANDS)}}}")
    try:
        COMMANDS[sys.argv[1]]()
    except LogLLMError as fault:
        raise SystemExit(f"error: {fault}") from None


if __name__ == "__main__":
    main()

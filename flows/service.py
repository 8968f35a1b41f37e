"""Prefect on this machine: `python -m flows.service up | down | deploy`.

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
from typing import Any
from urllib.parse import urlsplit

import httpx
import yaml
from filelock import FileLock
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings
from prefect.workers.process import ProcessWorker

from flows.processes import Process, mark, processes_of, send, topmost
from logllm_core.errors import LogLLMError

HOME_DIR = Path("data/.prefect")  # the server's database, and what server and workers say
SERVER = "server"
POOL = "logllm"
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
    HOME_DIR.mkdir(parents=True, exist_ok=True)
    with FileLock(HOME_DIR / "up.lock"):
        running = {process.role for process in our_processes() if not process.is_run}
        if SERVER not in running:
            _start_server(address)
        _wait_for_server(address)
        deploy()
        missing = [queue for queue in WORKERS if queue not in running]
        _start_workers(missing)
    _say(f"Workers: {', '.join(WORKERS)} ({len(missing)} started). Log files: {HOME_DIR}")
    _say(f"The UI is at {address.removesuffix('/api')}. `make down` stops all of it.")


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


def deploy() -> None:
    """Work pool, deployments and automations, on the server that Prefect's settings name.

    Raises:
        LogLLMError: Prefect refuses the deployments.
    """
    with get_client(sync_client=True) as client:
        _ensure_pool(client)
        _run_prefect("deploy", "--all")
        for values in yaml.safe_load(Path("automations.yaml").read_text())["automations"]:
            _ensure_automation(client, AutomationCore.model_validate(values))
        num_deployments = len(client.read_deployments())
    _say(f"{num_deployments} deployments in the work pool {POOL}.")


def our_processes() -> list[Process]:
    return processes_of(HOME_DIR)


def _address() -> str:
    """The API of the server that is to run here."""
    address = get_current_settings().api.url
    if not address or urlsplit(address).hostname not in {"127.0.0.1", "localhost"}:
        raise LogLLMError(
            f"Prefect's settings name the server {address or '(none)'}, and `up` starts one on "
            "this machine. Unset PREFECT_API_URL, or choose a port here: "
            "PREFECT_API_URL=http://127.0.0.1:4300/api make up. `python -m flows.service deploy` "
            "deploys to a server elsewhere."
        )
    return address


def _start_server(address: str) -> None:
    place = urlsplit(address)
    port = place.port or 80
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as fault:
            raise LogLLMError(
                f"Port {port} is wanted for Prefect's server, but cannot be had: {fault.strerror}. "
                "Stop what listens there (another Prefect server?), or choose another port: "
                f"PREFECT_API_URL=http://127.0.0.1:{port + 100}/api make up, and export the same "
                "for `prefect ...`."
            ) from None
    _start(SERVER, "server", "start", "--host", "127.0.0.1", "--port", str(port))


def _start(role: str, *command: str) -> None:
    """Not with Prefect's own --background: that server dies at its first log line."""
    environment = os.environ | {
        **mark(HOME_DIR, role),
        "PREFECT_HOME": str(HOME_DIR.resolve()),  # apart from whatever else Prefect does here
        "PREFECT_API_URL": _address(),
        "DO_NOT_TRACK": "1",
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


def _start_workers(queues: Sequence[str]) -> None:
    begun = datetime.now(UTC)
    for queue in queues:
        limit = str(WORKERS[queue])
        command = ["worker", "start", "--pool", POOL, "--work-queue", queue, "--limit", limit]
        _start(queue, *command, "--name", queue)
    with get_client(sync_client=True) as client:

        def reports(name: str) -> bool:
            found = client.read_workers_for_work_pool(POOL)
            seen = [w.last_heartbeat_time for w in found if w.name == name]
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


def _ensure_pool(client: SyncPrefectClient) -> None:
    try:
        client.read_work_pool(POOL)
    except ObjectNotFound:
        template = ProcessWorker.get_default_base_job_template()
        client.create_work_pool(
            WorkPoolCreate(name=POOL, type="process", base_job_template=template)
        )


def _ensure_automation(client: SyncPrefectClient, wanted: AutomationCore) -> None:
    found = client.read_automations_by_name(wanted.name)
    if not found:
        client.create_automation(wanted)
    # Only then: a trigger that is written anew has forgotten whose silence it was listening to.
    elif _as_written(found[0]) != _as_written(wanted):
        client.update_automation(found[0].id, wanted)


def _as_written(automation: AutomationCore) -> dict[str, Any]:
    """Without what the server adds."""
    fields = set(AutomationCore.model_fields) - {"owner_resource"}
    return automation.model_dump(include=fields, exclude={"trigger": {"id"}})


def _run_prefect(*command: str) -> None:
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "prefect", "--no-prompt", *command],
        # prefect.yaml names this folder as $PWD, which `make -C` would have as it was before.
        env=os.environ | {"DO_NOT_TRACK": "1", "PWD": str(Path.cwd())},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise LogLLMError(f"prefect {' '.join(command)} failed:\n{done.stdout}{done.stderr}")


def _log_path(role: str) -> Path:
    return HOME_DIR / f"{role}.log"


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


COMMANDS = {"up": up, "down": down, "deploy": deploy}


def main() -> None:
    if len(sys.argv) != 2 or sys.argv[1] not in COMMANDS:
        raise SystemExit(f"usage: python -m flows.service {{{','.join(COMMANDS)}}}")
    try:
        COMMANDS[sys.argv[1]]()
    except LogLLMError as fault:
        raise SystemExit(f"error: {fault}") from None


if __name__ == "__main__":
    main()

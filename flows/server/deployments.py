"""What the project's files list, on Prefect's server: work pool, deployments, automations."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings

from flows.server.login import client_environment
from logllm_core.errors import LogLLMError

POOL = "logllm"
LOCAL = {"127.0.0.1", "localhost"}


def deploy() -> None:
    """Work pool, deployments and automations, on the server that Prefect's settings name.

    Raises:
        LogLLMError: the server's deployments are another folder's, or Prefect refuses these.
    """
    with get_client(sync_client=True) as client:
        _check_folder(client)
        _ensure_pool(client)
        _run_prefect("deploy", "--all")
        for values in yaml.safe_load(Path("automations.yaml").read_text())["automations"]:
            _ensure_automation(client, AutomationCore.model_validate(values))
        num_deployments = len(client.read_deployments())
    sys.stdout.write(f"{num_deployments} deployments in the work pool {POOL}.\n")


def _check_folder(client: SyncPrefectClient) -> None:
    """That deployments there are of this folder, or there are none: names stand once on a server.

    A folder that is gone from this machine was moved; what it deployed is taken over.

    Raises:
        LogLLMError: they run elsewhere.
    """
    here = Path.cwd()
    steps = (step for each in client.read_deployments() for step in each.pull_steps or ())
    folders = {Path(given.get("directory", here)) for step in steps for given in step.values()}
    for folder in folders:
        if folder.resolve() != here.resolve() and (_is_elsewhere() or folder.exists()):
            raise LogLLMError(
                f"The deployments on {client.api_url} run in {folder}, and this folder is {here}: "
                "a server belongs to one folder. Deploy from there, or have a server of its own "
                "here: PREFECT_API_URL=http://127.0.0.1:4300/api make up"
            )


def _is_elsewhere() -> bool:
    """Whether the server may be another machine's, whose folders cannot be seen."""
    return urlsplit(str(get_current_settings().api.url)).hostname not in LOCAL


def _ensure_pool(client: SyncPrefectClient) -> None:
    """A pool of processes whose runs nobody can give a command, a folder or an environment."""
    template = {
        "job_configuration": {"stream_output": True},  # Prefect wants one setting
        "variables": {"type": "object", "properties": {}, "additionalProperties": False},
    }
    try:
        pool = client.read_work_pool(POOL)
    except ObjectNotFound:
        client.create_work_pool(
            WorkPoolCreate(name=POOL, type="process", base_job_template=template)
        )
    else:
        if pool.base_job_template != template:
            client.update_work_pool(POOL, WorkPoolUpdate(base_job_template=template))


def _ensure_automation(client: SyncPrefectClient, wanted: AutomationCore) -> None:
    there = client.read_automations_by_name(wanted.name)
    if not there:
        client.create_automation(wanted)
    # Only then: a trigger that is written anew has forgotten whose silence it was listening to.
    elif _as_written(there[0]) != _as_written(wanted):
        client.update_automation(there[0].id, wanted)


def _as_written(automation: AutomationCore) -> dict[str, Any]:
    """Without what the server adds."""
    fields = set(AutomationCore.model_fields) - {"owner_resource"}
    return automation.model_dump(include=fields, exclude={"trigger": {"id"}})


def _run_prefect(*command: str) -> None:
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "prefect", "--no-prompt", *command],
        # prefect.yaml names this folder as $PWD, which `make -C` would have as it was before.
        env=os.environ | client_environment() | {"PWD": str(Path.cwd())},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise LogLLMError(f"prefect {' '.join(command)} failed:\n{done.stdout}{done.stderr}")

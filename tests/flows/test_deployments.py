"""prefect.yaml, held against the flows and against a real Prefect API."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.flows import Flow, load_flow_from_entrypoint

from flows.settings import TrainSettings

ROOT = Path(__file__).resolve().parents[2]
# Prefect passes over what it does not know, so a slip of the pen would go unseen.
KNOWN_KEYS = {
    "name",
    "description",
    "entrypoint",
    "parameters",
    "tags",
    "work_pool",
    "schedules",
}
DEPLOYMENTS: list[dict[str, Any]] = yaml.safe_load((ROOT / "prefect.yaml").read_text())[
    "deployments"
]


def test_there_is_a_training_for_every_data_set_of_the_paper_and_the_demo() -> None:
    names = {d["name"] for d in DEPLOYMENTS if d["entrypoint"] == "flows.train.train_logllm"}
    assert names == {"demo", "hdfs", "bgl", "liberty", "thunderbird"}


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda deployment: deployment["name"])
def test_a_deployment_fits_its_flow(deployment: dict[str, Any]) -> None:
    assert deployment.keys() <= KNOWN_KEYS
    flow: Flow[..., Any] = load_flow_from_entrypoint(deployment["entrypoint"])
    found = flow.validate_parameters(deployment["parameters"])
    settings = found["settings"]
    assert isinstance(settings, TrainSettings)
    # Every parameter is written out, and names what exists.
    assert deployment["parameters"]["settings"].keys() == TrainSettings.model_fields.keys()
    assert settings.find_dataset(found["dataset"]).name == deployment["name"]
    assert settings.find_recipe().stages


@pytest.mark.usefixtures("prefect_server")
def test_prefect_deploys_all_of_them() -> None:
    with get_client(sync_client=True) as client:
        api = str(client.api_url)
        prefect = [sys.executable, "-m", "prefect", "--no-prompt"]
        environment = os.environ | {"PREFECT_API_URL": api}
        for command in (
            ["work-pool", "create", "logllm", "--type", "process"],
            ["deploy", "--all"],
        ):
            done = subprocess.run(
                [*prefect, *command],
                cwd=ROOT,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr
        names = {deployment.name for deployment in client.read_deployments()}
    assert names == {deployment["name"] for deployment in DEPLOYMENTS}

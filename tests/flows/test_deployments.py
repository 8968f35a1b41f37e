"""prefect.yaml and its neighbours, held against the flows; server/test_service.py deploys them."""

from pathlib import Path
from typing import Any, get_type_hints

import pytest
import yaml
from prefect.events.schemas.automations import AutomationCore
from prefect.flows import Flow, load_flow_from_entrypoint

from flows.data_settings import DataSettings
from flows.server import deployments, service
from flows.settings import RunSettings, TrainSettings
from logllm_core.config import Settings
from logllm_core.logs.catalog.catalog import TRACKED
from logllm_core.model.sources.named_backbones import backbones_named

ROOT = Path(__file__).resolve().parents[2]
DATASETS = {"demo", "bgl", "hdfs", "liberty", "thunderbird"}
FLOWS = {
    "prepare-logs": ("default", False),
    "train-logllm": ("training", False),
    "evaluate-logllm": ("default", False),
    "detect-anomalies": ("default", True),
    "retrain-logllm": ("training", True),
    "compare-detectors": ("training", False),
    "ablate-logllm": ("training", False),
}  # by name: queue, and whether it runs each night
# Prefect passes over what it does not know, so a slip of the pen would go unseen.
KNOWN_KEYS = {"name", "entrypoint", "tags", "parameters", "work_pool", "schedules", "triggers"}


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text())


DEPLOYMENTS: list[dict[str, Any]] = read("prefect.yaml")["deployments"]


def flow_of(deployment: dict[str, Any]) -> Flow[..., Any]:
    return load_flow_from_entrypoint(deployment["entrypoint"])


def name_of(deployment: dict[str, Any]) -> str:
    return f"{deployment['entrypoint'].rpartition('.')[2]}/{deployment['name']}"


def test_every_flow_is_deployed_for_every_data_set_of_the_paper_and_the_demo() -> None:
    found = [(flow_of(deployment).name, deployment["name"]) for deployment in DEPLOYMENTS]
    assert sorted(found) == sorted((flow, dataset) for flow in FLOWS for dataset in DATASETS)


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=name_of)
def test_a_deployment_fits_its_flow(deployment: dict[str, Any]) -> None:
    assert deployment.keys() <= KNOWN_KEYS
    flow = flow_of(deployment)
    parameters = deployment["parameters"]
    found = flow.validate_parameters(parameters)
    assert parameters.keys() == flow.parameters.properties.keys()
    settings = found["settings"]
    assert isinstance(settings, DataSettings)
    assert_written_out(parameters["settings"], get_type_hints(flow.fn)["settings"])
    # They name what exists, and no data set of whoever runs this.
    assert settings.data_dir == Path("data")
    assert found["dataset"] == deployment["name"]
    assert (TRACKED / f"{found['dataset']}.toml").is_file()
    if isinstance(settings, RunSettings):
        assert settings.find_recipe().stages
    if isinstance(settings, TrainSettings):
        assert backbones_named(settings.backbones)


def assert_written_out(given: dict[str, Any], kind: type[Settings]) -> None:
    """Every parameter is in the file, those of its parts too."""
    assert given.keys() == kind.model_fields.keys()
    for name, field in kind.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Settings):
            assert_written_out(given[name], field.annotation)


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=name_of)
def test_a_deployment_has_its_queue_its_tags_and_its_night(deployment: dict[str, Any]) -> None:
    name = flow_of(deployment).name
    queue, is_nightly = FLOWS[name]
    assert deployment["work_pool"] == {"name": deployments.POOL, "work_queue_name": queue}
    assert queue in service.WORKERS
    assert deployment["tags"][0] == name.partition("-")[0]
    assert deployment["tags"][-1] == deployment["name"]
    schedules = deployment.get("schedules", [])
    assert len(schedules) == is_nightly
    for schedule in schedules:
        assert schedule.keys() == {"timezone", "slug", "active", "cron"}
        given = (schedule["timezone"], schedule["slug"], schedule["active"])
        assert given == ("UTC", "nightly", True)


def test_no_two_nightly_runs_begin_at_once() -> None:
    crons = [s["cron"] for d in DEPLOYMENTS for s in d.get("schedules", [])]
    assert len(crons) == len(set(crons)) == 10


def test_a_retraining_listens_to_the_drift_of_its_own_log() -> None:
    for deployment in DEPLOYMENTS:
        triggers = deployment.get("triggers", [])
        assert len(triggers) == (flow_of(deployment).name == "retrain-logllm")
        for trigger in triggers:
            assert trigger["expect"] == ["logllm.drift.exceeded"]
            of = {"prefect.resource.id": f"logllm.dataset.{deployment['name']}"}
            assert trigger["match"] == of


def test_the_automations_say_what_prefect_understands() -> None:
    known = set(AutomationCore.model_fields)
    for values in read("automations.yaml")["automations"]:
        assert values.keys() <= known
        trigger = AutomationCore.model_validate(values).trigger.model_dump()
        for name, value in values["trigger"].items():
            assert name in trigger
            assert name != "expect" or set(value) == trigger["expect"]


def test_compose_runs_the_same_workers_with_pinned_images() -> None:
    """Read as YAML only; whether Docker takes it is not tried here."""
    services = read("compose.yaml")["services"]
    assert services.keys() == {"database", "server", "deploy", *service.WORKERS}
    for queue, limit in service.WORKERS.items():
        command = ["worker", "start", "--pool", deployments.POOL, "--work-queue", queue]
        assert services[queue]["command"] == ["prefect", *command, "--limit", str(limit)]
        assert services[queue]["depends_on"] == {
            "deploy": {"condition": "service_completed_successfully"}
        }
    assert services["deploy"]["command"] == ["python", "-m", "flows.server.service", "deploy"]
    assert services["database"]["image"].rpartition(":")[2][0].isdigit()

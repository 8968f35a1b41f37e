"""Each flow once, with a real Prefect API: that it runs, and what it shows there.

What flows do is tried without Prefect in the files beside this one.
"""

import json
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.objects import State
from prefect.exceptions import ParameterTypeError

from flows.ablate import ablate_logllm
from flows.compare import compare_detectors
from flows.detect import detect_anomalies
from flows.evaluate import evaluate_logllm
from flows.prepare import prepare_logs
from flows.retrain import retrain_logllm
from flows.settings import (
    AblateSettings,
    CompareSettings,
    DetectSettings,
    RetrainSettings,
    TrainSettings,
)
from flows.train import train_logllm
from logllm_core.daily.champion.decisions import read_decisions
from logllm_core.daily.champion.drift import measure
from logllm_core.daily.champion.drift_limits import DriftLimits
from logllm_core.daily.champion.scored_windows import ScoredWindows
from logllm_core.pages.markdown import escape
from tasks import shown_in_prefect
from tests.daily.new_logs import lines, prepare_champion
from tests.flows.conftest import settings_of

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
def settings(trained_dir: Path, tiny_backbones: str) -> TrainSettings:
    """Of a data folder in which `small-log` was trained."""
    return settings_of(trained_dir, tiny_backbones)


def run_of(state: State[Any]) -> UUID:
    assert state.is_completed()
    assert state.state_details.flow_run_id is not None
    return state.state_details.flow_run_id


def steps_of(run: UUID) -> list[str]:
    """The names of its tasks, without the numbers that make them different."""
    chosen = FlowRunFilter(id=FlowRunFilterId(any_=[run]))
    with get_client(sync_client=True) as client:
        return sorted(task.name for task in client.read_task_runs(flow_run_filter=chosen))


def artifacts_of(run: UUID) -> dict[str, str]:
    """What it shows, by key."""
    with get_client(sync_client=True) as client:
        published = [each for each in client.read_artifacts() if each.flow_run_id == run]
    return {str(each.key): str(each.data) for each in published}


def lines_of(run: UUID, last: str) -> list[str]:
    """Its log lines, once the `last` has reached Prefect: they travel in batches."""
    chosen = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run]))
    with get_client(sync_client=True) as client:
        for _ in range(150):
            logged = [log.message for log in client.read_logs(chosen)]
            if any(last in line for line in logged):
                break
            time.sleep(0.1)
    return logged


def test_preparing_is_a_run_of_named_steps(settings: TrainSettings) -> None:
    run = run_of(prepare_logs("small-log", settings, return_state=True))
    with get_client(sync_client=True) as client:
        assert client.read_flow_run(run).name == "prepare-small-log"
    assert steps_of(run) == [
        *("build-windows-small-log", "find-messages-small-log", "obtain-log-small-log"),
        "refresh-views",
    ]


def test_figures_report_and_log_lines_of_a_training_reach_prefect(settings: TrainSettings) -> None:
    wanted = settings.model_copy(update={"seed": 1})
    state = train_logllm("small-log", wanted, return_state=True)
    run, report = run_of(state), state.result()
    artifacts = artifacts_of(run)
    rows = json.loads(artifacts["metrics-small-log"])
    content = json.loads((report.path / "report.json").read_text())
    assert rows[0]["detector"] == "LogLLM"
    assert rows[0]["pr_auc"] == round(content["detectors"]["LogLLM"]["pr_auc"], 3)
    assert rows[0]["f1_interval"]
    assert escape(content["verdict"]) in artifacts["report-small-log"]
    assert escape(str(report.path / "report.html")) in artifacts["report-small-log"]
    alerts = json.loads(artifacts["alerts-small-log"])
    assert [row["alert"] for row in alerts] == [
        each["alert"] for each in content["alerts"]["types"]
    ]
    logged = lines_of(run, "stays the champion")
    assert sum("stage 2:" in line for line in logged) == 1
    assert "LogLLM reaches" in "".join(logged)


def test_evaluating_finds_what_was_trained(settings: TrainSettings) -> None:
    state = evaluate_logllm("small-log", settings, return_state=True)
    assert artifacts_of(run_of(state)).keys() >= {"report-small-log", "metrics-small-log"}
    assert [f"find-stage-{number}" for number in (1, 2, 3)] == [
        step for step in steps_of(run_of(state)) if step.startswith("find-stage")
    ]


def test_a_retraining_shows_its_decision_and_the_drift(settings: TrainSettings) -> None:
    path = settings.data_dir / "datasets" / "small-log.toml"
    path.write_text(path.read_text().replace("num_lines = 2_000", "num_lines = 3_000"))
    again = RetrainSettings(data_dir=settings.data_dir)
    state = retrain_logllm("small-log", again, return_state=True)
    made = read_decisions(settings.store, "small-log").decisions[-1]
    assert state.message == made.reason
    artifacts = artifacts_of(run_of(state))
    decision, drift = artifacts["retrain-small-log"], artifacts["drift-small-log"]
    assert f"candidate {made.run} is " in decision
    assert "| F1 |" in decision
    assert "| PR-AUC |" in decision
    assert "| share of lines with an unseen message | - | 0." in drift
    assert "\N{FULL BLOCK}" in drift


def test_new_logs_are_judged_and_their_drift_is_shown(tmp_path: Path) -> None:
    champion = prepare_champion(tmp_path)
    champion.predict()
    log = tmp_path / "new.log"
    log.write_text("".join(lines(203)))
    settings = DetectSettings(data_dir=champion.store.data_dir)
    state = detect_anomalies("own", [str(log)], settings, return_state=True)
    assert artifacts_of(run_of(state)).keys() == {"drift-own"}
    assert str(state.message).startswith("1 log, 203 new lines in 51 windows judged now")


def test_a_comparison_is_a_table(settings: TrainSettings) -> None:
    given = {name: getattr(settings, name) for name in ("data_dir", "recipe", "backbones")}
    wanted = CompareSettings(**given, only=("cnn",), overrides={"cnn.num_epochs": 1})
    state = compare_detectors("small-log", wanted, return_state=True)
    assert "run-cnn" in steps_of(run_of(state))
    rows = json.loads(artifacts_of(run_of(state))["comparison-small-log"])
    assert "CNN" in [row["detector"] for row in rows]


def test_an_ablation_is_a_table(settings: TrainSettings) -> None:
    """Of the recipe itself, which was trained already: no variant need be run."""
    given = {name: getattr(settings, name) for name in ("data_dir", "recipe", "backbones")}
    wanted = AblateSettings(**given, only=("beta-0.3",))
    state = ablate_logllm("small-log", wanted, return_state=True)
    rows = json.loads(artifacts_of(run_of(state))["ablation-small-log"])
    assert "run-variants" in steps_of(run_of(state))
    assert rows


def test_an_unknown_setting_is_refused_before_the_run_starts() -> None:
    with pytest.raises(ParameterTypeError, match=r"extra_forbidden|not permitted"):
        train_logllm("demo", {"recipes": "quick"})  # type: ignore[call-overload]


def test_drift_beyond_a_limit_is_an_event_that_names_the_data_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent: list[tuple[str, dict[str, str]]] = []
    monkeypatch.setattr(
        shown_in_prefect,
        "emit_event",
        lambda name, resource, payload: sent.append((name, resource)),
    )

    @flow
    def publish_drift(num_anomalous: int, *, is_told: bool = True) -> None:
        calm, other = (
            ScoredWindows(
                probabilities=np.array([0.1] * (200 - number) + [0.9] * number),
                num_lines=200,
                num_unseen_lines=0,
            )
            for number in (20, num_anomalous)
        )
        drift = measure(calm, other, DriftLimits(), dataset="a_b", run="0" * 16)
        shown_in_prefect.publish_drift(drift, is_told=is_told)

    publish_drift(20)
    publish_drift(120, is_told=False)
    assert sent == []
    publish_drift(120)
    resource = {"prefect.resource.id": "logllm.dataset.a_b", "prefect.resource.name": "a_b"}
    assert sent == [("logllm.drift.exceeded", resource)]
    with get_client(sync_client=True) as client:
        assert any(artifact.key == "drift-a-b" for artifact in client.read_artifacts())

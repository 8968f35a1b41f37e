"""A log that grows, and the two-layer models that keep up with it; the flow as a plain function.
With Prefect: see test_with_prefect.py."""

import json
import random
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from flows.retrain import Retrained, retrain_logllm
from flows.settings import RetrainSettings, TrainSettings
from flows.train import train_logllm
from logllm_core.daily.champion.decisions import (
    Champion,
    Decision,
    champion_path,
    find_champion,
    promote,
    read_decisions,
)
from logllm_core.errors import LogLLMError
from logllm_core.query.views import query
from logllm_core.store.store import Artifact, Store
from logllm_core.training import stage
from tests.flows.conftest import PLAIN_LOGLLM, RECIPE, Published, Run, check_error, plain_flows

pytestmark = pytest.mark.usefixtures("without_prefect")

FIRST, LATER = 2_000, 1_000  # lines
EPOCH = 1_117_838_570
NORMAL, ALERT = ["alpha read ok", "beta write ok", "delta read disk"], "gamma disk failed"
# Enough that the answer is learned whatever the processor's rounding.
SETTLED = {
    "stages.3.num_epochs": 24,
    "rate_schedule": "cosine",
    "warmup_fraction": 0.2,
    "max_gradient_norm": 1.0,
}
TOO_FEW = {"stages.3.num_samples": 16, "stages.3.num_epochs": 1}  # two steps
DATASET = """
title = "A log that grows"
train_fraction = 0.6

[source]
kind = "file"
path = "../own.log"

[line]
fields = ["label", "epoch", "content"]
time_fields = ["epoch"]
time_format = "epoch"

[labels]
kind = "field"

[windows]
kind = "count"
length = 20
"""


class Growing:
    """The data set `small-log`, whose file grows; its model, and its retraining.

    A window of 20 lines in six is anomalous: "gamma disk failed" is an alert.
    """

    def __init__(self, data_dir: Path, backbones: str) -> None:
        self.data_dir, self.store = data_dir, Store(data_dir=data_dir)
        self.log = data_dir / "own.log"
        self.train_settings = TrainSettings(
            data_dir=data_dir,
            recipe=str(data_dir / "tiny.toml"),
            backbones=backbones,
            overrides=SETTLED,
        )

    def grow(self, num_lines: int = LATER) -> None:
        first = len(self.log.read_bytes().splitlines()) if self.log.exists() else 0
        dice = random.Random(first)
        with self.log.open("a") as file:
            for number in range(first, first + num_lines):
                is_alert = number % 120 == 7
                text = ALERT if is_alert else dice.choice(NORMAL)
                file.write(f"{'FAILED' if is_alert else '-'} {EPOCH + number} {text}\n")

    def train(self, **changes: Any) -> Artifact:
        return train_logllm("small-log", self.train_settings.model_copy(update=changes))

    def retrain(self, **settings: Any) -> Retrained:
        return retrain_logllm("small-log", self.settings(**settings))

    def settings(self, **settings: Any) -> RetrainSettings:
        return RetrainSettings(data_dir=self.data_dir, **settings)

    @property
    def champion(self) -> Champion:
        found = find_champion(self.store, "small-log")
        assert found
        return found

    @property
    def decisions(self) -> tuple[Decision, ...]:
        return read_decisions(self.store, "small-log").decisions

    def models(self) -> set[str]:
        return {model.fingerprint for model in self.store.all("models", "small-log")}


def write_dataset(data_dir: Path) -> None:
    (data_dir / "datasets").mkdir(parents=True)
    (data_dir / "datasets" / "small-log.toml").write_text(DATASET)
    (data_dir / "tiny.toml").write_text(RECIPE)


@pytest.fixture(scope="module")
def _crowned_dir(tmp_path_factory: pytest.TempPathFactory, tiny_backbones: str) -> Path:
    """A data folder with a log and its first champion, to be copied."""
    folder = tmp_path_factory.mktemp("crowned")
    write_dataset(folder)
    growing = Growing(folder, tiny_backbones)
    growing.grow(FIRST)
    with plain_flows():
        growing.train()
    return folder


@pytest.fixture
def growing(_crowned_dir: Path, tmp_path: Path, tiny_backbones: str) -> Growing:
    """A log with a champion."""
    shutil.copytree(_crowned_dir, tmp_path / "data")
    return Growing(tmp_path / "data", tiny_backbones)


def test_without_a_champion_nothing_is_done(tmp_path: Path) -> None:
    write_dataset(tmp_path)
    state: Any = retrain_logllm.fn("small-log", RetrainSettings(data_dir=tmp_path))
    assert state.is_completed()
    assert state.message
    assert "has no champion, so nothing was done" in state.message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["datasets", "tiny.toml"]


@pytest.mark.slow
@pytest.mark.timeout(300)  # two trainings, each with its report
def test_a_grown_log_makes_a_candidate_and_then_there_is_nothing_new(growing: Growing) -> None:
    before = growing.champion
    assert before.previous is None
    assert len(before.stages) == 3
    assert growing.retrain().run is None  # the champion's own windows

    growing.grow()
    outcome = growing.retrain()
    assert outcome.run
    assert outcome.is_promoted
    made = growing.champion
    assert made.run == outcome.run != before.run
    # The recipe's last stage, from the adapters of the champion.
    assert made.stages == (made.trained,)
    assert made.previous == before.trained
    model = growing.store.newest("models", "small-log", made.trained)
    assert model
    assert model.manifest["config"]["stage"]["name"] == "3"
    assert model.manifest["inputs"]["previous"] == before.trained
    assert model.manifest["inputs"]["windows"] == made.windows != before.windows
    assert made.recipe == before.recipe
    # Of 3,000 lines the last 1,200 are the test, in windows of 20; each 120th line is an alert.
    # The champion was trained on the first 1,200.
    assert "on 60 new windows, 10 anomalous" in made.reason

    kept = champion_path(growing.store, "small-log").read_bytes()
    reason = "There is nothing new in small-log since the last decision."
    assert growing.retrain() == Retrained(
        dataset="small-log", run=None, is_promoted=False, reason=reason
    )
    assert champion_path(growing.store, "small-log").read_bytes() == kept

    growing.grow()
    growing.retrain()
    line = read_decisions(growing.store, "small-log").lineage
    assert [one.previous for one in line[-2:]] == [before.trained, None]


@pytest.mark.slow
def test_a_worse_candidate_is_turned_down_and_the_champion_stays(growing: Growing) -> None:
    before = growing.champion
    growing.grow()
    # A learning rate that makes noise of the weights.
    outcome = growing.retrain(overrides={"stages.3.learning_rate": 30.0})
    assert outcome.run
    assert not outcome.is_promoted
    assert outcome.reason.startswith("The candidate learned too little: its loss ended at ")
    # Of 60 windows, what noise answers may be worse beyond any chance, or not.
    assert re.search("candidate (is|does) worse in ", outcome.reason)
    assert growing.champion == before
    content = json.loads(champion_path(growing.store, "small-log").read_bytes())
    assert [made["is_promoted"] for made in content["decisions"]] == [True, False]
    assert growing.retrain().run is None  # considered
    # The views show what the champion says.
    shown = growing.store.newest("predictions", "small-log")
    assert shown
    assert shown.manifest["inputs"]["trained"] == before.trained
    count = "select count(*) from \"small-log\".predictions where verdict = 'anomalous'"
    flagged = sum(shown.results[split]["num_flagged_windows"] for split in ("validation", "test"))
    assert query(growing.store, count)[1] == [(flagged,)]


@pytest.mark.slow
def test_from_scratch_all_stages_are_trained(growing: Growing) -> None:
    growing.grow()
    growing.retrain(start="scratch")
    assert len(growing.decisions) == 2
    assert len(growing.decisions[-1].stages) == 3
    assert growing.decisions[-1].previous is None


@pytest.mark.slow
def test_message_ids_are_learned_from_scratch_as_long_as_they_mean_the_same(
    growing: Growing,
) -> None:
    report = growing.train(overrides={"embedder": "message-id"})
    before = promote(growing.store, report, reason="Try ids.")
    growing.grow()
    growing.retrain()
    made = growing.decisions[-1]
    assert made.run != before.run
    assert len(made.stages) == 3
    assert made.previous is None
    promote(growing.store, report, reason="Again.")
    # With another first line every message has another number.
    growing.log.write_text(f"- {EPOCH} gamma gamma\n" + growing.log.read_text())
    with pytest.raises(LogLLMError, match=r"numbered otherwise than when its champion .* promote"):
        growing.retrain()


@pytest.mark.slow
def test_a_later_training_does_not_replace_the_champion_unasked(growing: Growing) -> None:
    first = growing.champion
    other = growing.train(seed=1)
    assert growing.champion == first
    promote(growing.store, other, reason="It is newer.")
    assert growing.champion.run == other.fingerprint
    (report,) = (run for run in growing.store.all("runs", "small-log") if run != other)
    promote(growing.store, report, reason="The other one slept.")
    assert growing.champion.run == first.run
    assert growing.champion.reason == "The other one slept."


@pytest.mark.slow
def test_a_retraining_that_was_cut_off_goes_on_without_training_again(
    growing: Growing, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = champion_path(growing.store, "small-log").read_bytes()
    growing.grow()

    def cut_off(*_: object, **__: object) -> None:
        raise LogLLMError("cut off")

    monkeypatch.setattr("flows.retrain.decide", cut_off)
    with pytest.raises(LogLLMError, match="cut off"):
        growing.retrain()
    monkeypatch.undo()
    assert champion_path(growing.store, "small-log").read_bytes() == before
    trained = growing.models()
    assert len(trained) == 4
    monkeypatch.setattr(stage, "train_in_team", cut_off)
    assert growing.retrain().run
    assert growing.models() == trained
    assert growing.decisions[-1].trained in trained


@pytest.mark.slow
def test_older_models_are_removed_and_a_removed_one_cannot_be_promoted(growing: Growing) -> None:
    (first,) = growing.store.all("runs", "small-log")
    growing.grow()
    growing.retrain(keep_models=1)
    made = growing.champion
    assert made.run != first.fingerprint
    assert growing.models() == set(made.stages)
    with pytest.raises(LogLLMError, match=r"is gone from .*, or damaged"):
        promote(growing.store, first, reason="Back.")
    assert growing.champion == made


@pytest.mark.slow
def test_decision_and_drift_are_published(growing: Growing, without_prefect: Published) -> None:
    growing.grow()
    growing.retrain()
    published = [name for name, _ in without_prefect]
    assert published == ["publish_drift", "publish_report", "publish_decision"]


def test_a_masking_of_its_own_is_refused() -> None:
    with pytest.raises(LogLLMError, match="masking must stay as the champion has it"):
        RetrainSettings.parse({"overrides": {"masking": "none"}}, origin="The command line")


@pytest.mark.slow
def test_the_command_line_lists_promotes_and_retrains(
    growing: Growing, logllm: Run, tmp_path: Path
) -> None:
    where = ("--data-dir", growing.data_dir)
    assert "There is no champion in" in logllm("models", "--data-dir", tmp_path)[1]
    check_error(logllm("models", "else", *where), 'There is no model of "else"')
    first, other = growing.champion, growing.train(seed=1)
    status, output, _ = logllm("models", "promote", other.fingerprint[:10], *where)
    assert status == 0
    assert f"run {other.fingerprint} is the champion now instead of {first.run}" in output
    _, output, _ = logllm("models", "small-log", *where, "--json")
    listed = json.loads(output)
    assert [one["run"] for one in listed] == [other.fingerprint, first.run]
    assert [one["is_champion"] for one in listed] == [True, False]
    assert listed[0]["f1"] == other.results["figures"]["at_decision"]["f1"]
    assert json.loads(logllm("models", *where, "--json")[1]) == listed
    shutil.rmtree(growing.data_dir / "models" / "small-log" / first.trained)
    _, output, _ = logllm("models", *where)
    assert "champion" in output
    assert "promoted, removed" in output
    check_error(logllm("models", "promote", first.run, *where), f"The model {first.trained}")
    status, output, _ = logllm("retrain", "small-log", *where)
    assert status == 0
    assert "There is nothing new in small-log" in output
    check_error(logllm("retrain", "small-log", *where, "--start", "else"), "start")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_of_two_retrainings_at_once_one_builds_and_the_other_finds_its_work_done(
    growing: Growing,
) -> None:
    growing.grow()
    command = [*PLAIN_LOGLLM, "retrain", "small-log", "--json"]
    command += ["--data-dir", str(growing.data_dir)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outcomes = [json.loads(process.communicate(timeout=300)[0]) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert [outcome["run"] is None for outcome in outcomes].count(True) == 1
    assert len(growing.decisions) == 2
    assert growing.decisions[-1].run in {outcome["run"] for outcome in outcomes}


@pytest.mark.slow
def test_a_candidate_that_learned_too_little_is_not_promoted_and_the_reason_says_why(
    growing: Growing,
) -> None:
    before = growing.champion
    assert before.reason == "It is the first model of this data set."
    growing.grow()
    # Two steps from scratch: not even the answers' words are learned.
    outcome = growing.retrain(start="scratch", overrides=TOO_FEW)
    assert not outcome.is_promoted
    assert "candidate learned too little: its loss ended at " in outcome.reason
    assert growing.champion == before
    assert growing.decisions[-1].reason == outcome.reason


@pytest.mark.slow
def test_a_first_model_that_learned_too_little_is_champion_and_the_reason_says_so(
    tmp_path: Path, tiny_backbones: str
) -> None:
    write_dataset(tmp_path)
    growing = Growing(tmp_path, tiny_backbones)
    growing.grow(FIRST)
    growing.train(overrides=TOO_FEW)
    reason = growing.champion.reason
    assert reason.startswith("It is the first model of this data set, but learned too little: ")

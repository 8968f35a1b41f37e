"""`logllm runs`, `logllm compare` and the figures at a training's end, as a user meets them."""

import json
from pathlib import Path
from typing import Any

import pytest

from logllm_core.store.store import Artifact, Store
from tests.flows.conftest import Run, check_error
from tests.rewriting import rewrite

HOSTILE = "[red]x[/nonsense] \x1b[2J"
SHOWN = "[red]x[/nonsense] \N{REPLACEMENT CHARACTER}[2J"


@pytest.fixture
def run(prefect_server: None, monkeypatch: pytest.MonkeyPatch, logllm: Run) -> Run:
    monkeypatch.setenv("COLUMNS", "100")
    return logllm


@pytest.fixture
def train(run: Run, data_dir: Path, tiny_backbones: str) -> Run:
    def call(*options: object) -> tuple[int, str, str]:
        recipe = data_dir / "tiny.toml"
        where = ("--data-dir", data_dir, "--recipe", recipe, "--backbones", tiny_backbones)
        return run("train", "small-log", *where, *options)

    return call


def change_report(artifact: Artifact, changes: dict[str, Any]) -> None:
    """Change what a run's report and its manifest tell of it."""
    path = artifact.path / "report.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    config = {key: value for key, value in changes.items() if key == "backbones"}
    rewrite(artifact.path, {"config": artifact.manifest["config"] | config})


def test_the_figures_of_a_training_fit_100_columns(train: Run) -> None:
    status, output, log = train("--seeds", 2)
    assert status == 0
    table, _, rest = output.partition("Mean over the seeds 0, 1: F1 ")
    assert all(len(line) <= 100 for line in table.splitlines())
    assert "…" not in table
    rows = [line for line in table.splitlines() if line.startswith("LogLLM")]
    assert len(rows) == 1
    assert all(name in table for name in ("precision", "recall", "F1", "PR-AUC"))
    assert "LogLLM reaches" in rest
    assert rest.index("LogLLM reaches") < rest.index("Report: ")
    assert "small-log: seed 1 (2 of 2)" in log


def test_runs_are_listed_and_compared(train: Run, run: Run, data_dir: Path) -> None:
    where = ("--data-dir", data_dir)
    assert "There is no run in" in run("runs", *where)[1]
    assert json.loads(run("runs", *where, "--json")[1]) == []
    train()
    train("--set", "stages.3.num_samples=8", "--seed", 4)
    status, output, _ = run("runs", *where, "--json")
    assert status == 0
    runs = {listed["seeds"][0]: listed for listed in json.loads(output)}
    assert runs.keys() == {0, 4}
    assert runs[4]["overrides"] == {"stages.3.num_samples": 8, "seed": 4}
    status, table, _ = run("runs", "small-log", *where)
    assert status == 0
    assert all(listed["run"][:8] in table for listed in runs.values())

    given = (runs[0]["run"][:10], Path(runs[4]["path"]) / "report.html", *where)
    status, output, _ = run("compare", *given)
    assert status == 0
    assert "stages.3.num_samples" in output
    assert all(len(line) <= 100 for line in output.splitlines()[:-1])  # but for the sentence
    for name in ("F1", "PR-AUC", "ROC-AUC", "hit@1", "ECE", "training, minutes", "memory, GB"):
        assert name in output
    assert "Both runs judged the same test windows." in output
    _, output, _ = run("compare", *given, "--json")
    found = json.loads(output)
    assert found["has_same_test_windows"]
    names = [setting["name"] for setting in found["settings"]]
    assert names == ["seeds", "stages.3.num_samples", "overrides"]
    (pr_auc,) = (figure for figure in found["figures"] if figure["name"] == "PR-AUC")
    assert pr_auc["difference"] == pr_auc["other"] - pr_auc["one"]
    low, high = pr_auc["difference_interval"]
    assert low <= high


def test_a_run_that_is_not_there_is_one_error(train: Run, run: Run, data_dir: Path) -> None:
    where = ("--data-dir", data_dir)
    check_error(run("compare", "abcd", "abcd", *where), 'There is no run "abcd"', "no run in")
    check_error(run("runs", "small-log", *where), 'There is no run of "small-log"')
    train()
    (listed,) = json.loads(run("runs", *where, "--json")[1])
    check_error(run("compare", listed["run"], "no", *where), f"{listed['run']} (small-log)")
    check_error(run("runs", "typo", *where), 'There is no run of "typo"', "small-log")
    store = Store(data_dir=data_dir)
    (artifact,) = store.all("runs", "small-log")
    change_report(artifact, {"detectors": {"LogLLM": {"f1": 0.5}}})
    result = run("compare", listed["run"], listed["run"], *where)
    check_error(result, "was written by an earlier version", "logllm evaluate small-log")


def test_names_from_files_are_shown_as_they_are(train: Run, run: Run, data_dir: Path) -> None:
    train()
    train("--seed", 1)
    first, second = Store(data_dir=data_dir).all("runs", "small-log")
    change_report(first, {"backbones": HOSTILE, "versions": {HOSTILE: HOSTILE}})
    folder = first.path.parent.with_name("[b]\x1b[2J")
    first.path.parent.rename(folder)
    given = (folder / first.fingerprint, folder / second.fingerprint)
    for arguments in (("runs", "--data-dir", data_dir), ("compare", *given)):
        status, output, _ = run(*arguments)
        assert status == 0
        assert "[b]\N{REPLACEMENT CHARACTER}[2J" in output
        assert "\x1b" not in output
    assert SHOWN in output
    check_error(run("compare", "abcd", "abcd", "--data-dir", data_dir), "[b]")

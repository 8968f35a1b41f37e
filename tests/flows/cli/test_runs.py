"""`logllm runs`, `logllm compare` and the figures at a training's end, as a user meets them."""

import json
from pathlib import Path
from typing import Any

import pytest

from logllm_core.store.store import Artifact, Store
from tests.flows.conftest import CHANGES, Run, check_error
from tests.rewriting import rewrite

HOSTILE = "[red]x[/nonsense] \x1b[2J"
SHOWN = "[red]x[/nonsense] \N{REPLACEMENT CHARACTER}[2J"


@pytest.fixture
def run(without_prefect: None, monkeypatch: pytest.MonkeyPatch, logllm: Run) -> Run:
    monkeypatch.setenv("COLUMNS", "100")
    return logllm


def change_report(artifact: Artifact, changes: dict[str, Any]) -> None:
    """Change what a run's report and its manifest tell of it."""
    path = artifact.path / "report.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    config = {key: value for key, value in changes.items() if key == "backbones"}
    rewrite(artifact.path, {"config": artifact.manifest["config"] | config})


def test_the_figures_of_a_training_fit_100_columns(
    run: Run, several_dir: Path, tiny_backbones: str
) -> None:
    recipe = several_dir / "tiny.toml"
    where = ("--data-dir", several_dir, "--recipe", recipe, "--backbones", tiny_backbones)
    status, output, log = run("train", "small-log", *where, "--seeds", 2)
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


def test_where_there_is_no_run_that_is_said(run: Run, data_dir: Path) -> None:
    where = ("--data-dir", data_dir)
    assert "There is no run in" in run("runs", *where)[1]
    assert json.loads(run("runs", *where, "--json")[1]) == []
    check_error(run("compare", "abcd", "abcd", *where), 'There is no run "abcd"', "no run in")
    check_error(run("runs", "small-log", *where), 'There is no run of "small-log"')


def listed(run: Run, folder: Path) -> dict[str, dict[str, Any]]:
    """The three runs, as `logllm runs` lists them, by what is particular to each."""
    status, output, _ = run("runs", "--data-dir", folder, "--json")
    assert status == 0
    runs = json.loads(output)
    assert len(runs) == 3
    (both,) = (each for each in runs if len(each["seeds"]) == 2)
    (changed,) = (each for each in runs if each["overrides"])
    (first,) = (each for each in runs if each not in (both, changed))
    return {"first": first, "both": both, "changed": changed}


def test_runs_are_listed(run: Run, several_dir: Path) -> None:
    runs = listed(run, several_dir)
    assert runs["both"]["seeds"] == [0, 1]
    assert runs["changed"]["overrides"] == CHANGES
    status, table, _ = run("runs", "small-log", "--data-dir", several_dir)
    assert status == 0
    assert all(each["run"][:8] in table for each in runs.values())


def test_runs_are_compared(run: Run, several_dir: Path) -> None:
    runs = listed(run, several_dir)
    changed = Path(runs["changed"]["path"]) / "report.html"
    given = (runs["first"]["run"][:10], changed, "--data-dir", several_dir)
    status, output, _ = run("compare", *given)
    assert status == 0
    assert "stages.3.num_epochs" in output
    assert all(len(line) <= 100 for line in output.splitlines()[:-1])  # but for the sentence
    for name in ("F1", "PR-AUC", "ROC-AUC", "hit@1", "ECE", "training, minutes", "memory, GB"):
        assert name in output
    assert "Both runs judged the same test windows." in output
    _, output, _ = run("compare", *given, "--json")
    comparison = json.loads(output)
    assert comparison["has_same_test_windows"]
    names = [setting["name"] for setting in comparison["settings"]]
    assert set(names) == {*CHANGES, "overrides"}
    (pr_auc,) = (figure for figure in comparison["figures"] if figure["name"] == "PR-AUC")
    assert pr_auc["difference"] == pr_auc["other"] - pr_auc["one"]
    low, high = pr_auc["difference_interval"]
    assert low <= high


def test_a_run_that_is_not_there_is_one_error(run: Run, trained_dir: Path) -> None:
    where = ("--data-dir", trained_dir)
    (artifact,) = Store(data_dir=trained_dir).all("runs", "small-log")
    fingerprint = artifact.fingerprint
    check_error(run("compare", fingerprint, "no", *where), f"{fingerprint} (small-log)")
    check_error(run("runs", "typo", *where), 'There is no run of "typo"', "small-log")
    change_report(artifact, {"detectors": {"LogLLM": {"f1": 0.5}}})
    result = run("compare", fingerprint, fingerprint, *where)
    check_error(result, "was written by an earlier version", "logllm evaluate small-log")


def test_names_from_files_are_shown_as_they_are(run: Run, several_dir: Path) -> None:
    first, second, _ = Store(data_dir=several_dir).all("runs", "small-log")
    change_report(first, {"backbones": HOSTILE, "versions": {HOSTILE: HOSTILE}})
    folder = first.path.parent.with_name("[b]\x1b[2J")
    first.path.parent.rename(folder)
    given = (folder / first.fingerprint, folder / second.fingerprint)
    for arguments in (("runs", "--data-dir", several_dir), ("compare", *given)):
        status, output, _ = run(*arguments)
        assert status == 0
        assert "[b]\N{REPLACEMENT CHARACTER}[2J" in output
        assert "\x1b" not in output
    assert SHOWN in output
    check_error(run("compare", "abcd", "abcd", "--data-dir", several_dir), "[b]")

"""The flow `compare-detectors` and its command: LogLLM and all methods on the same windows."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from flows.compare import compare_detectors
from flows.settings import CompareSettings
from logllm_core.paper.detectors.all_methods import METHODS
from logllm_core.paper.experiments.comparison import comparison_rows, read_comparison
from logllm_core.paper.experiments.contenders import NOT_ASKED
from logllm_core.query.views import query
from tests.flows.conftest import PLAIN_LOGLLM, Published, Run, check_error
from tests.flows.served import ended_after

pytestmark = pytest.mark.usefixtures("without_prefect")

# Each method learns for one epoch, of few samples: the flow is what is tried here.
SHORT = {
    f"{name}.{setting}": value
    for name, method in METHODS.items()
    for setting, value in (("num_epochs", 1), ("max_samples", 40), ("batch_size", 20))
    if setting in type(method.settings).model_fields
}


@pytest.fixture
def settings(data_dir: Path, tiny_backbones: str) -> CompareSettings:
    return CompareSettings(
        data_dir=data_dir,
        recipe=str(data_dir / "tiny.toml"),
        backbones=tiny_backbones,
        overrides=SHORT,
    )


def only(settings: CompareSettings, *names: str, **more: Any) -> CompareSettings:
    return settings.model_copy(update={"only": names, **more})


def manifests(settings: CompareSettings, kind: str = "*") -> dict[Path, bytes]:
    return {
        path: path.read_bytes() for path in settings.data_dir.glob(f"{kind}/*/[!.]*/manifest.json")
    }


def alarms(settings: CompareSettings) -> list[tuple[object, ...]]:
    statement = 'select detector, split, count(*) from "small-log".scores group by all order by all'
    return query(settings.store, statement)[1]


@pytest.mark.slow
def test_the_chosen_ones_are_compared_and_the_others_are_rows_that_say_so(
    settings: CompareSettings, without_prefect: Published
) -> None:
    comparison = compare_detectors("small-log", only(settings, "cnn", "deeplog"))
    content = read_comparison(comparison)
    notes = {row["detector"]: row["note"] for row in comparison_rows(content)}
    assert [title for title, note in notes.items() if note == NOT_ASKED] == [
        *("LogAnomaly", "PLELog", "FastLogAD", "LogBERT", "LogRobust", "NeuralLog", "RAPID"),
        "LogLLM",
    ]
    assert {"CNN", "DeepLog", "decision tree on message counts"} < content.detectors.keys()
    found = {method.name: method for method in content.contenders}
    assert found["cnn"].changes == {"num_epochs": 1, "max_samples": 40, "batch_size": 20}
    assert not manifests(settings, "models")
    num_windows = content.data_card.splits["test"].num_windows
    assert ("cnn", "test", num_windows) in alarms(settings)
    assert (
        "Detectors <span>on</span> small-log" in (comparison.path / "comparison.html").read_text()
    )
    assert without_prefect == [("publish_comparison", comparison)]


def test_what_was_trained_before_is_not_trained_again(
    settings: CompareSettings, trained_dir: Path
) -> None:
    before = manifests(settings)
    compare_detectors("small-log", only(settings, "logllm"))
    new = manifests(settings).keys() - before.keys()
    assert [path.parts[-4] for path in new] == ["experiments"]
    compare_detectors("small-log", only(settings, "logllm"))
    assert manifests(settings).keys() - before.keys() == new


def test_a_method_that_cannot_be_run_is_a_row_and_the_others_go_on(
    settings: CompareSettings,
) -> None:
    """No line before the split is an alert, so there is nothing to learn from labels."""
    folder = settings.data_dir / "datasets"
    labels = ["-"] * 120 + ["-", "-", "-", "-", "KERN"] * 16
    lines = (
        f"{label} {1_117_838_570 + number} 2005.06.03 node t node RAS KERNEL INFO step {number % 3}"
        for number, label in enumerate(labels)
    )
    (folder / "calm.log").write_text("\n".join(lines))
    text = (folder / "small-log.toml").read_text()
    simulated = 'kind = "simulator"\nnum_lines = 2_000\nseed = 1\n'
    (folder / "calm.toml").write_text(text.replace(simulated, 'kind = "file"\npath = "calm.log"\n'))

    content = read_comparison(compare_detectors("calm", only(settings, "deeplog", "cnn", "logllm")))
    found = {method.name: method for method in content.contenders}
    for name in ("cnn", "logllm"):
        assert "holds no anomalous ones" in (found[name].not_run or "")
        assert found[name].cost is None
    assert found["deeplog"].not_run is None
    assert "DeepLog" in content.detectors
    assert content.not_applicable["decision tree on message counts"]
    assert content.verdict.startswith("LogLLM was not run. Of the other methods of the paper")


@pytest.mark.slow
def test_several_seeds_have_a_spread(settings: CompareSettings) -> None:
    chosen = only(settings, "cnn", seed=5, num_seeds=2)
    content = read_comparison(compare_detectors("small-log", chosen))
    assert content.seeds == (5, 6)
    cnn = next(method for method in content.contenders if method.name == "cnn")
    assert cnn.seeds
    assert cnn.seeds.seeds == (5, 6)
    newest = settings.store.newest("detectors", "small-log")
    assert newest is not None
    assert newest.manifest["config"]["seed"] == 5  # whose scores the view shows


def test_mistakes_are_told_before_any_work(logllm: Run, data_dir: Path) -> None:
    arguments = ("compare-detectors", "small-log", "--data-dir", data_dir)
    check_error(logllm(*arguments, "--only", "svm"), "There is no method svm", "deeplog, ")
    check_error(logllm(*arguments, "--set", "cnn.x=1"), "CNN has no setting x")
    check_error(logllm(*arguments, "--backbones", "typo"), '"typo"')
    own = data_dir / "datasets" / "unlabelled.toml"
    labelled = (data_dir / "datasets" / "small-log.toml").read_text()
    own.write_text(labelled.replace('[labels]\nkind = "field"\n', ""))
    found = logllm("compare-detectors", "unlabelled", "--data-dir", data_dir)
    check_error(found, "can be scored by a model, not trained on")
    assert not (data_dir / "raw").exists()


@pytest.mark.slow
def test_the_command_prints_the_table_or_json(
    logllm: Run, data_dir: Path, tiny_backbones: str
) -> None:
    options = ["--data-dir", data_dir, "--recipe", data_dir / "tiny.toml", "--only", "cnn"]
    options += ["--backbones", tiny_backbones, "--set", "cnn.num_epochs=1"]
    status, output, _ = logllm("compare-detectors", "small-log", *options)
    assert status == 0
    for word in ("CNN", "not run", "decision tree", "LogLLM was not run.", "Comparison: "):
        assert word in output
    assert NOT_ASKED not in output  # nine times
    status, output, _ = logllm("compare-detectors", "small-log", *options, "--json")
    found = json.loads(output)
    assert status == 0
    assert Path(found["page"]).is_file()
    assert [row["detector"] for row in found["detectors"]][6] == "CNN"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_all_ten_in_full(settings: CompareSettings) -> None:
    comparison = compare_detectors("small-log", settings)
    content = read_comparison(comparison)
    assert [method.not_run for method in content.contenders] == [None] * 10
    assert all(method.cost and method.cost.fit_seconds >= 0 for method in content.contenders)
    assert len(content.differences) == len(content.detectors) - 1
    assert len(alarms(settings)) == 2 * 9  # the validation and the test split of each
    before = manifests(settings)
    assert compare_detectors("small-log", settings) == comparison
    assert manifests(settings) == before


def is_third_under_way(settings: CompareSettings) -> bool:
    """Whether two methods are finished, and another one has a checkpoint."""
    finished = {path.parent.name for path in manifests(settings, "detectors")}
    steps = settings.data_dir.glob("detectors/*/.*.checkpoints/*/step-*")
    begun = {path.parts[-3].split(".")[1] for path in steps}
    return len(finished) == 2 and bool(begun - finished)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_in_the_middle_and_run_again_it_goes_on_from_there(
    settings: CompareSettings, tmp_path: Path
) -> None:
    """As `kill -9` ends it while the third of three methods is being trained."""
    chosen = ("cnn", "logrobust", "neurallog")
    changes = {name: value for name, value in SHORT.items() if name.startswith(chosen)}
    changes["neurallog.num_epochs"] = 100  # of two steps
    options = ["--data-dir", str(settings.data_dir), "--recipe", settings.recipe]
    options += ["--backbones", settings.backbones, "--checkpoint-minutes", "0"]
    options += [word for name in chosen for word in ("--only", name)]
    options += [word for name, value in changes.items() for word in ("--set", f"{name}={value}")]
    folder = settings.data_dir / "detectors" / "small-log"
    with (
        (tmp_path / "seen").open("w+") as seen,
        ended_after(
            subprocess.Popen(
                [*PLAIN_LOGLLM, "compare-detectors", "small-log", *options],
                stderr=seen,
                start_new_session=True,
            )
        ) as running,
    ):
        while not is_third_under_way(settings):
            assert running.poll() is None, (tmp_path / "seen").read_text()
            time.sleep(0.05)
        os.killpg(running.pid, signal.SIGKILL)
    finished = manifests(settings, "detectors")
    assert len(finished) == 2
    assert not manifests(settings, "experiments")

    compare_detectors("small-log", only(settings, *chosen, overrides=changes))
    assert finished.items() <= manifests(settings, "detectors").items()
    (third,) = [
        found
        for found in settings.store.all("detectors", "small-log")
        if found.manifest["config"]["method"] == "neurallog"
    ]
    assert (third.results["num_steps"], third.results["num_resumes"]) == (200, 1)
    assert not list(folder.glob(".*.checkpoints"))

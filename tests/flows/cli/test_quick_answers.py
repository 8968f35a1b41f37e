"""Help, and what a person has to correct, come before what takes seconds to import."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows.settings import RunSettings
from logllm_core.pipeline import Pipeline
from tests.flows.conftest import write_small_log

pytestmark = pytest.mark.slow

SLOW = ("torch", "transformers", "prefect", "bitsandbytes", "peft", "sklearn", "matplotlib")
# Runs commands one after the other, then tells how each ended, and what of this was imported.
PROGRAM = f"""
import json, os, sys
from flows.cli.main import main
ended = []
for arguments in json.loads(os.environ["ASKED"]):
    sys.argv = ["logllm", *arguments]
    try:
        main()
    except SystemExit as end:
        ended.append(end.code or 0)
print("ENDED", json.dumps([ended, [name for name in {SLOW!r} if name in sys.modules]]))
"""
COMMANDS = (
    *("prepare", "train", "evaluate", "retrain", "compare-detectors", "ablate", "detect"),
    *("verify", "runs", "compare", "simulate", "query", "datasets", "models"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a labelled log, and the same log as `bare`, unlabelled."""
    folder = tmp_path_factory.mktemp("quick") / "data"
    write_small_log(folder)
    labelled = (folder / "datasets" / "small-log.toml").read_text()
    bare = labelled.replace('[labels]\nkind = "field"\n', "")
    (folder / "datasets" / "bare.toml").write_text(bare)
    return folder


def asked(*commands: tuple[str, ...]) -> tuple[list[int], list[str], str]:
    """The exit statuses, what slow things were imported, and what was said on standard error."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | {"ASKED": json.dumps(commands), "HOME": "/proc/none"},
        capture_output=True,
        text=True,
        check=True,
    )
    statuses, imported = json.loads(done.stdout.rpartition("ENDED")[2])
    return statuses, imported, done.stderr


def test_help_imports_nothing_slow() -> None:
    """Nor does it need a home, which Prefect makes when it is imported."""
    questions = [("--help",), *((command, "--help") for command in COMMANDS)]
    assert asked(*questions) == ([0] * len(questions), [], "")


REFUSED = {
    ("train", "bare"): "can be scored by a model, not trained on",
    ("evaluate", "bare"): "can be scored by a model, not trained on",
    ("compare-detectors", "bare"): "can be scored by a model, not trained on",
    ("ablate", "bare"): "can be scored by a model, not trained on",
    ("prepare", "typo"): 'There is no data set "typo"',
    ("train", "typo"): 'There is no data set "typo"',
    ("retrain", "typo"): 'There is no data set "typo"',
    ("detect", "x.log", "--model", "typo"): 'There is no data set "typo"',
    ("detect", "gone.log", "--model", "small-log"): "There is no file gone.log",
    ("train", "small-log", "--keep", "worst"): "keep: ",
    ("train", "small-log", "--recipe", "typo"): 'no recipe "typo"',
    ("train", "small-log", "--backbones", "typo"): '"typo"',
    ("train", "small-log", "--set", "beta=2"): "beta: ",
    ("train", "small-log", "--keep", "best", "--seeds", "2", "--recipe", "paper"): "--keep first",
}


def test_a_refusal_imports_nothing_slow(folder: Path) -> None:
    where = ("--data-dir", str(folder))
    statuses, imported, said = asked(*((*words, *where) for words in REFUSED))
    assert statuses == [1] * len(REFUSED)
    assert imported == []
    faults = said.split("error: ")[1:]
    for fault, words in zip(faults, REFUSED.values(), strict=True):
        assert words in fault
    assert not (folder / "raw").exists()
    assert not (folder / ".prefect-runs").exists()


def test_a_log_that_is_prepared_is_found_without_prefect(folder: Path) -> None:
    settings = RunSettings(data_dir=folder)
    dataset, recipe = settings.find_dataset("small-log"), settings.find_recipe()
    Pipeline(store=settings.store).prepare(dataset, recipe)
    statuses, imported, said = asked(("prepare", "small-log", "--data-dir", str(folder)))
    assert (statuses, imported) == ([0], [])
    assert "small-log: all of it is there already" in said

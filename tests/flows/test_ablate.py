"""The flow `ablate-logllm` and its command, with two-layer models."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from flows.ablate import ablate_logllm
from flows.settings import AblateSettings
from logllm_core.errors import LogLLMError
from logllm_core.paper.experiments.ablation import Ablation, ablation_rows, read_ablation
from logllm_core.paper.experiments.ablation_table import GROUPS, NOT_ASKED
from logllm_core.paper.experiments.run_variant import Job, run_variant
from logllm_core.query.views import query
from logllm_core.store.runs import list_runs
from logllm_core.store.store import Artifact, Store
from tests.flows.conftest import DATASET, PLAIN_LOGLLM, Published, Run, check_error
from tests.flows.served import ended_after, wait_until

pytestmark = pytest.mark.usefixtures("without_prefect")


@pytest.fixture
def settings(data_dir: Path, tiny_backbones: str) -> AblateSettings:
    return AblateSettings(
        data_dir=data_dir, recipe=str(data_dir / "tiny.toml"), backbones=tiny_backbones
    )


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variants are run one after the other: each process of its own would import torch first.

    Side by side they run in tests/paper/experiments/test_ablation_processes.py, and below.
    """

    def run_all(store: Store, jobs: Sequence[Job]) -> list[Artifact | str]:
        # The recipe itself, which comes first, once more: the views show what was asked for last.
        return [outcome_of(store, job) for job in [*jobs, jobs[0]]][: len(jobs)]

    def outcome_of(store: Store, job: Job) -> Artifact | str:
        try:
            return run_variant(store, job)
        except LogLLMError as fault:
            return str(fault)

    monkeypatch.setattr("flows.ablate.run_all", run_all)


def manifests(settings: AblateSettings, kind: str = "*") -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in settings.data_dir.glob(f"{kind}/*/*/manifest.json")}


def num_models(settings: AblateSettings) -> int:
    return len(manifests(settings, "models"))


def reasons(content: Ablation) -> dict[str, str | None]:
    """By variant, why it was not run."""
    return {row.name: row.why_not for group in content.groups for row in group.rows}


def test_what_is_wrong_with_the_settings_is_told_before_any_work(settings: AblateSettings) -> None:
    with pytest.raises(LogLLMError, match="There is no variant and no group gamma"):
        ablate_logllm("small-log", settings.model_copy(update={"only": ("gamma",)}))
    with pytest.raises(LogLLMError, match='no backbones named "tall"'):
        ablate_logllm("small-log", settings.model_copy(update={"sizes": ("tall",)}))
    unlabelled = settings.data_dir / "datasets" / "bare.toml"
    unlabelled.write_text(DATASET.replace('[labels]\nkind = "field"\n', ""))
    with pytest.raises(LogLLMError, match="bare"):
        ablate_logllm("bare", settings)
    assert not manifests(settings)


def test_the_command_reads_names_sizes_and_seeds(
    logllm: Run, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[AblateSettings] = []

    def note(name: str, settings: AblateSettings) -> None:
        given.append(settings)
        raise LogLLMError(f"{name} it is.")

    monkeypatch.setattr("flows.ablate.ablate_logllm", note)
    options = ["--only", "beta", "--only", "raw", "--size", "llama3.2-1b", "--set", "beta=0.2"]
    check_error(logllm("ablate", "bgl", "--data-dir", data_dir, *options), "bgl it is.")
    assert given == [
        AblateSettings(
            data_dir=data_dir,
            only=("beta", "raw"),
            sizes=("llama3.2-1b",),
            num_seeds=3,
            overrides={"beta": 0.2},
        )
    ]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("in_this_process")
def test_variants_share_what_they_have_in_common_and_the_rest_says_why(
    settings: AblateSettings, logllm: Run
) -> None:
    missing = f"{settings.data_dir / 'no-encoder'},{settings.data_dir / 'no-decoder'}"
    some = settings.model_copy(update={"only": ("without-3", f"embedder:{missing}")})
    some = some.model_copy(update={"sizes": (missing,), "num_seeds": 1})
    content = read_ablation(ablate_logllm("small-log", some))
    assert num_models(settings) == 3  # the recipe's, two of which are the variant's
    why_not = reasons(content)
    assert why_not["without-3"] is None
    assert "no-encoder" in (why_not[f"embedder:{missing}"] or "")
    assert why_not["beta-0.5"] == NOT_ASKED
    assert why_not["beta-0.3"] is None  # that is the recipe itself
    runs = {run.run: run for run in list_runs(settings.store, "small-log")}
    assert len(runs) == 2
    shown_runs = {row.name: row.run or "" for group in content.groups for row in group.rows}
    assert runs[shown_runs["without-3"]].overrides == {"stages.3.num_epochs": 0}
    assert runs[shown_runs["all-stages"]].overrides == {}
    # The views show the recipe itself, and the command says the same without any work.
    own = shown_runs["all-stages"]
    (recipe,) = [r for r in settings.store.all("runs", "small-log") if r.fingerprint == own]
    (shown,) = query(settings.store, 'select fsum(probability) from "small-log".predictions')[1]
    folder = settings.data_dir / "predictions" / "small-log"
    folder /= recipe.manifest["inputs"]["predictions"]
    wanted = f"select fsum(probability) from read_parquet('{folder}/split=*/*.parquet')"
    # Added in any order.
    assert shown == pytest.approx(query(settings.store, wanted)[1][0])
    before = manifests(settings)
    options = ["--data-dir", settings.data_dir, "--recipe", settings.recipe, "--seeds", 1]
    options += ["--backbones", settings.backbones, "--size", missing, "--only", "without-3"]
    status, told, _ = logllm(
        "ablate", "small-log", *options, "--only", f"embedder:{missing}", "--json"
    )
    assert status == 0
    assert json.loads(told)["variants"] == ablation_rows(content)
    assert manifests(settings) == before


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@pytest.mark.usefixtures("in_this_process")
def test_every_variant_is_run_in_full(settings: AblateSettings, without_prefect: Published) -> None:
    built = ablate_logllm("small-log", settings)
    content = read_ablation(built)
    assert [group.name for group in content.groups] == [*GROUPS][1:]
    assert {*reasons(content).values()} == {None}
    assert content.seeds
    assert content.seeds.seeds == (0, 1, 2)
    lengths = {row.name: row for row in content.groups[-2].rows}
    assert lengths["length-200"].changes == {"max_window_messages": 200}
    num_setups = 1 + 3 + 1 + 4 + 8 + 3 + 2
    assert len(list_runs(settings.store, "small-log")) == num_setups
    page = (built.path / "ablation.html").read_text()
    assert page.count("<svg") == 1
    assert "not run" not in page
    assert without_prefect == [("publish_ablation", built)]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_in_the_middle_and_run_again_it_goes_on_from_there(
    settings: AblateSettings, tmp_path: Path
) -> None:
    """As `kill -9` ends it while a variant is in its last stage."""
    chosen: dict[str, Any] = {"only": ("without-2",), "num_seeds": 1}
    chosen |= {"overrides": {"stages.3.num_epochs": 40}, "checkpoint_minutes": 0}
    options = ["--data-dir", str(settings.data_dir), "--recipe", settings.recipe, "--seeds", "1"]
    options += ["--backbones", settings.backbones, "--checkpoint-minutes", "0"]
    options += ["--only", "without-2", "--set", "stages.3.num_epochs=40"]
    (tmp_path / "tmp").mkdir()
    models = settings.data_dir / "models" / "small-log"
    with (
        (tmp_path / "seen").open("w+") as seen,
        ended_after(
            subprocess.Popen(
                [*PLAIN_LOGLLM, "ablate", "small-log", *options],
                env=os.environ | {"TMPDIR": str(tmp_path / "tmp")},
                stderr=seen,
                start_new_session=True,
            )
        ) as running,
    ):
        while num_models(settings) < 3 or not half_trained(models):
            assert running.poll() is None, (tmp_path / "seen").read_text()
            time.sleep(0.05)
        workers = workers_below(tmp_path / "tmp")
        os.killpg(running.pid, signal.SIGKILL)
    assert len(workers) == 1
    wait_until(lambda: not workers_below(tmp_path / "tmp"), 60)
    finished = manifests(settings, "models")
    assert not manifests(settings, "experiments")

    content = read_ablation(ablate_logllm("small-log", settings.model_copy(update=chosen)))
    assert reasons(content)["without-2"] is None
    assert finished.items() <= manifests(settings, "models").items()
    resumed = [found.results["num_resumes"] for found in settings.store.all("models", "small-log")]
    assert sum(resumed) == 1
    assert not [*models.glob(".*.checkpoints")]


def half_trained(models: Path) -> list[Path]:
    """The checkpoints of stages that are not finished."""
    found = models.glob(".*.checkpoints/step-*")
    return [path for path in found if not (models / path.parts[-2].split(".")[1]).exists()]


def workers_below(folder: Path) -> list[int]:
    """The processes that were started with a file of this folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder).encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:  # ended meanwhile
            continue
    return found

"""Two processes that train a stage together, started by torchrun on this machine's CPU."""

import json
import os
import signal
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from loguru import logger
from safetensors.torch import load_file

from logllm_core.errors import LogLLMError
from logllm_core.store.store import Artifact
from logllm_core.training.stage import train_stage
from logllm_core.training.stage_plan import Execution
from tests.training import small
from tests.training.small import Case

ROOT = Path(__file__).resolve().parents[2]
TOGETHER = Execution(num_processes=2, checkpoint_minutes=0)
# Of eleven windows in batches of 5, 5 and 1, in micro-batches of 2: the first process takes two of
# three and the one that is alone, the other takes one of three and none.
RECIPE = small.recipe(
    small.stage(num_epochs=12),
    micro_batch_size=2,
    validation_fraction=0.1,
    num_validations=3,
    precision="float32",  # bfloat16 rounds more than processes may differ by
)
NUM_STEPS = 36
TEMPORARY = "t"  # the name of a socket below it must not pass 107 characters

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.xdist_group("kills")]


@pytest.fixture(autouse=True)
def _own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_own_places(tmp_path, monkeypatch)


def use_own_places(folder: Path, patch: pytest.MonkeyPatch) -> None:
    (folder / TEMPORARY).mkdir(exist_ok=True)
    patch.setattr(tempfile, "tempdir", str(folder / TEMPORARY))
    patch.chdir(ROOT)  # from where the modules of the tests are found


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, backbones_dir: Path
) -> tuple[Artifact, list[str]]:
    """A stage that two processes trained, and what the log told meanwhile."""
    folder = tmp_path_factory.mktemp("undisturbed")
    lines: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        use_own_places(folder, patch)
        sink = logger.add(lambda message: lines.append(message.record["message"]))
        case = Case(data_dir=folder, backbones_dir=backbones_dir, recipe=RECIPE)
        seldom = Execution(num_processes=2)
        found = train_stage(case.store, case.plan(), seldom)
        logger.remove(sink)
        return found, lines


@pytest.fixture
def case(tmp_path: Path, backbones_dir: Path) -> Case:
    return Case(data_dir=tmp_path, backbones_dir=backbones_dir, recipe=RECIPE)


def rows_of(found: Artifact) -> list[dict[str, float]]:
    return [json.loads(line) for line in (found.path / "metrics.jsonl").read_text().splitlines()]


def workers_of(pid: int) -> list[int]:
    """The processes that torchrun has started below a process."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int(
                (folder / "stat").read_text().rpartition(")")[2].split()[1]
            )
        except (FileNotFoundError, ProcessLookupError):
            continue
    torchruns = [child for child, parent in parents.items() if parent == pid]
    return sorted(child for child, parent in parents.items() if parent in torchruns)


def is_alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def newest_step(case: Case) -> int:
    folders = (case.data_dir / "models" / "small").glob(".*.checkpoints/step-*")
    return max((int(path.name[5:]) for path in folders), default=0)


def test_two_processes_train_what_one_trains(
    undisturbed: tuple[Artifact, list[str]], case: Case
) -> None:
    together, lines = undisturbed
    alone = train_stage(case.store, case.plan())
    assert alone.fingerprint == together.fingerprint
    ones, twos = rows_of(alone), rows_of(together)
    assert len(ones) == len(twos) == NUM_STEPS
    for name in ("loss", "rate"):
        np.testing.assert_allclose(
            [row[name] for row in twos], [row[name] for row in ones], rtol=0, atol=1e-4
        )
    # The validations, each process its share of the windows.
    curves = [[row.get("validation_pr_auc") for row in rows] for rows in (ones, twos)]
    assert curves[0] == curves[1]
    assert sum(value is not None for value in curves[0]) == 3
    weights = [load_file(found.path / "trainable.safetensors") for found in (alone, together)]
    for name in weights[0]:
        torch.testing.assert_close(weights[1][name], weights[0][name], rtol=1e-2, atol=1e-3)
    results = [small.without_time(found.results) for found in (alone, together)]
    assert (results[0].pop("num_processes"), results[1].pop("num_processes")) == (1, 2)
    for name in ("first_loss", "last_loss"):
        assert results[1].pop(name) == pytest.approx(results[0].pop(name), abs=1e-4)
    assert results[1] == results[0]
    # What the first of them logs is heard here.
    assert any(line.startswith("small stage 3: 36 steps, loss ") for line in lines)


def test_a_stage_that_was_cut_off_in_every_way_ends_as_if_undisturbed(
    undisturbed: tuple[Artifact, list[str]], case: Case
) -> None:
    kill_a_worker(case)
    first = newest_step(case)
    assert 0 < first < NUM_STEPS
    kill_all_of_it(case)
    second = newest_step(case)
    assert first < second < NUM_STEPS
    stop_it(case)
    assert second < newest_step(case) < NUM_STEPS
    lines: list[str] = []
    sink = logger.add(lambda message: lines.append(message.record["message"]))
    found = train_stage(case.store, case.plan(), TOGETHER)
    logger.remove(sink)
    assert any(line.startswith("Stage 3 goes on after step ") for line in lines)
    assert found.results["num_resumes"] == 3
    assert small.files_of([found]) == small.files_of([undisturbed[0]])
    assert case.leftovers == []
    assert list((case.data_dir / TEMPORARY).glob("logllm-*")) == []


def kill_a_worker(case: Case) -> None:
    times: list[float] = []

    def kill() -> None:
        if not times:
            times.append(time.monotonic())
            os.kill(workers_of(os.getpid())[-1], signal.SIGKILL)

    with (
        small.shown_on(small.Tripwire(3, kill)),
        pytest.raises(LogLLMError, match=r"one of them was killed by SIGKILL .*command again"),
    ):
        train_stage(case.store, case.plan(), TOGETHER)
    # torchrun gives the other, who waits for the killed one, half a minute; it takes less.
    assert time.monotonic() - times[0] < 25
    assert [name.rpartition(".")[2] for name in case.leftovers] == ["checkpoints"]


def train_there(case: Case) -> None:
    logger.remove()
    tempfile.tempdir = str(case.data_dir / TEMPORARY)
    train_stage(case.store, case.plan(), TOGETHER)


def kill_all_of_it(case: Case) -> None:
    """The process that launched the others is killed; they end with it."""
    start, end = newest_step(case), time.monotonic() + 180
    process = small.started(train_there, case)
    try:
        while newest_step(case) < start + 3:
            assert process.is_alive()
            assert time.monotonic() < end
            time.sleep(0.01)
        pids = workers_of(process.pid or 0)
    finally:
        process.kill()
        process.join()
    assert len(pids) == 2
    end = time.monotonic() + 5
    while any(map(is_alive, pids)) and time.monotonic() < end:
        time.sleep(0.02)
    assert not any(map(is_alive, pids))


def stop_it(case: Case) -> None:
    """SIGTERM, whose handler lets this process live."""
    found: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: found.append(number))
    start = newest_step(case)

    def stop() -> None:
        if newest_step(case) > start and not asked:
            asked.append(True)
            signal.raise_signal(signal.SIGTERM)

    asked: list[bool] = []
    try:
        with (
            small.shown_on(small.Tripwire(0, stop)),
            pytest.raises(LogLLMError, match="asked to stop, and did"),
        ):
            train_stage(case.store, case.plan(), TOGETHER)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert found == [signal.SIGTERM]

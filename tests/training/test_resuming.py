"""Trainings that are interrupted or killed, and gone on with: as if nothing had happened."""

import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from logllm_core.errors import LogLLMError
from logllm_core.model.weights import trainable_state
from logllm_core.store.store import Artifact
from logllm_core.training import resumable_steps, training_state
from logllm_core.training.stage_plan import Execution
from logllm_core.training.stage_run import StageRun
from tests import tiny
from tests.training import small
from tests.training.small import Case

ROOT = Path(__file__).resolve().parents[2]
SIX_STEPS = small.recipe(small.stage(num_epochs=2))
SELDOM = Execution(checkpoint_minutes=1_000)


def begun(folder: Path) -> StageRun:
    return small.stage_run(tiny.model(), SIX_STEPS, folder, execution=SELDOM)


def once(act: Callable[[], object]) -> Callable[[], object]:
    acts = [act]
    return lambda: acts.pop()() if acts else None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
# Heard at the end of the step that was under way, or of the next one; of the last one in any case.
@pytest.mark.parametrize(("after_step", "stops_after"), [(0, 1), (2, 3), (5, 6), (6, 6)])
def test_an_interrupted_stage_saves_gives_the_signal_on_and_ends_as_if_undisturbed(
    number: signal.Signals,
    after_step: int,
    stops_after: int,
    tmp_path: Path,
    delivered: list[int],
) -> None:
    run = begun(tmp_path / "one")
    tripwire = small.Tripwire(after_step, once(lambda: signal.raise_signal(number)))
    handler = signal.getsignal(number)
    with small.shown_on(tripwire), pytest.raises(LogLLMError, match="was asked to stop, and did"):
        run.run()
    assert delivered == [number]
    assert signal.getsignal(number) is handler
    assert [path.name for path in run.steps.checkpoints.folder.iterdir()] == [
        f"step-0000000{stops_after}"
    ]

    resumed, whole = begun(tmp_path / "one"), begun(tmp_path / "other")
    steps: list[int] = []
    with small.shown_on(small.Tripwire(0, lambda: steps.append(resumed.state.progress.step))):
        results = resumed.run()
    expected = whole.run()
    assert steps == list(range(stops_after, 7))
    assert (results["num_resumes"], expected["num_resumes"]) == (1, 0)
    same = small.without_time(expected) | {"num_resumes": 1}
    assert small.without_time(results) == same
    assert resumed.state.metrics == whole.state.metrics
    found, wanted = trainable_state(resumed.model), trainable_state(whole.model)
    assert [name for name in wanted if not torch.equal(found[name], wanted[name])] == []


def test_a_second_ctrl_c_does_not_wait_for_the_step(tmp_path: Path) -> None:
    run = begun(tmp_path)

    def interrupt() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with small.shown_on(small.Tripwire(2, interrupt)), pytest.raises(KeyboardInterrupt):
        run.run()
    assert run.state.progress.step == 2
    assert not run.steps.checkpoints.folder.exists()


class Clock:
    """In the place of `monotonic`; the time is set by hand."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_the_time_before_an_interruption_counts_too(
    tmp_path: Path, delivered: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(training_state, "monotonic", clock)
    run = begun(tmp_path)

    def dawdle() -> None:
        clock.seconds += 7
        signal.raise_signal(signal.SIGTERM)

    with small.shown_on(small.Tripwire(1, once(dawdle))), pytest.raises(LogLLMError):
        run.run()
    assert begun(tmp_path).run()["training_seconds"] == 7


def test_a_stage_outside_the_main_thread_leaves_signals_alone(
    tmp_path: Path, delivered: list[int]
) -> None:
    run = begun(tmp_path)
    steps: list[int] = []

    def train() -> None:
        with small.shown_on(small.Tripwire(0, lambda: steps.append(len(delivered)))):
            run.run()

    thread = threading.Thread(target=train)
    thread.start()
    signal.raise_signal(signal.SIGTERM)
    assert delivered == [signal.SIGTERM]
    thread.join()
    assert run.state.progress.step == 6
    assert len(steps) == 7


def test_checkpoints_are_as_far_apart_as_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second of six steps takes as long as a checkpoint may wait, the others no time."""
    clock = Clock()
    monkeypatch.setattr(resumable_steps, "monotonic", clock)
    execution = Execution(checkpoint_minutes=10)
    run = small.stage_run(tiny.model(), SIX_STEPS, tmp_path, execution=execution)
    seen: set[str] = set()

    def look() -> None:
        seen.update(path.name for path in run.steps.checkpoints.folder.glob("step-*"))
        if run.state.progress.step == 2:
            clock.seconds += 600

    with small.shown_on(small.Tripwire(0, look)):
        run.run()
    assert seen == {"step-00000002"}


# kill -9.


class Killer:
    """Trains a case in processes, and kills them."""

    def __init__(self, case: Case, reference: list[Artifact]) -> None:
        self.case = case
        self.models_dir = case.data_dir / "models" / "small"
        self.names = [stage.fingerprint for stage in reference]
        self.num_steps = [stage.results["num_steps"] for stage in reference]
        self.random = random.Random(7)

    def step(self, place: int) -> int:
        """After which step the newest checkpoint of a stage is."""
        folder = self.models_dir / f".{self.names[place]}.checkpoints"
        return max((int(path.name[5:]) for path in folder.glob("step-*")), default=0)

    def kill_when(self, is_time: Callable[[], bool], seconds: float) -> bool:
        """Start a training, wait for the moment and a random part of so many seconds, kill it.

        Returns whether it was still at work.
        """
        process = small.started(small.train_quietly, self.case, small.EVERY_STEP)
        end = time.monotonic() + 60
        try:
            while not is_time():
                assert process.is_alive()
                assert time.monotonic() < end
                time.sleep(0.001)
            time.sleep(self.random.random() * seconds)
        finally:
            process.kill()
            process.join()
        return bool(process.exitcode == -signal.SIGKILL)

    def has_weights(self, place: int) -> bool:
        """Written beside their place, or already in it."""
        folders = (f".{self.names[place]}.building", self.names[place])
        return any((self.models_dir / name / "trainable.safetensors").exists() for name in folders)


@pytest.fixture
def _in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # from where the modules of the tests are found


@pytest.mark.slow
@pytest.mark.xdist_group("kills")
@pytest.mark.usefixtures("_in_the_repository")
def test_fifteen_kills_change_no_bit(tmp_path: Path, backbones_dir: Path) -> None:
    stages = [small.stage(name, num_epochs=20) for name in ("1", "2", "3")]
    of = small.recipe(*stages, micro_batch_size=2)
    cases = [
        Case(data_dir=tmp_path / name, backbones_dir=backbones_dir, recipe=of)
        for name in ("undisturbed", "killed")
    ]
    reference = cases[0].train(SELDOM)
    killer = Killer(cases[1], reference)
    assert killer.num_steps == [60, 60, 60]
    cut_off: list[list[int]] = [[], [], []]  # the steps after which each stage was cut off
    for place in range(3):
        for _ in range(4):  # while it steps and writes checkpoints, one after each step
            wanted = killer.step(place) + killer.random.randint(2, 5)
            assert killer.kill_when(lambda: killer.step(place) >= wanted, seconds=0.1)  # noqa: B023
            cut_off[place].append(killer.step(place))
        # After the last step: before its weights are in their place, or just then.
        killer.kill_when(lambda: killer.has_weights(place), seconds=0.01)  # noqa: B023
    assert all(0 < step < 60 for steps in cut_off for step in steps)
    assert all(steps == sorted(set(steps)) for steps in cut_off)  # each went on from the one before
    killed = killer.case.train()
    assert [stage.fingerprint for stage in killed] == [stage.fingerprint for stage in reference]
    assert small.files_of(killed) == small.files_of(reference)
    assert all(stage.results["num_resumes"] >= 4 for stage in killed)
    assert killer.case.leftovers == []

"""The disk is full, in each step of a training and of a retraining in turn."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.retrain import retrain_logllm
from flows.settings import RetrainSettings
from flows.train import train_logllm
from logllm_core.daily.champion import decisions as champion
from logllm_core.errors import LogLLMError
from logllm_core.store.intact_files import is_whole
from tasks import step_tasks
from tests.flows.conftest import settings_of
from tests.full_disk import no_file_beyond

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("without_prefect")]

# What writes in each step, in the order of a run.
PREPARATION = ["obtain_log", "build_parts", "build_messages", "build_windows", "refresh_views"]
TRAINING = ["train_stage", "predict", "encode_vocabulary", "build_report", "promote_first"]
RETRAINING = [*PREPARATION, "train_stage", "predict", "build_report", "decide"]


def fails_in_each(names: list[str], run: Callable[[], object], data_dir: Path) -> None:
    """Each of these runs comes one step further than the one before, and leaves nothing half."""
    for name in names:
        entered: list[str] = []

        def without_room(
            step: Callable[..., Any], *given: Any, full_in: str = name, **more: Any
        ) -> Any:
            if step.__name__ != full_in:
                return step(*given, **more)
            entered.append(full_in)  # noqa: B023
            with no_file_beyond(300):
                return step(*given, **more)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(step_tasks, "run", without_room)
            with pytest.raises(LogLLMError, match=r"Cannot write to .* Free some space") as fault:
                run()
        assert entered, name
        assert "File too large" in str(fault.value), name
        for manifest in data_dir.glob("*/small-log/[!.]*/manifest.json"):
            assert is_whole(manifest.parent), (name, manifest)
        assert not list(data_dir.rglob("*.building")), name


def test_a_training_goes_on_from_the_step_in_which_the_disk_was_full(
    data_dir: Path, tiny_backbones: str, tmp_path: Path
) -> None:
    settings = settings_of(data_dir, tiny_backbones)
    fails_in_each(PREPARATION + TRAINING, lambda: train_logllm("small-log", settings), data_dir)
    report = train_logllm("small-log", settings)

    undisturbed = tmp_path / "undisturbed"
    (data_dir / "datasets").rename(undisturbed.parent / "datasets")
    undisturbed.mkdir()
    (undisturbed.parent / "datasets").rename(undisturbed / "datasets")
    expected = train_logllm("small-log", settings.model_copy(update={"data_dir": undisturbed}))
    assert report.fingerprint == expected.fingerprint
    weights = {path.relative_to(data_dir): path for path in data_dir.rglob("trainable.safetensors")}
    assert len(weights) == 3
    for name, path in weights.items():
        assert path.read_bytes() == (undisturbed / name).read_bytes()


def test_a_retraining_goes_on_and_the_champion_stays_until_it_is_decided(
    trained_dir: Path, tiny_backbones: str
) -> None:
    data_dir, settings = trained_dir, settings_of(trained_dir, tiny_backbones)
    kept = champion.champion_path(settings.store, "small-log").read_bytes()
    dataset = data_dir / "datasets" / "small-log.toml"
    dataset.write_text(dataset.read_text().replace("num_lines = 2_000", "num_lines = 3_000"))
    again = RetrainSettings(data_dir=data_dir)

    fails_in_each(RETRAINING, lambda: retrain_logllm("small-log", again), data_dir)
    assert champion.champion_path(settings.store, "small-log").read_bytes() == kept
    assert retrain_logllm("small-log", again).run
    decisions = champion.read_decisions(settings.store, "small-log").decisions
    assert len(decisions) == 2

"""The disk is full, in each step of a training and of a retraining in turn."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.retrain import retrain_logllm
from flows.settings import RetrainSettings, TrainSettings
from flows.train import train_logllm
from logllm_core.daily.champion import decisions as champion
from logllm_core.errors import LogLLMError
from logllm_core.evaluation import report
from logllm_core.logs.messages import file_messages, log_messages
from logllm_core.logs.sources import raw_log
from logllm_core.logs.windows import window_artifact
from logllm_core.query import views
from logllm_core.scoring import encoder_vectors, predictions
from logllm_core.store.intact_files import is_whole
from logllm_core.training import stage
from tests.full_disk import no_file_beyond

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("without_prefect")]

# What writes in each step, in the order of a run.
PREPARATION = [
    (raw_log, "obtain_log"),
    (file_messages, "build_part"),
    (log_messages, "build_messages"),
    (window_artifact, "build_windows"),
    (views, "refresh_views"),
]
TRAINING = [
    (stage, "train_stage"),
    (predictions, "predict"),
    (encoder_vectors, "encode_vocabulary"),
    (report, "build_report"),
    (champion, "promote_first"),
]
RETRAINING = [
    *PREPARATION,
    (stage, "train_stage"),
    (predictions, "predict"),
    (report, "build_report"),
    (champion, "decide"),
]


def fails_in_each(steps: list[tuple[Any, str]], run: Callable[[], object], data_dir: Path) -> None:
    """Each of these runs comes one step further than the one before, and leaves nothing half."""
    for module, name in steps:
        entered: list[bool] = []
        body = getattr(module, name)

        def without_room(*given: Any, body: Any = body, entered: Any = entered, **more: Any) -> Any:
            entered.append(True)
            with no_file_beyond(300):
                return body(*given, **more)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, name, without_room)
            with pytest.raises(LogLLMError, match=r"Cannot write to .* Free some space") as found:
                run()
        assert entered, name
        assert "File too large" in str(found.value), name
        for place in data_dir.glob("*/small-log/[!.]*/manifest.json"):
            assert is_whole(place.parent), (name, place)
        assert not list(data_dir.rglob("*.building")), name


def test_a_training_goes_on_from_the_step_in_which_the_disk_was_full(
    data_dir: Path, tiny_backbones: str, tmp_path: Path
) -> None:
    settings = TrainSettings(
        data_dir=data_dir, recipe=str(data_dir / "tiny.toml"), backbones=tiny_backbones
    )
    fails_in_each(PREPARATION + TRAINING, lambda: train_logllm("small-log", settings), data_dir)
    found = train_logllm("small-log", settings)

    undisturbed = tmp_path / "undisturbed"
    (data_dir / "datasets").rename(undisturbed.parent / "datasets")
    undisturbed.mkdir()
    (undisturbed.parent / "datasets").rename(undisturbed / "datasets")
    expected = train_logllm("small-log", settings.model_copy(update={"data_dir": undisturbed}))
    assert found.fingerprint == expected.fingerprint
    weights = {path.relative_to(data_dir): path for path in data_dir.rglob("trainable.safetensors")}
    assert len(weights) == 3
    for name, path in weights.items():
        assert path.read_bytes() == (undisturbed / name).read_bytes()


def test_a_retraining_goes_on_and_the_champion_stays_until_it_is_decided(
    data_dir: Path, tiny_backbones: str
) -> None:
    settings = TrainSettings(
        data_dir=data_dir, recipe=str(data_dir / "tiny.toml"), backbones=tiny_backbones
    )
    train_logllm("small-log", settings)
    kept = champion.champion_path(settings.store, "small-log").read_bytes()
    dataset = data_dir / "datasets" / "small-log.toml"
    dataset.write_text(dataset.read_text().replace("num_lines = 2_000", "num_lines = 3_000"))
    again = RetrainSettings(data_dir=data_dir)

    fails_in_each(RETRAINING, lambda: retrain_logllm("small-log", again), data_dir)
    assert champion.champion_path(settings.store, "small-log").read_bytes() == kept
    assert retrain_logllm("small-log", again).run
    decisions = champion.read_decisions(settings.store, "small-log").decisions
    assert len(decisions) == 2

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from logllm_core.errors import LogLLMError
from logllm_core.logs.windows import Windows
from logllm_core.model import Part, backbones
from logllm_core.model.logllm import LogLLM, encode_vocabulary
from logllm_core.training.recipes import Recipe, Stage
from logllm_core.training.stage import learning_rate, run_stage
from tests import tiny

TEXTS = ["alpha read ok", "beta write", "gamma disk failed", "delta"]
# A window is anomalous where message 2 occurs.
MESSAGE_IDS = [(0, 1), (1, 0, 0), (0, 2), (3, 2, 1), (1, 1), (3, 0), (2, 2), (0, 3, 3)]
WINDOWS = Windows(
    window_ids=np.arange(8) + 70,
    message_ids=MESSAGE_IDS,
    is_anomalous=np.array([2 in ids for ids in MESSAGE_IDS]),
)


def stage(name: str = "3", rate: float = 1e-2, num_epochs: int = 1) -> Stage:
    trains: dict[str, tuple[Part, ...]] = {
        "1": ("decoder",),
        "2": ("projector", "encoder"),
        "3": ("projector", "encoder", "decoder"),
    }
    return Stage(name=name, trains=trains[name], num_epochs=num_epochs, learning_rate=rate)


def recipe(one: Stage, micro_batch_size: int = 4, decay: float = 1.0) -> Recipe:
    return Recipe(
        name="test",
        stages=(one,),
        batch_size=4,
        micro_batch_size=micro_batch_size,
        learning_rate_decay=decay,
        quantization="none",
    )


def train(model: LogLLM, one: Stage, path: Path, micro_batch_size: int = 4) -> dict[str, float]:
    vocabulary = tiny.vocabulary(TEXTS)
    return run_stage(model, one, recipe(one, micro_batch_size), WINDOWS, vocabulary, path)


def test_the_model_learns_which_message_is_the_anomaly(tmp_path: Path) -> None:
    model = tiny.model()
    results = train(model, stage(rate=2e-2, num_epochs=40), tmp_path / "metrics.jsonl")
    assert results["last_loss"] < 0.1 < 1 < results["first_loss"]


@pytest.mark.parametrize("name", ["1", "2", "3"])
def test_frozen_parts_are_bit_identical_after_a_stage(name: str, tmp_path: Path) -> None:
    model = tiny.model()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    train(model, stage(name), tmp_path / "metrics.jsonl")
    changed = {k for k, value in model.state_dict().items() if not torch.equal(before[k], value)}
    trained = {n for part in stage(name).trains for n, _ in _named(model, part)}
    assert changed
    assert changed <= trained


def _named(model: LogLLM, part: Part) -> list[tuple[str, torch.nn.Parameter]]:
    return list(backbones.trainable_parameters(model, part))


def test_the_same_seed_trains_the_same_weights_bit_for_bit(tmp_path: Path) -> None:
    states = []
    for _ in range(2):
        model = tiny.model()
        train(model, stage(num_epochs=3), tmp_path / "metrics.jsonl")
        states.append(backbones.trainable_state(model))
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_micro_batches_add_up_to_the_batch(tmp_path: Path) -> None:
    losses = []
    for size in (4, 1):
        model = tiny.model()
        for module in model.modules():  # a dropout mask depends on the batch's shape
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        train(model, stage(), tmp_path / "metrics.jsonl", micro_batch_size=size)
        rows = (tmp_path / "metrics.jsonl").read_text().splitlines()
        losses.append([json.loads(row)["loss"] for row in rows])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)


def test_the_rate_falls_at_every_tenth_of_a_stage() -> None:
    one = stage(rate=1.0)
    rates = [learning_rate(one, recipe(one, decay=0.5), step, 20) for step in range(20)]
    assert rates[:4] == [1.0, 1.0, 0.5, 0.5]
    assert rates[-1] == 0.5**9


def test_each_step_is_written_down(tmp_path: Path) -> None:
    # 5 normal and 3 anomalous windows, already more than 30 %: one epoch is two batches of four.
    train(tiny.model(), stage(), tmp_path / "metrics.jsonl")
    rows = [json.loads(row) for row in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2]
    assert all(row["rate"] == 1e-2 for row in rows)


def test_a_loss_that_is_not_finite_names_step_and_windows(tmp_path: Path) -> None:
    model = tiny.model()
    with torch.no_grad():
        model.projector.weight.fill_(torch.nan)
    with pytest.raises(LogLLMError, match=r"loss of step 1 is nan \(windows \[7\d"):
        train(model, stage(), tmp_path / "metrics.jsonl")


def test_the_vocabularys_vectors_are_in_the_order_of_message_ids() -> None:
    model = tiny.model().eval()
    vocabulary = tiny.vocabulary(TEXTS)
    vectors_ME = encode_vocabulary(model, vocabulary, batch_size=3)
    for message_id in range(len(TEXTS)):
        alone = model.encode(vocabulary.tokens([message_id]))[0]
        torch.testing.assert_close(vectors_ME[message_id], alone, rtol=1e-5, atol=1e-6)

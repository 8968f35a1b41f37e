from math import cos, sin

import numpy as np
import pytest
import torch

from logllm_core.paper.building_blocks.interface import Bench, Events
from logllm_core.paper.building_blocks.message_vectors import Vectors
from logllm_core.paper.building_blocks.sinusoids import positions
from logllm_core.paper.building_blocks.window_classifier import padded
from logllm_core.paper.detectors.neurallog import (
    METHOD,
    MessageTransformer,
    NeuralLogSettings,
    fit,
    message_vectors,
)
from tests.paper.planted import plant

CPU = torch.device("cpu")
SMALL = NeuralLogSettings(num_inner=64, batch_size=16, num_epochs=20, learning_rate=2e-3)


def network(width: int = 8) -> MessageTransformer:
    torch.manual_seed(0)
    settings = NeuralLogSettings(num_inner=16, num_dense=4)
    return MessageTransformer(torch.randn(5, width), settings).eval()


@pytest.mark.parametrize(("width", "num_heads"), [(768, 12), (384, 12), (16, 8), (7, 7), (1, 1)])
def test_there_are_twelve_heads_or_the_most_that_divide_the_width(
    width: int, num_heads: int
) -> None:
    assert network(width).layer.self_attn.num_heads == num_heads


def test_positions_are_sines_and_cosines() -> None:
    wanted = [
        [0.0, 1.0, 0.0, 1.0],
        [sin(1), cos(1), sin(0.01), cos(0.01)],  # 10,000 to the power of 2/4 is 100
        [sin(2), cos(2), sin(0.02), cos(0.02)],
    ]
    torch.testing.assert_close(positions(3, 4), torch.tensor(wanted))
    assert positions(2, 3).shape == (2, 3)


def test_the_order_of_messages_counts_and_padding_does_not() -> None:
    found = network()
    alone = found(*padded([(3, 1, 2)], CPU))[0]
    with torch.no_grad():  # where torch has a faster way of its own
        scored = found(*padded([(0, 1, 2, 3, 4), (3, 1, 2), (1, 2, 3)], CPU))
    torch.testing.assert_close(scored[1], alone)
    assert not torch.allclose(scored[2], alone)


def test_messages_of_the_same_words_are_encoded_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[str] = []
    encode = bench.encoder.mean_vectors

    def noting(texts: list[str]) -> Vectors:
        encoded.extend(texts)
        return encode(texts)

    monkeypatch.setattr(bench.encoder, "mean_vectors", noting)
    texts = ["read <*> the Disk!", "<*> 12", "read 7 theDisk", "failed alpha"]
    found = message_vectors(Events(texts=texts, num_known=2), bench.encoder)
    assert encoded == ["read the disk", "", "failed alpha"]
    np.testing.assert_array_equal(found[0], found[2])
    assert not found[1].any()
    np.testing.assert_allclose(found[3], encode(["failed alpha"])[0], rtol=1e-4)


def test_checkpoints_need_not_hold_the_vectors() -> None:
    assert not dict(network().named_buffers())


@pytest.mark.slow
def test_it_learns_a_planted_pattern(bench: Bench) -> None:
    # Its one layer and the mean over the window do not learn the planted order from 240 windows.
    planted = plant(METHOD, "content")
    scorer = fit(planted.training, SMALL, bench)
    assert planted.pr_auc(scorer) > 0.9
    assert planted.f1(scorer) > 0.8


def test_new_short_and_long_windows_have_scores(bench: Bench) -> None:
    planted = plant(METHOD, "content", num_train=40)
    scorer = fit(planted.training, SMALL.model_copy(update={"num_epochs": 1}), bench)
    events = planted.training.events
    new = len(events.texts) - 1
    assert new >= events.num_known
    scores = scorer([(new,), (0,), (new,) * 5_000, (0, 1, 2, new) * 500])
    assert np.isfinite(scores).all()
    assert ((scores >= 0) & (scores <= 1)).all()

"""What a training does before its first step."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from logllm_core.model.logllm import LogLLM
from logllm_core.model.window_answers import encode_windows
from logllm_core.training import projector_start
from logllm_core.training.projector_start import discriminant, start_projector
from logllm_core.training.recipes import ProjectorInit
from tests import tiny
from tests.training import small


def started(how: ProjectorInit, train: list[tuple[int, ...]]) -> LogLLM:
    model = tiny.model()
    start_projector(model, tiny.collator(small.TEXTS, of=model), small.windows(train), how)
    return model


def leaning_of_messages(model: LogLLM) -> list[float]:
    """How much more each projected message looks like "anomalous" than like "normal"."""
    assert model.projector is not None
    vectors = encode_windows(model, tiny.collator(small.TEXTS, of=model), [(0, 1, 2, 3)])
    assert vectors is not None
    projected_MD = model.projector(vectors.vectors_ME[vectors.row_of[:4]])
    embeddings = model.decoder.model.embed_tokens.weight
    normal_D, anomalous_D = embeddings[list(model.prompt.deciding_tokens)]
    found: list[float] = (projected_MD @ (anomalous_D - normal_D)).tolist()
    return found


@pytest.mark.parametrize(
    ("most", "encoded"), [(4, [(0, 1, 2, 3)]), (3, [(0, 2)]), (2, [(0, 2)]), (1, [(0,)])]
)
def test_of_many_messages_some_align_the_projector_evenly_over_the_log(
    most: int, encoded: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projector_start, "MOST_MESSAGES", most)
    model, expected = started("aligned", small.TRAIN), tiny.model()
    vectors = encode_windows(expected, tiny.collator(small.TEXTS, of=expected), encoded)
    assert vectors is not None
    expected.align_projector(vectors.vectors_ME)
    assert model.projector is not None
    assert expected.projector is not None
    assert torch.equal(model.projector.weight, expected.projector.weight)
    assert torch.equal(model.projector.bias, expected.projector.bias)
    assert not torch.equal(model.projector.bias, tiny.model().projector.bias)  # type: ignore[union-attr]


def test_torch_s_own_start_stays() -> None:
    model, fresh = started("torch", small.TRAIN), tiny.model()
    assert torch.equal(model.projector.weight, fresh.projector.weight)  # type: ignore[union-attr]


@pytest.mark.parametrize("how", ["aligned", "discriminant"])
def test_text_has_no_projector_to_start(how: ProjectorInit) -> None:
    model = tiny.model(embedder="none")
    collator = tiny.collator(small.TEXTS, of=model, embedder="none")
    start_projector(model, collator, small.windows(small.TRAIN), how)
    assert model.projector is None


def test_the_message_of_anomalous_windows_begins_as_the_one_that_looks_anomalous() -> None:
    before, after = (
        leaning_of_messages(started(how, small.TRAIN)) for how in ("aligned", "discriminant")
    )
    gained = np.subtract(after, before)
    assert gained.argmax() == 2  # the message that makes a window of this log anomalous
    assert gained.sum() == pytest.approx(0, abs=1e-4)  # the mean message looks like neither


def test_the_other_way_round_with_the_other_label() -> None:
    windows = small.windows(small.TRAIN)
    assert windows.is_anomalous is not None
    model, aligned = tiny.model(), started("aligned", small.TRAIN)
    collator = tiny.collator(small.TEXTS, of=model)
    start_projector(
        model, collator, replace(windows, is_anomalous=~windows.is_anomalous), "discriminant"
    )
    gained = np.subtract(leaning_of_messages(model), leaning_of_messages(aligned))
    assert gained.argmin() == 2


def test_a_window_that_repeats_counts_once() -> None:
    once, often = (
        started("discriminant", train)
        for train in (small.TRAIN, [small.TRAIN[0]] * 50 + small.TRAIN)
    )
    torch.testing.assert_close(once.projector.weight, often.projector.weight)  # type: ignore[union-attr]


def test_one_distinct_message_leans_nowhere() -> None:
    windows = replace(small.windows([(0,), (0, 0)]), is_anomalous=np.array([False, True]))
    model = tiny.model()
    start_projector(model, tiny.collator(small.TEXTS, of=model), windows, "discriminant")
    assert torch.isfinite(model.projector.weight).all()  # type: ignore[union-attr]


def test_of_many_windows_some_of_each_class_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projector_start, "MOST_WINDOWS", 2)
    # Of seven normal windows every fourth, of four anomalous ones every second.
    chosen = [small.TRAIN[place] for place in (0, 4, 7, 9)]
    looked_at = started("discriminant", small.TRAIN)
    monkeypatch.setattr(projector_start, "MOST_WINDOWS", 100)
    expected = started("discriminant", chosen)
    torch.testing.assert_close(
        leaning_of_messages(looked_at), leaning_of_messages(expected), rtol=1e-4, atol=1e-5
    )


# Worked out by hand: both classes weigh a half, the shrinkage is a tenth of the mean variance.
NORMAL = [(0.0, 0.0), (0.0, 4.0)]


@pytest.mark.parametrize("num_repeats", [1, 3])
@pytest.mark.parametrize(
    ("anomalous", "expected"),
    [
        # Variances 1 and 4, no covariance: .5 / (1 + .25).
        ([(2.0, 0.0), (2.0, 4.0)], (0.4, 0.0)),
        # Variances 1 and 5, covariance 1: [[1.3, 1], [1, 5.3]] w = (.5, .5).
        ([(2.0, 2.0), (2.0, 6.0)], (2.15 / 5.89, 0.15 / 5.89)),
    ],
)
def test_the_discriminant_points_from_the_normal_to_the_anomalous_vectors(
    anomalous: list[tuple[float, float]], expected: tuple[float, float], num_repeats: int
) -> None:
    vectors = torch.tensor(NORMAL * num_repeats + anomalous)
    labels = torch.tensor([False] * len(NORMAL) * num_repeats + [True] * len(anomalous))
    found = discriminant(vectors, labels)
    torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-5, atol=1e-6)


def test_vectors_that_do_not_differ_give_no_direction() -> None:
    found = discriminant(torch.ones(4, 3), torch.tensor([True, False, False, True]))
    torch.testing.assert_close(found, torch.zeros(3))

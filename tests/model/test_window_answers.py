import random
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from logllm_core.model import PARTS, Embedder, batches
from logllm_core.model.batches import Collator
from logllm_core.model.logllm import LogLLM
from logllm_core.model.message_tokens import EncoderInput, MessageTokens
from logllm_core.model.weights import set_trainable
from logllm_core.model.window_answers import encode_windows, score_windows, window_log_odds
from tests import tiny
from tests.model.plain import plain_answers, plain_probabilities

TEXTS = ["alpha read ok", "beta", "gamma disk failed < * >", "delta write"]
Window = tuple[int, ...]


def some_windows(seed: int, number: int) -> list[Window]:
    """Windows with prefixes of each other, duplicates and single messages among them."""
    dice = random.Random(seed)
    windows: list[Window] = [(0,), (3,)]
    while len(windows) < number:
        begun = dice.choice([(), *windows])
        windows.append(begun + tuple(dice.choices(range(4), k=dice.randint(1, 4))))
        windows += [dice.choice(windows)] if dice.random() < 0.3 else []
    dice.shuffle(windows)
    return windows


@pytest.mark.parametrize("seed", range(5))
def test_probabilities_are_the_plain_paths_in_the_order_given(seed: int) -> None:
    model = tiny.model(seed)
    windows = some_windows(seed, 60)
    found = score_windows(model, tiny.collator(TEXTS, model), windows)
    expected = plain_probabilities(model, tiny.vocabulary(TEXTS), windows).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    assert expected.max() - expected.min() > 0.01


def test_windows_longer_than_a_tree_are_scored_like_others() -> None:
    model = tiny.model()
    dice = random.Random(0)
    long = [tuple(dice.choices(range(4), k=batches.TREE_NODES + extra)) for extra in (0, 1, 90)]
    windows = [(0,), long[0], long[0][:-1], long[1], (1, 2), long[2], long[0]]
    collator = Collator(
        prompt=model.prompt, vocabulary=tiny.vocabulary(TEXTS), max_window_messages=400
    )
    found = score_windows(model, collator, windows)
    expected = plain_probabilities(model, tiny.vocabulary(TEXTS), windows).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("embedder", ["encoder", "message-id", "none"])
def test_a_window_has_the_probability_that_it_has_alone(embedder: Embedder) -> None:
    model = tiny.model(embedder=embedder, num_known=3)  # and message 3 is not known by its id
    collator = tiny.collator(TEXTS, model, embedder=embedder)
    windows = some_windows(9, 40)
    together = score_windows(model, collator, windows)
    alone = [score_windows(model, collator, [window])[0] for window in windows]
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-5)
    assert len(set(together.round(6))) > len(set(windows)) / 2


def test_no_windows_have_no_probabilities() -> None:
    model = tiny.model()
    assert score_windows(model, tiny.collator(TEXTS, model), []).shape == (0,)


@pytest.mark.parametrize("embedder", ["encoder", "message-id", "none"])
def test_the_question_about_no_message_has_log_odds_too(embedder: Embedder) -> None:
    model = tiny.model(embedder=embedder)
    collator = tiny.collator(TEXTS, model, embedder=embedder)
    set_trainable(model, ())
    windows: list[Window] = [(0, 1), (), (0,), (3, 3)]
    vectors = encode_windows(model, collator, windows)
    advanced: list[int] = []
    found = window_log_odds(model, collator, windows, vectors, advanced.append)
    prompt = model.prompt
    ids = [*prompt.introduction, *prompt.question]
    ids += prompt.answers[0][: prompt.num_shared_answer_tokens]
    with torch.no_grad():
        logits = model.decoder(input_ids=torch.tensor([ids])).logits[0, -1]
    normal, anomalous = (answer[prompt.num_shared_answer_tokens] for answer in prompt.answers)
    assert found[1] == pytest.approx(float(logits[anomalous] - logits[normal]), abs=1e-4)
    others = score_windows(model, collator, [windows[place] for place in (0, 2, 3)])
    np.testing.assert_allclose(1 / (1 + np.exp(-found[[0, 2, 3]])), others, rtol=0, atol=1e-5)
    assert sum(advanced) == len(windows)


def test_windows_that_are_cut_alike_have_the_same_probability() -> None:
    model = tiny.model()
    collator = Collator(
        prompt=model.prompt, vocabulary=tiny.vocabulary(TEXTS), max_window_messages=2
    )
    found = score_windows(model, collator, [(0, 1), (0, 1, 2), (1, 0), (0, 1, 3, 3)])
    assert found[0] == found[1] == found[3]
    assert found[0] != found[2]


def test_scoring_leaves_nothing_to_train_and_no_dropout() -> None:
    model = tiny.model()
    set_trainable(model, PARTS)
    windows = some_windows(0, 10)
    found = score_windows(model, tiny.collator(TEXTS, model), windows)
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert (found == score_windows(model, tiny.collator(TEXTS, model), windows)).all()


def num_positions(model: LogLLM, windows: Sequence[Window]) -> int:
    """Positions that the decoder computes to score these windows."""
    counted: list[int] = []
    hook = model.decoder.model.register_forward_pre_hook(
        lambda _module, _arguments, named: counted.append(named["inputs_embeds"][..., 0].numel()),
        with_kwargs=True,
    )
    score_windows(model, tiny.collator(TEXTS, model), windows)
    hook.remove()
    return sum(counted)


def test_a_window_is_computed_once_however_often_it_occurs() -> None:
    model = tiny.model()
    one = num_positions(model, [(0, 1, 2)])
    prompt = model.prompt
    frame = len(prompt.introduction) + len(prompt.question) + prompt.num_shared_answer_tokens
    assert one == frame + 3
    assert num_positions(model, [(0, 1, 2)] * 50) == one


def test_what_windows_begin_with_is_computed_once() -> None:
    model = tiny.model()
    prompt = model.prompt
    end = len(prompt.question) + prompt.num_shared_answer_tokens
    # The introduction, messages 0 and 1, then each window's own third message and question.
    expected = len(prompt.introduction) + 2 + 3 * (1 + end)
    assert num_positions(model, [(0, 1, 0), (0, 1, 1), (0, 1, 2)]) == expected


def test_each_message_is_encoded_once() -> None:
    model = tiny.model()
    encoded: list[tuple[int, ...]] = []

    def note(_module: object, arguments: tuple[EncoderInput], _result: object) -> None:
        for group in arguments[0]:
            assert isinstance(group, MessageTokens)
            for row, is_token in zip(group.token_ids_ML, group.is_token_ML, strict=True):
                encoded.append(tuple(row[is_token].tolist()))

    model.encoder.register_forward_hook(note)
    score_windows(model, tiny.collator(TEXTS, model), [(0, 1), (1, 0), (0, 3)] * 30)
    known = tiny.vocabulary(TEXTS).token_ids
    assert sorted(encoded) == sorted(tuple(known[message]) for message in (0, 1, 3))


def test_a_model_that_reads_text_has_no_vectors() -> None:
    model = tiny.model(embedder="none")
    assert encode_windows(model, tiny.collator(TEXTS, model, embedder="none"), [(0,)]) is None


def test_no_messages_have_no_vectors() -> None:
    model = tiny.model()
    assert encode_windows(model, tiny.collator(TEXTS, model), [()]) is None


def test_the_verdict_is_the_word_that_greedy_decoding_gives() -> None:
    model = tiny.model(seed=1)
    collator = tiny.collator(TEXTS, model)
    windows = list(dict.fromkeys(some_windows(1, 60)))
    labels = [sum(window) % 3 == 0 for window in windows]  # hard enough for some to be wrong
    parameters = set_trainable(model, PARTS, has_lora_dropout=False)
    optimizer = torch.optim.AdamW(parameters.values(), lr=1e-2)
    batch = collator.training_batch(windows, labels)
    for _ in range(45):
        optimizer.zero_grad()
        torch.autograd.backward(model(batch))
        optimizer.step()
    verdicts = score_windows(model, collator, windows) > 0.5
    answers = [tuple(a) for a in plain_answers(model, tiny.vocabulary(TEXTS), windows)]
    assert set(answers) == set(model.prompt.answers)  # both of them, whole, and no other words
    assert [answer == model.prompt.answers[1] for answer in answers] == verdicts.tolist()
    assert 0 < int((verdicts != labels).sum()) < len(windows) / 3  # it answers, it does not recite

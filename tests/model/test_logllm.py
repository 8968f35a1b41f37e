"""The model against the plain path: every occurrence encoded, whole sequences, full logits."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from logllm_core import progress
from logllm_core.model import Embedder
from logllm_core.model.logllm import LogLLM, encode_messages
from logllm_core.model.weights import set_trainable
from logllm_core.model.window_answers import encode_windows
from tests import tiny
from tests.model.plain import plain_loss, plain_probabilities

TEXTS = ["alpha read ok", "beta", "gamma disk failed < * >", "delta write"]
WINDOWS = [(0, 1, 0, 2), (3,), (2, 2, 1)]
LABELS = [True, False, True]


def probabilities(model: LogLLM, windows: list[tuple[int, ...]]) -> Tensor:
    collator = tiny.collator(TEXTS, model)
    found = torch.empty(len(windows), dtype=torch.float64)
    for places, batch in collator.scoring_batches(windows):
        normal, anomalous = model.answer_log_probabilities(batch).double().unbind(-1)
        found[places] = torch.sigmoid(anomalous - normal)
    return found


def test_the_loss_is_the_plain_paths() -> None:
    model = tiny.model().eval()
    batch = tiny.collator(TEXTS, model).training_batch(WINDOWS, LABELS)
    expected = plain_loss(model, tiny.vocabulary(TEXTS), WINDOWS, LABELS)
    torch.testing.assert_close(model(batch), expected, rtol=1e-5, atol=0)


def test_gradients_are_the_plain_paths() -> None:
    gradients: list[dict[str, Tensor]] = []
    for is_plain in (False, True):
        model = tiny.model()
        set_trainable(model, ("encoder", "projector", "decoder"), has_lora_dropout=False)
        if is_plain:
            loss = plain_loss(model, tiny.vocabulary(TEXTS), WINDOWS, LABELS)
        else:
            loss = model(tiny.collator(TEXTS, model).training_batch(WINDOWS, LABELS))
        torch.autograd.backward(loss)
        named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
        gradients.append({name: p.grad for name, p in named if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    assert {name.partition(".")[0] for name in gradients[0]} == {"encoder", "projector", "decoder"}
    assert any(bool(gradient.abs().max() > 0) for gradient in gradients[0].values())
    for name, gradient in gradients[0].items():
        difference = gradient - gradients[1][name]
        assert difference.norm() <= 1e-5 * gradients[1][name].norm() + 1e-9, name


def test_a_message_that_is_repeated_often_gets_its_whole_gradient_in_bfloat16() -> None:
    """Summed in bfloat16, occurrences would be lost to rounding: 256 + 1 is 256 there."""
    gradients = []
    for is_plain in (False, True):
        model = tiny.model().bfloat16()
        assert model.projector is not None
        model.encoder.float()
        model.projector.float()
        set_trainable(model, ("projector",))
        windows, labels = [(1,) * 120] * 8, [False] * 8
        if is_plain:
            loss = plain_loss(model, tiny.vocabulary(TEXTS), windows, labels)
        else:
            loss = model(tiny.collator(TEXTS, model).training_batch(windows, labels))
        torch.autograd.backward(loss)
        gradient = model.projector.weight.grad
        assert gradient is not None
        gradients.append(gradient)
    difference = (gradients[0] - gradients[1]).norm() / gradients[1].norm()
    assert float(difference) < 0.02


def test_answer_probabilities_are_the_plain_paths() -> None:
    model = tiny.model().eval()
    expected = plain_probabilities(model, tiny.vocabulary(TEXTS), WINDOWS)
    torch.testing.assert_close(probabilities(model, WINDOWS), expected, rtol=1e-5, atol=0)


def test_batch_composition_and_padding_do_not_change_a_window() -> None:
    model = tiny.model().eval()
    together = probabilities(model, [*WINDOWS, (1,) * 40, (0, 1, 3), (0, 1)])
    for place, window in enumerate(WINDOWS):
        alone = probabilities(model, [window])
        torch.testing.assert_close(together[place], alone[0], rtol=1e-5, atol=0)


def test_the_loss_of_a_batch_is_that_of_its_windows_each_alone() -> None:
    model = tiny.model().eval()
    collator = tiny.collator(TEXTS, model)
    together = model(collator.training_batch(WINDOWS, LABELS))
    alone = [
        model(collator.training_batch([window], [label]))
        for window, label in zip(WINDOWS, LABELS, strict=True)
    ]
    torch.testing.assert_close(together, torch.stack(alone).mean(), rtol=1e-5, atol=0)


def test_vectors_computed_before_give_the_same_loss() -> None:
    model = tiny.model().eval()
    collator = tiny.collator(TEXTS, model)
    vectors = encode_windows(model, collator, WINDOWS)
    fresh, reused = (
        model(collator.training_batch(WINDOWS, LABELS, given)) for given in (None, vectors)
    )
    torch.testing.assert_close(fresh, reused, rtol=1e-5, atol=0)


def test_vectors_are_found_by_message_id_whatever_the_order_and_the_groups() -> None:
    model = tiny.model().eval()
    vocabulary = tiny.vocabulary(TEXTS)
    vectors = encode_messages(model, vocabulary, np.array([3, 0, 2]))
    for message_id in (0, 2, 3):
        alone = model.encode(vocabulary.encoder_input(np.array([message_id])))[0]
        found = vectors.vectors_ME[vectors.row_of[message_id]]
        torch.testing.assert_close(found, alone, rtol=1e-5, atol=1e-6)


def test_the_order_of_messages_matters_to_the_model() -> None:
    one, other = probabilities(tiny.model().eval(), [(0, 1, 2), (2, 1, 0)])
    assert not torch.allclose(one, other)


def test_encoding_messages_tells_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Raw messages can be hundreds of thousands."""
    monkeypatch.setattr("logllm_core.model.logllm.GROUP_MESSAGES", 3)
    told: list[dict[str, Any]] = []
    token = progress.display.set(progress.TellingDisplay(told.append))
    encode_messages(tiny.model(), tiny.vocabulary(TEXTS), np.arange(4))
    progress.display.reset(token)
    assert {event.get("total") for event in told if "begins" in event} == {4}
    assert sum(event.get("amount", 0) for event in told) == 4


def test_an_aligned_projector_gives_messages_the_scale_of_token_embeddings() -> None:
    model = tiny.model()
    assert model.projector is not None
    vectors_ME = encode_messages(model, tiny.vocabulary(TEXTS), np.arange(4)).vectors_ME
    model.align_projector(vectors_ME)
    projected_MD = model.projector(vectors_ME)
    embeddings = model.decoder.model.embed_tokens.weight
    torch.testing.assert_close(
        projected_MD.square().mean().sqrt(), embeddings.square().mean().sqrt(), rtol=1e-4, atol=0
    )
    torch.testing.assert_close(
        projected_MD.mean(dim=0), torch.zeros(tiny.DECODER_WIDTH), rtol=0, atol=1e-5
    )


def test_one_distinct_message_can_be_aligned_too() -> None:
    model = tiny.model()
    assert model.projector is not None
    vectors = encode_messages(model, tiny.vocabulary(["alpha"]), np.arange(1))
    model.align_projector(vectors.vectors_ME)
    assert torch.isfinite(model.projector.weight).all()


@pytest.mark.parametrize("has_bos", [True, False])
def test_a_window_is_framed_by_the_whole_prompt(has_bos: bool) -> None:
    """The decoder sees introduction, messages, question, shared answer, in this order."""
    model = tiny.model(has_bos=has_bos).eval()
    assert model.projector is not None
    seen = _what_the_decoder_sees(model)
    probabilities(model, [(1,)])
    embed = model.decoder.get_input_embeddings()
    tokens = model.prompt
    vocabulary = tiny.vocabulary(TEXTS)
    expected = torch.cat(
        [
            embed(torch.tensor(tokens.introduction)),
            model.projector(model.encode(vocabulary.encoder_input(np.array([1])))),
            embed(torch.tensor(tokens.question)),
            embed(torch.tensor(tokens.answers[0][:3])),
        ]
    )
    torch.testing.assert_close(seen[0][0], expected)


def test_without_embedder_the_decoder_reads_the_joined_text() -> None:
    model = tiny.model(embedder="none").eval()
    seen = _what_the_decoder_sees(model)
    collator = tiny.collator(["alpha read", "beta"], model, embedder="none")
    ((_, batch),) = collator.scoring_batches([(0, 1, 0)])
    model.answer_log_probabilities(batch)
    tokenizer = tiny.decoder_tokenizer()
    text = tokenizer.encode(" alpha read; beta; alpha read", add_special_tokens=False)
    assert len(text) == 7  # words and semicolons
    tokens = [*model.prompt.introduction, *text, *model.prompt.question]
    tokens += model.prompt.answers[0][: model.prompt.num_shared_answer_tokens]
    expected = model.decoder.get_input_embeddings()(torch.tensor(tokens))
    torch.testing.assert_close(seen[0][0], expected)


def test_an_id_has_a_vector_of_its_own_and_an_unknown_one_has_none() -> None:
    model = tiny.model(embedder="message-id", num_known=3)
    found = model.encode(torch.tensor([2, 0, 3, 700]))
    assert not torch.equal(found[0], found[1])
    assert found[:2].any(dim=1).all()
    assert not found[2:].any()


def _what_the_decoder_sees(model: LogLLM) -> list[Tensor]:
    seen: list[Tensor] = []
    model.decoder.model.register_forward_pre_hook(
        lambda _module, _arguments, named: seen.append(named["inputs_embeds"]), with_kwargs=True
    )
    return seen


@pytest.mark.parametrize("embedder", ["message-id", "none"])
def test_other_embedders_do_not_mind_batch_composition_either(embedder: Embedder) -> None:
    model = tiny.model(embedder=embedder).eval()
    collator = tiny.collator(TEXTS, model, embedder=embedder)
    windows = [*WINDOWS, (0, 1, 3)]
    alone = [
        model.answer_log_probabilities(batch)[0]
        for window in windows
        for _, batch in collator.scoring_batches([window])
    ]
    ((places, batch),) = collator.scoring_batches(windows)
    for place, found in zip(places, model.answer_log_probabilities(batch), strict=True):
        torch.testing.assert_close(found, alone[place], rtol=1e-5, atol=1e-6)

"""The model against the plain path: every occurrence encoded, whole sequences, full logits."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from logllm_core.model import backbones
from logllm_core.model.batches import make_batch
from logllm_core.model.logllm import LogLLM, encode_vocabulary
from tests import tiny

TEXTS = ["alpha read ok", "beta", "gamma disk failed < * >", "delta write"]
WINDOWS = [[0, 1, 0, 2], [3], [2, 2, 1]]
LABELS = [True, False, True]


def plain_logits(model: LogLLM, window: Sequence[int], answer: Sequence[int]) -> Tensor:
    """Logits at the answer's positions for one window alone, nothing shared, nothing padded."""
    vocabulary = tiny.vocabulary(TEXTS)
    vectors = [model.projector(model.encode(vocabulary.tokens([m])))[0] for m in window]
    embed = model.decoder.get_input_embeddings()
    sequence = torch.cat(
        [
            embed(torch.tensor(model.prompt.introduction)),
            torch.stack(vectors),
            embed(torch.tensor(model.prompt.question)),
            embed(torch.tensor(list(answer))),
        ]
    )
    logits: Tensor = model.decoder(inputs_embeds=sequence[None]).logits[0]
    return logits[-len(answer) - 1 : -1]


def test_the_loss_is_the_plain_paths() -> None:
    model = tiny.model().eval()
    batch = make_batch(WINDOWS, LABELS, vocabulary=tiny.vocabulary(TEXTS))
    answers = [model.prompt.answers[label] for label in LABELS]
    logits = torch.cat([plain_logits(model, w, a) for w, a in zip(WINDOWS, answers, strict=True)])
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor(sum(answers, ())))
    torch.testing.assert_close(model(batch), expected, rtol=1e-5, atol=0)


def test_gradients_are_the_plain_paths() -> None:
    batch = make_batch(WINDOWS, LABELS, vocabulary=tiny.vocabulary(TEXTS))
    gradients: list[dict[str, Tensor]] = []
    for is_plain in (False, True):
        model = tiny.model()
        backbones.set_trainable(model, ("encoder", "projector", "decoder"))
        model.eval()
        if is_plain:
            answers = [model.prompt.answers[label] for label in LABELS]
            pairs = zip(WINDOWS, answers, strict=True)
            logits = torch.cat([plain_logits(model, window, answer) for window, answer in pairs])
            loss = torch.nn.functional.cross_entropy(logits, torch.tensor(sum(answers, ())))
        else:
            loss = model(batch)
        torch.autograd.backward(loss)
        named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
        gradients.append({name: p.grad for name, p in named if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    assert any(bool(gradient.abs().max() > 0) for gradient in gradients[0].values())
    for name, gradient in gradients[0].items():
        difference = gradient - gradients[1][name]
        assert difference.norm() <= 1e-5 * gradients[1][name].norm() + 1e-9, name


def test_answer_probabilities_are_those_of_the_deciding_token() -> None:
    model = tiny.model().eval()
    batch = make_batch(WINDOWS, LABELS, vocabulary=tiny.vocabulary(TEXTS))
    found = model.answer_log_probabilities(batch)
    normal, anomalous = model.prompt.answers
    for row, window in zip(found, WINDOWS, strict=True):
        logits = plain_logits(model, window, normal)[3]  # after "The sequence is"
        expected = torch.log_softmax(logits, dim=-1)[[normal[3], anomalous[3]]]
        torch.testing.assert_close(row, expected, rtol=1e-5, atol=1e-6)


def test_batch_composition_and_padding_do_not_change_a_window() -> None:
    model = tiny.model().eval()
    vocabulary = tiny.vocabulary(TEXTS)
    together = model.answer_log_probabilities(
        make_batch([*WINDOWS, [1] * 40], [False] * 4, vocabulary=vocabulary)
    )
    for place, window in enumerate(WINDOWS):
        alone = model.answer_log_probabilities(make_batch([window], [False], vocabulary=vocabulary))
        torch.testing.assert_close(together[place], alone[0], rtol=1e-5, atol=1e-6)


def test_vectors_computed_before_give_the_same_answers() -> None:
    model = tiny.model().eval()
    vocabulary = tiny.vocabulary(TEXTS)
    vectors_ME = encode_vocabulary(model, vocabulary, batch_size=2)
    batches = [
        make_batch(WINDOWS, LABELS, vocabulary=vocabulary, vectors_ME=given)
        for given in (None, vectors_ME)
    ]
    fresh, reused = (model.answer_log_probabilities(batch) for batch in batches)
    torch.testing.assert_close(fresh, reused, rtol=1e-5, atol=1e-6)


def test_the_order_of_messages_matters_to_the_model() -> None:
    model = tiny.model().eval()
    batch = make_batch([[0, 1, 2], [2, 1, 0]], [False] * 2, vocabulary=tiny.vocabulary(TEXTS))
    one, other = model.answer_log_probabilities(batch)
    assert not torch.allclose(one, other)


def test_an_aligned_projector_gives_messages_the_scale_of_token_embeddings() -> None:
    model = tiny.model()
    vectors_ME = encode_vocabulary(model, tiny.vocabulary(TEXTS))
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
    model.align_projector(encode_vocabulary(model, tiny.vocabulary(["alpha"])))
    assert torch.isfinite(model.projector.weight).all()


@pytest.mark.parametrize("has_bos", [True, False])
def test_a_window_is_framed_by_the_whole_prompt(has_bos: bool) -> None:
    """The decoder sees introduction, messages, question, shared answer, in this order."""
    model = tiny.model(has_bos=has_bos).eval()
    seen: list[Tensor] = []
    model.decoder.model.register_forward_pre_hook(
        lambda _module, _arguments, named: seen.append(named["inputs_embeds"]), with_kwargs=True
    )
    vocabulary = tiny.vocabulary(TEXTS)
    model.answer_log_probabilities(make_batch([[1]], [False], vocabulary=vocabulary))
    embed = model.decoder.get_input_embeddings()
    tokens = model.prompt
    expected = torch.cat(
        [
            embed(torch.tensor(tokens.introduction)),
            model.projector(model.encode(vocabulary.tokens([1]))),
            embed(torch.tensor(tokens.question)),
            embed(torch.tensor(tokens.answers[0][:3])),
        ]
    )
    torch.testing.assert_close(seen[0][0], expected)

"""The plain path, which the model is held against: slow, and easy to believe.

Every occurrence of a message is encoded, padded to the longest; sequences are padded on the left;
every position gets logits over the whole vocabulary; an answer is generated token by token, as the
reference code does.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from logllm_core.model.logllm import LogLLM
from logllm_core.model.message_tokens import TokenizedVocabulary

MAX_ANSWER_TOKENS = 6  # of the reference code


def padded_sequences(
    model: LogLLM,
    vocabulary: TokenizedVocabulary,
    windows: Sequence[Sequence[int]],
    answers: Sequence[Sequence[int]],
) -> tuple[Tensor, Tensor]:
    """Embeddings [B, T, D] and which of them are real [B, T]."""
    occurrences = [message for window in windows for message in window]
    length = max(len(vocabulary.token_ids[message]) for message in occurrences)
    ids = [vocabulary.token_ids[message] for message in occurrences]
    tokens = torch.tensor([[*found, *[0] * (length - len(found))] for found in ids])
    is_token = torch.tensor([[1] * len(found) + [0] * (length - len(found)) for found in ids])
    pooled = model.encoder.bert(input_ids=tokens, attention_mask=is_token).pooler_output
    assert model.projector is not None
    vectors = model.projector(pooled.float())
    embed = model.decoder.get_input_embeddings()
    rows, start = [], 0
    for window, answer in zip(windows, answers, strict=True):
        messages = vectors[start : start + len(window)]
        start += len(window)
        before, after, last = (
            embed(torch.tensor(list(part), dtype=torch.int64))
            for part in (model.prompt.introduction, model.prompt.question, answer)
        )
        rows.append(torch.cat([before, messages.to(before.dtype), after, last]))
    longest = max(map(len, rows))
    embeds = [functional.pad(row, (0, 0, longest - len(row), 0)) for row in rows]
    is_real = [functional.pad(torch.ones(len(row)), (longest - len(row), 0)) for row in rows]
    return torch.stack(embeds), torch.stack(is_real).long()


def plain_loss(
    model: LogLLM,
    vocabulary: TokenizedVocabulary,
    windows: Sequence[Sequence[int]],
    labels: Sequence[bool],
) -> Tensor:
    answers = [model.prompt.answers[int(label)] for label in labels]
    embeds, is_real = padded_sequences(model, vocabulary, windows, answers)
    logits = model.decoder(
        inputs_embeds=embeds, attention_mask=is_real, position_ids=_positions(is_real)
    ).logits
    targets = torch.full(embeds.shape[:2], -100)
    for row, answer in enumerate(answers):
        targets[row, -len(answer) :] = torch.tensor(answer)
    return functional.cross_entropy(
        logits[:, :-1].flatten(0, 1).float(), targets[:, 1:].flatten(), ignore_index=-100
    )


@torch.no_grad()
def plain_probabilities(
    model: LogLLM, vocabulary: TokenizedVocabulary, windows: Sequence[Sequence[int]]
) -> Tensor:
    """Probability of "anomalous" against "normal" at the token that decides."""
    normal, anomalous = model.prompt.answers
    shared = model.prompt.num_shared_answer_tokens
    answers = [normal[:shared]] * len(windows)
    embeds, is_real = padded_sequences(model, vocabulary, windows, answers)
    logits = model.decoder(
        inputs_embeds=embeds, attention_mask=is_real, position_ids=_positions(is_real)
    ).logits[:, -1]
    difference: Tensor = logits[:, anomalous[shared]] - logits[:, normal[shared]]
    return difference.double().sigmoid()


@torch.no_grad()
def plain_answers(
    model: LogLLM, vocabulary: TokenizedVocabulary, windows: Sequence[Sequence[int]]
) -> list[list[int]]:
    """Answers generated greedily, with the keys and values kept, as the reference code does."""
    embeds, is_real = padded_sequences(model, vocabulary, windows, [()] * len(windows))
    tokens = model.decoder.generate(
        inputs_embeds=embeds,
        attention_mask=is_real,
        max_new_tokens=MAX_ANSWER_TOKENS,
        do_sample=False,
        pad_token_id=model.prompt.answers[0][-1],
    )
    answers: list[list[int]] = tokens.tolist()
    return answers


def _positions(is_real: Tensor) -> Tensor:
    return (is_real.cumsum(dim=1) - 1).clamp(min=0)

"""The LogLLM model (paper, section IV-B).

Axes: B windows, M distinct messages, L tokens of a message, N messages of the longest window,
E encoder width, D decoder width, T decoder positions, A answer positions, V decoder vocabulary.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from logllm_core.model.batches import MessageTokens, TokenizedVocabulary, WindowBatch
from logllm_core.model.prompt import PromptTokens


class LogLLM(nn.Module):
    """Encoder, projector and decoder, spliced into one sequence per window.

    Args:
        encoder: a BERT-architecture model whose output has `pooler_output` [M, E].
        decoder: a Llama-architecture causal language model: `decoder.model` takes
            `inputs_embeds` and gives hidden states [B, T, D], `decoder.lm_head` gives logits.
        projector: linear, E to D.
        prompt: the decoder's tokens around the messages.
    """

    encoder: Any  # modules, with the attributes that the docstring names
    decoder: Any

    def __init__(
        self, *, encoder: nn.Module, decoder: nn.Module, projector: nn.Linear, prompt: PromptTokens
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.projector = projector
        self.prompt = prompt
        self.register_buffer("_introduction", torch.tensor(prompt.introduction), persistent=False)
        self.register_buffer("_question", torch.tensor(prompt.question), persistent=False)

    @property
    def device(self) -> torch.device:
        return self.projector.weight.device

    def encode(self, messages: MessageTokens) -> Tensor:
        """Pooled vectors [M, E] of distinct messages."""
        output = self.encoder(
            input_ids=messages.token_ids_ML, attention_mask=messages.is_token_ML.long()
        )
        return cast(Tensor, output.pooler_output).float()

    @torch.no_grad()
    def align_projector(self, vectors_ME: Tensor) -> None:
        """Start the projector where messages look different from each other to the decoder.

        A pooled vector is mostly what all messages have in common; a fresh projector keeps that and
        shrinks the rest. Here the common part is taken out, and what is left gets the scale (root
        mean square) of the decoder's own token embeddings.

        Args:
            vectors_ME: encoder vectors of the messages to come.
        """
        mean_E = vectors_ME.mean(dim=0)
        weight_DE = self.projector.weight
        spread_MD = (vectors_ME - mean_E) @ weight_DE.T
        wanted = self.decoder.model.embed_tokens.weight.float().square().mean().sqrt()
        found = spread_MD.square().mean().sqrt()
        if found > 0:  # one distinct message has no spread
            weight_DE *= wanted / found
        self.projector.bias.copy_(-(weight_DE @ mean_E))

    def forward(self, batch: WindowBatch) -> Tensor:
        """Token-mean cross entropy over the answers and their EOS, a scalar (section IV-C2)."""
        answers = [self.prompt.answers[int(label)] for label in batch.is_anomalous_B]
        logits_BAV, target_BA = self._answer_logits(batch, answers)
        return functional.cross_entropy(
            logits_BAV.flatten(0, 1).float(), target_BA.flatten(), ignore_index=-100
        )

    @torch.no_grad()
    def answer_log_probabilities(self, batch: WindowBatch) -> Tensor:
        """Log-probabilities [B, 2] of the answers "normal" and "anomalous", from one forward pass.

        The answers share their first words. Given those, the next token decides, just as it decides
        a greedy decoding; the tokens after it follow from it. So one position is compared.
        """
        shared = self.prompt.num_shared_answer_tokens
        deciding = [answer[shared] for answer in self.prompt.answers]
        answers = [self.prompt.answers[0][: shared + 1]] * len(batch.num_messages_B)
        logits_BAV, _ = self._answer_logits(batch, answers)
        return functional.log_softmax(logits_BAV[:, -1].float(), dim=-1)[:, deciding]

    def _answer_logits(
        self, batch: WindowBatch, answers: list[tuple[int, ...]]
    ) -> tuple[Tensor, Tensor]:
        """Logits [B, A, V] of the answers' tokens, and those tokens [B, A] (-100 where padded).

        Sequences are padded on the left, so that every answer ends at the last position; only
        answer positions get logits.
        """
        device = self.device
        vectors_ME = (
            batch.messages if isinstance(batch.messages, Tensor) else self.encode(batch.messages)
        )
        vectors_MD = self.projector(vectors_ME.to(self.projector.weight.dtype))
        embed = self.decoder.model.embed_tokens
        introduction_D, question_D = embed(self._introduction), embed(self._question)
        rows = []
        for place, answer in enumerate(answers):
            window = batch.rows_BN[place, : int(batch.num_messages_B[place])]
            # The last answer token is only ever predicted, never read.
            answer_D = embed(torch.tensor(answer[:-1], dtype=torch.int64, device=device))
            messages_D = vectors_MD[window].to(introduction_D.dtype)
            rows.append(torch.cat([introduction_D, messages_D, question_D, answer_D]))
        num_positions = max(map(len, rows))
        num_answer_positions = max(map(len, answers))
        embeds_BTD = torch.stack(
            [functional.pad(row, (0, 0, num_positions - len(row), 0)) for row in rows]
        )
        num_real_B = torch.tensor([len(row) for row in rows], device=device)
        place_T = torch.arange(num_positions, device=device)
        first_B = num_positions - num_real_B
        is_real_BT = place_T[None, :] >= first_B[:, None]
        output = self.decoder.model(
            inputs_embeds=embeds_BTD,
            attention_mask=is_real_BT.long(),
            position_ids=(place_T[None, :] - first_B[:, None]).clamp(min=0),
            use_cache=False,
        )
        # Flattened: on a strided slice the matrix product copies the whole head once a window.
        hidden_RD = output.last_hidden_state[:, -num_answer_positions:].flatten(0, 1)
        logits_BAV = self.decoder.lm_head(hidden_RD).unflatten(0, (len(answers), -1))
        target_BA = torch.full((len(answers), num_answer_positions), -100, device=device)
        for place, answer in enumerate(answers):
            target_BA[place, num_answer_positions - len(answer) :] = torch.tensor(answer)
        return cast(Tensor, logits_BAV), target_BA


@torch.no_grad()
def encode_vocabulary(
    model: LogLLM, vocabulary: TokenizedVocabulary, batch_size: int = 256
) -> Tensor:
    """Encoder vectors [M, E] of every message; those of like length share a batch."""
    order = sorted(range(len(vocabulary)), key=vocabulary.num_tokens)
    parts = [
        model.encode(vocabulary.tokens(order[start : start + batch_size]).to(model.device))
        for start in range(0, len(order), batch_size)
    ]
    place_of = torch.empty(len(order), dtype=torch.int64)
    place_of[order] = torch.arange(len(order))
    return torch.cat(parts)[place_of.to(model.device)]

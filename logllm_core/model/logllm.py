"""The LogLLM model (paper, section IV-B).

Axes: B sequences, T positions, M distinct messages, K distinct decoder tokens, E encoder width,
D decoder width, R answer positions of all windows, V decoder vocabulary, A the two answers.
"""

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from logllm_core.model.batches import WindowBatch
from logllm_core.model.encoders import EncoderVectors
from logllm_core.model.message_tokens import (
    GROUP_MESSAGES,
    EncoderInput,
    EncoderVocabulary,
    Ids,
    on_device,
)
from logllm_core.model.prompt import PromptTokens
from logllm_core.progress import track


class LogLLM(nn.Module):
    """Encoder, projector and decoder: prompt and projected messages make one sequence a window.

    Args:
        encoder: gives vectors [M, E] for what an `EncoderVocabulary` gives it; None where messages
            are decoder tokens themselves (section V-G).
        projector: linear, E to D; None without an encoder.
        decoder: a Llama-architecture causal language model: `decoder.model` takes
            `inputs_embeds` and gives hidden states [B, T, D], `decoder.lm_head` gives logits.
        prompt: the decoder's tokens around the messages.
    """

    encoder: Any  # modules, with the attributes that the docstring names
    decoder: Any

    def __init__(
        self,
        *,
        encoder: nn.Module | None,
        projector: nn.Linear | None,
        decoder: nn.Module,
        prompt: PromptTokens,
    ) -> None:
        super().__init__()
        assert (encoder is None) == (projector is None)
        self.encoder = encoder
        self.projector = projector
        self.decoder = decoder
        self.prompt = prompt

    @property
    def device(self) -> torch.device:
        return cast(torch.device, self.decoder.model.embed_tokens.weight.device)

    def encode(self, messages: EncoderInput) -> Tensor:
        """Vectors [M, E] of distinct messages."""
        return cast(Tensor, self.encoder(messages))

    @property
    def _embedding_scale(self) -> Tensor:
        """The root mean square of the decoder's token embeddings, a scalar."""
        scale: Tensor = self.decoder.model.embed_tokens.weight.float().square().mean().sqrt()
        return scale

    @torch.no_grad()
    def align_projector(self, vectors_ME: Tensor) -> None:
        """Start the projector where messages look different from each other to the decoder.

        A pooled vector is mostly what all messages have in common; a fresh projector keeps that and
        shrinks the rest. Here the common part is taken out, and what is left gets the scale (root
        mean square) of the decoder's own token embeddings.

        Args:
            vectors_ME: encoder vectors of the messages to come.
        """
        assert self.projector is not None
        vectors_ME = vectors_ME.to(self.device)
        mean_E = vectors_ME.mean(dim=0)
        weight_DE = self.projector.weight
        spread_MD = (vectors_ME - mean_E) @ weight_DE.T
        wanted = self._embedding_scale
        spread = spread_MD.square().mean().sqrt()
        if spread > 0:  # one distinct message has no spread
            weight_DE *= wanted / spread
        self.projector.bias.copy_(-(weight_DE @ mean_E))

    @torch.no_grad()
    def lean_projector(self, vectors_ME: Tensor, direction_E: Tensor) -> None:
        """Let messages that lie in a direction look like "anomalous", others like "normal".

        What is added to a message's vector is the difference of the two answers' deciding token
        embeddings, at the scale of such embeddings, as often as the message lies standard
        deviations from the mean.

        Args:
            vectors_ME: encoder vectors of the messages to come.
            direction_E: from normal to anomalous; nothing changes where no message differs in it.
        """
        assert self.projector is not None
        vectors_ME, direction_E = vectors_ME.to(self.device), direction_E.to(self.device)
        mean_E = vectors_ME.mean(dim=0)
        deviation = ((vectors_ME - mean_E) @ direction_E).square().mean().sqrt()
        embeddings_VD = self.decoder.model.embed_tokens.weight
        normal_D, anomalous_D = embeddings_VD[list(self.prompt.deciding_tokens)].float()
        difference_D = anomalous_D - normal_D
        difference_D *= self._embedding_scale / difference_D.square().mean().sqrt()
        if deviation > 0:
            leaning_DE = torch.outer(difference_D, direction_E / deviation)
            self.projector.weight += leaning_DE
            self.projector.bias.sub_(leaning_DE @ mean_E)

    def forward(self, batch: WindowBatch) -> Tensor:
        """Token-mean cross entropy over the answers and their EOS, a scalar (section IV-C2)."""
        assert batch.targets_R is not None
        logits_RV = self.decoder.lm_head(self._answer_states(batch))
        return functional.cross_entropy(logits_RV.float(), batch.targets_R)

    @torch.no_grad()
    def answer_log_probabilities(self, batch: WindowBatch) -> Tensor:
        """Log-probabilities [R, 2] of the answers "normal" and "anomalous", from one forward pass.

        The answers share their first words. Given those, the next token decides, just as it decides
        a greedy decoding; the tokens after it follow from it. So one position a window is compared.
        """
        states_RD = self._answer_states(batch)
        logits_RV = self.decoder.lm_head(states_RD).float()
        # In bfloat16 a logit of 10 has steps of 1/16: too coarse for the two that are compared.
        weight_AD = self.decoder.lm_head.weight[list(self.prompt.deciding_tokens)].float()
        logits_RA = states_RD.float() @ weight_AD.T
        log_probabilities_RA: Tensor = logits_RA - logits_RV.logsumexp(dim=-1, keepdim=True)
        return log_probabilities_RA

    def _answer_states(self, batch: WindowBatch) -> Tensor:
        """Hidden states [R, D] at the answer positions; no other position gets logits."""
        tokens_KD = self.decoder.model.embed_tokens(batch.token_ids_K)
        # In float32: the gradient of a message is the sum over its occurrences, often hundreds.
        table = tokens_KD.float()
        vectors_ME = batch.vectors_ME
        if batch.encoder_input is not None:
            vectors_ME = self.encode(batch.encoder_input)
        if vectors_ME is not None:
            assert self.projector is not None
            table = torch.cat([self.projector(vectors_ME), table])
        sees = batch.sees_BTT
        output = self.decoder.model(
            inputs_embeds=functional.embedding(batch.source_BT, table).to(tokens_KD.dtype),
            attention_mask=None if sees is None else _as_bias(sees, tokens_KD.dtype),
            position_ids=batch.position_BT,
            use_cache=False,
        )
        return cast(Tensor, output.last_hidden_state.flatten(0, 1)[batch.answers_R])


def _as_bias(sees_BTT: Tensor, dtype: torch.dtype) -> Tensor:
    """What is added to attention scores, one plane for all heads: 0 where seen."""
    bias = torch.zeros(sees_BTT.shape, dtype=dtype, device=sees_BTT.device)
    return bias.masked_fill_(~sees_BTT, torch.finfo(dtype).min)[:, None]


@torch.no_grad()
def encode_messages(
    model: LogLLM, vocabulary: EncoderVocabulary, message_ids: Ids
) -> EncoderVectors:
    """Encoder vectors of distinct messages, each encoded once, on the CPU.

    Args:
        message_ids: all that will be asked for; not empty.
    """
    ordered = vocabulary.sort(message_ids)
    vectors = []
    with track("Encoding", total=len(ordered), unit="messages") as advance:
        for start in range(0, len(ordered), GROUP_MESSAGES):
            part = ordered[start : start + GROUP_MESSAGES]
            messages = vocabulary.encoder_input(part)
            vectors.append(model.encode(on_device(messages, model.device)).cpu())
            advance(len(part))
    row_of = np.zeros(int(message_ids.max()) + 1, dtype=np.int64)
    row_of[ordered] = np.arange(len(ordered))
    return EncoderVectors(vectors_ME=torch.cat(vectors), row_of=row_of)

"""The frozen encoder's token vectors, for methods that read what events mean.

Axes: N texts, L tokens of a text, E encoder width.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from logllm_core.model import backbones
from logllm_core.model.backbones import Loading
from logllm_core.model.encoders import TextEncoder
from logllm_core.model.message_tokens import MessageTokenizer, TokenizedVocabulary
from logllm_core.model.sources.named_backbones import BackboneFolders
from logllm_core.progress import track

MAX_TEXT_TOKENS = 100  # with [CLS] and [SEP], as LogLLM reads messages
Vectors = NDArray[np.float32]


class FrozenEncoder:
    """A pretrained encoder as it was published, loaded when it is first asked."""

    def __init__(self, folders: BackboneFolders, device: torch.device) -> None:
        self.num_cut_texts = 0  # of all that were read, each time
        self._folders = folders
        self._device = device

    @cached_property
    def _loaded(self) -> tuple[TextEncoder, MessageTokenizer]:
        loading = Loading(quantization="none", device=self._device, dtype=torch.float32)
        return backbones.load_encoder(self._folders, loading)

    @torch.no_grad()
    def token_vectors(
        self, texts: Sequence[str], max_tokens: int = MAX_TEXT_TOKENS
    ) -> Iterator[tuple[NDArray[np.int64], Tensor, Tensor]]:
        """The last layer's vectors of every token, texts of like length beside each other.

        Args:
            max_tokens: a text is cut to so many, [CLS] and [SEP] too, or to what the encoder takes.

        Yields:
            Places of some texts, their vectors [N, L, E] on the device, and which of these are
            tokens, [N, L]: the first is [CLS], the last one of each text [SEP], padding follows.
        """
        if not texts:
            return
        encoder, tokenizer = self._loaded
        most = min(max_tokens, encoder.bert.config.max_position_embeddings)
        vocabulary = TokenizedVocabulary(texts, tokenizer, max_message_tokens=most)
        self.num_cut_texts += len(vocabulary.cut_messages)
        ordered = vocabulary.sort(np.arange(len(texts)))
        start = 0
        with track("Encoding", total=len(texts), unit="texts") as advance:
            for group in vocabulary.encoder_input(ordered):
                batch = group.to(self._device)
                hidden_NLE = encoder.bert(
                    input_ids=batch.token_ids_ML, attention_mask=batch.is_token_ML.long()
                ).last_hidden_state
                num_texts = len(batch.token_ids_ML)
                yield ordered[start : start + num_texts], hidden_NLE.float(), batch.is_token_ML
                start += num_texts
                advance(num_texts)

    def mean_vectors(self, texts: Sequence[str]) -> Vectors:
        """[N, E]: the mean over each text's tokens, without [CLS] and [SEP]; 0 without any."""
        vectors_NE: Vectors | None = None
        for numbers, hidden_NLE, is_token_NL in self.token_vectors(texts):
            inner_NL = is_token_NL.clone()
            inner_NL[:, 0] = False
            inner_NL[:, :-1] &= is_token_NL[:, 1:]  # the last token is [SEP]
            inner_NL[:, -1] = False
            total_NE = (hidden_NLE * inner_NL[..., None]).sum(dim=1)
            means_NE = total_NE / inner_NL.sum(dim=1, keepdim=True).clamp(min=1)
            if vectors_NE is None:
                vectors_NE = np.zeros((len(texts), means_NE.shape[1]), dtype=np.float32)
            vectors_NE[numbers] = means_NE.cpu().numpy()
        return np.zeros((0, 1), dtype=np.float32) if vectors_NE is None else vectors_NE

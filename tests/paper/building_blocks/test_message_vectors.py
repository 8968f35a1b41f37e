import numpy as np
import torch

from logllm_core.model.sources.named_backbones import BackboneFolders
from logllm_core.paper.building_blocks.interface import Bench
from logllm_core.paper.building_blocks.message_vectors import MAX_TEXT_TOKENS, FrozenEncoder


def test_the_mean_is_over_the_words_without_the_special_tokens(folders: BackboneFolders) -> None:
    encoder = FrozenEncoder(folders, torch.device("cpu"))
    texts = ["alpha beta gamma", "disk"]  # [CLS] and [SEP] around them: 5 tokens, 3 tokens
    by_text = {
        int(place): (hidden_LE, is_token_L)
        for places_N, hidden_NLE, is_token_NL in encoder.token_vectors(texts)
        for place, hidden_LE, is_token_L in zip(places_N, hidden_NLE, is_token_NL, strict=True)
    }
    assert [int(is_token.sum()) for _, is_token in (by_text[0], by_text[1])] == [5, 3]
    wanted = [by_text[0][0][1:4].mean(dim=0), by_text[1][0][1]]
    np.testing.assert_allclose(encoder.mean_vectors(texts), torch.stack(wanted), rtol=1e-5)


def test_texts_of_many_lengths_come_back_in_their_order(bench: Bench) -> None:
    texts = ["alpha " * (number % 7 + 1) + "disk" for number in range(30)]
    together = bench.encoder.mean_vectors(texts)
    alone = np.concatenate([bench.encoder.mean_vectors([text]) for text in texts])
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-6)


def test_a_text_without_words_has_the_vector_0_and_a_long_one_is_cut(bench: Bench) -> None:
    short, long = bench.encoder.mean_vectors(["", "alpha " * 50])
    assert not short.any()
    assert np.isfinite(long).all()
    assert MAX_TEXT_TOKENS == 100


def test_no_texts_are_no_vectors(bench: Bench) -> None:
    assert len(bench.encoder.mean_vectors([])) == 0

import numpy as np
import torch
from torch import Tensor

from logllm_core.model import POOLINGS
from logllm_core.model.assemble import text_encoder
from logllm_core.model.encoders import IdEncoder, TextEncoder
from logllm_core.model.message_tokens import MessageTokens
from tests import tiny

TEXTS = ["alpha read ok", "beta", "gamma disk failed read write ok ok ok", "delta write"]


def test_a_text_encoder_gives_a_row_a_message_in_the_order_of_its_groups() -> None:
    torch.manual_seed(0)
    encoder = text_encoder(tiny.encoder()).eval()
    vocabulary = tiny.vocabulary(TEXTS)
    groups = vocabulary.encoder_input(np.array([1, 3, 0, 2]))
    # 3, 4, 5 and 10 tokens with [CLS] and [SEP]: 4 <= 1.5 * 3 < 5, and 10 > 1.5 * 5.
    assert [len(group.token_ids_ML) for group in groups] == [2, 1, 1]
    found = encoder(groups)
    assert found.shape == (4, tiny.ENCODER_WIDTH)
    for row, message_id in enumerate([1, 3, 0, 2]):
        alone = encoder(vocabulary.encoder_input(np.array([message_id])))
        torch.testing.assert_close(found[row], alone[0], rtol=1e-5, atol=1e-6)
    assert len(set(found[:, 0].tolist())) == 4


def test_a_text_encoder_gives_the_pooled_output_and_heeds_no_padding() -> None:
    torch.manual_seed(0)
    encoder = text_encoder(tiny.encoder()).eval()
    tokens = torch.tensor([[2, 5, 3]])
    expected = encoder.bert(input_ids=tokens).pooler_output
    padded = MessageTokens(
        token_ids_ML=torch.tensor([[2, 5, 3, 7, 7]]),  # whatever is there
        is_token_ML=torch.tensor([[True, True, True, False, False]]),
    )
    torch.testing.assert_close(encoder((padded,)), expected, rtol=1e-5, atol=1e-6)


def test_the_mean_and_the_state_of_cls_are_of_a_message_s_own_tokens_alone() -> None:
    torch.manual_seed(0)
    bert = tiny.encoder().train(False)
    states_LE = bert(input_ids=torch.tensor([[2, 5, 3]])).last_hidden_state[0]
    padded = MessageTokens(
        token_ids_ML=torch.tensor([[2, 5, 3, 7, 7]]),
        is_token_ML=torch.tensor([[True, True, True, False, False]]),
    )
    found = {name: TextEncoder(bert, name)((padded,))[0] for name in POOLINGS}
    mean_E = (states_LE[0] + states_LE[1] + states_LE[2]) / 3
    torch.testing.assert_close(found["mean"], mean_E, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found["cls"], states_LE[0], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(found["mean"], found["pooler"], atol=0.01)
    assert not torch.allclose(found["cls"], found["pooler"], atol=0.01)


def encoder_of(*known_ids: int) -> IdEncoder:
    torch.manual_seed(0)
    return IdEncoder(torch.tensor(known_ids), 3)


def rows(encoder: IdEncoder, *message_ids: int) -> Tensor:
    found = encoder(torch.tensor(message_ids))
    assert isinstance(found, Tensor)
    return found


def test_each_known_id_has_a_vector_of_its_own_whatever_their_order() -> None:
    encoder = encoder_of(70, 5, 900)
    assert encoder.known_ids.tolist() == [5, 70, 900]
    assert torch.equal(rows(encoder, 900, 5, 70, 5), encoder.embedding.weight[[2, 0, 1, 0]])
    assert encoder.embedding.weight.shape == (4, 3)  # and one for all that are not known


def test_ids_that_are_not_known_have_the_vector_0_below_between_and_above() -> None:
    found = rows(encoder_of(70, 5, 900), 0, 4, 6, 69, 71, 901, 100_000)
    assert found.shape == (7, 3)
    assert not found.any()


def test_ids_that_are_not_known_learn_nothing_and_move_nothing() -> None:
    encoder = encoder_of(1, 2)
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=0.1, weight_decay=0.1)
    before = encoder.embedding.weight.detach().clone()
    torch.autograd.backward(rows(encoder, 1, 1, 7).sum())
    assert encoder.embedding.weight.grad is not None
    # Message 1 occurs twice, message 2 not at all, and 7 is not known.
    assert encoder.embedding.weight.grad[:, 0].tolist() == [2.0, 0.0, 0.0]
    optimizer.step()
    assert not rows(encoder, 7).any()
    assert not torch.equal(encoder.embedding.weight[0], before[0])

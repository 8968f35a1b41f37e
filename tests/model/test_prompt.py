import pytest

from logllm_core.model.prompt import ANSWERS, INTRODUCTION, QUESTION, tokenize_prompt
from tests import tiny


def test_a_tokenizer_with_bos_puts_it_once_and_first() -> None:
    prompt = tokenize_prompt(tiny.decoder_tokenizer(has_bos=True))
    everything = prompt.introduction + prompt.question + prompt.answers[0]
    assert prompt.introduction[0] == 1
    assert everything.count(1) == 1


@pytest.mark.parametrize("has_bos", [True, False])
def test_no_word_is_lost_with_or_without_bos(has_bos: bool) -> None:
    tokenizer = tiny.decoder_tokenizer(has_bos=has_bos)
    prompt = tokenize_prompt(tokenizer)
    for tokens, text in (
        (prompt.introduction[has_bos:], INTRODUCTION),
        (prompt.question, QUESTION),
        (prompt.answers[0][:-1], ANSWERS[0]),
        (prompt.answers[1][:-1], ANSWERS[1]),
    ):
        words = tokenizer.convert_ids_to_tokens(list(tokens))
        assert "".join(words) == text.replace(" ", "")


def test_answers_end_in_eos_and_part_at_the_fourth_token() -> None:
    prompt = tokenize_prompt(tiny.decoder_tokenizer())
    assert all(answer[-1] == 2 for answer in prompt.answers)
    assert prompt.num_shared_answer_tokens == 3  # "The sequence is"


def test_the_question_ends_in_a_backslash_and_an_n_as_in_the_paper() -> None:
    assert QUESTION.endswith(" \\n")
    assert "\n" not in QUESTION

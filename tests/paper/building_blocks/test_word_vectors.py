from math import log

import numpy as np
import pytest

from logllm_core.paper.building_blocks.interface import Bench, Events
from logllm_core.paper.building_blocks.message_vectors import Vectors
from logllm_core.paper.building_blocks.word_vectors import centred, template_vectors, words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("PacketResponder <*> for block blk_<*>", "packet responder for block blk"),
        ("NameSystem.addStoredBlock: HTTPServer2", "name system add stored block http server"),
        ("r00_b7: 17 errors, 0xdeadbeef", "r b errors xdeadbeef"),
        ("Überlauf", "überlauf"),
        ("<*> 42 ---", ""),
        ("", ""),
    ],
)
def test_words_are_runs_of_letters_split_at_their_capitals(text: str, words: str) -> None:
    assert words_of(text) == words.split()


def test_a_vector_is_the_mean_of_the_words_by_their_tf_idf(bench: Bench) -> None:
    events = Events(
        texts=["the read of disk", "read alpha Alpha", "write <*>", "failed disk"], num_known=3
    )
    words_WE = bench.encoder.mean_vectors(["read", "disk", "alpha", "write", "failed"])
    words_WE -= words_WE[:4].mean(axis=0)
    read, disk, alpha, write, failed = words_WE
    wanted = [
        # Of two words each is half; "read" is in two events of three.
        (1 / 2 * log(3 / 2) * read + 1 / 2 * log(3) * disk) / 2,
        (1 / 3 * log(3 / 2) * read + 2 * (2 / 3 * log(3) * alpha)) / 3,
        log(3) * write,
        (1 / 2 * log(4) * failed + 1 / 2 * log(3) * disk) / 2,  # "failed" is in no known one
    ]
    size = np.sqrt((np.array(wanted[:3]) ** 2).mean())
    found = template_vectors(events, bench.encoder)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted / size, rtol=1e-4, atol=1e-5)


def test_known_words_lie_around_0() -> None:
    vectors_WE = np.array([[5, 1], [5, 5], [9, 3]], dtype=np.float32)
    found = centred(vectors_WE, np.array([True, True, False]))  # these two have the mean (5, 3)
    np.testing.assert_allclose(found, [[0, -2], [0, 2], [4, 0]])
    assert centred(vectors_WE, np.zeros(3, dtype=bool)) is vectors_WE


def test_each_word_is_encoded_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[str] = []
    encode = bench.encoder.mean_vectors

    def noting(texts: list[str]) -> Vectors:
        encoded.extend(texts)
        return encode(texts)

    monkeypatch.setattr(bench.encoder, "mean_vectors", noting)
    texts = ["read disk", "disk read ok", "not ok", "the read"]
    template_vectors(Events(texts=texts, num_known=2), bench.encoder)
    assert encoded == ["disk", "not", "ok", "read"]


def test_an_event_without_words_has_the_vector_0(bench: Bench) -> None:
    texts = ["read alpha", "<*> 17", "read beta"]
    found = template_vectors(Events(texts=texts, num_known=3), bench.encoder)
    assert not found[1].any()
    assert found[0].any()
    wordless = template_vectors(Events(texts=["<*>", "7"], num_known=1), bench.encoder)
    assert wordless.shape == (2, 1)
    assert not wordless.any()


def test_a_new_event_differs_from_the_only_known_one(bench: Bench) -> None:
    known, new = template_vectors(
        Events(texts=["read alpha", "failed disk"], num_known=1), bench.encoder
    )
    assert not known.any()  # what stands in every event tells nothing
    assert new.any()

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import logit

from logllm_core import tables
from logllm_core.daily.detect.verdict_rows import verdicts
from logllm_core.errors import LogLLMError
from logllm_core.logs.messages.log_messages import read_vocabulary
from logllm_core.logs.windows.message_windows import NewWindows
from logllm_core.logs.windows.window_artifact import read_windows
from logllm_core.model import Embedder
from logllm_core.scoring import judge as judging
from logllm_core.scoring import new_log_judge, read_messages
from logllm_core.scoring.answer_cache import Memory
from logllm_core.scoring.judge import Judgements
from logllm_core.scoring.localize import contributions
from logllm_core.scoring.new_log_judge import NewLogJudge
from logllm_core.training.trained_model import load_model
from tests.daily.new_logs import MIDDLE
from tests.scoring.new_windows import Judgement, each, judgements, new_windows
from tests.scoring.setting import CPU, Setting, prepare


def judge_of(setting: Setting, **changes: Any) -> NewLogJudge:
    values: dict[str, Any] = {
        "folders": setting.folders,
        "recipe": setting.recipe,
        "trained": setting.trained,
        "known_texts": None,
        "memory": Memory(setting.store.data_dir / "scores"),
    }
    return NewLogJudge(**values | changes)


def rows(windows: NewWindows, judged: Judgements) -> list[dict[str, Any]]:
    """The verdicts as they are written."""
    table = verdicts(windows, judged, None, log_id="0" * 16, source="app.log", model="f" * 16)
    found: list[dict[str, Any]] = table.to_pylist()
    return found


def asked_about(judge: NewLogJudge, *windows: Sequence[str]) -> list[Judgement]:
    return each(judge.judge(new_windows(*windows)))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[int]]:
    """How many windows were scored and localized and messages encoded, call by call."""
    found: dict[str, list[int]] = {"score_log_odds": [], "contributions": [], "encode_messages": []}
    for name, calls in found.items():
        module = read_messages if name == "encode_messages" else judging
        real = getattr(module, name)

        def counted(*given: Any, real: Any = real, calls: list[int] = calls) -> Any:
            calls.append(len(given[2]))
            return real(*given)

        monkeypatch.setattr(module, name, counted)
    return found


@pytest.fixture(autouse=True)
def _middling_decision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "DECISION", MIDDLE)


@pytest.mark.parametrize(
    ("embedder", "limits"),
    [
        ("encoder", {}),
        ("encoder", {"max_window_messages": 3}),
        ("none", {}),
        ("none", {"max_window_tokens": 7}),
    ],
)
def test_verdicts_are_those_of_the_batch_predictions(
    tmp_path: Path, embedder: Embedder, limits: dict[str, Any]
) -> None:
    setting = prepare(tmp_path, embedder=embedder, **limits)
    texts = read_vocabulary(setting.messages)
    test = read_windows(setting.windows, "test")
    part = setting.predict().path / "split=test"
    wanted = tables.read(part, tables.PREDICTIONS)["probability"].to_numpy()
    windows = new_windows(*([texts[message] for message in ids] for ids in test.message_ids))
    judged = judge_of(setting).judge(windows)
    assert np.abs(judged.probabilities - wanted).max() < 1e-6


@pytest.mark.parametrize("embedder", ["encoder", "none"])
def test_contributions_are_those_of_the_same_windows_in_the_training_log(
    tmp_path: Path, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "DECISION", 0.0)  # all are flagged
    setting = prepare(tmp_path, embedder=embedder)
    texts = read_vocabulary(setting.messages)
    ids = read_windows(setting.windows, "test").message_ids
    model, collator = load_model(
        setting.folders,
        setting.recipe,
        setting.trained,
        messages=setting.messages,
        windows=setting.windows,
        device=CPU,
    )
    wanted = contributions(model, collator, ids)
    judged = asked_about(judge_of(setting), *([texts[m] for m in window] for window in ids))
    for window_ids, contributed, judgement in zip(ids, wanted, judged, strict=True):
        by_place = {window_ids.index(message): value for message, value in contributed.items()}
        assert judgement.contributions == pytest.approx(by_place, abs=1e-5)


def test_only_flagged_windows_have_contributions(tmp_path: Path) -> None:
    setting = prepare(tmp_path)
    texts = read_vocabulary(setting.messages)
    ids = read_windows(setting.windows, "train").message_ids
    judged = asked_about(judge_of(setting), *([texts[m] for m in window] for window in ids))
    assert {one.is_flagged for one in judged} == {True, False}
    for one in judged:
        assert (one.contributions is not None) == one.is_flagged


def test_a_window_that_repeats_is_scored_once_and_a_message_encoded_once(
    tmp_path: Path, asked: dict[str, list[int]]
) -> None:
    judge = judge_of(prepare(tmp_path))
    first = asked_about(judge, ["alpha", "beta"], ["alpha", "beta"], ["beta"])
    assert asked["score_log_odds"] == [2]
    assert asked["encode_messages"] == [2]
    assert [one.is_reused for one in first] == [False, True, False]
    again = asked_about(judge, ["beta"], ["gamma", "beta"])
    assert asked["score_log_odds"] == [2, 1]
    assert asked["encode_messages"] == [2, 1]
    assert [one.is_reused for one in again] == [True, False]
    assert again[0].probability == first[2].probability
    assert again[0].contributions == first[2].contributions


def test_after_a_restart_nothing_is_asked_again(
    tmp_path: Path, asked: dict[str, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "DECISION", 0.0)
    setting = prepare(tmp_path)
    windows = [["alpha", "beta"], ["beta", "gamma"]]
    first = asked_about(judge_of(setting), *windows)
    num_asked = {name: len(calls) for name, calls in asked.items()}
    again = asked_about(judge_of(setting), *windows)
    assert {name: len(calls) for name, calls in asked.items()} == num_asked
    assert [one.probability for one in again] == [one.probability for one in first]
    assert [one.contributions for one in again] == [one.contributions for one in first]
    assert all(one.is_reused for one in again)


def test_of_too_many_flagged_windows_the_first_are_localized(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "DECISION", 0.0)
    monkeypatch.setattr(new_log_judge, "MAX_LOCALIZED", 3)
    judge = judge_of(prepare(tmp_path))
    texts = ["alpha", "beta", "gamma", "delta", "ok"]
    localized = []
    for given in (texts[:2], texts[2:], ["alpha"]):
        judged = asked_about(judge, *([text] for text in given))
        localized += [judgement.contributions is not None for judgement in judged]
    assert localized == [True, True, True, False, False, True]
    tomorrow = time.monotonic() + new_log_judge.DAY_SECONDS
    monkeypatch.setattr(time, "monotonic", lambda: tomorrow)
    assert asked_about(judge, ["ok"])[0].contributions is not None


def test_excerpts_of_long_windows_that_repeat_are_scored_once(
    tmp_path: Path, asked: dict[str, list[int]]
) -> None:
    judge = judge_of(prepare(tmp_path, max_window_messages=2))
    # (alpha, beta) and (gamma); (alpha, beta) and (delta)
    asked_about(judge, ["alpha", "beta", "gamma"], ["alpha", "beta", "delta"])
    assert (asked["score_log_odds"], asked["encode_messages"]) == ([3], [4])
    longer, other = asked_about(
        judge, ["alpha", "beta", "delta", "gamma"], ["alpha", "beta", "gamma"]
    )
    assert asked["score_log_odds"] == [3, 1]  # (delta, gamma)
    assert (longer.is_reused, other.is_reused) == (False, True)


def test_of_a_long_window_the_most_suspicious_excerpt_decides(tmp_path: Path) -> None:
    judge = judge_of(prepare(tmp_path, max_window_messages=2))
    excerpts = [("alpha", "beta"), ("gamma", "delta"), ("ok",)]
    alone = [judgement.probability for judgement in asked_about(judge, *excerpts)]
    assert len(set(alone)) == 3
    (together,) = asked_about(judge, [text for texts in excerpts for text in texts])
    assert together.probability == max(alone)


def test_what_comes_after_300_normal_lines_is_judged_and_its_lines_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def suspects_delta(_model: object, _collator: object, windows: Any, _vectors: object) -> Any:
        return logit([0.9 if 1 in ids else 0.02 for ids in windows])  # in order of appearance

    monkeypatch.setattr(judging, "score_log_odds", suspects_delta)
    judge = judge_of(prepare(tmp_path))
    windows = new_windows(["alpha"] * 300, ["alpha"] * 300 + ["delta"] * 100, first_line=1_000)
    judged = judge.judge(windows)
    assert judged.probabilities.tolist() == pytest.approx([0.02, 0.9])
    _, row = rows(windows, judged)
    strongest = row["lines"][0]
    assert (strongest["line_number"], strongest["content"]) == (1_600, "[delta]")


@pytest.mark.parametrize(
    ("embedder", "limits"),
    [
        ("encoder", {"max_message_tokens": 4, "max_window_messages": 4}),  # two of them are marks
        ("none", {"max_window_tokens": 2}),
    ],
)
def test_lines_that_are_longer_than_the_model_reads_are_counted_each_once(
    tmp_path: Path, embedder: Embedder, limits: dict[str, Any]
) -> None:
    setting = prepare(tmp_path, embedder=embedder, **limits)
    windows = [
        ["alpha", "beta ok"],
        [*["alpha"] * 3, "beta ok failed", "alpha", "beta ok failed"],
    ]
    for _ in range(2):  # as it is scored, and as it is remembered
        judged = asked_about(judge_of(setting), *windows)
        assert [one.num_cut_lines for one in judged] == [0, 2]


def test_lines_with_a_message_of_no_training_line_are_counted(tmp_path: Path) -> None:
    judge = judge_of(prepare(tmp_path), known_texts={"alpha", "beta"})
    windows = new_windows(["alpha", "omega", "beta", "omega"], ["beta"], ["omega"])
    counts = judge.num_unseen_lines(windows)
    assert counts is not None
    assert counts.tolist() == [2, 0, 1]


def test_without_the_training_vocabulary_nothing_is_counted(tmp_path: Path) -> None:
    assert judge_of(prepare(tmp_path)).num_unseen_lines(new_windows(["alpha"])) is None


def test_a_model_that_knows_messages_by_their_ids_is_refused(tmp_path: Path) -> None:
    setting = prepare(tmp_path, embedder="message-id")
    with pytest.raises(LogLLMError, match=r"by their ids in its training log.*promote"):
        judge_of(setting)


def test_no_windows_are_no_question(tmp_path: Path, asked: dict[str, list[int]]) -> None:
    assert asked_about(judge_of(prepare(tmp_path))) == []
    assert not any(asked.values())


def test_lines_that_carried_a_verdict_come_strongest_first_each_message_once() -> None:
    windows = new_windows(["a", "b", "a", "c", "d"], first_line=7)
    (row,) = rows(windows, judgements({0: 0.5, 1: 2.0, 3: -1.0, 4: 0.1}, num_cut_lines=3))
    # "c" speaks against it; "d" contributed less than a tenth of what "b" did
    assert row["lines"] == [
        {"line_number": 8, "content": "[b]", "contribution": 2.0},
        {"line_number": 7, "content": "[a]", "contribution": 0.5},
    ]
    assert (row["first_line"], row["last_line"], row["num_lines"]) == (7, 11, 5)
    assert row["num_cut_lines"] == 3


def test_lines_that_carried_a_long_window_are_of_the_excerpt_that_decided() -> None:
    windows = new_windows(["a", "b", "c", "a"], first_line=7)
    (row,) = rows(windows, judgements({2: 0.5, 3: 1.0}))
    assert [line["line_number"] for line in row["lines"]] == [10, 9]  # not 7, which is like 10


def test_of_many_lines_the_ten_strongest_are_named() -> None:
    texts = [f"m{n}" for n in range(12)]
    (row,) = rows(new_windows(texts), judgements({n: 10.0 + n for n in range(12)}))
    assert [line["content"] for line in row["lines"]] == [f"[m{n}]" for n in range(11, 1, -1)]


def test_not_localized_is_null_and_nothing_that_speaks_for_it_is_empty() -> None:
    first, second = rows(new_windows(["a"], ["a"]), judgements(None, {0: -1.0}))
    assert (first["lines"], second["lines"]) == (None, [])

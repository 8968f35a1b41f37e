import json
import shutil
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from logllm_core.daily.champion import decisions
from logllm_core.daily.champion.decisions import (
    champion_path,
    current_model,
    decide,
    find_champion,
    promote,
    promote_first,
    read_decisions,
)
from logllm_core.errors import LogLLMError
from logllm_core.store.intact_files import is_whole
from logllm_core.store.sealed_json import seal
from logllm_core.store.store import Store
from tests.daily.sample_champions import NAME, RECIPE, model, run


def test_without_a_decision_there_is_no_champion(store: Store) -> None:
    assert find_champion(store, NAME) is None
    with pytest.raises(LogLLMError, match=r"own has no champion in .*: logllm train own"):
        current_model(store, NAME)
    assert not store.data_dir.exists()


def test_a_promotion_names_all_that_a_detection_needs(store: Store) -> None:
    first, last = model(store, 1), model(store, 2)
    made = promote(store, report := run(store, 1, first, last), reason="It is good.")
    assert find_champion(store, NAME) == made
    assert made.run == report.fingerprint
    assert (made.trained, made.stages) == (last.fingerprint, (first.fingerprint, last.fingerprint))
    assert made.messages == report.manifest["inputs"]["messages"]
    assert made.windows == report.manifest["inputs"]["windows"]
    assert (made.recipe, made.backbones) == (RECIPE, "small")
    assert (made.is_promoted, made.reason, made.previous) == (True, "It is good.", None)
    age = datetime.now(UTC) - datetime.fromisoformat(made.decided)
    assert timedelta(0) <= age < timedelta(minutes=2)
    assert current_model(store, NAME) == last


def test_the_first_is_promoted_and_a_later_one_only_when_asked(store: Store) -> None:
    first, later = run(store, 1, model(store, 1)), run(store, 2, model(store, 2))
    assert promote_first(store, first).run == first.fingerprint
    assert promote_first(store, later).run == first.fingerprint
    assert len(read_decisions(store, NAME).decisions) == 1
    promote(store, later, reason="Newer.")
    assert find_champion(store, NAME).run == later.fingerprint  # type: ignore[union-attr]
    promote(store, first, reason="Back.")
    assert find_champion(store, NAME).run == first.fingerprint  # type: ignore[union-attr]


def test_one_that_is_turned_down_leaves_the_champion_and_counts_as_considered(store: Store) -> None:
    first = promote(store, run(store, 1, model(store, 1)), reason="First.")
    second = run(store, 2, model(store, 2))
    made = decide(store, second, is_promoted=False, reason="Worse.", over=first)
    assert find_champion(store, NAME) == first
    assert read_decisions(store, NAME).considered == {first.windows, made.windows}


def test_a_decision_against_a_champion_of_yesterday_is_refused(store: Store) -> None:
    first = promote(store, run(store, 1, model(store, 1)), reason="First.")
    promote(store, run(store, 2, model(store, 2)), reason="By hand, meanwhile.")
    third, before = run(store, 3, model(store, 3)), champion_path(store, NAME).read_bytes()
    for is_promoted in (True, False):
        with pytest.raises(LogLLMError, match=r"has changed while .* Nothing was decided"):
            decide(store, third, is_promoted=is_promoted, reason="Late.", over=first)
    assert champion_path(store, NAME).read_bytes() == before


def test_a_run_whose_model_is_gone_or_damaged_is_not_promoted(store: Store) -> None:
    weights = model(store, 1)
    report = run(store, 1, weights)
    (weights.path / "weights").write_text("longer than before")
    with pytest.raises(LogLLMError, match=rf"model {weights.fingerprint} .* is gone from"):
        promote(store, report, reason="Why not.")
    (weights.path / "weights").write_text("2")  # for a 1: its size is right
    with pytest.raises(LogLLMError, match=r"is damaged: weights is .* logllm verify --repair"):
        promote(store, report, reason="Why not.")
    shutil.rmtree(weights.path)
    with pytest.raises(LogLLMError, match=r"is gone from .*, or damaged"):
        promote(store, report, reason="Why not.")
    assert not champion_path(store, NAME).exists()


def test_the_line_goes_back_to_the_model_that_began_from_scratch(store: Store) -> None:
    """0 -> 1 -> 2 is the line of the champion; 3 went on from 1, too, and is not of it."""
    models = [model(store, 0)]
    models += [model(store, 1, previous=models[0])]
    models += [model(store, number, previous=models[1]) for number in (2, 3)]
    for number in (0, 1, 3, 2):
        promote(store, run(store, number, models[number]), reason="Next.")
    line = [made.trained for made in read_decisions(store, NAME).lineage]
    assert line == [models[number].fingerprint for number in (2, 1, 0)]
    # The models that it goes back to need not be there any more.
    for gone in models[:2]:
        shutil.rmtree(gone.path)
    assert [made.trained for made in read_decisions(store, NAME).lineage] == line


def test_a_reader_sees_the_old_champion_or_the_new_one(store: Store) -> None:
    runs = [run(store, number, model(store, number)) for number in range(2)]
    known = {report.fingerprint for report in runs}
    promote(store, runs[0], reason="First.")
    seen: list[str] = []
    is_over = threading.Event()

    def read() -> None:
        while not is_over.is_set():
            found = find_champion(store, NAME)
            seen.append(found.run if found else "nothing")

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(20):
            promote(store, runs[number % 2], reason="Once more.")
    finally:
        is_over.set()
        reader.join()
    assert len(seen) > 10
    assert set(seen) <= known


def test_decisions_at_once_are_all_remembered(store: Store) -> None:
    runs = [run(store, number, model(store, number)) for number in range(8)]
    threads = [
        threading.Thread(target=promote, args=(store, report), kwargs={"reason": "Me."})
        for report in runs
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    decided = [made.run for made in read_decisions(store, NAME).decisions]
    assert sorted(decided) == sorted(report.fingerprint for report in runs)


def test_a_file_that_was_cut_off_while_it_was_written_does_not_count(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = promote(store, run(store, 1, model(store, 1)), reason="First.")
    other = run(store, 2, model(store, 2))

    def cut_off(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", cut_off)
    with pytest.raises(KeyboardInterrupt):
        promote(store, other, reason="Second.")
    monkeypatch.undo()
    assert find_champion(store, NAME) == first
    promote(store, other, reason="Second.")
    assert find_champion(store, NAME).run == other.fingerprint  # type: ignore[union-attr]
    assert not list(champion_path(store, NAME).parent.glob("*.writing"))


def seal_as(content: bytes, old: bytes, new: bytes) -> bytes:
    """As another version might write it."""
    values = json.loads(content.replace(old, new))
    return seal({name: value for name, value in values.items() if name != "checksum"})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda content: content[:-20], "is damaged"),
        (lambda content: content.replace(b"normal or", b"anormal or"), "is damaged: its checksum"),
        (lambda content: seal_as(content, b'"decided"', b'"made"'), "no such setting"),
        (lambda content: seal_as(content, b'"trained": "', b'"trained": "../../'), "trained"),
    ],
)
def test_a_damaged_file_is_one_error(
    store: Store, change: Callable[[bytes], bytes], words: str
) -> None:
    promote(store, run(store, 1, model(store, 1)), reason="First.")
    path = champion_path(store, NAME)
    assert change(path.read_bytes()) != path.read_bytes()
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(LogLLMError, match=words) as fault:
        find_champion(store, NAME)
    assert str(path) in str(fault.value)


def test_a_retraining_waits_for_the_one_that_is_under_way(store: Store) -> None:
    promote(store, run(store, 1, model(store, 1)), reason="First.")
    order: list[str] = []
    is_waiting = threading.Event()

    def second() -> None:
        is_waiting.set()
        with decisions.retraining(store, NAME):
            order.append("second")

    with decisions.retraining(store, NAME):
        thread = threading.Thread(target=second)
        thread.start()
        is_waiting.wait()
        thread.join(timeout=0.3)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_the_file_can_be_read_by_a_person(store: Store) -> None:
    made = promote(store, run(store, 1, model(store, 1)), reason="First.")
    content = json.loads(champion_path(store, NAME).read_text())
    assert content["decisions"][0]["run"] == made.run
    assert is_whole(store.data_dir / "models" / NAME / made.trained)


def test_a_first_model_that_learned_too_little_is_champion_and_the_reason_says_so(
    store: Store,
) -> None:
    made = promote_first(
        store, run(store, 1, model(store, 1), shortfall="learned too little: its loss is 0.093")
    )
    assert made.is_promoted
    assert made.reason == (
        "It is the first model of this data set, but learned too little: its loss is 0.093."
    )
    assert find_champion(store, NAME) == made

"""What is removed with the models of older decisions, and what stays."""

import pytest

from logllm_core.daily.champion.decisions import current_model, decide, promote, read_decisions
from logllm_core.daily.champion.removed_models import keep_last
from logllm_core.errors import LogLLMError
from logllm_core.store.store import Kind, Store
from tests.daily.sample_champions import NAME, artifact, model, run

KINDS: tuple[Kind, ...] = ("parts", "messages", "windows", "vectors", "predictions")


def nights(store: Store) -> dict[str, list[int]]:
    """Which are left, of each kind."""
    return {
        kind: sorted(left.manifest["config"]["number"] for left in store.all(kind, NAME))
        for kind in KINDS
    }


def all_of(*numbers: int) -> dict[str, list[int]]:
    return {kind: [*numbers] for kind in KINDS}


def test_the_last_models_of_each_outcome_are_kept_and_all_reports(
    store: Store,
) -> None:
    models = [model(store, number) for number in range(6)]
    stage, strange = model(store, 10), model(store, 11)
    runs = [run(store, n, *([stage] if n in (0, 5) else []), models[n]) for n in range(6)]
    for number, is_promoted in enumerate([True, True, False, True, False, True]):
        decide(store, runs[number], is_promoted=is_promoted, reason="So.")
    reports = {path: path.read_bytes() for path in store.data_dir.glob("runs/**/manifest.json")}

    removed = keep_last(store, NAME, 2)
    # Promoted were 0, 1, 3, 5, turned down 2 and 4; 5 needs the stage that 0 needed, too.
    assert removed == [models[number].fingerprint for number in (0, 1)]
    left = {found.fingerprint for found in store.all("models", NAME)}
    assert left == {m.fingerprint for m in [*models[2:], stage, strange]}
    assert {path: path.read_bytes() for path in reports} == reports
    assert not list((store.data_dir / "models" / NAME).glob("*.removed*"))
    assert keep_last(store, NAME, 2) == []

    # Back to 3, the champion is what stays.
    promote(store, runs[3], reason="Back.")
    removed = keep_last(store, NAME, 1)
    assert set(removed) == {found.fingerprint for found in (models[2], stage, models[5])}
    assert current_model(store, NAME) == models[3]
    with pytest.raises(LogLLMError, match="is gone from"):
        promote(store, runs[5], reason="Forward.")


def test_what_a_kill_left_of_a_model_is_no_model_and_goes_the_next_time(store: Store) -> None:
    promote(store, run(store, 1, model(store, 1)), reason="First.")
    half = store.data_dir / "models" / NAME / ".0123456789abcdef.removed-1"
    half.mkdir()
    (half / "weights").write_text("half")
    assert len(store.all("models", NAME)) == 1
    keep_last(store, NAME, 1)
    assert not half.exists()


def test_a_model_that_was_trained_again_can_be_removed_again(store: Store) -> None:
    models = [model(store, number) for number in range(2)]
    for number, trained in enumerate(models):
        promote(store, run(store, number, trained), reason="So.")
    half = models[0].path.with_name(f".{models[0].fingerprint}.removed-1")
    half.mkdir()
    (half / "weights").write_text("half")
    assert keep_last(store, NAME, 1) == [models[0].fingerprint]
    assert not half.exists()


def test_with_a_model_goes_what_was_made_for_it_alone(store: Store) -> None:
    """Nights 0 and 2 are promoted, 1 is turned down; then 3 is trained, and not decided about."""
    for number, is_promoted in enumerate([True, False, True]):
        report = run(store, number, model(store, number))
        decide(store, report, is_promoted=is_promoted, reason="So.")
    run(store, 3, model(store, 3))
    assert nights(store) == all_of(0, 1, 2, 3)
    keep_last(store, NAME, 1)
    assert nights(store) == all_of(1, 2, 3)
    decide(store, run(store, 4, model(store, 4)), is_promoted=False, reason="So.")
    keep_last(store, NAME, 1)
    assert nights(store) == all_of(2, 3, 4)
    assert len(store.all("runs", NAME)) == 5
    # A later model may go back to the champion of night 0, none to the candidate of night 1.
    folder = store.data_dir / "windows" / NAME
    (first, *_) = read_decisions(store, NAME).decisions
    assert [path.name for path in folder.glob("*.parquet")] == [f".{first.windows}.known.parquet"]
    assert not list(store.data_dir.rglob("*.removed*"))


@pytest.mark.parametrize("kind", ["models", "detectors"])
def test_windows_that_a_model_without_a_decision_was_trained_on_stay(
    store: Store, kind: Kind
) -> None:
    for number in range(2):
        promote(store, run(store, number, model(store, number)), reason="So.")
    (first, _) = read_decisions(store, NAME).decisions
    used = store.newest("windows", NAME, first.windows)
    assert used
    artifact(store, kind, 9, windows=used)
    keep_last(store, NAME, 1)
    assert nights(store) == all_of(0, 1)


def test_predictions_of_a_model_that_is_gone_go_though_their_windows_stay(store: Store) -> None:
    models = [model(store, number) for number in range(2)]
    for number, trained in enumerate(models):
        promote(store, run(store, number, trained), reason="So.")
        artifact(store, "predictions", 10 + number, trained=trained)
    keep_last(store, NAME, 1)
    assert nights(store)["predictions"] == [1, 11]

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from logllm_core.daily.champion.decisions import champion_path, find_champion, promote
from logllm_core.daily.ledger.cursors import Cursor, Part, new_dir, write_cursor
from logllm_core.errors import LogLLMError
from logllm_core.store.intact_files import is_whole, sha256_of
from logllm_core.store.store import Artifact, Store
from logllm_core.verification import verify
from tests.daily.sample_champions import NAME, model, run


def build(out_dir: Path) -> Mapping[str, Any]:
    (out_dir / "table").write_text("normal")
    return {}


def obtain(store: Store) -> Artifact:
    wanted: dict[str, Any] = {"config": {}, "inputs": {}, "version": 1}
    return store.reuse_or_build("messages", "own", **wanted, build=build)


def test_what_is_whole_is_counted(store: Store) -> None:
    obtain(store)
    promote(store, run(store, 1, model(store, 1)), reason="First.")
    verified = verify(store, is_repairing=False)
    num_manifests = len(list(store.data_dir.rglob("manifest.json")))
    assert (verified.num_artifacts, verified.num_records) == (num_manifests, 1)
    assert verified.damages == ()


def test_damage_is_told_and_left_alone(store: Store) -> None:
    artifact = obtain(store)
    (artifact.path / "table").write_text("normaL")
    (damage,) = verify(store, is_repairing=False).damages
    assert (damage.path, damage.set_aside) == (artifact.path, None)
    assert damage.fault.startswith("table is missing or not as it was written. `logllm verify")
    assert is_whole(artifact.path)


def test_repair_sets_damage_aside_and_the_next_one_builds_anew(store: Store) -> None:
    artifact = obtain(store)
    for number in (1, 2):
        (artifact.path / "table").write_text("normaL")
        verified = verify(store, is_repairing=True)
        (damage,) = verified.damages
        assert verified.num_left == 0
        assert damage.set_aside == artifact.path.with_name(
            f".{artifact.fingerprint}.damaged-{number}"
        )
        assert (damage.set_aside / "table").read_text() == "normaL"
        assert obtain(store) == artifact
        assert (artifact.path / "table").read_text() == "normal"
        assert verify(store, is_repairing=True).damages == ()


def test_decisions_that_are_damaged_stay_where_they_are(store: Store) -> None:
    promote(store, run(store, 1, model(store, 1)), reason="First.")
    path = champion_path(store, NAME)
    path.write_bytes(path.read_bytes().replace(b"First.", b"Third."))
    verified = verify(store, is_repairing=True)
    (damage,) = verified.damages
    assert verified.num_left == 1
    assert (damage.path, damage.set_aside) == (path, None)
    assert "its checksum is missing, or another" in damage.fault
    with pytest.raises(LogLLMError, match="is damaged"):
        find_champion(store, NAME)


def test_a_damaged_table_of_verdicts_is_told_and_stays(store: Store) -> None:
    folder = new_dir(store, NAME) / "0123456789abcdef"
    folder.mkdir(parents=True)
    (folder / "part").write_text("normal")
    part = Part(name="part", num_windows=1, sha256=sha256_of(folder / "part"))
    write_cursor(folder, Cursor(source="app.log", place={}, state=None, parts=(part,)))
    assert verify(store, is_repairing=True).damages == ()
    (folder / "part").write_text("normaL")
    (damage,) = verify(store, is_repairing=True).damages
    assert (damage.path, damage.set_aside) == (folder / "part", None)
    assert f"delete {folder} to have that log judged anew" in damage.fault
    (folder / "part").unlink()
    (damage,) = verify(store, is_repairing=True).damages
    assert "No such file" in damage.fault


def test_a_folder_that_is_not_there_is_a_clear_error(store: Store) -> None:
    with pytest.raises(LogLLMError, match=r"There is no folder .*--data-dir"):
        verify(store, is_repairing=False)

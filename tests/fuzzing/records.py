"""What the program wrote for itself: damaged, it is refused with its name, or means the same."""

import atexit
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random

import pyarrow as pa

from logllm_core import tables
from logllm_core.daily.champion.decisions import champion_path, promote, read_decisions
from logllm_core.daily.ledger.cursors import CURSOR, Cursor, Part, read_cursor, write_cursor
from logllm_core.errors import LogLLMError
from logllm_core.store.intact_files import require_intact
from logllm_core.store.manifest import MANIFEST
from logllm_core.store.store import Artifact, Store
from tests.daily.sample_champions import NAME, model, run
from tests.fuzzing import hostile

VOCABULARY = {
    "message_id": [0, 1],
    "text": ["double-hummer alignment exceptions", "<*> ddr error(s) detected"],
    "num_lines": [60, 1],
    "first_line_number": [0, 7],
}
Reader = Callable[[], object]


@cache
def _readers() -> dict[Path, Reader]:
    """Of each file who reads it; what he says of the file as it was written."""
    shared = Path("/dev/shm")  # noqa: S108
    folder = Path(tempfile.mkdtemp(dir=shared if shared.is_dir() else None))
    atexit.register(shutil.rmtree, folder)
    store = Store(data_dir=folder)
    trained = model(store, 1)
    promote(store, run(store, 1, trained), reason="It is the first model of this data set.")
    logs = folder / "predictions" / NAME / "new" / "app"
    logs.mkdir(parents=True)
    parts = (Part(name="00000000.parquet", num_windows=3),)
    write_cursor(logs, Cursor(source="app.log", place={"line": 60}, state={}, parts=parts))
    table = store.reuse_or_build(
        "messages",
        NAME,
        config={"number": 3},
        inputs={},
        version=1,
        build=_build_vocabulary,
    )
    return {
        champion_path(store, NAME): lambda: read_decisions(store, NAME),
        logs / CURSOR: lambda: read_cursor(logs),
        trained.path / MANIFEST: lambda: trained.manifest,
        trained.path / "weights": lambda: _whole(trained),
        table.path / "vocabulary.parquet": lambda: _whole(table),
        table.path / MANIFEST: lambda: _whole(table),
    }


def _whole(artifact: Artifact) -> object:
    """What an artifact tells of itself, to who builds on it."""
    require_intact(artifact.path)
    return artifact.manifest


def _build_vocabulary(out_dir: Path) -> dict[str, object]:
    vocabulary = pa.table(VOCABULARY, tables.VOCABULARY)
    tables.write(out_dir / "vocabulary.parquet", vocabulary, tables.VOCABULARY)
    return {}


def fuzz(random: Random) -> list[str]:
    """One file with a flipped bit, or changed more."""
    path, read = random.choice(list(_readers().items()))
    written, wanted = path.read_bytes(), read()
    changed = _changed(random, written)
    path.write_bytes(changed)
    refusal = found = None
    try:
        found = read()
    except LogLLMError as fault:
        refusal = str(fault)
    finally:
        path.write_bytes(written)
    if refusal is not None:
        assert path.name in refusal, refusal
        return ["refused by name"]
    assert found == wanted, f"{path.name} passed for whole: {changed!r}"
    return ["unchanged" if changed == written else "changed in nothing that counts"]


def _changed(random: Random, content: bytes) -> bytes:
    kind = random.random()
    if kind < 0.7:
        flipped = bytearray(content)
        flipped[random.randrange(len(flipped))] ^= 1 << random.randrange(8)
        return bytes(flipped)
    if kind < 0.8:
        return content[: random.randrange(len(content))]
    if kind < 0.85:
        return random.choice((b"", b"null", b"[]", b"{}", b'{"a":' * 9_999, b"\xff\xfe"))
    return hostile.changed(random, content)

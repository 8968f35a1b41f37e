"""What a model was asked before: answers about windows, and encoder vectors of messages.

A cache in one SQLite file a model, `scores/<data set>/<trained stage>/`. It may be deleted at any
time, by hand too: what it does not know is computed. It is bounded, the oldest goes first.
"""

import hashlib
import shutil
import sqlite3
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from loguru import logger

from logllm_core.store.store import Artifact, Store

VERSION = 3  # raise when a score or a vector would be another
# So many are kept: about 100 MB of windows, and 150 MB of vectors at BERT's width.
LIMITS: Mapping[str, int] = {"windows": 500_000, "vectors": 50_000}
CHUNK = 500  # digests of one query; older SQLite takes no more than 999 parameters
LOCKED_SECONDS = 30.0


class Memory:
    """Payloads by digest, of each kind in `LIMITS`.

    A file that is damaged is told and begun anew; one that cannot be written is told once, and the
    work goes on without it.
    """

    def __init__(self, folder: Path, content: str = "") -> None:
        """`content` tells the weights that answered from any other of the same fingerprint."""
        self._path = folder / _name(content)
        self._has_told = False
        self._connection = self._open()

    def recall(self, kind: str, digests: Iterable[bytes]) -> dict[bytes, bytes]:
        """The payloads that are known of these digests."""
        wanted = list(digests)
        payloads: dict[bytes, bytes] = {}
        try:
            for start in range(0, len(wanted), CHUNK):
                chunk = wanted[start : start + CHUNK]
                rows = self._connection.execute(
                    f"select digest, payload, checksum from {_table(kind)}"
                    f" where digest in ({','.join('?' * len(chunk))})",
                    chunk,
                )
                payloads |= {
                    digest: payload
                    for digest, payload, checksum in rows
                    if checksum == _checksum(digest, payload)
                }
        except sqlite3.Error as fault:
            self._mend(fault)
        return payloads

    def remember(self, kind: str, payloads: Mapping[bytes, bytes]) -> None:
        """Keep these payloads, in place of what was known of the same digests."""
        if not payloads:
            return
        rows = [(key, value, _checksum(key, value)) for key, value in payloads.items()]
        table = _table(kind)
        try:
            with self._connection:  # one transaction
                self._connection.executemany(
                    f"insert or replace into {table} (digest, payload, checksum) values (?, ?, ?)",
                    rows,
                )
                self._connection.execute(
                    f"delete from {table} where rowid <= (select max(rowid) from {table}) - ?",
                    [LIMITS[kind]],
                )
        except sqlite3.Error as fault:
            self._mend(fault)

    def close(self) -> None:
        self._connection.close()

    def _open(self) -> sqlite3.Connection:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            return _connected(str(self._path))
        except (sqlite3.Error, OSError) as fault:
            return self._anew(fault)

    def _mend(self, fault: sqlite3.Error) -> None:
        """A damaged file is begun anew; where writing is refused, what is there still answers."""
        if isinstance(fault, sqlite3.OperationalError):  # full, locked, read-only
            self._tell(fault)
            return
        self._connection.close()
        self._connection = self._anew(fault)

    def _anew(self, fault: Exception) -> sqlite3.Connection:
        self._tell(fault)
        if isinstance(fault, sqlite3.DatabaseError):
            try:
                self._path.unlink(missing_ok=True)
                return _connected(str(self._path))
            except (sqlite3.Error, OSError):
                pass
        return _connected(":memory:")

    def _tell(self, fault: Exception) -> None:
        if not self._has_told:
            logger.warning(
                "{} is not used as it is: {}. What it held is computed", self._path, fault
            )
        self._has_told = True


def open_memory(store: Store, trained: Artifact) -> Memory:
    """The memory of a trained stage; that of models which are gone goes, and that of before."""
    folder = store.data_dir / "scores" / trained.dataset
    for other in folder.glob("*"):
        if not (store.data_dir / "models" / trained.dataset / other.name).exists():
            shutil.rmtree(other, ignore_errors=True)
    of_model, content = folder / trained.fingerprint, _content_of(trained)
    for path in of_model.glob("memory-*"):
        if not path.name.startswith(_name(content)):
            path.unlink(missing_ok=True)
    return Memory(of_model, content)


def _content_of(trained: Artifact) -> str:
    """The checksums of a stage's files in short; those of its backbones are in its fingerprint."""
    sums = sorted(file["sha256"] for file in trained.manifest["files"])
    return hashlib.sha256("".join(sums).encode()).hexdigest()[:16]


def _name(content: str) -> str:
    return f"memory-{VERSION}-{content}.sqlite"


def _connected(database: str) -> sqlite3.Connection:
    connection = sqlite3.connect(database, timeout=LOCKED_SECONDS)
    try:
        for kind in LIMITS:
            connection.execute(
                f"create table if not exists {_table(kind)}"
                " (digest blob primary key, payload blob not null, checksum integer not null)"
            )
        connection.commit()
    except BaseException:
        connection.close()
        raise
    return connection


def _table(kind: str) -> str:
    assert kind in LIMITS, kind  # nothing else may become part of a statement
    return kind


def _checksum(digest: bytes, payload: bytes) -> int:
    """SQLite does not notice a flipped bit."""
    return zlib.crc32(payload, zlib.crc32(digest))

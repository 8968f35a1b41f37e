"""What is logged of a block: the kinds of sessions, their steps, and when these come.

A session's verdict lies in steps that are missing, in steps that only failures have, and, in one
kind, in nothing but the order of its steps.
"""

from typing import NamedTuple

# {b} the block, {o} {u} the two blocks before it, {i} {p} a node and its port, {d} a digit, {z} a
# size, {k} a folder, {t} a file, {f} a folder of a disk, {n} a number
RECEIVING = "INFO dfs.DataNode$DataXceiver: Receiving block blk_{b} src: /{i}{p} dest: /{i}:50010"
ALLOCATE = "INFO dfs.FSNamesystem: BLOCK* NameSystem.allocateBlock: /user/root/{k}/{t} blk_{b}"
TERMINATING = "INFO dfs.DataNode$PacketResponder: PacketResponder {d} for block blk_{b} terminating"
RECEIVED = "INFO dfs.DataNode$PacketResponder: Received block blk_{b} of size {z} from /{i}"
STORED = (
    "INFO dfs.FSNamesystem: BLOCK* NameSystem.addStoredBlock: blockMap updated: {i}:50010 is added "
    "to blk_{b} size {z}"
)
INVALID = (
    "INFO dfs.FSNamesystem: BLOCK* NameSystem.delete: blk_{b} is added to invalidSet of {i}:50010"
)
DELETING = "INFO dfs.FSDataset: Deleting block blk_{b} file {f}/blk_{b}"
ASK_TO_DELETE = "INFO dfs.FSNamesystem: BLOCK* ask {i}:50010 to delete blk_{b} blk_{o} blk_{u}"
SERVED = "INFO dfs.DataNode$DataXceiver: {i}:50010 Served block blk_{b} to /{i}"
NOT_SERVED = "WARN dfs.DataNode$DataXceiver: {i}:50010:Got exception while serving blk_{b} to /{i}:"
VERIFIED = "INFO dfs.DataBlockScanner: Verification succeeded for blk_{b}"
ASK_TO_COPY = (
    "INFO dfs.FSNamesystem: BLOCK* ask {i}:50010 to replicate blk_{b} to datanode(s) {i}:50010"
)
COPYING = "INFO dfs.DataNode: {i}:50010 Starting thread to transfer block blk_{b} to {i}:50010"
COPIED = "INFO dfs.DataNode$DataTransfer: {i}:50010:Transmitted block blk_{b} to /{i}:50010"
RECEIVED_COPY = (
    "INFO dfs.DataNode$DataXceiver: Received block blk_{b} src: /{i}{p} dest: /{i}:50010 "
    "of size {z}"
)
MOVED = "INFO dfs.Balancer: Moved block blk_{b} of size {z} from {i}:50010 to {i}:50010"
WRITE_FAILED = (
    "INFO dfs.DataNode$DataXceiver: writeBlock blk_{b} received exception java.io.IOException: "
    "Could not read from stream"
)
RESET = (
    "INFO dfs.DataNode$BlockReceiver: Exception in receiveBlock for block blk_{b} "
    "java.io.IOException: Connection reset by peer"
)
INTERRUPTED = (
    "INFO dfs.DataNode$PacketResponder: PacketResponder {d} for block blk_{b} Interrupted."
)
TIMED_OUT = (
    "WARN dfs.DataNode$PacketResponder: PacketResponder blk_{b} {d} Exception "
    "java.net.SocketTimeoutException: {n} millis timeout while waiting for channel"
)
MIRROR_FAILED = (
    "INFO dfs.DataNode$BlockReceiver: {i}:50010:Exception writing block blk_{b} to mirror {i}:50010"
)
EMPTY_PACKET = "INFO dfs.DataNode$BlockReceiver: Receiving empty packet for block blk_{b}"
REDUNDANT = (
    "WARN dfs.FSNamesystem: BLOCK* NameSystem.addStoredBlock: Redundant addStoredBlock request "
    "received for blk_{b} on {i}:50010 size {z}"
)
NO_FILE = (
    "INFO dfs.FSNamesystem: BLOCK* NameSystem.addStoredBlock: addStoredBlock request received for "
    "blk_{b} on {i}:50010 size {z} But it does not belong to any file."
)
NOT_IN_MAP = (
    "WARN dfs.FSDataset: Unexpected error trying to delete block blk_{b}. BlockInfo not found in "
    "volumeMap."
)
COPY_FAILED = (
    "WARN dfs.DataNode$DataTransfer: {i}:50010:Failed to transfer blk_{b} to {i}:50010 got "
    "java.net.SocketException: Original Exception"
)
CLOSED = (
    "INFO dfs.DataNode$DataXceiver: writeBlock blk_{b} received exception "
    "java.nio.channels.ClosedByInterruptException"
)
OFFSET = (
    "INFO dfs.DataNode$BlockReceiver: Changing block file offset of block blk_{b} from {d} to {n} "
    "meta file offset to {d}"
)
END_OF_FILE = (
    "INFO dfs.DataNode$DataXceiver: writeBlock blk_{b} received exception java.io.EOFException"
)
REOPENED = (
    "INFO dfs.DataNode$DataXceiver: Reopen already-open Block for append blk_{b} of {n} bytes"
)
TIMED_OUT_COPY = (
    "WARN dfs.PendingReplicationBlocks$PendingReplicationMonitor: PendingReplicationMonitor timed "
    "out block blk_{b}"
)
LOST = "WARN dfs.FSNamesystem: BLOCK* NameSystem.heartbeat: no node left that holds blk_{b}"


class Step(NamedTuple):
    """A line of the session; where it repeats, each time at an instant of its own."""

    text: str
    after_seconds: float  # since the session's start, at the earliest
    spread_seconds: float = 0.0
    repeats: tuple[int, int] = (1, 1)


class SessionKind(NamedTuple):
    weight: float
    steps: tuple[Step, ...]
    is_anomalous: bool = False
    is_new: bool = False  # begins only after the split


def _opened(replicas: int) -> tuple[Step, ...]:
    """The name node's line falls anywhere among those of the replicas."""
    receiving = (Step(RECEIVING, 0.5 + replica) for replica in range(replicas))
    return (Step(ALLOCATE, 0, replicas + 0.5), *receiving)


def _closed(replicas: int) -> tuple[Step, ...]:
    return tuple(
        step
        for replica in range(replicas)
        for step in (Step(TERMINATING, 30 + replica), Step(RECEIVED, 30.5 + replica))
    )


def _stored(replicas: int, after_seconds: float = 35) -> tuple[Step, ...]:
    return (Step(STORED, after_seconds, 0.5, repeats=(replicas, replicas)),)


def _deleted(replicas: int, after_seconds: float = 300) -> tuple[Step, ...]:
    return (
        Step(INVALID, after_seconds, 0.5, repeats=(replicas, replicas)),
        Step(DELETING, after_seconds + 3, 20, repeats=(replicas, replicas)),
    )


_WRITTEN = (*_opened(3), *_closed(3), *_stored(3))
_REPLICATED = (
    *(Step(ASK_TO_COPY, 120), Step(COPYING, 123), Step(RECEIVING, 125)),
    *(Step(RECEIVED_COPY, 128), Step(COPIED, 129), Step(STORED, 132)),
)
_READ = Step(SERVED, 60, 200, repeats=(1, 4))
SESSION_KINDS = (
    SessionKind(24, _WRITTEN),
    SessionKind(54, (*_WRITTEN, *_deleted(3))),
    SessionKind(7, (*_WRITTEN, _READ, *_deleted(3))),
    SessionKind(2, (*_WRITTEN, _READ, Step(NOT_SERVED, 60, 200, repeats=(1, 2)), *_deleted(3))),
    SessionKind(6, (*_WRITTEN, Step(SERVED, 60, 200, repeats=(10, 50)))),
    SessionKind(5, (*_WRITTEN, Step(VERIFIED, 250, repeats=(1, 3)), *_deleted(3))),
    SessionKind(1.5, (*_WRITTEN, *_REPLICATED, *_deleted(4))),
    SessionKind(1, (*_WRITTEN, Step(REOPENED, 20), Step(OFFSET, 21), *_deleted(3))),
    SessionKind(0.5, (*_WRITTEN, Step(ASK_TO_DELETE, 298), *_deleted(3))),
    SessionKind(4, (*_WRITTEN, Step(MOVED, 150), *_deleted(3)), is_new=True),
    # Steps are missing.
    SessionKind(0.4, _opened(3), is_anomalous=True),
    SessionKind(0.4, (*_opened(3), *_closed(2), *_stored(2), *_deleted(2)), is_anomalous=True),
    SessionKind(0.3, (*_WRITTEN, *_deleted(3)[:1]), is_anomalous=True),
    # Exceptions.
    SessionKind(
        0.4,
        (*_opened(3), Step(WRITE_FAILED, 10), Step(RESET, 12), *_closed(2), *_stored(2)),
        is_anomalous=True,
    ),
    SessionKind(
        0.2,
        (*_opened(3), Step(END_OF_FILE, 10), Step(CLOSED, 11), *_closed(2), *_stored(2)),
        is_anomalous=True,
    ),
    SessionKind(
        0.2,
        (*_WRITTEN, *_REPLICATED[:2], Step(COPY_FAILED, 126), Step(TIMED_OUT_COPY, 280)),
        is_anomalous=True,
    ),
    SessionKind(
        0.2,
        (*_opened(3), Step(TIMED_OUT, 10), Step(INTERRUPTED, 12), *_closed(2), *_deleted(2)),
        is_anomalous=True,
    ),
    SessionKind(
        0.2,
        (*_WRITTEN, Step(MIRROR_FAILED, 20), Step(EMPTY_PACKET, 22), *_deleted(3)),
        is_anomalous=True,
    ),
    # Stored once too often, or for no file.
    SessionKind(0.4, (*_WRITTEN, Step(REDUNDANT, 40), *_deleted(3)), is_anomalous=True),
    SessionKind(
        0.2, (*_opened(3), *_closed(3), *_deleted(3, 33), Step(NO_FILE, 37)), is_anomalous=True
    ),
    SessionKind(0.2, (*_WRITTEN, *_deleted(3), Step(NOT_IN_MAP, 330)), is_anomalous=True),
    # The lines of a normal session in another order: deleted before it was stored.
    SessionKind(
        0.4, (*_opened(3), *_closed(3), *_deleted(3, 35), *_stored(3, 70)), is_anomalous=True
    ),
    SessionKind(0.5, (*_WRITTEN, Step(LOST, 100), *_deleted(3)), is_anomalous=True, is_new=True),
)
# A block of older days, read as often as lines are wanting at the log's end.
REST = Step(SERVED, 1)

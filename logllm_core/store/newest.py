"""Which artifact of a kind and data set is in use: the one that was built or reused last.

The time of its manifest says when that was.
"""

import os
import time
from contextlib import suppress
from operator import itemgetter
from pathlib import Path

from logllm_core.store.manifest import MANIFEST

CLOCK_STEP_NS = 1_000_000  # that any file system can tell apart


def newest_first(folder: Path) -> dict[Path, int]:
    """The artifacts of one kind and data set, whole or not, and when each was built or reused."""
    times = {}
    for path in folder.glob(f"[!.]*/{MANIFEST}"):
        with suppress(FileNotFoundError):  # removed this moment
            times[path.parent] = path.stat().st_mtime_ns
    return dict(sorted(times.items(), key=itemgetter(1), reverse=True))


def mark_as_newest(artifact_dir: Path) -> None:
    """Later than all others, whatever the clock says: it may have been ahead when they were."""
    times = newest_first(artifact_dir.parent)
    times.pop(artifact_dir, None)
    newest = max([time.time_ns(), *(other_ns + CLOCK_STEP_NS for other_ns in times.values())])
    os.utime(artifact_dir / MANIFEST, ns=(newest, newest))

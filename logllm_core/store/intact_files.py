"""Whether the files of an artifact still hold what was written into them.

To read a file again costs what it costs, so what was found whole is remembered, with the file's
size, times and inode: as long as these stay, it is not read again.
"""

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path

from logllm_core.errors import LogLLMError
from logllm_core.store.disk import replace_file
from logllm_core.store.manifest import MANIFEST, ListedFile
from logllm_core.store.sealed_json import seal, unseal

REMEMBERED = ".whole.json"  # in the folder itself: it goes when the folder goes
REPAIR = "Run: logllm verify --repair. It sets aside what is damaged, which is then built anew."
# A file that is written again within a tick of its file system's clock (2 s on FAT) keeps its
# times, so what was changed so lately is not remembered.
CLOCK_TICK_NS = 2_000_000_000


def sha256_of(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def describe_files(folder: Path) -> list[dict[str, str | int]]:
    """Each file below an artifact's folder, as its manifest lists it."""
    return [
        {
            "name": path.relative_to(folder).as_posix(),
            "size_bytes": path.stat().st_size,
            "sha256": sha256_of(path),
        }
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != REMEMBERED
    ]


def is_whole(artifact_dir: Path) -> bool:
    """Whether the folder has a manifest and every file in it has the size it says.

    What a file holds is not read: that is for who builds on it, see `damage_of`.
    """
    try:
        files = listed_files(artifact_dir)
        return all((artifact_dir / file.name).stat().st_size == file.size_bytes for file in files)
    except (OSError, ValueError):
        return False


def damage_of(artifact_dir: Path, *, is_remembered: bool = True) -> str | None:
    """What is wrong with an artifact's folder; None where nothing is.

    Args:
        is_remembered: whether files that were found whole before and look the same are believed.
    """
    try:
        files = listed_files(artifact_dir)
    except (OSError, ValueError) as fault:
        return f"{MANIFEST}: {fault.strerror if isinstance(fault, OSError) else fault}"
    differing = _differing_files(artifact_dir, files, is_remembered=is_remembered)
    return f"{', '.join(differing)} is missing or not as it was written" if differing else None


def require_intact(artifact_dir: Path) -> None:
    """That each file of an artifact's folder holds what was written into it.

    Raises:
        LogLLMError: one does not, or the manifest is damaged.
    """
    if damage := damage_of(artifact_dir):
        raise LogLLMError(f"{artifact_dir} is damaged: {damage}. {REPAIR}")


def _differing_files(
    folder: Path, files: Sequence[ListedFile], *, is_remembered: bool
) -> list[str]:
    """The names of files that are missing, or hold something else than listed."""
    began_ns = time.time_ns()
    known = _read(folder / REMEMBERED) if is_remembered else {}
    whole: dict[str, list[int | str]] = {}
    differing = []
    for file in files:
        try:
            look: list[int | str] = [*_look(folder / file.name), file.sha256]
            if known.get(file.name) == look or sha256_of(folder / file.name) == file.sha256:
                whole[file.name] = look
                continue
        except OSError:
            pass
        differing.append(file.name)
    lasting = {name: look for name, look in whole.items() if _is_settled(look, began_ns)}
    if lasting != known:
        _remember(folder / REMEMBERED, lasting)
    return differing


def listed_files(artifact_dir: Path) -> list[ListedFile]:
    """What the manifest says is there. Raises OSError and ValueError where it cannot be read."""
    files = unseal((artifact_dir / MANIFEST).read_bytes()).get("files")
    if not isinstance(files, list):
        raise ValueError("it lists no files")
    return [ListedFile.model_validate(entry) for entry in files]


def _look(path: Path) -> list[int]:
    """What changes when a file is written to, replaced or restored."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def _is_settled(look: list[int | str], began_ns: int) -> bool:
    return began_ns - max(int(look[1]), int(look[2])) > CLOCK_TICK_NS


def _read(path: Path) -> dict[str, list[int | str]]:
    try:
        return unseal(path.read_bytes())
    except (OSError, ValueError):  # then all is read again
        return {}


def _remember(path: Path, whole: dict[str, list[int | str]]) -> None:
    try:
        replace_file(path, seal(whole))
    except OSError:  # nobody has to be able to write where he reads
        return

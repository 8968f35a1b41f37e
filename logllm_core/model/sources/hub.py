"""Models of a hub as folders of this machine: fetched once, and the same ever after.

A hub's model may change under its name, and adapters say nothing on another base than theirs. So
which commit a data folder works with is decided once, and written down there; nobody is asked again
after that, and nothing needs a network. The hub's client, slow to import, waits until it is wanted.
"""

import json
import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from logllm_core.errors import LogLLMError
from logllm_core.store.store import Artifact, Json, Store

VERSION = 1
HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", re.ASCII)
# Weights in safetensors alone, and JSON: no pickles, no code, no other formats of the same weights.
WANTED = ("*.safetensors", "*.json", "tokenizer.model", "vocab.txt", "merges.txt")
UNWANTED = ("consolidated*", "original/*", "onnx/*", "openvino/*")
CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"


def on_this_machine(store: Store, location: str) -> str:
    """A hub's model as a folder; a folder, and what is no hub id, as it is.

    Raises:
        LogLLMError: the model is not to be had.
    """
    if Path(location).exists() or not HUB_ID.fullmatch(location):
        return location
    hub_id = location
    known = store.reuse_or_build(
        "backbones",
        hub_id.replace("/", "--"),
        config={"hub_id": hub_id},
        inputs={},
        version=VERSION,
        build=lambda _: _described(_fetched(hub_id)),
    )
    return str(_as_known(hub_id, known))


def not_to_be_had(what: str, fault: Exception) -> LogLLMError:
    """One clear error for whatever the libraries of a hub and of models raise."""
    reason = next(iter(str(fault).splitlines()), type(fault).__name__)
    return LogLLMError(
        f"{what}: {reason} Give hub ids that you may read (for gated models, log in with `hf auth "
        "login`) or folders that hold config.json and safetensors."
    )


def _as_known(hub_id: str, known: Artifact) -> Path:
    """The folder of the commit that was decided on; fetched again where it was cleaned away."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    commit, names = known.results["commit"], known.results["files"]
    try:
        folder = Path(snapshot_download(hub_id, revision=commit, local_files_only=True))
        if all((folder / name).exists() for name in names):
            return folder
    except LocalEntryNotFoundError:
        pass
    return _fetched(hub_id, commit)


def _fetched(hub_id: str, commit: str | None = None) -> Path:
    """Without an answer of the hub, what is in its cache, where that is a whole model."""
    from huggingface_hub import snapshot_download

    try:
        folder = Path(
            snapshot_download(
                hub_id, revision=commit, allow_patterns=[*WANTED], ignore_patterns=[*UNWANTED]
            )
        )
    # No such model, it may not be read, nobody answers, no space: the clients have classes of
    # their own for it.
    except Exception as fault:
        raise not_to_be_had(f"The model {hub_id} cannot be had", fault) from fault
    if lacking := _lacking(folder):
        raise LogLLMError(
            f"The model {hub_id} cannot be had: there is no {lacking} in {folder}. Wanted are "
            "config.json and weights in safetensors; other formats are not read."
        )
    return folder


def _lacking(folder: Path) -> str | None:
    """A file without which it is no model."""
    wanted = {CONFIG, WEIGHTS}
    if (folder / INDEX).is_file():
        try:
            shards = json.loads((folder / INDEX).read_bytes())["weight_map"]
            wanted = {CONFIG, *map(str, shards.values())}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return f"list of weights that can be read ({INDEX})"
    return next((name for name in sorted(wanted) if not (folder / name).is_file()), None)


def _described(folder: Path) -> dict[str, Json]:
    """The name of a snapshot's folder is its commit."""
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    # Others may have put more there.
    wanted = [name for name in names if _is_like(name, WANTED) and not _is_like(name, UNWANTED)]
    return {"commit": folder.name, "files": sorted(wanted)}


def _is_like(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)

"""Make the files of `steady/` anew, for when recipe or backbones changed.

`python -m tests.model.make_steady DATA_DIR DATASET` takes the newest trained model of a data folder
and windows of its test split, half of them those nearest to the decision. The weights are saved as
float16 and read again before the windows are scored, in float32 and on one thread.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from loguru import logger
from safetensors.torch import load_file, save_file

from logllm_core.logs.messages.log_messages import read_vocabulary
from logllm_core.logs.windows.window_artifact import read_windows
from logllm_core.model.sources.named_backbones import BACKBONES
from logllm_core.scoring.rounding import chosen
from logllm_core.store.store import Artifact, Json, Kind, Store
from logllm_core.training.trained_model import WEIGHTS
from tests.model.steady_model import FOLDER, WINDOWS, Asked, Window, load_steady, read_asked, says

NUM_WINDOWS = 24  # seconds to score
NUM_CANDIDATES = 200  # distinct windows, evenly chosen, among which the nearest are looked for
NUM_PLACES = 5  # of log-odds


def make(data_dir: Path, dataset: str, folder: Path = FOLDER) -> Asked:
    """Write both files; returns what was written."""
    store = Store(data_dir=data_dir)
    trained = newest(store, "models", dataset)
    inputs = trained.manifest["inputs"]
    messages = newest(store, "messages", dataset, inputs["messages"])
    windows = newest(store, "windows", dataset, inputs["windows"])
    config = trained.manifest["config"]
    folder.mkdir(exist_ok=True)
    state = load_file(trained.path / WEIGHTS)
    save_file({name: tensor.half() for name, tensor in state.items()}, folder / WEIGHTS)
    limit = config["recipe"]["max_window_messages"]
    distinct = list(dict.fromkeys(w[:limit] for w in read_windows(windows, "test").message_ids))
    asked = Asked(
        backbones=named(config["backbones"]),
        recipe=config["recipe"],
        messages=tuple(read_vocabulary(messages)),
        windows=tuple(distinct[:: -(-len(distinct) // NUM_CANDIDATES)]),
        log_odds=np.empty(0),
    )
    _write(folder, _scored(store, folder, _nearest(store, folder, asked)))
    return read_asked(folder)


def newest(store: Store, kind: Kind, dataset: str, fingerprint: str | None = None) -> Artifact:
    found = store.newest(kind, dataset, fingerprint)
    if found is None:
        raise SystemExit(f"There are no {kind} of {dataset} in {store.data_dir}. Train it first.")
    return found


def named(identity: dict[str, Json]) -> str:
    """What `--backbones` was given."""
    places = identity["encoder"], identity["decoder"]
    rows = {(row.encoder, row.decoder): name for name, row in BACKBONES.items()}
    return rows.get(places, ",".join(places))


def _nearest(store: Store, folder: Path, asked: Asked) -> Asked:
    """NUM_WINDOWS of the windows, and their messages alone."""
    model, collator = load_steady(store, asked, "float32", folder)
    margins = np.abs(says(model, collator, asked.windows, num_threads=1))
    windows = [asked.windows[place] for place in chosen(margins, NUM_WINDOWS)]
    rows = {message: row for row, message in enumerate(sorted({m for w in windows for m in w}))}
    return replace(
        asked,
        messages=tuple(asked.messages[message] for message in rows),
        windows=tuple(tuple(rows[message] for message in window) for window in windows),
    )


def _scored(store: Store, folder: Path, asked: Asked) -> Asked:
    model, collator = load_steady(store, asked, "float32", folder)
    return replace(asked, log_odds=says(model, collator, asked.windows, num_threads=1))


def _write(folder: Path, asked: Asked) -> None:
    def rows(found: tuple[str, ...] | tuple[Window, ...]) -> str:
        return ",\n  ".join(json.dumps(row, ensure_ascii=False) for row in found)

    log_odds = [round(value, NUM_PLACES) for value in asked.log_odds.tolist()]
    (folder / WINDOWS).write_text(
        f'{{\n "backbones": {json.dumps(asked.backbones)},\n'
        f' "recipe": {json.dumps(asked.recipe)},\n'
        f' "messages": [\n  {rows(asked.messages)}\n ],\n'
        f' "windows": [\n  {rows(asked.windows)}\n ],\n'
        f' "log_odds": {json.dumps(log_odds)}\n}}\n',
        encoding="utf-8",
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.model.make_steady", description=__doc__)
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("dataset")
    options = parser.parse_args()
    logger.remove()
    asked = make(options.data_dir, options.dataset)
    size = (FOLDER / WEIGHTS).stat().st_size
    print(f"{len(asked.windows)} windows of {len(asked.messages)} messages, {size:,} bytes weights")
    print("log-odds:", " ".join(f"{value:+.2f}" for value in sorted(asked.log_odds)))


if __name__ == "__main__":
    main()

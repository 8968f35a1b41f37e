"""The runs that the store holds: listed, and found by what a person calls them.

A run is an artifact of the kind "runs": the folder of one report. Its manifest tells all that a
list needs, so that no report is read for it.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from logllm_core.errors import LogLLMError
from logllm_core.store.intact_files import is_whole
from logllm_core.store.manifest import MANIFEST
from logllm_core.store.store import Artifact, Store

MIN_LENGTH = 4  # of the beginning of a fingerprint
FILES = ("report.html", "report.json", MANIFEST)  # by each of which a run may be called
NUM_SHOWN = 10  # runs that an error names
_BEGINNING = re.compile(rf"[0-9a-f]{{{MIN_LENGTH},}}")
OTHER_SEED = re.compile(r"predictions of seed (-?[0-9]+)")  # an input, as report.build_report says


@dataclass(frozen=True, kw_only=True, slots=True)
class ListedRun:
    """What a list of runs tells about one."""

    run: str  # its fingerprint
    dataset: str
    created: str  # ISO 8601
    recipe: str
    backbones: str
    seeds: list[int]  # the report's own first
    overrides: dict[str, Any]  # of the recipe's settings
    f1: float | None  # at the fixed decision
    pr_auc: float | None
    path: str


def list_runs(store: Store, dataset: str | None = None) -> list[ListedRun]:
    """All runs, or those of one data set; the one that was made last comes first.

    Raises:
        LogLLMError: there is no run of that data set.
    """
    chosen = _runs(store)
    if dataset is not None:
        known = sorted({run.dataset for run in chosen})
        chosen = [run for run in chosen if run.dataset == dataset]
        if not chosen:
            have = f"Runs there are of: {', '.join(known)}." if known else "There is no run at all."
            raise LogLLMError(f'There is no run of "{dataset}" in {store.data_dir}. {have}')
    return [_listed(run) for run in chosen]


def find_run(store: Store, given: str) -> Artifact:
    """A run by its folder, a file in it, its fingerprint or the beginning of that.

    Args:
        store: where fingerprints are looked up; a folder may lie anywhere.

    Raises:
        LogLLMError: there is none, or a beginning fits more than one.
    """
    folder = _folder(given)
    if folder is not None:
        if not is_whole(folder):
            raise LogLLMError(
                f"{folder} holds a report, but its {MANIFEST} is missing or does not fit the files "
                "beside it. Name the run's own folder."
            )
        return Artifact(
            kind="runs", dataset=folder.parent.name, fingerprint=folder.name, path=folder
        )
    runs = _runs(store)
    if _BEGINNING.fullmatch(given):
        fitting = [run for run in runs if run.fingerprint.startswith(given)]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            raise LogLLMError(
                f"{given} is the beginning of {len(fitting):,} runs: {_named(fitting)}. Give more "
                "of the fingerprint, or the run's folder."
            )
    have = f"There are: {_named(runs)}" if runs else f"There is no run in {store.data_dir}"
    raise LogLLMError(
        f'There is no run "{given}". {have}. Name one by its folder, or by {MIN_LENGTH} or more '
        "digits of its fingerprint; logllm runs lists them."
    )


def seeds_of(run: Artifact) -> list[int]:
    """The seeds of a run, the one that its report is about first."""
    manifest = run.manifest
    others = (OTHER_SEED.fullmatch(name) for name in manifest["inputs"])
    return [manifest["config"]["recipe"]["seed"], *(int(seed[1]) for seed in others if seed)]


def _folder(given: str) -> Path | None:
    """The folder of a report, where that or a file in it is what was given."""
    try:
        path = Path(given).resolve()
        folder = path.parent if path.is_file() and path.name in FILES else path
        return folder if (folder / "report.json").is_file() else None
    except OSError:  # no name that a file can have, or a folder that may not be read
        return None


def _runs(store: Store) -> list[Artifact]:
    folders = sorted((store.data_dir / "runs").glob("[!.]*"))
    runs = [run for folder in folders for run in store.all("runs", folder.name)]
    created = {run.path: (_created(run), (run.path / MANIFEST).stat().st_mtime_ns) for run in runs}
    return sorted(runs, key=lambda run: created[run.path], reverse=True)


def _created(run: Artifact) -> str:
    return str(run.manifest["created"])  # all in one zone and to the second


def _listed(run: Artifact) -> ListedRun:
    manifest = run.manifest
    recipe, figures = manifest["config"]["recipe"], manifest["results"]["figures"]
    return ListedRun(
        run=run.fingerprint,
        dataset=run.dataset,
        created=manifest["created"],
        recipe=recipe["name"],
        backbones=manifest["config"]["backbones"],
        seeds=seeds_of(run),
        overrides=recipe.get("overrides", {}),
        f1=figures.get("at_decision", figures)["f1"],  # earlier versions had no second threshold
        pr_auc=figures["pr_auc"],
        path=str(run.path),
    )


def _named(runs: Iterable[Artifact]) -> str:
    names = [f"{run.fingerprint} ({run.dataset})" for run in runs]
    more = f" and {len(names) - NUM_SHOWN:,} more" if len(names) > NUM_SHOWN else ""
    return ", ".join(names[:NUM_SHOWN]) + more

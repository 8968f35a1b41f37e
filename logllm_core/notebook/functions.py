"""What `import logllm_core as logllm` has: from a data set to alarms, a function a step.

Each does what the command of its name does, in the same data folder; what is there already is
reused, whichever of the two made it. Nothing here needs Prefect. `docs/python.md` has examples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from logllm_core import tables
from logllm_core.daily.champion import decisions
from logllm_core.errors import LogLLMError
from logllm_core.logs.catalog.catalog import Dataset, catalog_dirs, find_dataset
from logllm_core.logs.messages.log_messages import read_vocabulary
from logllm_core.logs.windows.splits import SPLITS
from logllm_core.notebook.alarms import Detection, judge_logs, score
from logllm_core.notebook.tables import Table, by_split
from logllm_core.pipeline import Pipeline, Prepared, Trained
from logllm_core.results.json_files import read_report
from logllm_core.results.report import Report
from logllm_core.scoring.answer_cache import open_memory
from logllm_core.scoring.new_log_judge import NewLogJudge
from logllm_core.store.data_folder import DATA_DIR, checked_data_dir
from logllm_core.store.intact_files import is_whole
from logllm_core.store.store import Artifact, Store
from logllm_core.training.recipes import Recipe, recipe_named
from logllm_core.training.sampling import check_labelled
from logllm_core.training.stage_plan import Execution
from logllm_core.training.trained_model import pooling_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Data:
    """A log, prepared: masked messages, and windows in three splits."""

    dataset: Dataset
    recipe: Recipe  # whose masking and validation split these are
    prepared: Prepared
    pipeline: Pipeline

    def __repr__(self) -> str:
        splits = self.prepared.windows.results["splits"]
        counts = ", ".join(f"{splits[split]['num_windows']:,} {split}" for split in SPLITS)
        return f"Data({self.dataset.name}: {counts} windows)"

    @property
    def windows(self) -> Table:
        """A row a window, with a column `split`."""
        return by_split("windows", self.prepared.windows, tables.WINDOWS)

    @property
    def messages(self) -> Table:
        """A row a line that was kept."""
        folder = self.prepared.messages.path / "messages"
        return Table("messages", lambda: tables.read(folder, tables.MESSAGES))

    @property
    def vocabulary(self) -> Table:
        """A row a distinct masked message."""
        path = self.prepared.messages.path / "vocabulary.parquet"
        return Table("vocabulary", lambda: tables.read(path, tables.VOCABULARY))


@dataclass(frozen=True, kw_only=True)
class Model:
    """A trained model, and what it was trained on."""

    trained: Trained
    pipeline: Pipeline
    run: Artifact | None = None  # the report that made it champion, where it is one

    def __repr__(self) -> str:
        basis = self.trained.basis
        return (
            f"Model({basis.dataset.name}: {basis.backbones}, recipe {basis.recipe.name}, seed "
            f"{basis.recipe.seed}, {self.trained.stages[-1].fingerprint})"
        )

    def score(self, windows: Sequence[Sequence[str]]) -> NDArray[np.float64]:
        """The probability of "anomalous" of windows at hand, each some messages as logged."""
        return score(self.judge, self.trained.basis.recipe.masking, windows)

    @property
    def predictions(self) -> Table:
        """What it says of the validation and the test split."""
        made = self.pipeline.predict(self.trained.basis, self.trained.stages[-1])
        return by_split("predictions", made, tables.PREDICTIONS)

    @cached_property
    def judge(self) -> NewLogJudge:
        """Loaded once. What it is asked is remembered in the data folder, as `detect` does."""
        basis, store, model = self.trained.basis, self.pipeline.store, self.trained.stages[-1]
        messages = basis.prepared.messages
        return NewLogJudge(
            folders=basis.folders,
            recipe=basis.recipe,
            trained=model,
            known_texts=set(read_vocabulary(messages)) if is_whole(messages.path) else None,
            memory=open_memory(store, model),
        )


def dataset(name: str, *, data_dir: str | Path = DATA_DIR) -> Dataset:
    """The data set of that name, or the one that a path to a TOML file describes."""
    return find_dataset(name, catalog_dirs(Path(data_dir)))


def prepare(
    dataset: Dataset,
    recipe: str | Recipe = "quick",
    *,
    data_dir: str | Path = DATA_DIR,
    mirror: str | Path | None = None,
) -> Data:
    """Fetch or read a log, mask it, cut it into windows and splits.

    Args:
        mirror: a folder that archives are taken from instead of the network.
    """
    store = Store(data_dir=checked_data_dir(Path(data_dir)))
    pipeline = Pipeline(store=store, mirror=Path(mirror) if mirror else None)
    return _prepared(pipeline, dataset, _recipe(recipe))


def train(
    data: Data,
    recipe: str | Recipe = "quick",
    *,
    backbones: str = "small",
    settings: Mapping[str, Any] | None = None,
) -> Model:
    """Train the recipe's stages in this process; cut off, the same call goes on from there.

    Args:
        backbones: `small`, another name, or ENCODER,DECODER.
        settings: of the recipe, to change: {"seed": 1, "stages.3.num_epochs": 5}.
    """
    wanted = _recipe(recipe).overridden(settings or {})
    check_labelled(data.dataset.name, is_labelled=data.dataset.labels is not None)
    of_data = (data.recipe.masking, data.recipe.validation_fraction)
    if of_data != (wanted.masking, wanted.validation_fraction):
        data = _prepared(data.pipeline, data.dataset, wanted)
    basis = data.pipeline.basis(data.dataset, wanted, backbones, data.prepared)
    trained = data.pipeline.train(basis, Execution())
    return Model(trained=trained, pipeline=data.pipeline)


def evaluate(model: Model) -> Report:
    """Score the test split, and report on it beside simple detectors.

    Of a champion it is the report that it was promoted by, as long as that is there.
    """
    run = _run_of(model)
    model.pipeline.refresh_views()
    return read_report(run)


def promote(model: Model) -> None:
    """Have this model judge the data set's new logs from now on: `load` gives it, too."""
    run = _run_of(model)
    decisions.promote(model.pipeline.store, run, reason="It was promoted by hand.")


def load(name: str, *, data_dir: str | Path = DATA_DIR) -> Model:
    """The model that judges a data set's new logs: its champion.

    Raises:
        LogLLMError: there is none, or it is gone.
    """
    store = Store(data_dir=checked_data_dir(Path(data_dir)))
    described = dataset(name, data_dir=data_dir)
    name = described.name
    champion = decisions.current_champion(store, name)
    model = decisions.model_of(store, name, champion)

    messages = store.named("messages", name, champion.messages)
    run = store.named("runs", name, champion.run)
    raw = run.manifest["inputs"]["raw"] if is_whole(run.path) else ""
    pipeline = Pipeline(store=store)
    basis = pipeline.basis(
        described,
        champion.recipe,
        champion.backbones,
        Prepared(
            raw=store.named("raw", name, raw),
            messages=messages,
            windows=store.named("windows", name, champion.windows),
        ),
        pooling=pooling_of(model),
    )
    stages = tuple(store.named("models", name, fingerprint) for fingerprint in champion.stages)
    trained = Trained(basis=basis, stages=stages)
    return Model(trained=trained, pipeline=pipeline, run=run)


def detect(model: Model, *paths: str | Path) -> Detection:
    """Judge logs, plain or packed, from beginning to end; iterate over the alarms.

    Nothing is written down about them, so the same call says the same again; `logllm detect` keeps
    its verdicts, follows files and tells each alarm once.
    """
    basis = model.trained.basis
    return judge_logs(model.judge, basis.dataset, basis.recipe.masking, list(map(str, paths)))


def _run_of(model: Model) -> Artifact:
    if model.run is None:
        return model.pipeline.evaluate([model.trained])
    if is_whole(model.run.path):
        return model.run
    name = model.trained.basis.dataset.name
    raise LogLLMError(
        f"The report of run {model.run.fingerprint}, by which this model of {name} became "
        "champion, is gone or damaged. Train it again, which finds what is there: logllm train "
        f"{name}, with the same options."
    )


def _recipe(given: str | Recipe) -> Recipe:
    return given if isinstance(given, Recipe) else recipe_named(given)


def _prepared(pipeline: Pipeline, dataset: Dataset, recipe: Recipe) -> Data:
    prepared = pipeline.prepare(dataset, recipe)
    return Data(dataset=dataset, recipe=recipe, prepared=prepared, pipeline=pipeline)

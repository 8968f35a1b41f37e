"""The order of the steps, from a raw log to a report, said once.

A flow runs each step as a task; experiments and notebooks call it as it is. That is all they differ
in here, and it is the pipeline's `run`. What is there already each step finds by itself.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, Protocol, TypeVar

from loguru import logger

from logllm_core.logs.catalog.catalog import Dataset
from logllm_core.logs.messages.file_messages import build_parts
from logllm_core.logs.messages.log_messages import build_messages, find_messages, is_masked_in_parts
from logllm_core.logs.sources.raw_log import log_files, obtain_log
from logllm_core.logs.windows.window_artifact import build_windows
from logllm_core.model import Pooling
from logllm_core.query.views import refresh_views
from logllm_core.store.store import Artifact, Store
from logllm_core.training.recipes import Recipe

if TYPE_CHECKING:  # with torch, which takes seconds and which preparing a log needs not
    from logllm_core.model.sources.named_backbones import BackboneFolders
    from logllm_core.results.figures import KeptSeed
    from logllm_core.training.stage_plan import Execution

P = ParamSpec("P")
T = TypeVar("T")


class RunStep(Protocol):
    """How a step is run: as it is, or as a task."""

    def __call__(self, step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T: ...


def at_once(step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    return step(*args, **kwargs)


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """A log as a training reads it."""

    raw: Artifact
    messages: Artifact
    windows: Artifact


@dataclass(frozen=True, kw_only=True, slots=True)
class Basis:
    """What a model is trained on, and by which recipe."""

    dataset: Dataset
    recipe: Recipe
    backbones: str  # as a person names them
    folders: "BackboneFolders"
    prepared: Prepared


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """The stages of a training in their order, and what they were trained on."""

    basis: Basis
    stages: tuple[Artifact, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Pipeline:
    """The steps, in one store."""

    store: Store
    run: RunStep = at_once
    mirror: Path | None = None  # archives are taken from this folder, not from the network
    # Builds the parts of all files of a raw log; None: one after the other.
    read_files: Callable[[Dataset, Artifact, bool], list[Artifact]] | None = None

    def prepare(self, dataset: Dataset, recipe: Recipe) -> Prepared:
        """Obtain, parse and mask a log, cut it into windows and splits, make them queryable.

        Raises:
            LogLLMError: the log cannot be had or read, or is too short for its windows.
        """
        store = self.store
        raw = self.run(obtain_log, store, dataset, mirror=self.mirror)
        messages = self.run(find_messages, store, dataset, raw, preprocessing=recipe.masking)
        if messages is None:
            read = self.read_files or self._read_files
            parts = read(dataset, raw, is_masked_in_parts(recipe.masking))
            messages = self.run(
                build_messages, store, dataset, raw, parts, preprocessing=recipe.masking
            )
        windows = self.run(
            build_windows, store, dataset, messages, validation_fraction=recipe.validation_fraction
        )
        self.refresh_views()
        return Prepared(raw=raw, messages=messages, windows=windows)

    def basis(
        self,
        dataset: Dataset,
        recipe: Recipe,
        backbones: str,
        prepared: Prepared,
        *,
        pooling: Pooling | None = None,
    ) -> Basis:
        """Find the backbones.

        Args:
            pooling: how the encoder pools; None: as the recipe says, or else its publisher.

        Raises:
            LogLLMError: they are not there, or do not say how they pool.
        """
        from logllm_core.model.backbones import find_backbones

        folders = self.run(find_backbones, self.store, backbones, pooling or recipe.pooling)
        return Basis(
            dataset=dataset, recipe=recipe, backbones=backbones, folders=folders, prepared=prepared
        )

    def train(
        self, basis: Basis, execution: "Execution | None", *, start: Artifact | None = None
    ) -> Trained:
        """The recipe's stages in order, each from the one before.

        Args:
            execution: None: nothing is trained, and a stage that was not is an error.
            start: a trained model; only the last stage is trained then, from its adapters.

        Raises:
            LogLLMError: there is too little memory, text does not fit, the training was asked to
                stop, or whatever else a training may say.
        """
        from logllm_core.training.stage import find_stage, train_stage
        from logllm_core.training.stage_plan import StagePlan

        stages, wanted = [start] if start else [], basis.recipe.trained_stages
        for stage in wanted[-1:] if start else wanted:
            plan = StagePlan(
                dataset=basis.dataset.name,
                stage=stage,
                recipe=basis.recipe,
                folders=basis.folders,
                messages=basis.prepared.messages,
                windows=basis.prepared.windows,
                previous=stages[-1] if stages else None,
            )
            stages.append(
                self.run(train_stage, self.store, plan, execution)
                if execution
                else self.run(find_stage, self.store, plan)
            )
        return Trained(basis=basis, stages=tuple(stages[1:] if start else stages))

    def predict(self, basis: Basis, model: Artifact) -> Artifact:
        """What a trained stage says of the validation and the test split."""
        from logllm_core.scoring.predictions import predict

        return self.run(
            predict,
            self.store,
            basis.dataset.name,
            recipe=basis.recipe,
            folders=basis.folders,
            messages=basis.prepared.messages,
            windows=basis.prepared.windows,
            trained=model,
        )

    def encode(self, basis: Basis) -> Artifact | None:
        """The frozen encoder's vectors of all messages; None where they are too many."""
        from logllm_core.scoring.encoder_vectors import encode_vocabulary

        return self.run(
            encode_vocabulary,
            self.store,
            basis.dataset.name,
            recipe=basis.recipe,
            folders=basis.folders,
            messages=basis.prepared.messages,
        )

    def evaluate(self, trained: Sequence[Trained], *, chooses_seed: bool = False) -> Artifact:
        """Score the splits and report on the test split.

        Args:
            trained: one a seed; the report is about the first, and tells the spread over all.
            chooses_seed: it is about the seed that the validation split prefers instead.
        """
        from logllm_core.evaluation.report import ReportedRun, build_report

        by_seed = {model.basis.recipe.seed: model for model in trained}
        predictions = self._score(by_seed)
        kept = self._choose(by_seed, predictions) if chooses_seed else None
        reported = by_seed[kept.seed] if kept else trained[0]
        basis, prepared = reported.basis, reported.basis.prepared
        run = ReportedRun(
            raw=prepared.raw,
            messages=prepared.messages,
            windows=prepared.windows,
            stages=reported.stages,
            predictions=predictions.pop(basis.recipe.seed),
            vectors=self.encode(basis),
            others=predictions,
            kept=kept,
        )
        return self.run(
            build_report,
            self.store,
            basis.dataset,
            recipe=basis.recipe,
            backbones=basis.backbones,
            run=run,
        )

    def _score(self, by_seed: dict[int, Trained]) -> dict[int, Artifact]:
        """The first seed comes last: the views show the predictions that were asked for last."""
        predictions: dict[int, Artifact] = {}
        for seed, model in reversed(by_seed.items()):
            if len(by_seed) > 1:
                logger.info("{}: scoring with seed {}", model.basis.dataset.name, seed)
            predictions[seed] = self.predict(model.basis, model.stages[-1])
        return dict(reversed(predictions.items()))

    def _choose(self, by_seed: dict[int, Trained], scored: Mapping[int, Artifact]) -> "KeptSeed":
        """The seed that the validation split prefers."""
        from logllm_core.evaluation.seed_choice import choose_seed

        kept = self.run(choose_seed, scored)
        name = by_seed[kept.seed].basis.dataset.name
        logger.info("{}: seed {} is kept, by the validation split", name, kept.seed)
        # Once more, for the views; nothing is computed again.
        self.predict(by_seed[kept.seed].basis, by_seed[kept.seed].stages[-1])
        return kept

    def refresh_views(self) -> None:
        """Have DuckDB's views show what was asked for last."""
        self.run(refresh_views, self.store)

    def _read_files(self, dataset: Dataset, raw: Artifact, is_masked: bool) -> list[Artifact]:
        return self.run(build_parts, self.store, dataset, raw, log_files(raw), is_masked=is_masked)

"""Who judges new logs now: the champion, and after a promotion its successor."""

from loguru import logger

from logllm_core.daily.champion.decisions import champion_path, find_champion, model_of
from logllm_core.daily.champion.scored_windows import known_messages
from logllm_core.errors import LogLLMError
from logllm_core.logs.messages import Masking
from logllm_core.model.backbones import find_backbones
from logllm_core.scoring.answer_cache import Memory, open_memory
from logllm_core.scoring.new_log_judge import NewLogJudge
from logllm_core.store.disk import Stamp
from logllm_core.store.store import Store
from logllm_core.training.trained_model import pooling_of


class CurrentJudge:
    """The judge of a data set; asks `champion.json` whether it is still the right one.

    Raises:
        LogLLMError: there is no champion, its model is gone, or it cannot judge new logs.
    """

    judge: NewLogJudge
    masking: Masking

    def __init__(self, store: Store, dataset: str) -> None:
        self._store = store
        self._dataset = dataset
        self._stamp: Stamp | None = None
        self._memory: Memory | None = None
        self._seat()

    def renew(self, *, only: Masking | None = None) -> None:
        """Seat another model where one was promoted; looks at one file.

        A successor that cannot judge is told, and the judge stays.

        Args:
            only: leave a successor that reads lines with another masking waiting.
        """
        stamp = Stamp.at(champion_path(self._store, self._dataset))
        if stamp in (None, self._stamp):
            return
        try:
            self._seat(only)
        except LogLLMError as fault:
            self._stamp = stamp
            logger.warning("The model {} goes on judging: {}", self.judge.fingerprint, fault)

    def close(self) -> None:
        if self._memory:
            self._memory.close()

    def _seat(self, only: Masking | None = None) -> None:
        stamp = Stamp.at(champion_path(self._store, self._dataset))
        champion = find_champion(self._store, self._dataset)
        if champion is None:
            raise LogLLMError(
                f"{self._dataset} has no model yet. Train one first: logllm train {self._dataset}"
            )
        if only not in (None, champion.recipe.masking):
            return
        if self._stamp is None or champion.trained != self.judge.fingerprint:
            trained = model_of(self._store, self._dataset, champion)
            known = known_messages(self._store, self._dataset, champion)
            memory = open_memory(self._store, trained)
            judge = NewLogJudge(
                folders=find_backbones(self._store, champion.backbones, pooling_of(trained)),
                recipe=champion.recipe,
                trained=trained,
                known_texts=known,
                memory=memory,
            )
            self.close()
            self.judge, self._memory = judge, memory
            self.masking = champion.recipe.masking
            logger.info("{}: judged by the model {}", self._dataset, judge.fingerprint)
        self._stamp = stamp

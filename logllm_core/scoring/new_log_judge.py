"""A trained model's judgement of windows of new logs, which no artifact holds.

Nothing that was asked before is asked again, see answer_cache.py: neither an excerpt whose masked
messages repeat, nor the encoder about a message. Detection takes no claim of the graphics card: a
training holds that for hours, and new logs would wait for it.
"""

import time
from collections.abc import Sequence, Set

import numpy as np
from numpy.typing import NDArray

from logllm_core.errors import LogLLMError
from logllm_core.logs.windows.message_windows import NewWindows, tuples_of
from logllm_core.logs.windows.window_stream import check_masking
from logllm_core.model.devices import devices_of, explained_shortage
from logllm_core.model.sources.named_backbones import BackboneFolders
from logllm_core.model.weights import set_trainable
from logllm_core.scoring.answer_cache import Memory
from logllm_core.scoring.judge import MAX_LOCALIZED, Ids, Judge, Judgements, Remembered
from logllm_core.scoring.read_messages import NewMessages
from logllm_core.store.store import Artifact
from logllm_core.training.recipes import Recipe
from logllm_core.training.trained_model import load_weights

DAY_SECONDS = 86_400.0


class NewLogJudge:
    """A trained model, loaded once, and what it was asked before.

    Args:
        trained: the last stage.
        known_texts: the masked messages of its training log, where they are still there.
        memory: of this model.

    Raises:
        LogLLMError: the model knows messages by the ids of its training log alone, or reads lines
            with a masking that new ones have not.
    """

    def __init__(
        self,
        *,
        folders: BackboneFolders,
        recipe: Recipe,
        trained: Artifact,
        known_texts: Set[str] | None,
        memory: Memory,
    ) -> None:
        if recipe.embedder == "message-id":
            raise LogLLMError(
                f"{trained.dataset}: the current model knows messages by their ids in its training "
                'log, so it cannot judge a new one. Train one with the embedder "encoder" or '
                '"none", and promote it: logllm models promote RUN.'
            )
        check_masking(recipe.masking)
        (device,) = devices_of(1)
        with explained_shortage():
            self._loaded = load_weights(folders, recipe, trained, device=device)
        set_trainable(self._loaded.model, ())
        self.fingerprint = trained.fingerprint
        self._recipe = recipe
        self._known_texts = known_texts
        self._memory = memory
        self._num_to_localize = MAX_LOCALIZED
        self._day_ends = time.monotonic() + DAY_SECONDS

    def judge(self, windows: NewWindows) -> Judgements:
        """In the order given.

        Of more than MAX_LOCALIZED distinct flagged windows in a day the further ones are not
        localized: a model that flags all would else fall behind the log that it follows.
        """
        if time.monotonic() >= self._day_ends:
            self._num_to_localize = MAX_LOCALIZED
            self._day_ends = time.monotonic() + DAY_SECONDS
        used, ids = np.unique(windows.message_ids, return_inverse=True)
        texts = [windows.texts[message] for message in used.tolist()]
        messages = NewMessages(self._loaded, self._recipe, texts, self._memory)
        judge = Judge(
            model=self._loaded.model,
            messages=messages,
            chosen=self._first_ones,
            remembered=Remembered(memory=self._memory, digest=messages.digest),
        )
        with explained_shortage():
            return judge.judge(list(tuples_of(ids, windows.starts)))

    def num_unseen_lines(self, windows: NewWindows) -> NDArray[np.int64] | None:
        """Of each window, the lines with a message of no training line; None: nobody can tell."""
        if self._known_texts is None:
            return None
        used, ids = np.unique(windows.message_ids, return_inverse=True)
        are_unseen = [windows.texts[message] not in self._known_texts for message in used.tolist()]
        numbers = np.append(0, np.cumsum(np.array(are_unseen, dtype=np.int64)[ids]))
        return np.diff(numbers[windows.starts])

    def _first_ones(self, flagged: Sequence[Ids]) -> Sequence[Ids]:
        """As many as may be localized today still."""
        chosen = flagged[: self._num_to_localize]
        self._num_to_localize -= len(chosen)
        return chosen

"""Distinct messages with their ids, in order of first appearance."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

MessageIds = NDArray[np.int32]


class Vocabulary:
    """The messages of one file, or of all files of a log.

    Texts live once, here; everywhere else a message is its id.
    """

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}
        self._num_lines: list[int] = []
        self._first_line_numbers: list[int] = []

    def __len__(self) -> int:
        return len(self._ids)

    def add_lines(
        self, texts: pa.StringArray, places: NDArray[np.int64], line_numbers: NDArray[np.int64]
    ) -> MessageIds:
        """The ids of consecutive lines' messages; new ones enter.

        Args:
            texts: in order of first appearance; the same text may come twice.
            places: of each line's text among `texts`.
        """
        encoded = texts.dictionary_encode()
        places = encoded.indices.to_numpy()[places]
        num_lines = np.bincount(places, minlength=len(encoded.dictionary))
        # Assigned backwards, the first line of each message is the one that stays.
        firsts = np.empty(len(encoded.dictionary), dtype=np.int64)
        firsts[places[::-1]] = line_numbers[::-1]
        ids = self.add(encoded.dictionary.to_pylist(), num_lines.tolist(), firsts.tolist())
        lines: MessageIds = ids[places]
        return lines

    def add(
        self, texts: Sequence[str], num_lines: Sequence[int], first_line_numbers: Sequence[int]
    ) -> MessageIds:
        """The ids of messages with their counts; new ones enter in the order given."""
        ids = np.empty(len(texts), dtype=np.int32)
        for place, text in enumerate(texts):
            ids[place] = message_id = self._ids.setdefault(text, len(self._ids))
            if message_id == len(self._num_lines):
                self._num_lines.append(0)
                self._first_line_numbers.append(first_line_numbers[place])
            self._num_lines[message_id] += num_lines[place]
        return ids

    def table(self) -> pa.Table:
        """As in tables.VOCABULARY."""
        return pa.table(
            {
                "message_id": np.arange(len(self._ids), dtype=np.int32),
                "text": pa.array(list(self._ids), pa.string()),
                "num_lines": self._num_lines,
                "first_line_number": self._first_line_numbers,
            }
        )

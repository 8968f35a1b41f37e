"""Distinct messages with their ids, in order of first appearance."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

MessageIds = NDArray[np.int32]


class MessageCounts:
    """How many lines carry each message, and which is the first; ids count up from 0."""

    def __init__(self) -> None:
        self._num_lines: list[int] = []
        self._first_line_numbers: list[int] = []

    def add(self, message_id: int, num_lines: int, first_line_number: int) -> None:
        if message_id == len(self._num_lines):
            self._num_lines.append(0)
            self._first_line_numbers.append(first_line_number)
        self._num_lines[message_id] += num_lines

    def table(self, texts: Sequence[str]) -> pa.Table:
        """With the text of each message, as in tables.VOCABULARY."""
        return pa.table(
            {
                "message_id": np.arange(len(texts), dtype=np.int32),
                "text": pa.array(texts, pa.string()),
                "num_lines": self._num_lines,
                "first_line_number": self._first_line_numbers,
            }
        )


def occurrences(
    rows: NDArray[np.int64], line_numbers: NDArray[np.int64], num_texts: int
) -> tuple[list[int], list[int]]:
    """Of each text, how many lines carry it and the number of the first.

    Args:
        places: of each line's text among the texts.
    """
    num_lines = np.bincount(rows, minlength=num_texts)
    # Assigned backwards, the first line of each text is the one that stays.
    firsts = np.empty(num_texts, dtype=np.int64)
    firsts[rows[::-1]] = line_numbers[::-1]
    return num_lines.tolist(), firsts.tolist()


class Vocabulary:
    """The messages of one file, or of all files of a log.

    Texts live once, here; everywhere else a message is its id.
    """

    def __init__(self) -> None:
        self.texts: list[str] = []  # by message id
        self._ids: dict[str, int] = {}
        self._counts = MessageCounts()

    def __len__(self) -> int:
        return len(self._ids)

    def add_lines(
        self, texts: pa.StringArray, rows: NDArray[np.int64], line_numbers: NDArray[np.int64]
    ) -> MessageIds:
        """The ids of consecutive lines' messages; new ones enter.

        Args:
            texts: in order of first appearance; the same text may come twice.
            places: of each line's text among `texts`.
        """
        encoded = texts.dictionary_encode()
        rows = encoded.indices.to_numpy()[rows]
        num_lines, firsts = occurrences(rows, line_numbers, len(encoded.dictionary))
        lines: MessageIds = self.add(encoded.dictionary.to_pylist(), num_lines, firsts)[rows]
        return lines

    def add(
        self, texts: Sequence[str], num_lines: Sequence[int], first_line_numbers: Sequence[int]
    ) -> MessageIds:
        """The ids of messages with their counts; new ones enter in the order given."""
        ids = np.empty(len(texts), dtype=np.int32)
        for row, text in enumerate(texts):
            ids[row] = message_id = self._ids.setdefault(text, len(self.texts))
            if message_id == len(self.texts):
                self.texts.append(text)
            self._counts.add(message_id, num_lines[row], first_line_numbers[row])
        return ids

    def table(self) -> pa.Table:
        """As in tables.VOCABULARY."""
        return self._counts.table(self.texts)

"""Drain's log templates instead of masked messages: the paper's other preprocessings (Table IV)."""

import numpy as np
import pyarrow as pa
from drain3.drain import Drain, LogCluster
from numpy.typing import NDArray

from logllm_core.logs.messages.vocabulary import MessageCounts, MessageIds, occurrences


class Templates:
    """Drain over the lines of a log, in order.

    Drain learns while it reads: a template may widen after a line was given to it. The template of
    a message is the one that its cluster ends with, the id of a message is its cluster's.
    """

    def __init__(self) -> None:
        self._drain = Drain()  # depth 4, similarity 0.4: Drain3's own settings
        # Drain3 0.9.1 does not find messages of one word again. As in Drain, equal ones are one.
        self._of_one_word: dict[str, LogCluster] = {}
        self._counts = MessageCounts()

    def add_lines(self, contents: pa.StringArray, line_numbers: NDArray[np.int64]) -> MessageIds:
        """The template ids of consecutive lines."""
        # Within a block the same message has the same template.
        encoded = contents.dictionary_encode()
        rows = encoded.indices.to_numpy()
        num_lines, firsts = occurrences(rows, line_numbers, len(encoded.dictionary))
        ids = np.empty(len(encoded.dictionary), dtype=np.int32)
        for row, content in enumerate(encoded.dictionary.to_pylist()):
            cluster = self._of_one_word.get(content) or self._drain.add_log_message(content)[0]
            if len(cluster.log_template_tokens) == 1:
                self._of_one_word[content] = cluster
            ids[row] = message_id = cluster.cluster_id - 1  # Drain counts from 1
            self._counts.add(message_id, num_lines[row], firsts[row])
        lines: MessageIds = ids[rows]
        return lines

    def table(self, *, as_ids: bool) -> pa.Table:
        """As in tables.VOCABULARY; the text is the template, or its id alone."""
        clusters = sorted(self._drain.clusters, key=lambda cluster: cluster.cluster_id)
        texts = [
            str(cluster.cluster_id) if as_ids else cluster.get_template() for cluster in clusters
        ]
        return self._counts.table(texts)

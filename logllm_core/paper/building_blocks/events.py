"""From message ids to event ids: templates that training windows teach, or messages themselves.

Drain reads the distinct masked messages of the training windows, in the order in which the log has
them: masking is the preprocessing that its paper asks for (He et al., ICWS 2017, section III), and
a message that repeats would teach it nothing. Then it learns no more: a message of the other splits
has the template that it matches, or is a new event of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from drain3.drain import Drain
from numpy.typing import NDArray

from logllm_core.paper.building_blocks.interface import Events, Ids, Reads

ByMessage = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class EventReading:
    """How a method reads this data set."""

    events: Events
    event_of_message: ByMessage  # [M]

    def read(self, windows: Sequence[Ids]) -> list[Ids]:
        """Windows of message ids as windows of event ids."""
        by_message = self.event_of_message.tolist()
        return [tuple(by_message[message] for message in ids) for ids in windows]


def learn_events(reads: Reads, windows: Sequence[Ids], texts: Sequence[str]) -> EventReading:
    """The events of a method.

    Args:
        windows: those that it is fitted on, of message ids.
        texts: all masked messages, by message id; ids are in the order of the log.
    """
    known = sorted({message for ids in windows for message in ids})
    return _templates(known, texts) if reads == "templates" else _messages(known, texts)


def _messages(known: Sequence[int], texts: Sequence[str]) -> EventReading:
    """Each message is an event; the known ones first."""
    is_known = np.zeros(len(texts), dtype=bool)
    is_known[known] = True
    order = np.concatenate([np.flatnonzero(is_known), np.flatnonzero(~is_known)])
    event_of_message = np.empty(len(texts), dtype=np.int64)
    event_of_message[order] = np.arange(len(texts))
    return EventReading(
        events=Events(texts=[texts[message] for message in order.tolist()], num_known=len(known)),
        event_of_message=event_of_message,
    )


def _templates(known: Sequence[int], texts: Sequence[str]) -> EventReading:
    drain = Drain()  # depth 4, similarity 0.4: Drain3's own settings
    event_of_message = np.full(len(texts), -1, dtype=np.int64)
    for message in known:
        cluster, _ = drain.add_log_message(texts[message])
        event_of_message[message] = cluster.cluster_id - 1  # Drain counts from 1
    templates = [
        cluster.get_template() for cluster in sorted(drain.clusters, key=lambda c: c.cluster_id)
    ]
    num_known = len(templates)
    for message in np.flatnonzero(event_of_message < 0).tolist():
        text = texts[message]
        cluster = drain.tree_search(drain.root_node, text.split())
        if cluster is None:
            event_of_message[message] = len(templates)
            templates.append(text)
        else:
            event_of_message[message] = cluster.cluster_id - 1
    return EventReading(
        events=Events(texts=templates, num_known=num_known), event_of_message=event_of_message
    )

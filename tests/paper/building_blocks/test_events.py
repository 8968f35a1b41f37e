"""Templates that the training windows teach; messages as they are."""

from logllm_core.paper.building_blocks.events import learn_events

TEXTS = [
    "open file alpha now",  # 0
    "open file beta now",  # 1: Drain's template of both is "open file <*> now"
    "closed",  # 2
    "open file gamma now",  # 3: not in training, matches
    "the disk is on fire",  # 4: not in training, matches nothing
]


def test_templates_are_learnt_from_the_training_windows_and_matched_elsewhere() -> None:
    reading = learn_events("templates", [(0, 2), (1, 2)], TEXTS)
    assert list(reading.events.texts) == ["open file <*> now", "closed", "the disk is on fire"]
    assert reading.events.num_known == 2
    assert reading.read([(0, 1, 2, 3), (4,)]) == [(0, 0, 1, 0), (2,)]


def test_what_is_matched_widens_no_template() -> None:
    """Drain would make "open file <*> <*>" of the first, had it read the second."""
    reading = learn_events("templates", [(0,)], ["open file alpha now", "open file alpha then"])
    assert reading.events.texts[0] == "open file alpha now"


def test_events_of_messages_are_the_messages_known_ones_first() -> None:
    reading = learn_events("messages", [(4, 1), (1,)], TEXTS)
    assert [*reading.events.texts[:2]] == [TEXTS[1], TEXTS[4]]
    assert reading.events.num_known == 2
    assert reading.read([(1, 4, 0), (3,)]) == [(0, 1, 2), (4,)]
    assert sorted(reading.event_of_message) == list(range(5))


def test_messages_of_no_word_or_of_one_are_events_too() -> None:
    reading = learn_events("templates", [(0,), (1,)], ["", "started", "stopped"])
    assert reading.read([(0, 1, 2)]) == [(0, 1, 2)]

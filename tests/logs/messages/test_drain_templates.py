from pathlib import Path

import numpy as np
import pyarrow as pa

from logllm_core.logs.messages.drain_templates import Templates
from logllm_core.logs.messages.log_messages import read_vocabulary
from logllm_core.store.store import Store
from tests.logs.samples import labelled_by_line, message_rows, messages_of


def ids_of(templates: Templates, *contents: str, first: int = 0) -> list[int]:
    numbers = np.arange(first, first + len(contents))
    learned: list[int] = templates.add_lines(pa.array(contents, pa.string()), numbers).tolist()
    return learned


def texts_of(templates: Templates) -> list[str]:
    learned: list[str] = templates.table(as_ids=False)["text"].to_pylist()
    return learned


def test_messages_that_differ_in_one_word_share_a_template() -> None:
    # Three of four words agree: 0.75, and 0.4 are enough.
    templates = Templates()
    assert ids_of(templates, "link to alpha down", "link to beta down", "fan is off") == [0, 0, 1]
    assert texts_of(templates) == ["link to <*> down", "fan is off"]


def test_messages_of_other_lengths_or_first_words_never_share_a_template() -> None:
    templates = Templates()
    assert ids_of(templates, "link is down", "link is down now", "fan is down") == [0, 1, 2]
    assert texts_of(templates) == ["link is down", "link is down now", "fan is down"]


def test_messages_too_unlike_each_other_have_templates_of_their_own() -> None:
    # One of three words agrees: 0.33 is below 0.4. Two of five are just enough.
    templates = Templates()
    assert ids_of(templates, "link a b", "link c d", "fan a b c d", "fan a x y z") == [0, 1, 2, 2]
    assert texts_of(templates) == ["link a b", "link c d", "fan a <*> <*> <*>"]


def test_a_template_that_widens_later_is_the_template_of_its_earlier_lines_too() -> None:
    templates = Templates()
    assert ids_of(templates, "link to alpha down", first=4) == [0]
    assert texts_of(templates) == ["link to alpha down"]
    assert ids_of(templates, "link to beta down", "link to beta down", first=7) == [0, 0]
    assert templates.table(as_ids=False).to_pylist() == [
        {
            "message_id": 0,
            "text": "link to <*> down",
            "num_lines": 3,
            "first_line_number": 4,
        }
    ]


def test_equal_messages_of_one_word_share_a_template_and_others_do_not() -> None:
    templates = Templates()
    assert ids_of(templates, "exiting", "starting", "exiting") == [0, 1, 0]
    assert ids_of(templates, "starting", "exiting", "exiting.", first=3) == [1, 0, 2]
    learned = templates.table(as_ids=False)
    assert learned["text"].to_pylist() == ["exiting", "starting", "exiting."]
    assert learned["num_lines"].to_pylist() == [3, 2, 1]
    assert learned["first_line_number"].to_pylist() == [0, 1, 5]


def test_empty_messages_share_the_empty_template() -> None:
    templates = Templates()
    assert ids_of(templates, "", "a b", "") == [0, 1, 0]
    assert ids_of(templates, "") == [0]
    assert texts_of(templates) == ["", "a b"]


def test_the_text_may_be_the_templates_id_alone() -> None:
    templates = Templates()
    ids_of(templates, "link to alpha down", "fan is off")
    assert templates.table(as_ids=True)["text"].to_pylist() == ["1", "2"]


def test_no_lines_have_no_templates() -> None:
    templates = Templates()
    assert ids_of(templates) == []
    assert len(templates.table(as_ids=False)) == 0


def test_templates_run_on_from_file_to_file(store: Store, tmp_path: Path) -> None:
    contents = ["- 1 link to alpha down\n- 2 done\n", "- 3 done\n- 4 link to beta down\n"]
    for number, content in enumerate(contents):
        (tmp_path / f"{number}.log").write_text(content)
    dataset = labelled_by_line(tmp_path / "0.log", tmp_path / "1.log")
    built = messages_of(store, dataset, preprocessing="drain-template")
    assert read_vocabulary(built) == ["link to <*> down", "done"]
    assert [row["message_id"] for row in message_rows(built)] == [0, 1, 1, 0]
    assert built.results["has_parser_seen_test_lines"] is True
    assert built.results["num_distinct_messages"] == 2

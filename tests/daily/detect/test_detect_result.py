from logllm_core.daily.detect.detect_result import Detected


def test_what_was_left_out_is_a_sentence() -> None:
    detected = Detected(num_logs=2, num_lines=1_200, num_windows=60, num_anomalous_windows=3)
    detected.num_unparsed_lines = 4
    detected.num_lines_ahead = 1
    assert detected.sentence.endswith(
        "1,200 new lines in 60 windows judged now, 3 of them anomalous; 4 lines do not match the "
        "format; 1 lines told a time far ahead of the next one's."
    )

import math

import pytest

from logllm_core.logs.windows.splits import split_sizes


@pytest.mark.parametrize(
    ("total", "train_fraction", "validation_fraction", "expected"),
    [
        (10, 0.8, 0.1, (8, 0, 2)),
        (100, 0.8, 0.1, (72, 8, 20)),
        (100, 0.29, 0, (29, 0, 71)),  # though 100 * 0.29 is 28.999999999999996
        (7, 0.5, 0.5, (2, 1, 4)),
        (1, 0.8, 0.1, (0, 0, 1)),
        (0, 0.8, 0.1, (0, 0, 0)),
    ],
)
def test_sizes_are_rounded_down_from_the_front(
    total: int, train_fraction: float, validation_fraction: float, expected: tuple[int, int, int]
) -> None:
    assert split_sizes(total, train_fraction, validation_fraction) == expected


@pytest.mark.parametrize(
    ("num_kept_lines", "length", "num_train", "num_test"),
    [
        (4_713_493, 100, 37_708, 9_427),  # BGL
        (5_000_000, 100, 40_000, 10_000),  # Liberty
        (9_999_502, 100, 79_997, 20_000),  # Thunderbird, 498 lines lost
        (9_999_626, 100, 79_997, 20_000),  # and 374
        (575_061, 1, 460_048, 115_013),  # HDFS, by session
    ],
)
def test_the_sizes_are_the_published_ones(
    num_kept_lines: int, length: int, num_train: int, num_test: int
) -> None:
    train, validation, test = split_sizes(num_kept_lines, 0.8, 0)
    assert (math.ceil(train / length), validation, math.ceil(test / length)) == (
        num_train,
        0,
        num_test,
    )

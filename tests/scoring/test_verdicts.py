import pytest

from logllm_core.scoring.verdicts import carriers_of


@pytest.mark.parametrize(
    ("contributions", "expected"),
    [
        ({1: 0.5, 2: 4.0, 3: 1.0, 4: 0.6}, [2, 3, 4]),
        ({1: 0.3, 2: 4.0, 3: -1.0}, [2]),  # less than a tenth of the strongest
        ({1: -0.5, 2: -0.1}, []),
        ({1: 0.0}, []),
        ({}, []),
    ],
)
def test_what_contributed_most_carried_the_alarm(
    contributions: dict[int, float], expected: list[int]
) -> None:
    assert carriers_of(contributions, at_most=3) == expected

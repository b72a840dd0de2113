"""How many threads take part: decided by what was lost and what was gained, in simulated time."""

import pytest
from compiled_programs import compiled, output


def simulated(scenario, *numbers):
    """Return what a scenario of native/tests/elastic_harness.cpp prints, as numbers."""
    program = compiled("elastic", "tests/elastic_harness.cpp")
    return [float(word) for word in output(program, scenario, *numbers).split()]


@pytest.mark.parametrize("milliseconds", [0.5, 3, 12])
def test_attempts_that_keep_failing_cost_little(milliseconds):
    """The pause is 32 times what was lost, after three shorter ones."""
    lost, fewest = simulated("neighbour", 2, milliseconds)
    assert 0 < lost < 1 / 32 + 3 * milliseconds / 4000
    assert fewest == 1


@pytest.mark.parametrize("milliseconds", [0.3, 3])
def test_a_passing_disturbance_is_soon_forgotten(milliseconds):
    """The first pause is four times what was lost, and ends with a lap of 70 us."""
    pause, fewest = simulated("disturbance", 2, milliseconds)
    assert 4 * milliseconds <= pause <= 4 * milliseconds + 0.15
    assert fewest == 1


def test_what_disturbs_a_few_laps_only_is_ignored():
    assert simulated("disturbance", 2, 0.09) == [0, 2]


def test_of_many_threads_an_eighth_stays_away_at_first():
    pause, fewest = simulated("disturbance", 64, 3)
    assert fewest == 56
    assert pause < 2.1 * 4 * 3  # 56, 63, 64: two pauses


@pytest.mark.parametrize(
    ("microseconds", "best"),
    [
        ([50, 30], 1),
        ([47, 52], 0),
        ([5, 7], 0),
        ([900, 2000], 1),  # such long laps are not doubted
        ([100, 60, 40, 45, 80], 2),
        ([100, 60, 40, 30, 20], 4),
    ],
)
def test_the_fastest_number_of_threads_does_nearly_all_laps(microseconds, best):
    """Of 20,000 laps; trials of 4 runs of 20 us, each seldomer than the one before."""
    laps = simulated("worth", 2 ** (len(microseconds) - 1), *microseconds)
    assert sum(laps) == 20_000
    assert laps[best] > 0.99 * 20_000

"""When a process that died is started again."""

from tandem.supervisor.backoff import Backoff, RestartPolicy

POLICY = RestartPolicy(first_delay_s=1.0, longest_delay_s=5.0, healthy_after_s=60.0, rapid_deaths=5)


def test_pauses_double_up_to_the_longest_and_then_the_process_is_given_up() -> None:
    backoff = Backoff(POLICY)
    assert [backoff.delay_after(0.0) for _ in range(5)] == [1.0, 2.0, 4.0, 5.0, None]


def test_a_process_that_was_healthy_for_a_while_is_forgiven() -> None:
    backoff = Backoff(POLICY, deaths=4)
    assert backoff.delay_after(60.0) == 1.0


def test_a_short_life_is_not_forgiven() -> None:
    backoff = Backoff(POLICY, deaths=4)
    assert backoff.delay_after(59.9) is None

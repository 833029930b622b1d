"""How parallel and repeated attempts are merged."""

from slow_worker.workspace import Try, merge_tries, without_refused

MADE = Try(id="a", wave=1, strategy="cot", answer="1")
REFUSED = Try(id="a", wave=1, strategy="cot", error="no budget", error_code="budget_reached")


def test_the_first_of_two_made_attempts_stays() -> None:
    assert merge_tries([MADE], [MADE.model_copy(update={"answer": "2"})]) == [MADE]


def test_an_attempt_that_could_not_be_made_gives_way() -> None:
    assert merge_tries([REFUSED], [MADE]) == [MADE]
    assert merge_tries([MADE], [REFUSED]) == [MADE]


def test_what_the_budget_refused_is_no_attempt() -> None:
    failed = Try(id="b", wave=1, strategy="cot", error="down", error_code="model_unavailable")

    assert without_refused([REFUSED, MADE, failed]) == [MADE, failed]

from hypothesis import given
from hypothesis import strategies as st

from router.share import SlowShare
from tandem.schemas.routing import Lane

LANES: st.SearchStrategy[list[Lane]] = st.lists(st.sampled_from(["fast", "slow"]), max_size=60)


@given(lanes=LANES)
def test_the_share_is_that_of_the_newest_requests(lanes: list[Lane]) -> None:
    share = SlowShare(window=20, least=5)
    for lane in lanes:
        share.add(lane, None)
    newest = lanes[-20:]
    assert share.value == (newest.count("slow") / len(newest) if len(newest) >= 5 else None)


def test_what_the_caller_chose_does_not_count() -> None:
    share = SlowShare(least=1)
    share.add("slow", "lane")
    assert share.value is None
    share.add("fast", "cap")
    share.add("slow", "text")
    assert share.value == 0.0

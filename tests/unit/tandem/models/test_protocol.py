import io
from contextlib import suppress

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from tandem.errors import ModelBadResponse, ModelContextExceeded, ModelTimeout, ModelUnavailable
from tandem.models import FetchStep, LineProgress, open_chat_model, served_name
from tandem.models.faults import answer_fault, error_words, stream_fault, transport_fault
from tandem.models.protocol import read_chances, read_chunk
from tandem.schemas.chat import TokenUsage
from tandem.schemas.text import check_text
from tandem.settings import ModelSettings, Settings


def test_a_chunk_of_llama_cpp_is_read() -> None:
    chunk = read_chunk('{"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}],"timings":{"cache_n":0}}')
    assert (chunk.text, chunk.thinking, chunk.finish_reason, chunk.token_usage) == ("Hi", "", None, None)


def test_vllms_name_for_reasoning_is_read_too() -> None:
    assert read_chunk('{"choices":[{"delta":{"reasoning":"Hm."}}]}').thinking == "Hm."


def test_an_unknown_finish_reason_is_unknown() -> None:
    assert read_chunk('{"choices":[{"delta":{},"finish_reason":"abort"}]}').finish_reason == "unknown"


def test_a_usage_chunk_without_choices_is_read() -> None:
    assert read_chunk('{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}').token_usage == TokenUsage(input_tokens=3, output_tokens=4)


@pytest.mark.parametrize("data", ["", "null", "[]", "{", '{"choices":"x"}', '{"choices":[{"delta":{"content":7}}]}'])
def test_what_is_not_the_protocol_is_refused(data: str) -> None:
    with pytest.raises(ModelBadResponse, match="not the OpenAI protocol"):
        read_chunk(data)


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    with suppress(ModelBadResponse):
        assert check_text(read_chunk(data).text) is not None


def test_text_that_no_database_takes_is_replaced() -> None:
    text = read_chunk('{"choices":[{"delta":{"content":"a\\u0000b😀中"}}]}').text
    assert check_text(text) == "a\ufffdb😀中"


@pytest.mark.parametrize(
    ("error", "is_mid_stream", "expected"),
    [
        (httpx.ConnectTimeout("x"), False, ModelTimeout),
        (httpx.PoolTimeout("x"), False, ModelTimeout),
        (httpx.ReadTimeout("x"), True, ModelTimeout),
        (httpx.ReadError("x"), False, ModelUnavailable),
        (httpx.ReadError("x"), True, ModelBadResponse),
        (httpx.RemoteProtocolError("x"), False, ModelUnavailable),
        (httpx.DecodingError("x"), False, ModelBadResponse),
        (httpx.TooManyRedirects("x"), False, ModelUnavailable),
    ],
)
def test_transport_faults_have_their_error(error: httpx.HTTPError, is_mid_stream: bool, expected: type[Exception]) -> None:
    assert type(transport_fault(error, "http://m/v1", is_mid_stream=is_mid_stream)) is expected


def test_a_context_overflow_inside_a_stream_is_recognised() -> None:
    assert isinstance(stream_fault({"type": "exceed_context_size_error", "message": "too many"}, "http://m/v1"), ModelContextExceeded)


def test_an_error_page_is_shown_shortened() -> None:
    assert error_words(b"<html>\n\n" + b"x" * 1_000).endswith("…")
    assert error_words(b"") == "(empty body)"


@pytest.mark.parametrize(("header", "seconds"), [("3", 3.0), ("0.5", 0.5), ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("-1", None), (None, None)])
def test_retry_after_is_read_in_seconds(header: str | None, seconds: float | None) -> None:
    assert answer_fault(429, b"", "http://m/v1", header).retry_after_s == seconds


async def test_each_lane_has_its_default_model_and_server() -> None:
    settings = Settings(slow=ModelSettings(url="https://api.example.com/v1/", model="big"))
    assert (served_name(settings, "fast"), served_name(settings, "slow")) == ("qwen2.5-coder-0.5b-instruct", "big")
    for lane, name in (("fast", "qwen2.5-coder-0.5b-instruct"), ("slow", "big")):
        model = open_chat_model(settings, "fast" if lane == "fast" else "slow")
        assert model.name == name
        await model.close()


def test_progress_lines_come_now_and_then() -> None:
    stream, seconds = io.StringIO(), iter([0.0, 1.0, 6.0, 6.5, 7.0])
    progress = LineProgress(stream, monotonic=lambda: next(seconds), every_s=5.0)
    for activity, done_bytes in (("downloading", 0), ("downloading", 10), ("downloading", 60), ("downloading", 100), ("verifying", 0)):
        progress(FetchStep("tiny", activity, done_bytes, 100))
    assert [line.split(": ", 1)[1].split(" %")[0] for line in stream.getvalue().splitlines()] == [
        "downloading: 0",
        "downloading: 60",
        "downloading: 100",
        "verifying: 0",
    ]


@pytest.mark.parametrize(
    "logprobs",
    [
        None,
        [],
        {"content": None},
        {"tokens": ["a"], "token_logprobs": [-0.1]},
        {"content": [None, {"token": "a"}, {"token": 1, "logprob": -1}, {"token": "a", "logprob": True}]},
    ],
)
def test_logprobs_of_another_shape_are_left_out(logprobs: JsonValue) -> None:
    assert read_chances(logprobs) == []


def test_logprobs_are_read_best_first_and_stay_within_their_range() -> None:
    top: list[JsonValue] = [{"token": "b", "logprob": -2.0}, {"token": "a", "logprob": 0.5}, "odd"]
    (chance,) = read_chances({"content": [{"token": "b\x00", "logprob": float("-inf"), "top_logprobs": top}]})
    assert (chance.token, chance.logprob, chance.top) == ("b\ufffd", -9999.0, [("a", 0.0), ("b", -2.0)])


def test_the_chances_of_thoughts_are_not_those_of_the_answer() -> None:
    logprobs = '"logprobs": {"content": [{"token": "x", "logprob": -1}]}'
    said = read_chunk(f'{{"choices": [{{"delta": {{"content": "x"}}, {logprobs}}}]}}')
    thought = read_chunk(f'{{"choices": [{{"delta": {{"reasoning_content": "x"}}, {logprobs}}}]}}')
    assert (len(said.chances), len(thought.chances)) == (1, 0)

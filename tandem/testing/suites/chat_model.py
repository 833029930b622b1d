"""The conformance suite of ``ChatModel``: subclass it where the fixture is.

    class TestMyModel(ChatModelConformance): ...

It asks for one fixture, ``chat_model``: a ``ChatModel`` whose server answers any prompt with some words, honours ``max_tokens`` and ``stop``, and
refuses a prompt of ``TOO_MANY_WORDS`` words. The words themselves may be anything.
"""
# ruff: noqa: S101 - a conformance suite asserts

import asyncio
from contextlib import aclosing

import pytest

from tandem.errors import ModelContextExceeded
from tandem.ports import ChatModel
from tandem.schemas.chat import ChatDelta, ChatMessage, ChatRequest

TOO_MANY_WORDS = 9_000


def ask(text: str, *, max_tokens: int = 24, stop: list[str] | None = None) -> ChatRequest:
    """A request whose answer is as repeatable as the server allows."""
    return ChatRequest(messages=[ChatMessage(role="user", content=text)], max_tokens=max_tokens, temperature=0.0, seed=7, stop=stop or [])


async def collect(model: ChatModel, request: ChatRequest) -> list[ChatDelta]:
    """Every piece of a streamed reply."""
    async with aclosing(model.stream(request)) as deltas:
        return [delta async for delta in deltas]


class ChatModelConformance:
    """Everything a ``ChatModel`` promises."""

    async def test_check_names_the_model_that_answers(self, chat_model: ChatModel) -> None:
        assert await chat_model.check() == chat_model.name

    async def test_a_whole_reply_has_text_a_reason_and_counted_tokens(self, chat_model: ChatModel) -> None:
        reply = await chat_model.complete(ask("Count from one to ten."))
        assert reply.text.strip()
        assert reply.finish_reason in {"stop", "length"}
        assert reply.usage.input_tokens > 0
        assert 0 < reply.usage.output_tokens <= 25
        assert reply.model == chat_model.name

    async def test_only_the_last_piece_has_reason_and_usage(self, chat_model: ChatModel) -> None:
        *pieces, last = await collect(chat_model, ask("Say hello."))
        assert "".join(piece.text for piece in pieces).strip()
        assert all(piece.finish_reason is None and piece.usage is None for piece in pieces)
        assert last.finish_reason is not None
        assert last.usage is not None

    async def test_pieces_join_to_the_whole_reply(self, chat_model: ChatModel) -> None:
        request = ask("Name three colours.")
        pieces = await collect(chat_model, request)
        assert "".join(piece.text for piece in pieces) == (await chat_model.complete(request)).text

    async def test_max_tokens_ends_a_reply_with_length(self, chat_model: ChatModel) -> None:
        reply = await chat_model.complete(ask("Tell me a long story about the sea.", max_tokens=2))
        assert reply.finish_reason == "length"
        assert reply.usage.output_tokens <= 2

    async def test_a_stop_text_never_appears(self, chat_model: ChatModel) -> None:
        whole = (await chat_model.complete(ask("Count from one to ten."))).text
        stop = whole.split()[-1]
        cut = await chat_model.complete(ask("Count from one to ten.", stop=[stop]))
        assert stop not in cut.text
        assert cut.finish_reason == "stop"

    async def test_chinese_goes_in_and_comes_out_as_text(self, chat_model: ChatModel) -> None:
        reply = await chat_model.complete(ask("你好，请介绍一下你自己。"))
        assert reply.text.strip()
        assert "\ufffd" not in reply.text.rstrip("\ufffd")  # a reply cut by max_tokens may end inside a character

    async def test_a_prompt_that_does_not_fit_is_refused_by_name(self, chat_model: ChatModel) -> None:
        with pytest.raises(ModelContextExceeded):
            await chat_model.complete(ask("word " * TOO_MANY_WORDS))

    async def test_a_stream_that_is_left_early_leaves_the_model_usable(self, chat_model: ChatModel) -> None:
        async with aclosing(chat_model.stream(ask("Tell me a long story.", max_tokens=512))) as deltas:
            await anext(deltas)
        assert (await chat_model.complete(ask("Say hello."))).text.strip()

    async def test_a_cancelled_reply_leaves_the_model_usable(self, chat_model: ChatModel) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await chat_model.complete(ask("Tell me a very long story.", max_tokens=2_000))
        assert (await chat_model.complete(ask("Say hello."))).text.strip()

    async def test_several_replies_run_at_once(self, chat_model: ChatModel) -> None:
        replies = await asyncio.gather(*(chat_model.complete(ask(f"Say the number {number}.", max_tokens=8)) for number in range(4)))
        assert all(reply.text for reply in replies)

    async def test_chances_are_log_probabilities_of_the_text_and_come_only_when_asked_for(self, chat_model: ChatModel) -> None:
        request = ask("Say hello.")
        assert (await chat_model.complete(request)).chances == []
        reply = await chat_model.complete(request.model_copy(update={"top_logprobs": 3}))
        assert reply.text.strip()
        for chance in reply.chances:  # a server may have none
            assert chance.logprob <= 0
            assert chance.top == sorted(chance.top, key=lambda pair: -pair[1])
        if reply.chances:
            assert "".join(chance.token for chance in reply.chances).strip().startswith(reply.text.strip()[:1])

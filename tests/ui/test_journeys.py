"""What people do with the pages, in a real browser against the real gateway and a scripted model."""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Protocol

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

from tandem.events import open_notifier
from tandem.ids import DEFAULT_TENANT, JobId
from tandem.ports import Appended, JobFilter, NewEvent, Notifier, Outcome, Storage
from tandem.schemas.events import JobEvent
from tandem.schemas.jobs import Check, Job, JobResult, JobStatus, JobView, LastEvent, PlanStep, Usage, Verification
from tandem.settings import Settings
from tandem.storage import open_storage

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync"
)
MESSAGES = "[data-testid=stChatMessage]"
WHOLE_ANSWER = " ".join(f"w{number}" for number in range(50))


class Model(Protocol):
    def hold(self) -> None: ...
    def release(self) -> None: ...


class Stack(Protocol):
    """The fixture of conftest.py."""

    @property
    def model(self) -> Model: ...
    @property
    def settings(self) -> Settings: ...
    @property
    def pages(self) -> str: ...


@pytest.fixture
async def browser(chromium_path: str) -> AsyncIterator[Browser]:
    expect.set_options(timeout=40_000)  # shared machines are slow
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=chromium_path, args=FLAGS.split())
        yield chromium
        await chromium.close()


@pytest.fixture
async def page(browser: Browser, stack: Stack) -> AsyncIterator[Page]:
    stack.model.release()
    page = await browser.new_page(locale="en-US", timezone_id="UTC", viewport={"width": 1180, "height": 820})
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    await page.goto(stack.pages)
    await expect(page.get_by_test_id("stChatInput")).to_be_visible()
    yield page
    stack.model.release()
    assert faults == []


@pytest.fixture
async def storage(stack: Stack) -> AsyncIterator[Storage]:
    storage = open_storage(stack.settings)
    yield storage
    await storage.close()


async def send(page: Page, text: str) -> None:
    await page.locator("[data-testid=stChatInput] textarea").fill(text)
    await page.keyboard.press("Enter")


async def choose_lane(page: Page, name: str) -> None:
    await page.get_by_role("radio", name=name).click()
    await expect(page.get_by_role("radio", name=name)).to_have_attribute("aria-checked", "true")


async def expect_answers(page: Page, count: int) -> None:
    """Exactly so many whole answers, drawn natively, and nothing live any more."""
    await expect(page.locator(MESSAGES).filter(has_text="w49")).to_have_count(count)
    await expect(page.locator(".turn")).to_have_count(0)
    for answer in await page.locator(MESSAGES).filter(has_text="w49").all():
        assert " ".join(re.findall(r"w\d+", await answer.inner_text())) == WHOLE_ANSWER


async def test_an_answer_streams_with_its_lane_and_is_then_stored(page: Page, stack: Stack) -> None:
    stack.model.hold()
    await send(page, "count for me")
    await expect(page.locator(MESSAGES)).to_have_count(1)
    live = page.locator(".turn")
    await expect(live.locator(".text")).to_contain_text("w3")
    await expect(live.locator(".chip")).to_contain_text("fast")
    assert "w49" not in await live.inner_text()
    stack.model.release()
    await expect_answers(page, 1)
    await expect(page.locator(MESSAGES).nth(1)).to_contain_text("fast")
    assert "thread=thr_" in page.url


async def test_a_reload_in_the_middle_loses_nothing_and_doubles_nothing(page: Page, stack: Stack) -> None:
    stack.model.hold()
    await send(page, "count slowly")
    await expect(page.locator(".turn .text")).to_contain_text("w3")
    await page.reload()
    await expect(page.locator(".turn .text")).to_contain_text("You asked: count slowly")
    await expect(page.locator(MESSAGES)).to_have_count(1)
    stack.model.release()
    await expect_answers(page, 1)
    await page.reload()
    await expect_answers(page, 1)


async def test_a_second_message_never_ends_the_first_answer(page: Page, stack: Stack) -> None:
    stack.model.hold()
    await send(page, "first question")
    await expect(page.locator(".turn")).to_have_count(1)
    await send(page, "second question")
    await expect(page.locator(".turn")).to_have_count(2)
    await expect(page.locator(".turn .text").nth(1)).to_contain_text("w3")
    stack.model.release()
    await expect_answers(page, 2)
    for asked in ("first question", "second question"):
        await expect(page.locator(MESSAGES).filter(has_text=f"You asked: {asked}")).to_have_count(1)


async def test_two_browsers_show_the_same_conversation(browser: Browser, page: Page) -> None:
    await send(page, "seen in the first one")
    await expect_answers(page, 1)
    other = await browser.new_page()
    await other.goto(page.url)
    await expect_answers(other, 1)
    await send(other, "written in the second one")
    for shown in (other, page):
        await expect(shown.locator(MESSAGES).filter(has_text="You asked: written in the second one")).to_have_count(1)
        await expect_answers(shown, 2)


async def test_being_offline_for_a_while_costs_nothing(page: Page, stack: Stack) -> None:
    stack.model.hold()
    await send(page, "count while I am away")
    await expect(page.locator(".turn .text")).to_contain_text("w3")
    await page.context.set_offline(True)
    stack.model.release()
    await page.wait_for_timeout(2_500)
    await page.context.set_offline(False)
    await expect_answers(page, 1)


async def test_an_answer_can_be_stopped(page: Page, stack: Stack) -> None:
    stack.model.hold()
    await send(page, "count until I say stop")
    await expect(page.locator(".turn .text")).to_contain_text("w3")
    await page.locator(".turn").get_by_role("button", name="Stop").click()
    await expect(page.locator(".turn .note")).to_have_text("Stopped")  # the model is silent for longer than this waits
    stack.model.release()
    await send(page, "go on")
    await expect(page.locator(MESSAGES).filter(has_text="You asked: go on")).to_have_count(1)


async def test_nothing_that_is_written_is_executed(page: Page, stack: Stack) -> None:
    await choose_lane(page, "Fast")
    stack.model.hold()
    await send(page, '<img src=x onerror="window.hacked=1"><script>window.hacked=2</script>')
    await expect(page.locator(".turn .text")).to_contain_text("onerror")
    stack.model.release()
    await expect_answers(page, 1)
    assert await page.evaluate("window.hacked === undefined")
    assert await page.locator("main img[src=x]").count() == 0


async def test_a_slow_message_becomes_a_card_that_can_be_cancelled(page: Page, storage: Storage) -> None:
    await choose_lane(page, "Deep")
    await send(page, "plan my trip carefully")
    card = page.locator(".card")
    await expect(card).to_contain_text("plan my trip")
    await expect(card.locator(".state")).to_have_text("Waiting for a worker")
    await card.get_by_role("button", name="Cancel").click()
    await expect(card).to_have_count(0)
    assert (await newest_job(storage)).status is JobStatus.CANCELLED


async def test_a_jobs_progress_and_result_appear_without_a_reload(page: Page, stack: Stack, storage: Storage) -> None:
    await choose_lane(page, "Deep")
    await send(page, "work on this problem")
    await expect(page.locator(".card")).to_have_count(1)
    async with worker(stack, storage) as work:
        await work.progress()
        await expect(page.locator(".card .step")).to_have_text([re.compile("Look closely"), re.compile("Check it")])
        await expect(page.locator(".card .event")).to_contain_text("Looked at 3 of 5")
        await expect(page.locator(".card .meta")).to_have_text("model calls 2 · tokens 30")
        await work.finish()
        result = page.locator(MESSAGES).filter(has_text="The answer is 42")
        await expect(result).to_have_count(1)
        await expect(result).to_contain_text("V3 · checked by a program")
        await expect(page.locator(".card")).to_have_count(0)
    await result.get_by_text("Job details").click()
    await expect(page.get_by_role("heading", name="work on this problem")).to_be_visible()
    await expect(page.get_by_text("V3 · checked by a program")).to_be_visible()
    assert "job=job_" in page.url


async def test_the_pages_speak_the_browsers_language(browser: Browser, stack: Stack) -> None:
    page = await browser.new_page(locale="zh-CN")
    await page.goto(stack.pages)
    await expect(page.get_by_text("我能帮你做什么？")).to_be_visible()
    await send(page, "数到五十")
    await expect(page.locator(MESSAGES).filter(has_text="w49")).to_contain_text("快速")
    assert await page.evaluate("document.documentElement.lang") == "zh"


class Work:
    """One job, worked on as a worker does it: claim, append, finish, and a word to the listeners after each."""

    def __init__(self, storage: Storage, notifier: Notifier, job: Job, epoch: int, view: JobView) -> None:
        self._storage = storage
        self._notifier = notifier
        self._job_id = JobId(job.id)
        self._epoch = epoch
        self._view = view

    async def progress(self) -> None:
        plan = [PlanStep(id="1", title="Look closely", state="running"), PlanStep(id="2", title="Check it")]
        event = LastEvent(seq=3, at=datetime.now(UTC), text="Looked at 3 of 5")
        usage = Usage(calls=2, input_tokens=10, output_tokens=20)
        view = self._view.model_copy(update={"plan": plan, "last_event": event, "usage": usage})
        await self._told(self._storage.work.append(self._job_id, self._epoch, [NewEvent(JobEvent.PLAN_CREATED)], view))

    async def finish(self) -> None:
        verification = Verification(level="V3", checks=[Check(name="program", level="V3", passed=True)])
        outcome = Outcome(JobStatus.COMPLETED, JobResult(output_text="The answer is 42.", verification=verification))
        await self._told(self._storage.work.finish(self._job_id, self._epoch, outcome))

    async def _told(self, appending: Awaitable[Sequence[Appended]]) -> None:
        await self._notifier.notify(await appending)


@asynccontextmanager
async def worker(stack: Stack, storage: Storage) -> AsyncGenerator[Work]:
    async with AsyncExitStack() as cleanup:
        notifier = open_notifier(stack.settings)
        cleanup.push_async_callback(notifier.close)
        job = await newest_job(storage)
        claim = await storage.work.claim("test", 60.0, 5, job_id=JobId(job.id))
        assert claim is not None
        await notifier.notify(claim.appended)
        yield Work(storage, notifier, job, claim.epoch, claim.view)


async def newest_job(storage: Storage) -> Job:
    jobs = await storage.jobs.list(DEFAULT_TENANT, where=JobFilter(), after=None, limit=1)
    return jobs[0]

import asyncio
import gc

import pytest

from codlocal.generation.engines.sharing import Shared


class Work:
    """Waits until it may end, and counts how often it was begun, ended and cancelled."""

    def __init__(self, error=None):
        self.begun = self.cancelled = 0
        self.may_end = asyncio.Event()
        self.error = error

    async def __call__(self):
        self.begun += 1
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)  # as closing a connection takes a while
            self.cancelled += 1
            raise
        if self.error:
            raise self.error
        return f"result {self.begun}"


def begin(shared, work, count, key="a"):
    return [asyncio.create_task(shared.once(key, work)) for _ in range(count)]


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


def run(test):
    """Run a test in a loop in which nobody may complain of an error that was not looked at."""
    complaints = []

    async def whole():
        asyncio.get_running_loop().set_exception_handler(
            lambda _loop, told: complaints.append(told)
        )
        await test()
        gc.collect()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(whole())
    assert complaints == []


def test_what_is_in_flight_is_done_once():
    async def test():
        shared, work, other = Shared(), Work(), Work()
        waiting = begin(shared, work, 3) + begin(shared, other, 1, "b")
        await settle()
        work.may_end.set()
        other.may_end.set()
        assert await asyncio.gather(*waiting) == ["result 1"] * 4
        assert (work.begun, other.begun) == (1, 1)
        assert await shared.once("a", work) == "result 2"

    run(test)


@pytest.mark.parametrize("first_to_go", [0, 1, 2])
def test_whoever_is_cancelled_leaves_the_others_waiting(first_to_go):
    async def test():
        shared, work = Shared(), Work()
        waiting = begin(shared, work, 3)
        await settle()
        waiting[first_to_go].cancel()
        await settle()
        assert [one.done() for one in waiting] == [at == first_to_go for at in range(3)]
        work.may_end.set()
        found = await asyncio.gather(*waiting, return_exceptions=True)
        assert found.count("result 1") == 2
        assert isinstance(found[first_to_go], asyncio.CancelledError)
        assert (work.begun, work.cancelled) == (1, 0)

    run(test)


def test_the_last_one_to_go_ends_the_work_before_it_is_gone():
    async def test():
        shared, work = Shared(), Work()
        waiting = begin(shared, work, 3)
        await settle()
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert all(one.cancelled() for one in waiting)
        assert (work.begun, work.cancelled) == (1, 1)

    run(test)


def test_who_asks_while_the_work_is_being_ended_begins_anew():
    async def test():
        shared, work = Shared(), Work()
        [given_up] = begin(shared, work, 1)
        await settle()
        given_up.cancel()
        await asyncio.sleep(0)
        [late] = begin(shared, work, 1)
        await settle()
        work.may_end.set()
        assert await late == "result 2"
        assert given_up.cancelled()
        assert work.cancelled == 1

    run(test)


def test_an_error_is_raised_for_all_and_not_kept():
    async def test():
        shared, work = Shared(), Work(ValueError("no"))
        waiting = begin(shared, work, 3)
        await settle()
        work.may_end.set()
        found = await asyncio.gather(*waiting, return_exceptions=True)
        assert found == [work.error] * 3
        work.error = None
        assert await shared.once("a", work) == "result 2"

    run(test)


def test_an_error_that_nobody_waits_for_any_more_is_no_complaint():
    async def test():
        shared, work = Shared(), Work(ValueError("no"))
        [waiting] = begin(shared, work, 1)
        await settle()
        work.may_end.set()
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    run(test)

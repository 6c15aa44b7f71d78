"""Steps of one kind are taken in a row, each once, in order, whatever happens to one of them."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

from antigravity2api.together import Together


async def test_steps_are_taken_in_order_in_one_turn() -> None:
    together = Together(asyncio.get_running_loop())
    taken: list[int] = []
    for number in range(5):
        together.add(taken.append, number)
    assert taken == []
    await asyncio.sleep(0)
    assert taken == [0, 1, 2, 3, 4]
    together.add(taken.append, 5)
    together.run()
    await asyncio.sleep(0)
    assert taken == [0, 1, 2, 3, 4, 5]


async def test_what_a_step_adds_has_a_turn_of_its_own() -> None:
    together = Together(asyncio.get_running_loop())
    turns: list[int] = []

    def step(left: int) -> None:
        turns.append(left)
        if left:
            together.add(step, left - 1)

    together.add(step, 3)
    for turn in range(1, 5):
        await asyncio.sleep(0)
        assert len(turns) == turn


async def test_a_step_that_fails_is_reported_and_delays_none() -> None:
    loop = asyncio.get_running_loop()
    told: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: told.append(context))
    together = Together(loop)
    taken: list[str] = []
    together.add(taken.append, "before")
    together.add(lambda: taken[9])
    together.add(taken.append, "behind")
    await asyncio.sleep(0)
    assert taken == ["before", "behind"]
    assert isinstance(told[0]["exception"], IndexError)


async def test_what_a_step_was_given_is_let_go_before_the_next() -> None:
    class Body:
        """Something large."""

    together = Together(asyncio.get_running_loop())
    body = Body()
    gone = weakref.ref(body)
    together.add(lambda given: None, body)
    del body
    seen: list[Any] = []
    together.add(lambda: seen.append(gone()))
    await asyncio.sleep(0)
    gc.collect()
    assert seen == [None]

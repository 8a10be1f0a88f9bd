"""Groups of messages whose receiver may have been killed by one of them."""

from __future__ import annotations

import asyncio
import random

import pytest

from kube_job_runner.ports import Delivery
from kube_job_runner.services.pipeline.isolation import Floor, Isolation


def delivery(number: int, deliveries: int = 1, *, unfinished: bool = True) -> Delivery:
    return Delivery(body=b"", receipt=str(number), deliveries=deliveries, unfinished=unfinished and deliveries > 1)


def test_the_groups_are_halved_and_the_last_two_are_alone() -> None:
    sizes = [Isolation(batch_size=200, max_deliveries=10).group_size(deliveries) for deliveries in range(1, 11)]
    assert sizes == [200, 100, 50, 25, 13, 7, 4, 2, 1, 1]


@pytest.mark.parametrize("batch_size", [1, 2, 10, 200, 1000])
@pytest.mark.parametrize("max_deliveries", [1, 2, 3, 4, 5, 10, 500])
def test_nothing_is_given_up_before_it_was_alone(batch_size: int, max_deliveries: int) -> None:
    isolation = Isolation(batch_size=batch_size, max_deliveries=max_deliveries)
    last = next(count for count in range(1, 1000) if isolation.worn_out(delivery(0, count + 1)))
    assert isolation.group_size(last) == 1
    assert last == max(3, max_deliveries)


def test_a_batch_that_nobody_left_is_worked_on_whole() -> None:
    """Whatever its counts: an error, or an observation that came early, was answered."""
    received = [delivery(number, number + 1, unfinished=False) for number in range(9)]
    picked = Isolation(batch_size=200, max_deliveries=10).pick(received)
    assert (picked.now, picked.later, picked.alone) == (received, [], False)


def test_the_least_suspect_go_first_without_others() -> None:
    fresh, once, often = delivery(1), [delivery(2, 2), delivery(3, 2)], delivery(4, 9)
    isolation = Isolation(batch_size=200, max_deliveries=10)
    picked = isolation.pick([fresh, often, *once])
    assert (picked.now, picked.later, picked.alone) == (once, [fresh, often], False)
    picked = isolation.pick([fresh, often, delivery(5, 9)])
    assert (picked.now, picked.later, picked.alone) == ([often], [fresh, delivery(5, 9)], True)
    worn = delivery(6, 11)
    assert isolation.pick([fresh, often, worn]).now == [often, worn], "it is only moved to the dead letters"


@pytest.mark.parametrize("killers", [1, 2, 5])
@pytest.mark.parametrize("crowd", [1, 2, 100, 200, 900])
def test_all_but_the_killers_end_within_a_bounded_number_of_crashes(crowd: int, killers: int) -> None:
    """Two processes with two pipelines each: what a crash takes with it from another pipeline survives too."""
    isolation, chance = Isolation(batch_size=200, max_deliveries=10), random.Random(crowd * 10 + killers)
    counts = dict.fromkeys(range(crowd), 0)
    unfinished: set[int] = set()
    bad = set(chance.sample(range(crowd), min(killers, crowd)))
    dead: set[int] = set()
    runs = crashes = 0

    def take() -> tuple[list[int], bool]:
        order = [number for number in counts if number not in held]
        chance.shuffle(order)
        received = [
            Delivery(body=b"", receipt=str(number), deliveries=counts[number] + 1, unfinished=number in unfinished)
            for number in order[:200]
        ]
        picked = isolation.pick(received)
        now = [int(each.receipt) for each in picked.now]
        held.update(now)
        for each in picked.now:
            counts[int(each.receipt)] += 1
        return now, picked.alone

    while counts:
        held: set[int] = set()
        batches = [take(), take()]
        if any(alone for _, alone in batches):
            batches = batches[:1] if batches[0][1] else batches[1:]
            kept = set(batches[0][0])
            for number in held - kept:
                counts[number] -= 1
        runs += 1
        worn = {number for now, _ in batches for number in now if counts[number] > 10}
        dead |= worn
        for number in worn:
            del counts[number]
        ran = {number for now, _ in batches for number in now} - worn
        if ran & bad:
            crashes += 1
            unfinished |= ran
            continue
        for number in ran:
            del counts[number]
    assert dead == bad
    assert crashes <= 10 * len(bad)
    assert runs <= 10 * len(bad) + 4 * len(bad) * 10 + crowd / 100 + 20, "rounds, not one run for each message"


@pytest.mark.asyncio
async def test_one_batch_is_alone_and_the_others_wait() -> None:
    floor, log = Floor(), []
    go = {name: asyncio.Event() for name in "abcd"}

    async def work(name: str, *, alone: bool = False) -> None:
        async with floor.entered(alone=alone):
            log.append(f"+{name}")
            await go[name].wait()
            log.append(f"-{name}")

    tasks = [asyncio.create_task(work(name, alone=name == "b")) for name in "abcd"]
    await asyncio.sleep(0.01)
    assert log == ["+a"], "b waits for a, and c and d for b"
    go["a"].set()
    await asyncio.sleep(0.01)
    assert log == ["+a", "-a", "+b"]
    go["b"].set()
    await asyncio.sleep(0.01)
    assert log == ["+a", "-a", "+b", "-b", "+c", "+d"]
    for name in "cd":
        go[name].set()
    await asyncio.gather(*tasks)


@pytest.mark.asyncio
async def test_who_gives_up_the_wait_holds_nobody() -> None:
    floor, go = Floor(), asyncio.Event()

    async def work(*, alone: bool) -> None:
        async with floor.entered(alone=alone):
            await go.wait()

    first = asyncio.create_task(work(alone=False))
    await asyncio.sleep(0)
    waiting = asyncio.create_task(work(alone=True))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    second = asyncio.create_task(work(alone=False))
    await asyncio.sleep(0)
    go.set()
    await asyncio.wait_for(asyncio.gather(first, second), 5)

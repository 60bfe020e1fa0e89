"""The script of Multi Doors Keys: in which order keys and doors are visited, and how many actions that takes.

The paper says what the agent does (arXiv 2307.02064, section 5.6) but not in which order. The stops take as long as in
the published strip; orders are drawn at random. With these the longest context has exactly the published length, which
makes the script length-matched, not identical.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise, product
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64
from minigrid.core.actions import Actions

from envs.centered_view import DOWN, LEFT, RIGHT, UP
from envs.doors_keys_map import PITCH, start_column

LOOK, TAKE, TRY = "look", "take", "try"
"""What is done at a stop: look at a key, take it, try a door."""
FACING = {LOOK: DOWN, TAKE: DOWN, TRY: UP}
"""Direction in which the agent leaves the middle of the corridor; it comes back facing the other way."""
BACK = {LOOK: UP, TAKE: UP, TRY: DOWN}
ENTER = {
    LOOK: (Actions.forward, Actions.forward),
    TAKE: (Actions.forward, Actions.forward, Actions.pickup),
    TRY: (Actions.forward, Actions.toggle),
}
LEAVE = {
    LOOK: (Actions.right, Actions.right, Actions.forward, Actions.forward),
    TAKE: (Actions.right, Actions.right, Actions.forward, Actions.forward),
    TRY: (Actions.right, Actions.right, Actions.forward),
}
ATTEMPTS_PER_KEY = 2


class Stop(NamedTuple):
    """A visit to the door or the key of a column."""

    kind: str
    column: int


@dataclass(frozen=True)
class Plan:
    """The stops of an episode. The task of the query ends with its ``task_stops`` first ones; filler follows, more
    than the episode has time for."""

    context: tuple[Stop, ...]
    query: tuple[Stop, ...]
    task_stops: int


def query_attempts(keys: int) -> int:
    """Door attempts that the task of the query consists of: two after each key, then every door once."""
    return (ATTEMPTS_PER_KEY + 1) * keys


@cache
def turn(heading: int, facing: int) -> tuple[Actions, ...]:
    """Turns from one direction to another, the short way round; to the right if both are equally long."""
    return ((), (Actions.right,), (Actions.right, Actions.right), (Actions.left,))[(facing - heading) % 4]


@cache
def walk(heading: int, start: int, stop: int, facing: int) -> tuple[Actions, ...]:
    """Along the middle of the corridor from column ``start`` to column ``stop``, from one direction to another."""
    if start == stop:
        return turn(heading, facing)
    way = RIGHT if stop > start else LEFT
    return (*turn(heading, way), *[Actions.forward] * (PITCH * abs(stop - start)), *turn(way, facing))


def hop(last: Stop, stop: Stop) -> tuple[Actions, ...]:
    """From the end of one stop to the end of the next."""
    return (*LEAVE[last.kind], *walk(BACK[last.kind], last.column, stop.column, FACING[stop.kind]), *ENTER[stop.kind])


def first_hop(keys: int, stop: Stop) -> tuple[Actions, ...]:
    """From the start of the episode to the end of its first stop."""
    return (*walk(RIGHT, start_column(keys), stop.column, FACING[stop.kind]), *ENTER[stop.kind])


def longest_round(count: int, first: int, last: int) -> int:
    """Length, in columns, of the longest way from ``first`` to ``last`` over each of ``count`` columns once.

    A leg adds its farther column from some middle and takes off its nearer one. Every column borders on two legs, the
    ends on one. So no order can beat the larger half of these minus the smaller half, and going to and fro between
    the halves attains it.
    """
    ends = sorted([column for column in range(count) for _ in range(2 - (column in (first, last)))])
    half = len(ends) // 2
    return sum(ends[half:]) - sum(ends[:half])


@cache
def context_length(keys: int) -> int:
    """Observations of the longest context: every key in any order, then every door in any order.

    Dynamic programming over where the round of the keys and that of the doors begin and end. Within a round nothing
    but the distance depends on the order, for which ``longest_round`` stands.
    """
    columns = range(keys)

    def round_of(kind: str, first: int, last: int) -> int:
        stop_and_turns = len(hop(Stop(kind, 0), Stop(kind, 1))) - PITCH
        return (keys - 1) * stop_and_turns + PITCH * longest_round(keys, first, last)

    pairs = [(first, last) for first, last in product(columns, columns) if first != last]
    to_last_key = dict.fromkeys(columns, 0)
    for first, last in pairs:
        length = len(first_hop(keys, Stop(LOOK, first))) + round_of(LOOK, first, last)
        to_last_key[last] = max(to_last_key[last], length)
    to_first_door = {
        door: max(to_last_key[key] + len(hop(Stop(LOOK, key), Stop(TRY, door))) for key in columns) for door in columns
    }
    return 1 + max(to_first_door[first] + round_of(TRY, first, last) for first, last in pairs)


def query_length(keys: int) -> int:
    """Observations of the query, 174, 380 and 654 for 3, 5 and 7 keys as published.

    The published episodes have 250, 550 and 950 observations in all, which is 50 times (K^2 + 4 K - 1) / 4. We round
    that up to a multiple of 50 for the other numbers of keys.
    """
    return 50 * math.ceil((keys**2 + 4 * keys - 1) / 4) - context_length(keys)


def _steps(stops: Sequence[Stop]) -> int:
    return sum(len(hop(last, stop)) for last, stop in pairwise(stops))


def draw_plan(keys: int, rng: np.random.Generator) -> Plan:
    """A random plan whose task fits into the query; longer ones are drawn again from the same generator.

    Context: look at every key, then try every door. Query: take each key and try two doors after it; then try every
    door; then, as filler, go on trying doors, each time another one than just before.
    """
    while True:
        looks, visits, takes, final, *tries = np.argsort(rng.random((4 + keys, keys)), axis=1).tolist()
        context = (*[Stop(LOOK, column) for column in looks], *[Stop(TRY, column) for column in visits])
        task = []
        for key, doors in zip(takes, tries, strict=True):
            task += [Stop(TAKE, key), *[Stop(TRY, door) for door in doors[:ATTEMPTS_PER_KEY]]]
        task += [Stop(TRY, door) for door in final]
        if _steps([context[-1], *task]) <= query_length(keys):
            break
    shortest = len(hop(Stop(TRY, 0), Stop(TRY, 1)))
    filler = [task[-1].column]
    for uniform in rng.random(query_length(keys) // shortest + 1).tolist():
        filler.append((filler[-1] + 1 + int(uniform * (keys - 1))) % keys)
    return Plan(context, (*task, *[Stop(TRY, door) for door in filler[1:]]), len(task))


def script(keys: int, plan: Plan) -> tuple[Int64[np.ndarray, " steps"], list[tuple[Stop, int]]]:
    """All actions of an episode, and each stop with the index of the first frame that shows what was done there.

    The context is padded with ``done``; the last stop of the query may be cut off.
    """
    actions = list(first_hop(keys, plan.context[0]))
    stops = [(plan.context[0], len(actions))]

    def follow(way: tuple[Stop, ...]) -> None:
        for last, stop in pairwise(way):
            actions.extend(hop(last, stop))
            stops.append((stop, len(actions)))

    follow(plan.context)
    actions += [Actions.done] * (context_length(keys) - 1 - len(actions))
    follow((plan.context[-1], *plan.query))
    steps = context_length(keys) + query_length(keys) - 1
    return np.array(actions[:steps], np.int64), [(stop, step) for stop, step in stops if step <= steps]

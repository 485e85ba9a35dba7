"""One turn of the loop: a pure function from what is known and what came in to what is known and what is decided.

It is level-triggered: what is decided follows from the two whole twins and from what is under way, so that a turn
missed or run twice does no harm. Nothing here reads a clock, a file or the network; the runner does.
"""

from __future__ import annotations

from karez.loop.follow import answered, followed, overtaken
from karez.loop.govern import approved, brought, mended, reviewed, unheard
from karez.loop.perceive import observed, perceived
from karez.loop.state import Decisions, Inputs, Policy, Said, State


def turn(state: State, inputs: Inputs, policy: Policy) -> tuple[State, Decisions]:
    """What is known after the turn, and what is to be done.

    Where the network could not be observed, replies are taken in and people are told so, and nothing else: without eyes
    the loop keeps still.
    """
    said = Said()
    state = perceived(answered(observed(state, inputs), inputs, said), inputs.at_s, said)
    if inputs.failed:
        unheard(inputs, said)
    else:
        state = _decided(state, inputs, policy, said)
    return state, said.decisions(inputs.at_s, state)


def _decided(state: State, inputs: Inputs, policy: Policy, said: Said) -> State:
    at_s = inputs.at_s
    state = overtaken(followed(state, at_s, policy, said), at_s, said)
    state = reviewed(state, at_s, policy, said)
    state = brought(state, inputs.plans, at_s, policy, said)
    state = approved(state, inputs.approvals, at_s, policy, said)
    return mended(state, at_s, policy, said)

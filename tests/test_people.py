"""What the loop proposes waits in a box; an approval that is signed and counts is acted on once, and no other is."""

from __future__ import annotations

from pathlib import Path

import msgspec

from benchmarks.instances.ring import ring
from karez.adapters.embedded import EmbeddedNetwork, Fault
from karez.loop.people import ThroughBox
from karez.loop.runner import Runner
from karez.loop.state import Policy
from karez.record.approvals import COUNTED, Box
from karez.record.log import Record
from karez.record.principals import approval_of, judged, signed
from karez.twin import World
from tests.approving import key, persons

FAULT = Fault("link_slow", "l03", 10.0, 300.0, size_us=5_000.0)


def _world() -> World:
    world = ring()
    return World(world.intended.replace(persons()), world.actual)


def _advised(folder: Path, *, says: str = "li") -> tuple[list[str], list[str], list[str]]:
    """A run at `advise` in which somebody approves all that waits: the answers, who approved commands, all verdicts."""
    world, answers = _world(), []
    network = EmbeddedNetwork(world, seed=1, start_s=0.0)
    network.inject(FAULT)
    judge = judged(world.intended)
    decided = []
    with Record(folder / "record") as record, Box(str(folder / "box"), judge, make=True) as box:
        runner = Runner.start(world, network, record, Policy(level="advise"), at_s=0.0)
        people = ThroughBox(box, epoch=1)
        for turn in range(1, 40):
            decided.append(runner.turn(float(turn), people))
            for waits in box.waiting(at_s=float(turn)):
                approval = approval_of(waits.plan, "li", at_s=float(turn), lasts_s=60.0, nonce=f"{turn:032x}")
                answers.append(box.approve(signed(approval, key(says)), at_s=float(turn)))
    commands = [command.approved_by for made in decided for command in made.commands]
    return answers, commands, [word.verdict for made in decided for word in made.verdicts]


def test_what_is_proposed_waits_in_the_box_and_acts_once_when_it_was_approved(tmp_path: Path) -> None:
    answers, commands, words = _advised(tmp_path)
    assert answers[0] == COUNTED
    assert commands == ["li"]
    assert words[:3] == ["proposed", "commanded", "applied"]


def test_a_forged_approval_moves_nothing(tmp_path: Path) -> None:
    answers, commands, words = _advised(tmp_path, says="wang")
    assert answers
    assert COUNTED not in answers
    assert commands == []
    assert words == ["proposed"]


def test_what_asks_for_two_persons_waits_for_two(tmp_path: Path) -> None:
    world = _world()
    with Box(str(tmp_path / "box"), judged(world.intended), make=True) as box:
        people = ThroughBox(box, epoch=1, two_persons={"drain_link"})
        network = EmbeddedNetwork(world, seed=1, start_s=0.0)
        network.inject(FAULT)
        with Record(tmp_path / "record") as record:
            runner = Runner.start(world, network, record, Policy(level="advise"), at_s=0.0)
            for turn in range(1, 25):
                runner.turn(float(turn), people)
            waits = box.waiting(at_s=25.0)[0]
            assert waits.needs == 2
            for at_s, name in ((26.0, "li"), (27.0, "wang")):
                approval = approval_of(waits.plan, name, at_s=at_s, lasts_s=60.0, nonce=f"{int(at_s):032x}")
                assert box.approve(signed(approval, key(name)), at_s=at_s) == COUNTED
                made = runner.turn(at_s, people)
                assert [command.approved_by for command in made.commands] == ([] if name == "li" else ["li, wang"])


def test_what_no_longer_waits_leaves_the_box(tmp_path: Path) -> None:
    world = _world()
    with Box(str(tmp_path / "box"), judged(world.intended), make=True) as box:
        people = ThroughBox(box, epoch=1)
        network = EmbeddedNetwork(world, seed=1, start_s=0.0)
        network.inject(msgspec.structs.replace(FAULT, until_s=25.0))
        with Record(tmp_path / "record") as record:
            runner = Runner.start(world, network, record, Policy(level="advise"), at_s=0.0)
            for turn in range(1, 24):
                runner.turn(float(turn), people)
            assert len(box.waiting(at_s=24.0)) == 1
            for turn in range(24, 60):
                runner.turn(float(turn), people)
            assert box.waiting(at_s=60.0) == ()

"""The bars that need many turns: thinned here, whole in `make proof`."""

from __future__ import annotations

from benchmarks import replay, seams

# Networks that are drawn at most until each planner has acted: in some, no link has a detour that is free.
MOST_NETWORKS = 4


def test_no_plan_is_applied_on_a_changed_read_and_none_is_refused_without_one(proof: bool, turning_seed: int) -> None:
    plans, idle = 1_000 if proof else 240, set(seams.PLANNERS)
    for seed in range(turning_seed, turning_seed + MOST_NETWORKS):
        trial = seams.trial(seed, plans)
        judged = trial.audit.applied + trial.audit.wrongly_refused
        assert trial.audit.on_changed == 0, seed
        assert trial.outcomes["refused"] > 0, "the network was too quiet to show anything"
        assert trial.audit.applied >= 0.99 * judged, seed
        assert trial.rows_per_s >= 1_000
        assert trial.most_attempts <= 20, seed
        idle -= {name for name in idle if trial.applied_by[name] > 0}
        if not idle:
            break
    assert not idle


def test_a_long_run_with_many_faults_replays_to_the_same_record(proof: bool, turning_seed: int) -> None:
    turns = 10_000 if proof else 600
    same, commands, _, _ = replay.trial(turning_seed, turns)
    assert same == turns
    assert commands > 0

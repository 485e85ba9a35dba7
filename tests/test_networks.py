"""Operations on what users bring: networks that nobody observed, records of others, folders that are not there."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest

from karez.errors import InputError, KarezError
from karez.measure.circles import circles
from karez.operations import OPERATIONS, Answer, networks, run
from karez.plan.plan import Plan, Proof
from karez.record.log import chained
from karez.twin import Twin
from tests.test_store import files_of_at_most, without_permission

TABLES = {
    "provinces": "id,name,side,price_cny_per_kwh,pue\nGS,Gansu,west,0.3,1.2",
    "metros": "id,name,province,lon,lat,population\nlz,Lanzhou,GS,103.8,36.1,4000000\n兰州,,GS,103.9,36.2,1000",
    "sites": "id,metro,kind,lon,lat\nS1,lz,core,103.8,36.1\nS2,lz,aggregation,103.9,36\nS3,lz,core,103.7,36"
    "\n站点,兰州,core,103.9,36.2",
    "links": "id,a,b,kind,length_km\nL1,S1,S2,core,12\nL2,S2,S3,core,10\nL3,S1,S3,core,15\n链路,S3,站点,backbone,30"
    "\nA1,T1,S2,access,1",
    "stations": "id,metro,lon,lat\nT1,lz,103.9,36",
    "equipment": "id,site,kind\nR1,S1,router",
    "demands": "id,a,b,gbps\nD1,S1,S2,20\nD2,S2,站点,5",
    "domains": "id,entity,verified\nC,Carrier,yes",
    "chips": "id,power_w,memory_gb\nH20,400,96",
    "servers": "id,site,chip,chips,domain,price_cny_per_chip_h\nG1,S1,H20,64,C,5\n服务器,站点,H20,8,C,4",
    "models": "id,parameters_b\nQ7,7",
    "datasets": "id,domain,province,grade,personal\nDS,C,GS,general,no",
    "jobs": "id,kind,model,metro,dataset,chips,hours\nJ1,batch,Q7,lz,DS,8,2",
}


def asked(name: str, **values: Any) -> Any:
    """The answer of an operation; paths may be paths."""
    given = {key: str(value) if isinstance(value, Path) else value for key, value in values.items()}
    return run(name, msgspec.convert(given, OPERATIONS[name].question))


def imported(folder: Path, tables: dict[str, str]) -> Path:
    source = folder / "source"
    source.mkdir()
    for name, text in tables.items():
        (source / f"{name}.csv").write_text(text + "\n", encoding="utf-8")
    asked("import", source=source, output=folder / "net")
    return folder / "net"


@pytest.fixture
def net(tmp_path: Path) -> Path:
    """A small network of a user, of which nothing was observed."""
    return imported(tmp_path, TABLES)


@pytest.fixture
def record(net: Path, tmp_path: Path) -> Path:
    asked("heal_run", network=net, record=tmp_path / "run", level="act", turns=60)
    return tmp_path / "run"


def refused(name: str, **values: Any) -> str:
    with pytest.raises(InputError) as caught:
        asked(name, **values)
    return str(caught.value)


@pytest.mark.parametrize("fault", ["link_slow", "router_dead", "none"])
def test_a_network_that_nobody_observed_is_healed_and_replayed(net: Path, tmp_path: Path, fault: str) -> None:
    healed = asked("heal_run", network=net, record=tmp_path / "r", level="act", fault=fault, turns=60)
    assert (healed.found_after_s is not None) == (fault != "none")
    assert "nothing observed: link_states, server_states, equipment_states, demand_states assumed" in healed.citation
    assert asked("heal_replay", network=net, record=tmp_path / "r").turns == 60


def test_a_job_is_placed_where_nobody_has_counted_the_free_chips_and_the_plan_holds(net: Path, tmp_path: Path) -> None:
    placed = asked("assign", network=net, output=tmp_path / "plan.json")
    assert placed.server == "服务器"
    assert "server_states" in placed.citation
    assert asked("plan_check", plan=tmp_path / "plan.json", network=net).actions == 1


def test_what_was_assumed_is_not_saved(net: Path) -> None:
    world, revision = networks.load(str(net))
    assert not len(world["link_states"])
    assert revision.source == "source"


def test_what_was_assumed_is_made_once_for_a_network_and_anew_for_another(net: Path, tmp_path: Path) -> None:
    (first, told), (second, _) = networks.load_living(str(net)), networks.load_living(str(net))
    assert all(first[name] is second[name] for name in ("link_states", "server_states", "equipment_states"))
    assert "nothing observed: link_states, server_states, equipment_states, demand_states assumed" in told.source
    (tmp_path / "other").mkdir()
    other = imported(tmp_path / "other", {**TABLES, "equipment": "id,site,kind\nR1,S1,router\nR2,S3,router"})
    assert networks.load_living(str(other))[0]["equipment_states"].ids.tolist() == [b"R1", b"R2"]
    assert networks.load_living(str(net))[0]["equipment_states"].ids.tolist() == [b"R1"]


def test_a_network_without_anything_to_break_says_what_is_missing(tmp_path: Path) -> None:
    bare = imported(tmp_path, {name: TABLES[name] for name in ("provinces", "metros")})
    assert "add links and demands" in refused("heal_run", network=bare, record=tmp_path / "r")
    assert "add one to the table equipment" in refused(
        "heal_run", network=bare, record=tmp_path / "r", fault="router_dead"
    )
    assert not (tmp_path / "r").exists()


def test_nothing_to_cover_is_wrong_input_and_not_a_target_that_is_met(tmp_path: Path) -> None:
    bare = imported(tmp_path, {name: TABLES[name] for name in ("provinces", "metros")})
    assert "holds nothing that the weight" in refused("plan_coverage", network=bare)


def test_a_request_that_can_go_nowhere_misses_its_target(tmp_path: Path) -> None:
    endpoint = "id,server,model,prefill_tokens_per_s,decode_tokens_per_s,price_cny_per_mtoken\nE1,G1,Q7,10000,50,1.5"
    nowhere = asked("steer", network=imported(tmp_path, {**TABLES, "endpoints": endpoint}))
    assert "can go nowhere" in nowhere.headline
    assert nowhere.meets_target is False


def test_all_that_lacks_for_a_request_is_told_at_once(tmp_path: Path) -> None:
    bare = imported(tmp_path, {name: TABLES[name] for name in ("provinces", "metros")})
    told = refused("steer", network=bare, metro="nowhere").splitlines()
    assert [line.partition(":")[0] for line in told] == ["models", "metro", "endpoints"]


def test_a_file_with_the_common_name_of_a_table_is_told_which(tmp_path: Path) -> None:
    (tmp_path / "cities.csv").write_text("id\nlz\n")
    (tmp_path / "unicorns.csv").write_text("id\nu\n")
    told = refused("import", source=tmp_path, output=tmp_path / "net")
    assert "cities.csv: is named like no table; rename it to metros, or move it away" in told
    assert "unicorns.csv: is named like no table; rename it to a table (the template has a file for each)" in told


def test_a_record_of_another_network_is_refused(record: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = imported(tmp_path / "other", {**TABLES, "demands": "id,a,b,gbps\nD1,S1,S2,21"})
    for name, more in (("heal_replay", {}), ("report", {"output": tmp_path / "r.html"})):
        assert "is the record of a run on another network" in refused(name, network=other, record=record, **more)
    assert not (tmp_path / "r.html").exists()


def altered(record: Path) -> None:
    with sqlite3.connect(record) as base:
        base.execute("UPDATE events SET body = CAST('{}' AS BLOB) WHERE seq = 7")


def lied(record: Path) -> None:
    """Change an event, and chain all of them again."""
    with sqlite3.connect(record) as base:
        before = bytes(32)
        for seq, at_s, kind, body in base.execute("SELECT seq, at_s, kind, body FROM events ORDER BY seq").fetchall():
            told = b'{"inputs":{}}' if seq == 7 else body
            before = chained(before, seq, at_s, kind, told)
            base.execute("UPDATE events SET body = ?, hash = ? WHERE seq = ?", (told, before, seq))


def test_a_record_that_was_altered_is_wrong_input_wherever_it_is_read(net: Path, record: Path, tmp_path: Path) -> None:
    altered(record)
    assert "event 7 was altered" in refused("heal_replay", network=net, record=record)
    assert "event 7 was altered" in refused("report", network=net, record=record, output=tmp_path / "r.html")


@pytest.mark.parametrize(("name", "more"), [("heal_replay", {}), ("report", {"output": "never.html"})])
def test_a_record_that_was_altered_and_chained_again_is_not_a_traceback(
    name: str, more: dict[str, str], net: Path, record: Path
) -> None:
    lied(record)
    with pytest.raises(KarezError, match="event 7"):
        asked(name, network=net, record=record, **more)


def test_a_record_that_may_not_be_read_is_wrong_input(net: Path, record: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with without_permission(record):
        assert "permission denied" in refused("heal_replay", network=net, record=record)
        assert "permission denied" in refused("report", network=net, record=record, output=tmp_path / "r.html")


def test_a_run_whose_record_found_no_room_leaves_no_record(net: Path, tmp_path: Path) -> None:
    with files_of_at_most(20_000):
        refused("heal_run", network=net, record=tmp_path / "r", turns=200)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("r")] == []


@pytest.mark.parametrize("name", ["plan_coverage", "assign", "steer", "heal_run"])
def test_a_folder_that_is_not_there_is_told_before_the_work_is_done(net: Path, tmp_path: Path, name: str) -> None:
    where = {"record" if name == "heal_run" else "output": tmp_path / "no" / "x"}
    assert refused(name, network=net, **where) == f"{tmp_path / 'no'}: no such file or directory; check the path"
    where = {"record" if name == "heal_run" else "output": net / "revisions" / "000001.json" / "x"}
    assert "not a directory" in refused(name, network=net, **where)


def test_the_folder_that_is_read_is_not_written_to(net: Path) -> None:
    source = net.parent / "source"
    assert "is the source that is read" in refused("import", source=source, output=source)
    assert not (source / "revisions").exists()


def test_an_import_says_in_its_headline_that_columns_were_left_out(tmp_path: Path) -> None:
    (tmp_path / "cities.csv").write_text("key,Title,Region,lng,lat,speed,mood\nlz,L,GS,103,36,9,8\n")
    (tmp_path / "regions.csv").write_text("code\nGS\n")
    done = asked("import", source=tmp_path, output=tmp_path / "net", guess=True, dry_run=True)
    assert done.headline.endswith("nothing written (dry run); 2 columns left out, see the mapping")


@pytest.mark.parametrize("told", ["nan", "inf", "-1", "1e300", "soon", ""])
def test_a_time_that_is_none_is_refused(told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAREZ_AT_S", told)
    with pytest.raises(InputError, match="KAREZ_AT_S"):
        networks.now_s()


@pytest.mark.parametrize(
    ("value_us", "shown"),
    [(1_000.0, "1 ms"), (12_546.2, "12.5 ms"), (320.5, "320 us"), (999_999_999.0, "1,000,000 ms"), (1e-9, "1e-09 us")],
)
def test_a_delay_is_shown_with_the_digits_that_people_read(value_us: float, shown: str) -> None:
    assert networks.duration(value_us) == shown


@pytest.mark.parametrize(
    ("bound", "shown"),
    [
        (100.0, "proven: no plan costs less"),
        (100.0 - 1e-9, "proven: no plan costs less"),
        (98.0, "at most 2.1 % above the least possible"),
        (99.99, "at most 0.011 % above the least possible"),
        (0.0, "how far above the least possible is not proven"),
        (-1e300, "how far above the least possible is not proven"),
    ],
)
def test_a_gap_is_said_in_words_and_a_gap_of_nothing_is_a_proof(bound: float, shown: str) -> None:
    proof = Proof(value=100.0, bound=bound, unit="CNY", how="")
    plan = Plan(
        planner="coverage", question={}, revision="", made_at_s=0.0, reads=(), actions=(), price_cny=100.0, proof=proof
    )
    assert networks.proven(plan) == shown


def test_one_thing_is_singular() -> None:
    assert [networks.counted(number, "site") for number in (0, 1, 2_000)] == ["0 sites", "1 site", "2,000 sites"]


def test_why_c3_covers_nothing_is_said_where_the_air_takes_the_whole_budget_and_only_there() -> None:
    def clause(budget_us: float, *, round_trip: bool = False) -> str:
        return networks.air(circles(Twin({}), definition="C3", budget_us=budget_us, round_trip=round_trip))

    assert clause(10_000.0) == "because the loaded 5G uplink alone takes 10 to 25 ms"
    assert clause(10_000.0, round_trip=True).startswith("because the air of loaded 5G, there and back, alone takes")
    assert clause(100_000.0) == ""
    assert networks.air(circles(Twin({}), budget_us=1.0)) == ""


def test_coverage_by_c3_says_in_its_headline_why_there_is_none(net: Path) -> None:
    found: Answer = asked("circles", network=net, definition="C3")
    assert found.headline.startswith(
        "0.0 % of access points are within 1 ms one way up to the server over 5G, because the loaded 5G uplink "
    )

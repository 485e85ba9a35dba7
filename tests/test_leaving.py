"""That nothing of a real network leaves this machine unless the law, as engineers read it, and papers allow it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from karez.errors import InputError, Refused
from karez.operations import ExportQuestion, ReportQuestion, run
from karez.operations.leaving import is_own, require_address_may_know, require_may_leave
from karez.twin import Table, Twin, store
from karez.twin.store import Revision
from tests import compute
from tests.healing import ran
from tests.test_heal_alarms import SLOW
from tests.test_networks import TABLES, imported

AT_S = 1_790_000_000.0
# Every event of Python's that a socket is used in.
SPY = """
import json, sys
seen = []
sys.addaudithook(lambda name, args: seen.append(name) if name.startswith("socket.") else None)
from karez.faces import cli
code = cli.main(sys.argv[1:])
used = [name for name in seen if name not in ("socket.__new__", "socket.gethostname")]
print(json.dumps([code, used]), file=sys.stderr)
"""


def revision(*, synthetic: bool) -> Revision:
    return Revision(
        number=1,
        at_s=0.0,
        note="",
        source="tests",
        synthetic=synthetic,
        seed=None,
        digest="0" * 64,
        parent="",
        schema="",
        files={},
    )


def network(**domains: list[str]) -> Twin:
    """A network of `own`; the noc is a friend's, or what is said of domains."""
    hosts = {"hosts": ["noc.friend.example" if name == "friend" else "" for name in compute.DOMAINS]}
    places = {"province": ["P-east"] * len(compute.DOMAINS)}
    table = compute.small().intended["domains"]
    order = [list(compute.DOMAINS).index(name.decode()) for name in table.ids.tolist()]
    columns = {name: [values[at] for at in order] for name, values in (hosts | places | domains).items()}
    return compute.small().intended.replace(table.set(np.arange(len(table)), **columns))


def may(twin: Twin, host: str, *, encrypted: bool = True, synthetic: bool = False) -> bool:
    try:
        require_may_leave(twin, revision(synthetic=synthetic), host, encrypted=encrypted, at_s=AT_S)
    except Refused:
        return False
    return True


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost", "LOCALHOST."])
def test_this_machine_is_ones_own(host: str) -> None:
    assert is_own(host)


@pytest.mark.parametrize("host", ["127.0.0.1.example", "10.0.0.1", "localhost.example", "0x7f000001", ""])
def test_no_other_address_is(host: str) -> None:
    assert not is_own(host)


def test_a_network_goes_to_a_host_whose_entity_and_papers_are_known_under_a_cipher_and_to_no_other() -> None:
    twin = network()
    assert may(twin, "noc.friend.example")
    assert may(twin, "NOC.friend.example.")
    assert not may(twin, "noc.friend.example", encrypted=False)
    assert not may(twin, "noc.other.example")
    assert not may(twin.replace(Table.of("evidence")), "noc.friend.example")
    assert not may(network(verified=["unknown"] * 5), "noc.friend.example")
    assert not may(network(province=[""] * 5), "noc.friend.example")
    assert not may(network(hosts=["noc.friend.example"] * 5), "noc.friend.example")


def test_what_is_synthetic_is_nobodys_data() -> None:
    assert may(network(), "noc.other.example", synthetic=True)


def test_what_is_refused_says_which_fact_or_paper_is_missing() -> None:
    with pytest.raises(Refused, match=r"of nobody that the table domains names.*not known: .*servers\.domain"):
        require_may_leave(network(), revision(synthetic=False), "noc.other.example", encrypted=True, at_s=AT_S)
    bare = network().replace(Table.of("evidence"))
    with pytest.raises(Refused, match=r"is another's.*would do: contract and risk_assessment"):
        require_may_leave(bare, revision(synthetic=False), "noc.friend.example", encrypted=True, at_s=AT_S)


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("/var/lib/box", True),
        ("postgresql:///karez", True),
        ("postgresql:///karez?host=/run/postgresql", True),
        ("postgresql://127.0.0.1/karez", True),
        ("postgresql://noc.friend.example/karez?sslmode=verify-full", True),
        ("postgresql://noc.friend.example/karez?sslmode=prefer", False),
        ("postgresql:///karez?host=noc.other.example&sslmode=require", False),
        ("postgres://noc.other.example/karez?sslmode=require", False),
        ("postgresql://localhost/db?host=noc.other.example", False),
        ("postgresql://localhost/db?hostaddr=203.0.113.5", False),
        ("postgresql://localhost,noc.other.example/db", False),
        ("postgresql:///db?service=noc", False),
    ],
)
def test_a_database_is_an_address_unless_it_is_here(address: str, allowed: bool) -> None:
    try:
        require_address_may_know(network(), revision(synthetic=False), address, at_s=AT_S)
    except Refused:
        assert not allowed
        return
    assert allowed


@pytest.mark.parametrize("to", ["http://192.0.2.1:9/listener", "https://noc.example/listener"])
def test_with_an_endpoint_and_no_evidence_no_byte_of_a_real_network_leaves(tmp_path: Path, to: str) -> None:
    net = imported(tmp_path, TABLES)
    record = ran(net, tmp_path / "r", SLOW, turns=40)
    words = ["heal", "alarms", str(record), "--network", str(net), "--to", to]
    done = subprocess.run([sys.executable, "-c", SPY, *words], capture_output=True, text=True, check=False)
    code, seen = json.loads(done.stderr.splitlines()[-1])
    assert (code, seen) == (5, []), done.stderr
    assert "nothing was sent" in done.stderr


def real(tmp_path: Path) -> str:
    """A network that is not synthetic, with a friend who may know sums of it, and a stranger."""
    home = {"province": ["P-east"] * len(compute.DOMAINS)}
    store.save(network(**home), tmp_path / "net", at_s=0.0, note="", source="tests", synthetic=False)
    return str(tmp_path / "net")


def test_a_file_for_a_reader_is_written_only_where_the_reader_may_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAREZ_AT_S", str(AT_S))
    net = real(tmp_path)

    def report(reader: str, *, redact: bool) -> str:
        output = str(tmp_path / f"{reader}-{redact}.html")
        run("report", ReportQuestion(network=net, output=output, reader=reader, redact=redact))
        return Path(output).read_text("utf-8")

    assert "c-west" in report("", redact=False)
    # A file is plain, and important data is not handed over so; sums of it may be known to who has a contract.
    with pytest.raises(Refused, match=r"nothing was written: it is for friend.*or write it with --redact"):
        report("friend", redact=False)
    told = report("friend", redact=True)
    for table in ("sites", "servers", "jobs", "metros"):
        assert not [name for name in compute.small().intended[table].ids.tolist() if name.decode() in told]
    with pytest.raises(Refused, match="nothing was written"):
        report("stranger", redact=True)
    with pytest.raises(InputError, match="no domain 'nobody'"):
        report("nobody", redact=True)
    with pytest.raises(Refused):
        run("export", ExportQuestion(network=net, output=str(tmp_path / "e.json"), reader="friend"))
    assert sorted(path.name for path in tmp_path.glob("*.*")) == ["-False.html", "-False.svg", "friend-True.html"]

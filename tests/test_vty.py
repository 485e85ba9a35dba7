"""The vty of a daemon, against a server that speaks the protocol of FRR over a real socket, well and badly."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from karez.adapters.frr.vty import SHOWN, Vty, VtyError, VtyRefused

# How long is waited for an answer in tests of daemons that give none (s), and how late a late one is.
IMPATIENT_S, LATE_S = 0.1, 0.3
GOES_S = 5.0
OK, WARNING, NO_MATCH = 0, 1, 2
Act = Callable[[socket.socket], None]


def reply(text: bytes = b"", status: int = OK) -> bytes:
    """What a daemon sends. Source: FRR, lib/vty.c, vtysh_read."""
    return text + b"\0\0\0" + bytes([status])


def says(text: bytes = b"", status: int = OK) -> Act:
    """All at once."""
    return lambda asker: asker.sendall(reply(text, status))


def in_parts(whole: bytes, cuts: list[int]) -> Act:
    """In packets that end at these places."""
    ends = [*sorted({at for at in cuts if 0 < at < len(whole)}), len(whole)]
    parts = [whole[first:last] for first, last in zip([0, *ends], ends, strict=False)]

    def act(asker: socket.socket) -> None:
        for part in parts:
            asker.sendall(part)
            # Most often it is read before the next is there.
            time.sleep(1e-5)

    return act


def hangs(asker: socket.socket) -> None:
    """Nothing at all."""
    del asker


def late(asker: socket.socket) -> None:
    """An answer, when nobody waits for it any more."""
    time.sleep(LATE_S)
    asker.sendall(reply(b"late"))


def cuts(asker: socket.socket) -> None:
    """Half an answer, and the connection is gone."""
    asker.sendall(b'{"half": ')
    asker.shutdown(socket.SHUT_RDWR)


class Daemon:
    """A daemon that answers with nothing but success, except to the commands of `acts`; `asked` is all it was asked."""

    def __init__(self, path: Path) -> None:
        self.path, self.asked, self.acts = path, list[str](), dict[str, Act]()
        self.sessions_ended = 0
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            asker, _ = self._listening.accept()
            with asker:
                if self._session(asker) == "stop":
                    return
            self.sessions_ended += 1

    def _session(self, asker: socket.socket) -> str:
        rest = b""
        while heard := self._heard(asker):
            *commands, rest = (rest + heard).split(b"\0")
            for command in map(bytes.decode, commands):
                if command == "stop":
                    return command
                self.asked.append(command)
                try:
                    self.acts.get(command, says())(asker)
                except OSError:
                    return "gone"
        return "gone"

    def _heard(self, asker: socket.socket) -> bytes:
        try:
            return asker.recv(1 << 16)
        except OSError:
            return b""

    def close(self) -> None:
        """Stop, by a session of its own."""
        with socket.socket(socket.AF_UNIX) as last:
            last.connect(str(self.path))
            last.sendall(b"stop\0")
            self._thread.join(GOES_S)
        assert not self._thread.is_alive(), "a session was never ended"
        self._listening.close()


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    folder = tmp_path / "7"
    folder.mkdir()
    with closing(Daemon(folder / "ospfd.vty")) as made:
        yield made


def _open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def _until(holds: Callable[[], bool]) -> None:
    until_s = time.monotonic() + GOES_S
    while not holds():
        assert time.monotonic() < until_s
        time.sleep(0.001)


def test_a_session_asks_for_all_rights_and_then_gives_the_reply_to_each_command(daemon: Daemon) -> None:
    daemon.acts["show version"] = says(b"FRRouting 8.4\r\n")
    with Vty(daemon.path) as vty:
        assert vty.ask("show version") == "FRRouting 8.4\r\n"
        assert vty.ask("show nothing") == ""
    assert daemon.asked == ["enable", "show version", "show nothing"]


def test_the_end_of_a_session_is_seen_by_the_daemon(daemon: Daemon) -> None:
    with Vty(daemon.path):
        assert daemon.sessions_ended == 0
    _until(lambda: daemon.sessions_ended == 1)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40),
    st.lists(st.integers(0, 100), max_size=6),
    st.sampled_from((OK, WARNING, NO_MATCH, 255)),
)
def test_a_reply_may_come_in_parts_that_are_cut_anywhere(
    daemon: Daemon, text: str, cuts: list[int], status: int
) -> None:
    daemon.acts["show"] = in_parts(reply(text.encode(), status), cuts)
    with Vty(daemon.path) as vty:
        if status:
            with pytest.raises(VtyRefused):
                vty.ask("show")
        else:
            assert vty.ask("show") == text
        assert vty.ask("next") == ""


@pytest.mark.parametrize("text", [b"", b'{"areas":{"0.0.0.0":{"active":true}}}'])
def test_a_reply_may_come_byte_by_byte(daemon: Daemon, text: bytes) -> None:
    whole = reply(text)
    daemon.acts["show json"] = in_parts(whole, list(range(len(whole))))
    with Vty(daemon.path) as vty:
        assert vty.show("show json") == ({"areas": {"0.0.0.0": {"active": True}}} if text else {})


def test_a_reply_may_be_longer_than_what_is_read_at_once(daemon: Daemon) -> None:
    text = b"".join(b"O>* 10.0.%d.%d/32\r\n" % divmod(number, 256) for number in range(20_000))
    daemon.acts["show ip route"] = says(text)
    with Vty(daemon.path) as vty:
        assert vty.ask("show ip route").encode() == text


def test_a_reply_that_is_no_utf_8_is_read_all_the_same(daemon: Daemon) -> None:
    daemon.acts["show"] = says(b"caf\xe9")
    with Vty(daemon.path) as vty:
        assert vty.ask("show") == "caf\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize("act", [hangs, late])
def test_a_daemon_that_does_not_answer_in_time_is_named_with_what_it_was_asked(daemon: Daemon, act: Act) -> None:
    daemon.acts["show ip ospf json"] = act
    with Vty(daemon.path, patience_s=IMPATIENT_S) as vty:
        began_s = time.monotonic()
        with pytest.raises(VtyError, match=r"^7/ospfd did not answer in time \(`show ip ospf json`\)$"):
            vty.show("show ip ospf json")
        assert IMPATIENT_S <= time.monotonic() - began_s < LATE_S


def test_a_late_reply_is_never_taken_for_that_of_the_next_command(daemon: Daemon) -> None:
    daemon.acts |= {"slow": late, "next": says(b"of the next")}
    with Vty(daemon.path, patience_s=IMPATIENT_S) as vty:
        with pytest.raises(VtyError):
            vty.ask("slow")
        time.sleep(LATE_S)
        with pytest.raises(VtyError, match=r"^7/ospfd is gone: .*\(`next`\)$"):
            vty.ask("next")
    assert "next" not in daemon.asked
    with Vty(daemon.path) as vty:
        assert vty.ask("next") == "of the next"


def test_a_daemon_that_cuts_its_reply_short_is_named_with_what_it_was_asked(daemon: Daemon) -> None:
    daemon.acts["show ip ospf json"] = cuts
    with Vty(daemon.path) as vty:
        with pytest.raises(VtyError, match=r"^7/ospfd cut its reply to `show ip ospf json` short after 9 bytes$"):
            vty.show("show ip ospf json")
        with pytest.raises(VtyError, match=r"^7/ospfd is gone: .*\(`again`\)$"):
            vty.ask("again")


def test_a_refusal_says_who_refused_what_and_why_in_one_line(daemon: Daemon) -> None:
    daemon.acts["ip ospf cost 0"] = says(b"% Unknown command:\r\n  ip ospf cost 0\r\n" + b"!" * 1_000, NO_MATCH)
    daemon.acts["reload"] = says(b"", WARNING)
    with Vty(daemon.path) as vty:
        with pytest.raises(
            VtyRefused, match=r"^7/ospfd refused `ip ospf cost 0` \(status 2\): % Unknown command: ip ospf cost 0 !+$"
        ) as caught:
            vty.ask("ip ospf cost 0")
        assert len(str(caught.value)) < SHOWN + 80
        with pytest.raises(VtyRefused, match=r"^7/ospfd refused `reload` \(status 1\)$"):
            vty.ask("reload")
        # Who refused can still be asked.
        assert vty.ask("show") == ""


@pytest.mark.parametrize("text", [b"% There is no OSPF\r\n", b'{"half": ', b"{} {}", b"\xff\xfe"])
def test_an_answer_that_is_no_json_is_an_error_that_says_whose_it_is(daemon: Daemon, text: bytes) -> None:
    daemon.acts["show json"] = says(text)
    with (
        Vty(daemon.path) as vty,
        pytest.raises(VtyError, match=r"^7/ospfd answered `show json` with what is no JSON: "),
    ):
        vty.show("show json")


def test_where_nobody_listens_the_daemon_is_named(tmp_path: Path, daemon: Daemon) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "bfdd.vty"))
    before = _open_descriptors()
    for name in ("bfdd", "never"):
        with pytest.raises(VtyError, match=rf"/{name} cannot be asked: \w+"):
            Vty(tmp_path / f"{name}.vty")
    assert _open_descriptors() == before


@pytest.mark.parametrize("act", [hangs, cuts, says(b"% no", NO_MATCH)])
def test_a_daemon_that_fails_at_once_leaves_no_descriptor(daemon: Daemon, act: Act) -> None:
    daemon.acts["enable"] = act
    before, kept = _open_descriptors(), []
    for _ in range(5):
        with pytest.raises(VtyError, match=r"^7/ospfd .*`enable`") as caught:
            Vty(daemon.path, patience_s=IMPATIENT_S)
        # Whoever keeps an error keeps all that it came from.
        kept.append(caught.value)
    # That of the daemon is closed when it sees that ours is.
    _until(lambda: _open_descriptors() == before)
    assert len(kept) == 5


def test_a_daemon_that_takes_no_more_sessions_is_named(tmp_path: Path) -> None:
    """As one that was stopped, once what waits for it is more than the kernel keeps."""
    waiting = []
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "isisd.vty"))
        listening.listen(1)
        for _ in range(2):
            waiting.append(socket.socket(socket.AF_UNIX))
            waiting[-1].connect(str(tmp_path / "isisd.vty"))
        with pytest.raises(VtyError, match=r"/isisd cannot be asked: \w+"):
            Vty(tmp_path / "isisd.vty", patience_s=IMPATIENT_S)
    for each in waiting:
        each.close()


LINES = ("interface e1", " ip ospf cost 7", "exit", "interface e2", " ip ospf cost 9", "exit")


def test_one_waits_for_a_daemon_that_others_wait_for(tmp_path: Path) -> None:
    path, waiting = tmp_path / "busy.vty", list[socket.socket]()
    with closing(socket.socket(socket.AF_UNIX)) as listening:
        listening.bind(str(path))
        listening.listen(1)
        # As many as there is room for: the next is told to come again.
        for _ in range(2):
            waiting.append(socket.socket(socket.AF_UNIX))
            waiting[-1].connect(str(path))

        def goes_on() -> None:
            time.sleep(IMPATIENT_S)
            for _ in waiting:
                listening.accept()[0].close()
            with closing(listening.accept()[0]) as asker:
                asker.recv(1_000)
                asker.sendall(reply())
                asker.recv(1)

        working = threading.Thread(target=goes_on)
        working.start()
        Vty(path, patience_s=GOES_S).close()
        working.join()
    for each in waiting:
        each.close()


def test_a_configuration_is_entered_line_by_line_and_left(daemon: Daemon) -> None:
    with Vty(daemon.path) as vty:
        vty.configure(LINES)
    assert daemon.asked == ["enable", "configure terminal", *LINES, "end"]


@pytest.mark.parametrize("refused", LINES)
def test_the_first_refused_line_ends_a_configuration_which_is_left_all_the_same(daemon: Daemon, refused: str) -> None:
    daemon.acts[refused] = says(b"% Unknown command.", NO_MATCH)
    with Vty(daemon.path) as vty:
        with pytest.raises(VtyRefused, match=rf"^7/ospfd refused `{refused}` \(status 2\): % Unknown command\.$"):
            vty.configure(LINES)
        assert daemon.asked == ["enable", "configure terminal", *LINES[: LINES.index(refused) + 1], "end"]
        assert vty.ask("show") == ""


def test_a_configuration_that_another_session_has_locked_is_refused_before_its_first_line(daemon: Daemon) -> None:
    daemon.acts["configure terminal"] = says(b"VTY configuration is locked by other VTY", WARNING)
    with Vty(daemon.path) as vty, pytest.raises(VtyRefused, match=r"^7/ospfd refused `configure terminal`.*locked"):
        vty.configure(LINES)
    assert daemon.asked == ["enable", "configure terminal"]


@pytest.mark.parametrize("act", [hangs, cuts])
def test_a_daemon_that_fails_within_a_configuration_is_asked_nothing_more(daemon: Daemon, act: Act) -> None:
    daemon.acts[LINES[1]] = act
    with (
        Vty(daemon.path, patience_s=IMPATIENT_S) as vty,
        pytest.raises(VtyError, match=rf"^7/ospfd .*`{LINES[1]}`"),
    ):
        vty.configure(LINES)
    # The daemon leaves a configuration when its session ends.
    _until(lambda: daemon.sessions_ended == 1)
    assert daemon.asked == ["enable", "configure terminal", *LINES[:2]]

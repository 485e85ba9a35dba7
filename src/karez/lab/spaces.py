"""Namespaces of the kernel: networks of their own, entered by the thread that asks; what dies with its keeper.

Nothing here has a name outside the process that made it: a network namespace lives as long as a process in it or a
descriptor of it, a TAP interface as long as its descriptor, mounts and processes as long as the keeper. So nothing is
left behind however it ends. Source: namespaces(7), pid_namespaces(7), Linux Documentation/networking/tuntap.rst.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import re
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from karez.errors import KarezError

NEWNS, NEWPID, NEWNET = 0x0002_0000, 0x2000_0000, 0x4000_0000
MS_REC, MS_PRIVATE = 0x4000, 0x4_0000
TUNSETIFF, TUNSETCARRIER = 0x4004_54CA, 0x4004_54E2
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
SIOCETHTOOL, ETHTOOL_GSET, ETHTOOL_SSET, ETHTOOL_GLINK = 0x8946, 1, 2, 10
# struct ethtool_cmd: of it, the command and both halves of the speed are used.
ETHTOOL = struct.Struct("IIIHBBBBBBIIHBBIII")
LEAST_LINUX = (5, 11)
TUN = "/dev/net/tun"
# Where files are that only the keeper and its children see: a file system in memory, mounted for them alone.
PRIVATE = Path("/run")
# Where daemons of FRR keep what they last logged, and leave it when they are killed.
LEFTOVERS = Path("/var/tmp")

_libc = ctypes.CDLL(None, use_errno=True)


class SpaceError(KarezError):
    """The kernel did not give what a lab is made of."""


def missing() -> tuple[str, ...]:
    """What this machine or this user lacks for a lab, each with what to do."""
    lacks = []
    if os.geteuid():
        lacks.append("a lab needs root: namespaces and TAP interfaces are made by nobody else")
    if not os.path.exists(TUN):
        lacks.append(f"there is no {TUN}: this kernel, or this container, has no TAP interfaces")
    if tuple(int(part) for part in re.findall(r"\d+", os.uname().release)[:2]) < LEAST_LINUX:
        lacks.append("this kernel is too old: a lab needs Linux 5.11 or newer, for waits that are shorter than 1 ms")
    return tuple(lacks)


def alone() -> None:
    """Go on as the first process of a namespace of processes, with mounts of its own; the one that called this ends.

    When the first process of a namespace ends, killed or not, all others in it are killed. What is written beneath
    `PRIVATE` and `LEFTOVERS` from now on is in memory, and seen by this process and its children alone.
    """
    _called("unshare", _libc.unshare(NEWNS | NEWPID))
    if os.fork():
        os._exit(0)
    _called("mount", _libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None))
    for path, mode in ((PRIVATE, b"mode=755"), (LEFTOVERS, b"mode=1777")):
        _called("mount", _libc.mount(b"karez", str(path).encode(), b"tmpfs", 0, mode))


def number_outside() -> int:
    """The number of this process as others know it, outside the namespace that it is the first of."""
    return int(os.readlink("/proc/self"))


def new_network() -> int:
    """A descriptor of a new network namespace, with nothing in it but a loopback that is down."""
    before = _own_network()
    try:
        _called("unshare", _libc.unshare(NEWNET))
        return _own_network()
    finally:
        _called("setns", _libc.setns(before, NEWNET))
        os.close(before)


@contextmanager
def entered(network: int) -> Iterator[None]:
    """This thread in another network: sockets that it opens, and processes that it starts, are in there."""
    before = _own_network()
    try:
        _called("setns", _libc.setns(network, NEWNET))
        yield
    finally:
        _called("setns", _libc.setns(before, NEWNET))
        os.close(before)


def tap(name: str) -> int:
    """A descriptor of a new TAP interface in this thread's network; each read and write is one Ethernet frame."""
    made = os.open(TUN, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.ioctl(made, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    except OSError as error:
        os.close(made)
        raise SpaceError(f"the kernel gave no TAP interface {name}: {error.strerror}") from error
    return made


def carrier(tap: int, on: bool) -> None:
    """Give or take the light of a TAP interface."""
    fcntl.ioctl(tap, TUNSETCARRIER, struct.pack("i", on))


def has_light(name: str) -> bool:
    """Whether an interface of this thread's network has light; the kernel takes in at once what has changed.

    Unasked it takes in no more than one loss of light a second, of all the machine's networks together (linkwatch).
    """
    asked = ctypes.create_string_buffer(struct.pack("II", ETHTOOL_GLINK, 0))
    _ethtool_asked(name, asked)
    return bool(struct.unpack_from("I", asked.raw, 4)[0])


def set_speed(name: str, mbps: int) -> None:
    """Let an interface of this thread's network say that it is so fast (Mbit/s)."""
    _ethtool(name, ETHTOOL_SSET, mbps)


def speed_mbps(name: str) -> int:
    """How fast an interface of this thread's network says that it is (Mbit/s)."""
    told = ETHTOOL.unpack(_ethtool(name, ETHTOOL_GSET, 0))
    return int(told[3] | told[12] << 16)


def _ethtool(name: str, command: int, mbps: int) -> bytes:
    asked = ctypes.create_string_buffer(
        ETHTOOL.pack(command, 0, 0, mbps & 0xFFFF, 1, 0, 0, 0, 0, 0, 0, 0, mbps >> 16, 0, 0, 0, 0, 0)
    )
    _ethtool_asked(name, asked)
    return asked.raw[: ETHTOOL.size]


def _ethtool_asked(name: str, asked: Any) -> None:
    """Have the kernel fill in what is asked of an interface."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCETHTOOL, struct.pack("16sP16x", name.encode(), ctypes.addressof(asked)))


def write_setting(name: str, value: str) -> None:
    """Write a setting of the kernel (sysctl) of this thread's network."""
    Path("/proc/sys", *name.split(".")).write_text(value)


def _own_network() -> int:
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _called(what: str, result: int) -> None:
    if result:
        raise SpaceError(f"the kernel refused {what}: {os.strerror(ctypes.get_errno())}")

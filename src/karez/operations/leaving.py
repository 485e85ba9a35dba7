"""Whether what Karez knows of a network may leave this machine: a crossing of data like any other.

A network is important data unless it is synthetic; who answers for it is the domain that most of its sites are of. An
address is its own machine's, or that of the domain that names its host in `domains.hosts`; one that nobody names is
unknown, and so it is no. What is asked for is asked before a name is looked up or a byte is sent.
"""

from __future__ import annotations

import os
from ipaddress import ip_address
from urllib.parse import parse_qs, urlsplit

import numpy as np

from karez.errors import InputError, Refused
from karez.measure import policy
from karez.twin import Twin
from karez.twin.store import Revision
from karez.twin.table import Array, strings

# What an unknown network is.
GRADE, PERSONAL = "important", "no"
WEB, DATABASES = frozenset({"http", "https"}), frozenset({"postgresql", "postgres"})
# Modes in which PostgreSQL surely speaks under a cipher. Source: PostgreSQL, 34.19.3, Protection Provided in Modes.
CHECKED_MODES = frozenset({"require", "verify-ca", "verify-full"})
# Source: PostgreSQL, 34.15, Environment Variables.
ENVIRONMENT = ("PGHOST", "PGHOSTADDR", "PGSERVICE")
LOCAL = frozenset({"localhost", "localhost.localdomain"})


def require_may_leave(twin: Twin, revision: Revision, host: str, *, encrypted: bool, at_s: float) -> None:
    """Return only if the network may be told of to a host.

    Raises:
        Refused: the law as engineers read it says no, or a fact or paper is missing, which is named.
    """
    if revision.synthetic or is_own(host):
        return
    domain = _domain_of(twin, host)
    whose = f"{host} is of nobody that the table domains names" if domain < 0 else f"{host} is another's"
    fix = "put the host into domains.hosts, with its province, and the papers into evidence"
    _require(twin, domain, "encrypt" if encrypted else "plain", at_s, f"nothing was sent: {whose}", fix)


def require_reader_may_know(twin: Twin, revision: Revision, reader: str, *, redacted: bool, at_s: float) -> None:
    """Return only if a domain may read what a file tells of the network, or nobody in particular is to read it.

    Raises:
        InputError: there is no such domain.
        Refused: the law as engineers read it says no, or a fact or paper is missing, which is named.
    """
    if not reader:
        return
    if not twin["domains"].has(reader):
        raise InputError.of("reader", f"there is no domain {reader!r}", "name a row of the table domains")
    if revision.synthetic:
        return
    row = int(twin["domains"].rows([reader])[0])
    fix = "give domains.province and the papers in evidence" + ("" if redacted else ", or write it with --redact")
    _require(twin, row, "aggregate" if redacted else "plain", at_s, f"nothing was written: it is for {reader}", fix)


def _require(twin: Twin, domain: int, mode: policy.Mode, at_s: float, what: str, fix: str) -> None:
    """Return only if the network may go to a domain (row; -1: nobody knows whose) in a mode."""
    owner, home = _owner(twin)
    law = policy.law(policy.shipped(), at_s)
    data = policy.as_classes(twin, ((GRADE, PERSONAL),), ((owner, home),))
    to = policy.Recipients(np.array([domain]), _province(twin, domain))
    asked = policy.Asked(law, at_s, (policy.OWN,))
    found = policy.verdict(law, policy.questions(data, asked, np.array([0]), to), policy.bits(mode))
    if mode not in found.modes:
        raise Refused(
            f"{what}, and a network that is not synthetic is {GRADE} data: {policy.said(found, (mode,))} "
            f"({policy.NO_ADVICE}); {fix}"
        )


def require_address_may_know(twin: Twin, revision: Revision, address: str, *, at_s: float) -> None:
    """Return only if the network may be told of to an address of the web or of a database; a path is no address.

    Raises:
        Refused: it may not.
    """
    parts = urlsplit(address)
    if parts.scheme not in WEB | DATABASES:
        return
    if parts.scheme in WEB:
        require_may_leave(twin, revision, str(parts.hostname), encrypted=parts.scheme == "https", at_s=at_s)
        return
    settings = parse_qs(parts.query)
    # What is in the settings, or in the environment where the address says nothing, has the last word with libpq.
    told = [*settings.get("host", []), *settings.get("hostaddr", []), *settings.get("service", [])]
    told += [host for host in (parts.hostname or "").split(",") if host]
    told = told or [value for name in ENVIRONMENT if (value := os.environ.get(name))]
    encrypted = settings.get("sslmode", [""])[-1] in CHECKED_MODES
    for host in (one for value in told for one in value.split(",") if not one.startswith("/")):
        require_may_leave(twin, revision, host, encrypted=encrypted, at_s=at_s)


def is_own(host: str) -> bool:
    """Whether an address is this machine's own."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") in LOCAL


def _owner(twin: Twin) -> tuple[int, int]:
    """The domain of most sites, and the province that most of its sites are in (rows; -1 where nobody told)."""
    domain = twin.resolve("sites", "domain")
    owner = _most(domain)
    metro = twin.resolve("sites", "metro")[domain == owner]
    province = twin.resolve("metros", "province")
    return owner, _most(province[metro[metro >= 0]]) if len(province) else -1


def _most(rows: Array) -> int:
    known = rows[rows >= 0]
    return int(np.bincount(known).argmax()) if len(known) else -1


def _domain_of(twin: Twin, host: str) -> int:
    """The domain (row) that names a host as its own; -1 where none or several do."""
    names = [set(told.lower().split()) for told in strings(twin["domains"]["hosts"])]
    found = [row for row, hosts in enumerate(names) if host.lower().rstrip(".") in hosts]
    return found[0] if len(found) == 1 else -1


def _province(twin: Twin, domain: int) -> Array:
    return twin.resolve("domains", "province")[[domain]] if domain >= 0 else np.array([-1])

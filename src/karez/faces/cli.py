"""The command line: a command for each operation, made from its question."""

from __future__ import annotations

import argparse
import errno
import math
import os
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from importlib import import_module
from itertools import takewhile
from pathlib import Path
from typing import Any, NoReturn, cast, get_type_hints

import msgspec

import karez
from karez import operations
from karez.errors import InputError, KarezError, Problem
from karez.faces import questions, text
from karez.faces.questions import Field
from karez.operations import OPERATIONS, Answer

OK, WRONG_INPUT, TARGET_MISSED = 0, 2, 3
# As a shell reports a program that a signal ended: 128 and the number of SIGINT or SIGPIPE.
INTERRUPTED, NOBODY_READS = 130, 141
LAST_PORT = 65_535
OUTPUT = "output"
OUTPUT_FLAGS = ("-o", "--output")
# The operations that can be watched while they run.
WATCHED = ("heal_run",)

# What is in no group is listed all the same, at the end.
GROUPS = {
    "Networks": ("generate", "template", "import", "export", "info", "diff"),
    "Questions": (
        "circles",
        "curve",
        "latency",
        "delays",
        "whatif",
        "survive",
        "tiers",
        "discover",
        "compare",
        "map",
        "report",
    ),
    "Plans": ("plan_coverage", "plan_upgrades", "plan_chips", "plan_check", "plan_diff", "order", "steer"),
    "Jobs": ("submit", "place", "prices", "explain", "learn", "assign", "chips", "estimate", "split"),
    "Rules on data": (
        "policy_ask",
        "policy_explain",
        "policy_frontier",
        "policy_audit",
        "policy_test",
        "policy_ledger",
        "policy_record",
        "policy_prove",
        "policy_verify",
        "policy_calibrate",
    ),
    "Networks that live": (
        "heal_run",
        "heal_replay",
        "heal_verify",
        "heal_explain",
        "heal_report",
        "heal_score",
        "heal_maturity",
        "heal_alarms",
        "approve",
        "key",
    ),
    "A lab of real routers": (
        "lab_up",
        "lab_status",
        "lab_fail",
        "lab_heal",
        "lab_protect",
        "lab_score",
        "lab_record",
        "lab_replay",
        "lab_down",
    ),
}
# Commands of two words: what comes first.
FAMILIES = ("plan", "policy", "heal", "lab")
# What stands until it is told to end.
STANDING = {
    "guard": "own a living network, and act only on what is recorded",
    "lead": "lead a guarded network, or stand by to take over",
}
OTHERS = {"demo": "all of it on a synthetic network", "serve": "offer every operation over HTTP"} | STANDING
EXAMPLE = "example: karez generate mynet --stations 20000 && karez circles mynet --budget-us 1000"
CSV = "one table of the answer as CSV (RFC 4180, UTF-8, lines end in a line feed)"
SEE_TO_IT = "see to the cause, then try again"
EXIT_CODES = "exit codes: 0 done, 1 error, 2 wrong input, 3 target missed, 4 infeasible, 5 refused"


class Parser(argparse.ArgumentParser):
    """A parser that leaves reporting and writing to this module."""

    def error(self, message: str) -> NoReturn:
        """Refuse the command line.

        Raises:
            InputError: always.
        """
        raise InputError.of("command line", message, f"see {self.prog} --help")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """What argparse makes of the words, with numbers below zero, in any notation, as values of their flags."""
        return super().parse_known_args(None if args is None else _joined(list(args)), namespace)

    def print_help(self, file: object = None) -> None:
        """Write the help to stdout, where failures to write are noticed."""
        _out(self.format_help())


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code of one command; its answer goes to stdout, everything else to stderr."""
    try:
        return _command(list(sys.argv[1:] if argv is None else argv))
    except InputError as error:
        return _failed(map(str, error.problems), error.exit_code)
    except KarezError as error:
        return _failed(str(error).splitlines(), error.exit_code)
    except BrokenPipeError:
        return NOBODY_READS
    except OSError as error:
        return _failed([f"{error.filename or 'writing'}: {error.strerror or error}; {SEE_TO_IT}"], WRONG_INPUT)
    except KeyboardInterrupt:
        return INTERRUPTED


def overview() -> str:
    """What `karez --help` shows: every command in its group, with one line each."""
    grouped = {name for names in GROUPS.values() for name in names}
    others = {name: OPERATIONS[name].summary for name in OPERATIONS if name not in grouped} | OTHERS
    groups = {title: {name: OPERATIONS[name].summary for name in names} for title, names in GROUPS.items()}
    lines = ["usage: karez COMMAND ... [--json | --csv TABLE] [--quiet]", "", "Plan and run computing-power networks."]
    for title, commands in (groups | {"More": others}).items():
        lines += ["", f"{title}:", *(f"  {spoken(name):15}{summary}" for name, summary in commands.items())]
    more = "karez COMMAND --help shows what a command takes; karez --version shows the version"
    return "\n".join([*lines, "", EXAMPLE, more, EXIT_CODES, ""])


def spoken(operation: str) -> str:
    """An operation as the command line names it: in two words where it belongs to a family."""
    return operation.replace("_", " ")


def parser(operation: str, words: Sequence[str] = ()) -> argparse.ArgumentParser:
    """The parser of one operation; every value stays text, and only what was given is in what it returns.

    Where an output is required it has a place of its own, unless `words` name it by a flag: then that is required.
    """
    question = OPERATIONS[operation].question
    made = _parser(spoken(operation), description=question.__doc__, epilog=EXIT_CODES)
    places = {field.name for field in questions.fields(question) if field.required}
    if _name_output(words):
        places.discard(OUTPUT)
    for field in questions.fields(question):
        if field.name in places:
            _add_place(made, field)
        else:
            _add_flag(made, field)
    if operation in WATCHED:
        made.add_argument("--live", action="store_true", help="show it as it comes about, where there is a terminal")
    made.add_argument("--json", action="store_true", help='one JSON object; infinite is "inf", unknown "nan"')
    made.add_argument("--csv", metavar="TABLE", help=f"{CSV}; a wrong name lists those there are")
    made.add_argument("--quiet", action="store_true", help="only the headline, and nothing on stderr but errors")
    return made


def flag(field: Field) -> str:
    """How the command line names a field: itself where it is required, else `--its-name`."""
    return field.name if field.required else f"--{field.name.replace('_', '-')}"


def _name_output(words: Sequence[str]) -> bool:
    """Whether a flag names the output, as far as words are flags."""
    short, long = OUTPUT_FLAGS
    return any(
        word == long or word.startswith((short, f"{long}=")) for word in takewhile(lambda word: word != "--", words)
    )


def _command(argv: list[str]) -> int:
    name, rest = (argv[0], argv[1:]) if argv else ("--help", [])
    if name in ("-h", "--help", "--version"):
        _out(f"karez {karez.__version__}\n" if name == "--version" else overview())
        return OK if argv else WRONG_INPUT
    if name == "demo":
        return _demo(rest)
    if name == "serve":
        return _serve(rest)
    if name in STANDING:
        return _stand(name, rest)
    if name in FAMILIES:
        return _family(name, rest)
    if name in OPERATIONS and "_" not in name:
        return _ask(name, rest)
    raise InputError.of(name, "no such command", f"give one of {', '.join([*map(spoken, OPERATIONS), *OTHERS])}")


def _family(name: str, argv: list[str]) -> int:
    """A command of two words, such as `plan coverage`."""
    members = {one.partition("_")[2]: one for one in OPERATIONS if one.startswith(f"{name}_")}
    if argv and argv[0] in members:
        return _ask(members[argv[0]], argv[1:])
    if argv and argv[0] in ("-h", "--help"):
        _out("\n".join(f"karez {name} {word:12}{OPERATIONS[one].summary}" for word, one in members.items()) + "\n")
        return OK
    what = f"is followed by {argv[0]!r}" if argv else "says not what of it"
    raise InputError.of(name, what, f"give {name} and one of {', '.join(members)}")


def _ask(operation: str, argv: list[str]) -> int:
    given = _parsed(parser(operation, argv), argv)
    if given is None:
        return OK
    began_s, as_json, table, quiet = time.monotonic(), given.pop("json"), given.pop("csv"), given.pop("quiet")
    live = given.pop("live", False) and not quiet
    question = _question(operation, given)
    if table is not None:
        _refuse_other_tables(operation, table, as_json=as_json)
    if not quiet:
        _tell_of_waits()
    answer = _watched(question) if live else operations.run(operation, question)
    _out(text.csv(answer, table) if table else _shown(operation, answer, as_json=as_json, quiet=quiet))
    if table and not quiet:
        _say(f"{text.clean(answer.headline)}\n{text.clean(answer.citation)}")
    if not quiet:
        _say(f"karez {spoken(operation)}: {time.monotonic() - began_s:.1f} s")
    return TARGET_MISSED if answer.meets_target is False else OK


def _watched(question: msgspec.Struct) -> Answer:
    """The answer to a question about a run, after it was shown as it came about."""
    try:
        live = import_module("karez.faces.live")
    except ModuleNotFoundError as error:
        raise KarezError(f"the live view needs {error.name}; install karez[live], or leave out --live") from error
    return cast(Answer, live.run(question))


def _refuse_other_tables(operation: str, table: str, *, as_json: bool) -> None:
    """Return only if the answer has that table: known before anything is computed or written.

    Raises:
        InputError: it has not, or JSON was asked for as well.
    """
    if as_json:
        raise InputError.of("--csv", "cannot stand beside --json", "give one of the two")
    module = import_module(f"{operations.__name__}.{operation.replace('import', 'import_')}")
    tables = text.tables(get_type_hints(module.run)["return"])
    if table not in tables:
        fix = f"give one of {', '.join(tables)}" if tables else "use --json, which shows all of it"
        what = f"{table!r} is no table of this answer" if tables else f"the answer of {spoken(operation)} has no tables"
        raise InputError.of("--csv", what, fix)


def _tell_of_waits() -> None:
    """Let what Karez logs, which is why somebody has to wait, go to the standard error."""
    logging = import_module("logging")
    log = logging.getLogger("karez")
    if not log.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("karez: %(message)s"))
        log.addHandler(handler)
        log.setLevel(logging.INFO)


def _parsed(of: argparse.ArgumentParser, argv: list[str]) -> dict[str, Any] | None:
    """What was given by name; None where help was asked for and shown."""
    try:
        known, unknown = of.parse_known_args(argv)
    except SystemExit:
        return None
    return vars(known) | ({"": unknown} if unknown else {})


def _joined(argv: list[str]) -> list[str]:
    """The words, a number below zero joined with the flag before it: alone it might be taken for a flag."""
    joined: list[str] = []
    for word in argv:
        if word.startswith("-") and joined and joined[-1].startswith("--") and _is_number(word):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def _is_number(word: str) -> bool:
    try:
        return math.isfinite(float(word))
    except ValueError:
        return False


def _wholly_parsed(of: argparse.ArgumentParser, argv: list[str]) -> dict[str, Any] | None:
    """As `_parsed`, where nothing that is unknown may stand beside it."""
    given = _parsed(of, argv)
    if given and "" in given:
        of.error(f"unknown: {' '.join(given[''])}")
    return given


def _question(operation: str, given: dict[str, Any]) -> msgspec.Struct:
    """The question; problems name fields as the command line does."""
    unknown = given.pop("", [])
    problems = [Problem(word, "unknown", f"see karez {spoken(operation)} --help") for word in unknown]
    flags = {field.name: flag(field) for field in questions.fields(OPERATIONS[operation].question)}
    try:
        question = questions.read(operation, given, strict=False)
    except InputError as error:
        problems += [msgspec.structs.replace(each, where=flags[each.where]) for each in error.problems]
    if problems:
        raise InputError(problems)
    return question


def _demo(argv: list[str]) -> int:
    demo = import_module("karez.faces.demo")
    _tell_of_waits()
    made = _parser("demo", description=demo.__doc__, epilog=EXIT_CODES)
    made.add_argument(*OUTPUT_FLAGS, default=demo.OUTPUT, help="folder that is made anew (default %(default)s)")
    made.add_argument("--stations", default=str(demo.STATIONS), help="base stations (default %(default)s)")
    made.add_argument("--sites", default=str(demo.SITES), help="compute sites (default %(default)s)")
    made.add_argument("--jobs", default=str(demo.JOBS), help="jobs of the day (default %(default)s)")
    given = _wholly_parsed(made, argv)
    if given is None:
        return OK
    folder = Path(given["output"])
    wanted = {"output": str(folder / "network"), **{name: given[name] for name in ("stations", "sites", "jobs")}}
    demo.show(folder, _question("generate", wanted))
    return OK


def _serve(argv: list[str]) -> int:
    made = _parser("serve", description=OTHERS["serve"], epilog="Ctrl-C stops it when running requests are answered.")
    made.add_argument("--root", required=True, help="folder that every path of a question is within")
    made.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default %(default)s); there is no log-in"
    )
    made.add_argument("--port", type=_port, default=8080, help="port to listen on (default %(default)s)")
    made.add_argument("--allow-writes", action="store_true", help="offer the operations that leave files, too")
    given = _wholly_parsed(made, argv)
    if given is None:
        return OK
    root = Path(given["root"])
    if not given["root"] or not root.is_dir():
        raise InputError.of("--root", f"{given['root'] or repr('')} is no folder", "give a folder of networks")
    if not os.access(root, os.R_OK | os.X_OK):
        raise InputError.of("--root", f"{root} cannot be read", "ask for permission, or give another folder")
    try:
        service = import_module("karez.faces.service")
    except ModuleNotFoundError as error:
        raise KarezError(f"the service needs {error.name}; install karez[web]") from error
    service.serve(root, host=given["host"], port=given["port"], allow_writes=given["allow_writes"])
    return OK


def _stand(name: str, argv: list[str]) -> int:
    stand = import_module("karez.faces.standing").STANDS[name]
    _tell_of_waits()
    made = _parser(name, description=STANDING[name], epilog=stand.ends)
    stand.add_words(made)
    given = _wholly_parsed(made, argv)
    if given is not None:
        stand.run(given)
    return OK


def _port(word: str) -> int:
    if not word.isdecimal() or int(word) > LAST_PORT:
        raise argparse.ArgumentTypeError(f"{word!r} is wrong; give a whole number from 0 to {LAST_PORT}")
    return int(word)


def _parser(command: str, **kwargs: Any) -> Parser:
    return Parser(
        prog=f"karez {command}", allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **kwargs
    )


def _add_place(made: argparse.ArgumentParser, field: Field) -> None:
    by_flag = f"; {' or '.join(OUTPUT_FLAGS)} names it as well" if field.name == OUTPUT else ""
    made.add_argument(field.name, metavar=_metavar(field), help=_help(field.help + by_flag))


def _add_flag(made: argparse.ArgumentParser, field: Field) -> None:
    flags = OUTPUT_FLAGS if field.name == OUTPUT else (flag(field),)
    options: dict[str, Any] = {"dest": field.name, "default": argparse.SUPPRESS}
    if field.base is bool:
        made.add_argument(*flags, action=argparse.BooleanOptionalAction, help=_help(field.description), **options)
    else:
        made.add_argument(*flags, metavar=_metavar(field), help=_help(field.help), **options)


def _help(shown: str) -> str:
    # A per cent sign in a help text would be taken for a value to fill in.
    return shown.replace("%", "%%")


def _metavar(field: Field) -> str:
    return f"{{{','.join(field.choices)}}}" if field.choices else field.name.upper()


def _shown(operation: str, answer: Answer, *, as_json: bool, quiet: bool) -> str | bytes:
    if as_json:
        return text.json(operation, answer) + b"\n"
    return "\n".join([text.clean(answer.headline)] if quiet else text.lines(answer)) + "\n"


def _out(data: str | bytes) -> None:
    """Write to stdout, all of it, now."""
    # Python has no stdout where the shell closed it.
    if sys.stdout is None:
        raise OSError(errno.EBADF, "standard output is closed")
    if isinstance(data, str):
        data = data.encode(sys.stdout.encoding or "utf-8", "backslashreplace")
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
    except OSError:
        # What is left in the buffer would fail once more when Python exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


def _failed(lines: Iterable[str], code: int) -> int:
    for line in lines:
        _say(f"karez: {text.clean(line)}")
    return code


def _say(line: str) -> None:
    # Where even stderr cannot be written there is nobody left to tell.
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)

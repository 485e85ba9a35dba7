from __future__ import annotations

import csv
import io
import json
import os
import shlex
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import karez
from docs.conf import cli_page
from karez import operations
from karez.errors import Infeasible, InputError, KarezError, Problem, Refused, TargetMissed
from karez.faces import cli, questions, text
from karez.operations import OPERATIONS, Answer
from karez.operations.networks import DETAIL

PYTHON = [sys.executable, "-m", "karez"]
# The target is 250 ms; a machine that runs other tests at the same time gets twice that.
HELP_BOUND_S = 0.5


class Row(msgspec.Struct, frozen=True):
    site: str
    share: float


class Ends(msgspec.Struct, frozen=True):
    low: float = float("-inf")
    high: float = 2.5


class Act(msgspec.Struct, frozen=True):
    expires_at_s: float
    adds: tuple[str, ...]


class Odd(Answer, frozen=True, kw_only=True):
    """An answer with everything that is hard to show."""

    farthest_us: float = float("inf")
    unknown: float = float("nan")
    rows: tuple[Row, ...] = ()
    delays_us: tuple[float, ...] = ()
    ends: Ends = Ends()
    made_at_s: float = 0.5
    acts: tuple[Act, ...] = (Act(1767225600.0, ("x" * 50,)), Act(float("inf"), ()))


ODD = Odd(
    headline="synthetic: 71 %",
    citation="C2, one way",
    rows=tuple(Row(f"站{i}", i / 100) for i in range(50)),
    delays_us=tuple(float(i) for i in range(1_000)),
)


def answering(monkeypatch: pytest.MonkeyPatch, answer: Answer | BaseException) -> list[msgspec.Struct]:
    """Every operation gives `answer`, or raises it; what they were asked is in the list."""
    asked: list[msgspec.Struct] = []

    def run(_name: str, question: msgspec.Struct) -> Answer:
        asked.append(question)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    monkeypatch.setattr(operations, "run", run)
    return asked


WRONG = {
    "a number that is text": (["circles", "n", "--budget-us", "soon"], "--budget-us: 'soon' is wrong"),
    "a number out of bounds": (["circles", "n", "--budget-us", "-5"], "give a number above 0"),
    "a number that is not one": (["circles", "n", "--budget-us", "nan"], "--budget-us: 'nan' is wrong"),
    "an endless number": (["circles", "n", "--budget-us", "inf"], "--budget-us: 'inf' is wrong"),
    "a share above one": (["circles", "n", "--target-share", "75"], "at least 0 and at most 1"),
    "a share that is not a number": (["circles", "n", "--target-share", "nan"], "--target-share: 'nan' is wrong"),
    "a whole number in parts": (["generate", "n", "--stations", "20000.5"], "give a whole number at least 20000"),
    "a whole number too small": (["generate", "n", "--stations", "10"], "--stations: '10' is wrong"),
    "a whole number too large": (["generate", "n", "--seed", "1" * 30], "--seed: '111"),
    "a required whole number": (["diff", "n", "first"], "before: 'first' is wrong; give a whole number at least 1"),
    "a word not among the choices": (["circles", "n", "--definition", "C9"], "give one of C1, C2, C3"),
    "an empty path": (["info", ""], "network: '' is wrong; give a path"),
    "a path with half a character": (["info", "a\udcff"], "network: 'a\\udcff' is wrong"),
    "a value for what takes none": (["circles", "n", "--round-trip=maybe"], "ignored explicit argument 'maybe'"),
    "a flag that there is not": (["circles", "n", "--bugdet-us", "5"], "--bugdet-us: unknown"),
    "a flag cut short": (["circles", "n", "--budget", "5"], "--budget: unknown"),
    "a flag without its value": (["circles", "n", "--budget-us"], "expected one argument"),
    "nothing where a network is required": (["circles"], "the following arguments are required: NETWORK"),
    "no output, in no place and by no flag": (["report", "n"], "the following arguments are required: OUTPUT"),
    "a flag without the output": (["report", "n", "-o"], "expected one argument"),
    "no network beside an output": (["report", "-o", "r.html"], "the following arguments are required: NETWORK"),
    "an output in its place and by a flag": (["report", "n", "r.html", "-o", "s.html"], "r.html: unknown"),
    "an output where nothing is written": (["circles", "n", "-o", "r.html"], "-o: unknown"),
    "too many words": (["circles", "n", "m"], "m: unknown"),
    "an operation that there is not": (["circle", "n"], "circle: no such command; give one of"),
    "no folder to serve": (["serve", "--root", "no such folder"], "--root: no such folder is no folder"),
    "no name of a folder to serve": (["serve", "--root", ""], "--root: '' is no folder"),
    "a number of stations for the demonstration that is text": (
        ["demo", "--stations", "many"],
        "--stations: 'many' is wrong; give a whole number at least 20000",
    ),
    "a flag that the demonstration has not": (["demo", "--seeds", "3"], "unknown: --seeds 3"),
    "a port beyond the last": (
        ["serve", "--root", ".", "--port", "65536"],
        "--port: '65536' is wrong; give a whole number from 0 to 65535",
    ),
}


@pytest.mark.parametrize(("argv", "message"), WRONG.values(), ids=WRONG.keys())
def test_wrong_input_ends_with_2_and_a_line_that_says_what_to_do(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert all(line.startswith("karez: ") for line in err.splitlines())


def test_every_problem_of_a_command_line_is_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["circles", "", "--budget-us", "0", "--definition", "x", "--target-share", "2", "--foo"]) == 2
    problems = [line.split(": ")[1] for line in capsys.readouterr().err.splitlines()]
    assert problems == ["--foo", "network", "--definition", "--budget-us", "--target-share"]


@pytest.mark.parametrize("operation", ["info", "circles", "plan_coverage"])
def test_a_network_that_is_not_there_is_wrong_input(
    operation: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*cli.spoken(operation).split(), str(tmp_path / "nowhere")]) == 2
    assert "nowhere" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (KarezError("no"), 1),
        (InputError.of("links.csv", "cut short", "send it again"), 2),
        (OSError(28, "No space left on device", "out.json"), 2),
        (TargetMissed("no"), 3),
        (Infeasible("no"), 4),
        (Refused("no"), 5),
        (KeyboardInterrupt(), 130),
    ],
)
def test_each_kind_of_failure_has_its_exit_code_and_no_traceback(
    raised: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answering(monkeypatch, raised)
    assert cli.main(["info", "n"]) == code
    out, err = capsys.readouterr()
    assert (out, "Traceback" in err) == ("", False)
    assert len(err.splitlines()) == (0 if code == 130 else 1)


@pytest.mark.parametrize(("meets_target", "code"), [(None, 0), (True, 0), (False, 3)])
def test_a_missed_target_ends_with_3_and_its_answer(
    meets_target: bool | None, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answering(monkeypatch, Answer(headline="71 %", citation="C2", meets_target=meets_target))
    assert cli.main(["circles", "n"]) == code
    assert capsys.readouterr().out.startswith("71 %\n")


def test_a_defect_is_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, ZeroDivisionError("a defect"))
    with pytest.raises(ZeroDivisionError):
        cli.main(["info", "n"])


def test_every_problem_of_a_file_has_a_line_that_cannot_steer_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    problems = [Problem("links", "twice", "keep one", ("\x1b[2JL1",)), Problem("sites", "a\nb", "name it")]
    answering(monkeypatch, InputError(problems))
    assert cli.main(["info", "n"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["karez: links: twice (rows \\x1b[2JL1); keep one", "karez: sites: a\\nb; name it"]


def test_json_is_one_valid_object_whatever_the_numbers_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answering(monkeypatch, ODD)
    assert cli.main(["circles", "n", "--json"]) == 0
    body = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert (body["schema"], body["operation"]) == (1, "circles")
    answer = body["answer"]
    assert (answer["farthest_us"], answer["unknown"], answer["ends"]) == ("inf", "nan", {"low": "-inf", "high": 2.5})
    assert answer["rows"][0] == {"site": "站0", "share": 0.0}
    assert len(answer["rows"]) == 50


class Cells(msgspec.Struct, frozen=True):
    name: str = ""
    share: float | None = None
    count: int = 0
    held: bool = False
    parts: dict[str, tuple[float, ...]] = {}


class Tabled(Answer, frozen=True, kw_only=True):
    """An answer with a table of everything that is hard to write as CSV."""

    rows: Annotated[tuple[Cells, ...], DETAIL] = ()
    names: tuple[str, ...] = ("no table",)
    cell: Cells = Cells()


def as_csv(*rows: Cells) -> str:
    return text.csv(Tabled(headline="h", citation="c", rows=rows), "rows").decode()


def test_csv_has_a_header_and_numbers_in_full() -> None:
    row = Cells("站", 0.1 + 0.2, -3, True, {"a": (1.0, float("inf"))})
    assert as_csv(row, Cells("b", float("-inf"))) == (
        'name,share,count,held,parts\n站,0.30000000000000004,-3,true,"{""a"":[1.0,""inf""]}"\nb,-inf,0,false,{}\n'
    )
    assert as_csv(Cells(share=float("nan")), Cells()) == "name,share,count,held,parts\n,nan,0,false,{}\n,,0,false,{}\n"
    assert as_csv() == "name,share,count,held,parts\n"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20"])
def test_no_text_in_csv_is_a_formula_and_no_number_is_touched(start: str) -> None:
    formula = f'{start}HYPERLINK("http://evil.test/","x")'
    _, found = csv.reader(io.StringIO(as_csv(Cells(formula, -0.5, -2)), newline=""))
    assert found[:3] == [f"'{formula}", "-0.5", "-2"]


@given(st.lists(st.tuples(st.text(), st.floats() | st.none()), max_size=5))
@settings(max_examples=60, deadline=None)
def test_csv_is_read_back_as_it_was(rows: list[tuple[str, float | None]]) -> None:
    written = as_csv(*(Cells(name, share) for name, share in rows))
    head, *found = csv.reader(io.StringIO(written, newline=""), strict=True)
    assert head == ["name", "share", "count", "held", "parts"]
    assert [row[0].removeprefix("'") for row in found] == [name.removeprefix("'") for name, _ in rows]
    assert [row[1] for row in found] == ["" if share is None else repr(share) for _, share in rows]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_tables_an_answer_has_is_known_without_asking(operation: str) -> None:
    module = import_module(f"karez.operations.{operation.replace('import', 'import_')}")
    answer = get_type_hints(module.run)["return"]
    assert issubclass(answer, Answer)
    assert set(text.tables(answer)) <= {field.name for field in msgspec.structs.fields(answer)}


def test_only_sequences_of_values_with_fields_are_tables() -> None:
    assert text.tables(Tabled) == ("rows",)


def test_a_table_goes_to_stdout_and_how_it_was_got_to_stderr(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = str(tmp_path / "net")
    assert cli.main(["generate", network, "--stations", "20000", "--quiet"]) == 0
    capsys.readouterr()
    assert cli.main(["circles", network, "--csv", "metros", "--target-share", "1"]) == 3
    out, err = capsys.readouterr()
    assert cli.main(["circles", network, "--json", "--quiet"]) == 0
    answer = json.loads(capsys.readouterr().out)["answer"]
    found = list(csv.DictReader(io.StringIO(out, newline="")))
    assert [{**row, **{key: float(row[key]) for key in ("weight", "covered_share")}} for row in found] == (
        answer["metros"]
    )
    assert err.splitlines()[-3:-1] == [answer["headline"], answer["citation"]]
    assert cli.main(["circles", network, "--csv", "movers", "--quiet"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            ["circles", "n", "--csv", "metro"],
            "'metro' is no table of this answer; give one of movers, provinces, metros",
        ),
        (["circles", "n", "--csv", ""], "'' is no table of this answer"),
        (["circles", "n", "--csv", "headline"], "'headline' is no table"),
        (["heal", "replay", "n", "r", "--csv", "metros"], "the answer of heal replay has no tables; use --json"),
        (["circles", "n", "--csv", "metros", "--json"], "--csv: cannot stand beside --json"),
        (["circles", "n", "--csv"], "expected one argument"),
    ],
)
def test_a_table_that_there_is_not_is_refused_before_anything_is_done(
    argv: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = answering(monkeypatch, ODD)
    assert cli.main(argv) == 2
    out, err = capsys.readouterr()
    assert (out, asked) == ("", [])
    assert message in err


def test_text_aligns_tables_and_says_what_it_leaves_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answering(monkeypatch, ODD)
    assert cli.main(["circles", "n"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "synthetic: 71 %",
        "",
        "farthest_us  inf",
        "unknown      nan",
        "delays_us    1,000 values from 0 to 999",
        "made_at_s    1970-01-01T00:00:00Z",
        "",
        "rows",
        "  site  share",
        *(f"  站{i:<4}{i / 100:>5g}" for i in range(12)),
        "  ... and 38 more (--json shows all)",
        "",
        "ends",
        "  low   -inf",
        "  high  2.5",
        "",
        "acts",
        "          expires_at_s  adds",
        f"  2026-01-01T00:00:00Z  {'x' * 37}...",
        "                   inf  none",
        "",
        "C2, one way",
    ]
    assert err.startswith("karez circles: ")


class Ways(msgspec.Struct, frozen=True):
    pooled_share: float | None
    metros_share: float | None = None


class Plain(Answer, frozen=True, kw_only=True):
    """An answer as people should see it: shares in per cent, prices in fen, alike parts in one table."""

    price_cny: float = 719.2576
    bound_cny: float = 5e7
    budget_us: float = 1_000.0
    weight: float = 1234.567
    year: int = 2027
    low: Ways = Ways(0.50726)
    high: Ways = Ways(0.316628)
    down: Ways | None = None
    found_after_s: float | None
    plan: Annotated[Ways, DETAIL] = Ways(0.5)


def test_people_see_per_cent_and_fen_and_years_and_one_table_of_what_is_alike_and_no_details(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answering(monkeypatch, Plain(headline="h", citation="c", found_after_s=None))
    assert cli.main(["circles", "n"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "h",
        "",
        "price_cny      719.26",
        "bound_cny      50,000,000",
        "budget_us      1,000",
        "weight         1,234.57",
        "year           2027",
        "found_after_s  -",
        "",
        "      pooled_share",
        "low         50.7 %",
        "high        31.7 %",
        "",
        "c",
    ]
    assert cli.main(["circles", "n", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)["answer"]
    assert (answer["plan"]["pooled_share"], answer["low"]["pooled_share"], answer["down"]) == (0.5, 0.50726, None)


def test_quiet_leaves_the_headline_and_no_talk(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answering(monkeypatch, ODD)
    assert cli.main(["circles", "n", "--quiet"]) == 0
    assert capsys.readouterr() == ("synthetic: 71 %\n", "")


@given(st.text())
def test_no_text_of_an_answer_can_steer_a_terminal(word: str) -> None:
    assert text.clean(word).isprintable()


@given(st.recursive(st.floats() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])), st.lists))
def test_any_numbers_make_valid_json(value: object) -> None:
    json.loads(msgspec.json.encode(text.finite(value)), parse_constant=pytest.fail)


def values(field: questions.Field) -> st.SearchStrategy[Any]:
    """Values that the field takes, as JSON would give them."""
    if field.choices:
        return st.sampled_from(field.choices)
    if field.base is str:
        return st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).filter(lambda w: w[0] != "-")
    if field.base is bool:
        return st.booleans()
    facts = questions._facts(field.type)
    low = next((facts[bound] for bound in ("ge", "gt") if facts.get(bound) is not None), 0)
    high = next((facts[bound] for bound in ("le", "lt") if facts.get(bound) is not None), low + 1_000_000)
    return st.integers(low, high) if field.base is int else st.floats(low, high, exclude_min=True)


@pytest.mark.parametrize("operation", OPERATIONS)
@settings(max_examples=30)
@given(data=st.data())
def test_the_command_line_asks_what_json_asks(operation: str, data: st.DataObject) -> None:
    asked = {field: data.draw(values(field)) for field in questions.fields(OPERATIONS[operation].question)}
    words = [word for field, value in asked.items() for word in given_as(field, value)]
    parsed = vars(cli.parser(operation).parse_args(words))
    by_words = {name: value for name, value in parsed.items() if name not in ("json", "csv", "quiet", "live")}
    by_json = {field.name: value for field, value in asked.items()}
    expected = questions.read(operation, by_json, strict=True)
    assert questions.read(operation, by_words, strict=False) == expected


WRITERS = [
    name for name, of in OPERATIONS.items() if "output" in {field.name for field in questions.fields(of.question)}
]


@pytest.mark.parametrize("operation", WRITERS)
@pytest.mark.parametrize(
    "named", [("-o", "to/file"), ("-oto/file",), ("--output", "to/file"), ("--output=to/file",)], ids=" ".join
)
@pytest.mark.parametrize("comes_first", [True, False])
def test_an_output_is_named_by_a_flag_alike_wherever_one_is_written(
    operation: str, named: tuple[str, ...], comes_first: bool
) -> None:
    fields = [field for field in questions.fields(OPERATIONS[operation].question) if field.required]
    places = [field.name for field in fields if field.name != "output"]
    words = [*named, *places] if comes_first else [*places, *named]
    parsed = vars(cli.parser(operation, words).parse_args(words))
    assert parsed["output"] == "to/file"
    assert [parsed[name] for name in places] == places


def test_after_two_dashes_no_word_is_a_flag() -> None:
    words = ["n", "--", "-o"]
    assert cli.parser("report", words).parse_args(words).output == "-o"


def given_as(field: questions.Field, value: Any) -> list[str]:
    if field.base is bool:
        return [cli.flag(field) if value else f"--no-{cli.flag(field)[2:]}"]
    return [str(value)] if field.required else [cli.flag(field), str(value)]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_no_question_has_a_field_that_a_common_flag_hides(operation: str) -> None:
    assert not {"json", "csv", "quiet", "help"} & {f.name for f in questions.fields(OPERATIONS[operation].question)}


def test_the_overview_has_a_line_for_every_command_and_an_example_that_parses() -> None:
    lines = cli.overview().splitlines()
    for name, summary in {**{name: of.summary for name, of in OPERATIONS.items()}, **cli.OTHERS}.items():
        assert f"  {cli.spoken(name):15}{summary}" in lines
    for command in cli.EXAMPLE.removeprefix("example: ").split("&&"):
        program, operation, *words = shlex.split(command)
        assert program == "karez"
        cli.parser(operation).parse_args(words)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_help_and_reference_tell_every_field_of_every_operation(
    operation: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*cli.spoken(operation).split(), "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    section = cli_page().split(f"\n## {operation}\n")[1].split("\n## ")[0]
    for field in questions.fields(OPERATIONS[operation].question):
        assert (field.name.upper() if field.required else cli.flag(field)) in shown
        assert field.description in shown
        row = next(line for line in section.splitlines() if line.startswith(f"| `{field.name}` |"))
        assert all(part in row for part in (cli.flag(field), field.takes, field.description))


def run(*argv: str, **kwargs: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*PYTHON, *argv], check=False, timeout=30, stderr=subprocess.PIPE, **kwargs)


@pytest.mark.parametrize("argv", [("--help",), ("circles", "--help"), ("--version",)])
def test_a_pipe_that_nobody_reads_ends_quietly(argv: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = run(*argv, stdout=writer)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_stdout_that_was_closed_is_one_line() -> None:
    done = subprocess.run(
        f"{shlex.join(PYTHON)} --version >&-", shell=True, check=False, timeout=30, stderr=subprocess.PIPE
    )
    assert (done.returncode, done.stderr) == (
        2,
        b"karez: writing: standard output is closed; see to the cause, then try again\n",
    )


@pytest.mark.parametrize("argv", [("--help",), ("circles", "--help")])
def test_a_full_disk_under_stdout_is_one_line(argv: tuple[str, ...]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = run(*argv, stdout=full)
    assert (done.returncode, done.stderr) == (
        2,
        b"karez: writing: No space left on device; see to the cause, then try again\n",
    )


@pytest.mark.parametrize(("flags", "expected"), [((), b"\\u7ad911"), (("--json",), "站11".encode())])
def test_an_answer_is_written_where_the_terminal_knows_no_chinese(
    flags: tuple[str, ...], expected: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, ODD)
    out = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding="ascii"))
    assert cli.main(["circles", "n", *flags]) == 0
    assert expected in out.getvalue()


def test_help_is_fast() -> None:
    assert min(map(seconds, [["--help"]] * 3)) <= HELP_BOUND_S
    assert min(map(seconds, [["circles", "--help"]] * 3)) <= HELP_BOUND_S


def seconds(argv: list[str]) -> float:
    began_s = time.monotonic()
    assert run(*argv, stdout=subprocess.DEVNULL).returncode == 0
    return time.monotonic() - began_s


def loaded(code: str) -> set[str]:
    """The modules that are loaded once `code` has run in a Python of its own."""
    script = f"import sys\n{code}\nprint(*sys.modules)"
    return set(subprocess.check_output([sys.executable, "-c", script], text=True, timeout=30).split())


def test_importing_karez_imports_nothing_else() -> None:
    assert loaded("import karez") - loaded("") == {"karez", "__future__"}


def test_the_request_path_does_not_load_what_the_verbs_need() -> None:
    assert not loaded("from karez import steer") & {"karez.operations", "msgspec", "polars", "scipy"}


@pytest.mark.parametrize("heavy", ["numpy", "polars", "scipy", "starlette"])
def test_help_loads_nothing_heavy(heavy: str) -> None:
    assert heavy not in loaded("from karez.faces.cli import main; main(['circles', '--help'])")


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"karez {karez.__version__}\n"


def test_nothing_asked_shows_the_overview_and_is_wrong_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    assert capsys.readouterr().out == cli.overview()

"""`ceesim gemm`: tables in, tables out, and messages that say what to write instead."""

import csv
import json
from pathlib import Path

import pytest

from ceesim.cli import exit_code

HEADER = "profile,dataflow,rows,cols,m,k,n"
SMALL = ["--m", "8", "--k", "8", "--n", "8", "--rows", "4", "--cols", "4"]


def test_one_product_is_a_table_of_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["gemm", *SMALL, "--dataflow", "ws", "--profile", "textbook"]) == 0
    assert capsys.readouterr().out == (
        f"{HEADER},folds,compute_cycles,fold_cycles,interval_cycles,mapping_efficiency,utilisation\n"
        "textbook,ws,4,4,8,8,8,4,42,18,8,1.0,0.761905\n"
    )


def test_the_example_of_the_help_works(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["gemm", "--help"]) == 0
    words = capsys.readouterr().out.split("Example: ceesim ")[1].split("Options:")[0].split()
    assert exit_code(words) == 0
    (row,) = csv.DictReader(capsys.readouterr().out.splitlines())
    # 72 × 8 folds of 1024 rows, the last followed by L + S − I = 16 + 1054 − 1024 more
    assert int(row["compute_cycles"]) == 576 * 1024 + 46


def test_a_table_comes_back_with_its_other_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, out = tmp_path / "in.csv", tmp_path / "out.csv"
    table.write_text(f"layer,{HEADER}\nconv1, scalesim,os,8,8,20,30,17\n\nfc,scalesim,is,8,8,20,30,17\n")
    assert exit_code(["gemm", "--table", str(table), "--out", str(out)]) == 0
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert [(row["layer"], row["dataflow"], row["compute_cycles"]) for row in rows] == [
        ("conv1", "os", "395"),
        ("fc", "is", "467"),
    ]
    assert capsys.readouterr().out == ""


def test_json_holds_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["gemm", *SMALL, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["profile"], row["rows"], row["compute_cycles"]) == ("textbook", 4, 42)


def test_an_array_that_spells_its_timing_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["gemm", "--hw", "tpu_v1.yaml", "--m", "64", "--k", "64", "--n", "64"]) == 0
    printed = capsys.readouterr().out
    (row,) = csv.DictReader(printed.splitlines())
    assert (row["profile"], row["dataflow"], row["rows"]) == ("timing", "ws", "256")
    # L = 256 + 4, S = 63 + 2 · 255 + 1 + 2
    assert int(row["compute_cycles"]) == 260 + 576
    assert int(row["total_cycles"]) > int(row["compute_cycles"])
    table = tmp_path / "again.csv"
    table.write_text(f"{HEADER}\ntiming,ws,256,256,64,64,64\n")
    assert exit_code(["gemm", "--hw", "tpu_v1.yaml", "--table", str(table)]) == 0
    assert capsys.readouterr().out == printed
    assert exit_code(["gemm", "--table", str(table)]) == 1
    assert "unknown profile (got 'timing'; expected one of ideal, " in capsys.readouterr().err


NO_COLUMN = "expected a first line with profile,dataflow,rows,cols,m,k,n)"
SIZE = "expected a whole number from 1 to 2147483647)"
SIDE = "expected a whole number from 1 to 65536)"


@pytest.mark.parametrize(
    ("header", "line", "message"),
    [
        ("", "", f":1: no column profile, dataflow, rows, cols, m, k, n (got an empty file; {NO_COLUMN}"),
        ("profile,dataflow,rows,m", "", f":1: no column cols, k, n (got 'profile,dataflow,rows,m'; {NO_COLUMN}"),
        (f"{HEADER},m", "", ":1: column m stands twice\n  fix: remove or rename one of them"),
        (f"{HEADER},folds", "", ":1: column folds is for the result\n  fix: remove or rename the column"),
        (HEADER, "", ": a table without products\n  fix: add a line for each product"),
        (HEADER, "ideal,ws,4,4,1,1", ":2: a line of another length than the first (got 6 cells; expected 7)"),
        (HEADER, "ideal,ws,4,4,0,1,1", f":2: m is not a count (got '0'; {SIZE}"),
        (HEADER, "ideal,ws,4,4,1,-1,1", f":2: k is not a count (got '-1'; {SIZE}"),
        (HEADER, "ideal,ws,4,4,1,1,1e3", f":2: n is not a count (got '1e3'; {SIZE}"),
        (HEADER, "ideal,ws,4,4,1,1,2147483648", f":2: n is not a count (got '2147483648'; {SIZE}"),
        (HEADER, "ideal,ws,65537,4,1,1,1", f":2: rows is not a count (got '65537'; {SIDE}"),
        (HEADER, "ideal,ws,4,,1,1,1", f":2: cols is not a count (got ''; {SIDE}"),
        (HEADER, "ideal,rs,4,4,1,1,1", ":2: unknown dataflow (got 'rs'; expected one of ws, os, is)"),
        (HEADER, "tpu,os,4,4,1,1,1", ":2: profile tpu has no dataflow os (got os; expected ws or is)"),
        (HEADER, '"ideal,ws', ":2: not a CSV table (got unexpected end of data)"),
        (HEADER, "\udcff", ": not a CSV table (got byte 33 is not UTF-8 text)"),
    ],
)
def test_a_table_that_cannot_be_read(
    header: str, line: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, out = tmp_path / "in.csv", tmp_path / "out.csv"
    table.write_bytes("\n".join(part for part in (header, line) if part).encode(errors="surrogateescape"))
    assert exit_code(["gemm", "--table", str(table), "--out", str(out)]) == 1
    captured = capsys.readouterr()
    assert captured.err == f"error: {table}{message}\n"
    assert captured.out == ""
    assert not out.exists()


def test_all_problems_of_a_table_at_once_but_no_flood(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "in.csv"
    table.write_text(HEADER + "\n" + "ideal,ws,4,4,1,1,0\n" * 3 + "tpu,os,4,4,1,1,1\n")
    assert exit_code(["gemm", "--table", str(table)]) == 1
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "error: 4 problems:"
    assert [line.split(":")[1] for line in told[1:]] == ["2", "3", "4", "5"]
    table.write_text(HEADER + "\n" + "ideal,ws,4,4,1,1,0\n" * 1000)
    assert exit_code(["gemm", "--table", str(table)]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 21


def test_options_that_do_not_go_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["gemm", "--m", "3"]) == 2
    assert capsys.readouterr().err.endswith("Error: needs --k --n, or --table FILE.csv\n")
    assert exit_code(["gemm", "--table", str(tmp_path / "in.csv"), "--m", "3"]) == 1
    assert capsys.readouterr().err == (
        "error: --table holds what these options say (got --m)\n  fix: leave them out, or leave out --table\n"
    )
    assert exit_code(["gemm", "--table", str(tmp_path / "none.csv")]) == 1
    assert capsys.readouterr().err == f"error: {tmp_path / 'none.csv'}: No such file or directory\n"
    assert exit_code(["gemm", "--m", "x", "--k", "1", "--n", "1"]) == 1
    assert capsys.readouterr().err == (
        "error: options: m is not a count (got 'x'; expected a whole number from 1 to 2147483647)\n"
    )

"""Rows in a file that runs append to."""

import pytest

from genemamba_sc.benchmark.runs import _jsonl as rows


def test_a_line_cut_by_a_killed_run_is_left_out_and_closed_before_the_next(tmp_path):
    out = tmp_path / "rows.jsonl"
    out.write_text('{"seed": 0}\n{"see', encoding="utf-8")
    rows.append_row(out, {"seed": 1})
    assert out.read_text(encoding="utf-8") == '{"seed": 0}\n{"see\n{"seed": 1}\n'
    with pytest.warns(UserWarning, match="rows.jsonl:2: not a whole JSON line"):
        assert rows.read_rows(out) == [{"seed": 0}, {"seed": 1}]

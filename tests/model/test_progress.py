"""Steps with a name before the epochs."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numba
import numpy as np
import pytest
import scvi
from numba.core import event

from genemamba_sc.model import _progress
from genemamba_sc.model._progress import compilation_named, names_compilation, watched


@pytest.mark.parametrize(
    ("show", "style", "drawn"),
    [(True, "tqdm", True), (False, "tqdm", False), (True, None, False)],
    ids=["drawn", "not asked for", "scvi-tools draws none"],
)
def test_a_bar_is_drawn_where_it_may_be_and_yields_what_it_is_given(capsys, monkeypatch, show, style, drawn):
    monkeypatch.setattr(scvi.settings, "_pbar_style", style)
    assert list(watched("Fitting marker genes", show=show)([3, 1, 2])) == [3, 1, 2]
    assert ("Fitting marker genes" in "".join(capsys.readouterr())) == drawn


def _compile_two():
    """Compile a function and one that it calls, anew in each call."""

    @numba.njit
    def double(x):
        return 2 * x

    @numba.njit
    def total(x):
        return double(x).sum()

    assert total(np.arange(4.0)) == 12
    return total


class TestCompilation:
    @pytest.fixture(autouse=True)
    def _at_once(self, monkeypatch):
        monkeypatch.setattr(_progress, "_DELAY", 0.0)
        monkeypatch.setattr(scvi.settings, "_pbar_style", "tqdm")

    def test_a_bar_counts_what_is_compiled_and_goes_when_that_ends(self, capsys):
        with compilation_named():
            compiled = _compile_two()
            drawn = capsys.readouterr().out
            compiled(np.arange(4.0))  # this is compiled already
            assert capsys.readouterr().out == ""
        assert "Compiling kernels (once after an installation): 0 functions" in drawn
        assert drawn.endswith("\r")  # the line is cleared

    @pytest.mark.parametrize(("show", "style"), [(False, "tqdm"), (True, None)], ids=["not asked for", "none at all"])
    def test_no_bar_is_drawn(self, capsys, monkeypatch, show, style):
        monkeypatch.setattr(scvi.settings, "_pbar_style", style)
        with compilation_named(show=show):
            _compile_two()
        assert capsys.readouterr().out == ""

    def test_the_outer_choice_holds_within_it_and_ends_with_it(self, capsys):
        with compilation_named(show=False), compilation_named():
            _compile_two()
        assert capsys.readouterr().out == ""
        with compilation_named():
            _compile_two()
        assert "Compiling" in capsys.readouterr().out

    def test_an_end_without_a_start_is_let_pass(self, capsys):
        # Another thread began before anybody listened.
        began = event.Event("numba:compile", event.EventStatus.START)
        ended = event.Event("numba:compile", event.EventStatus.END)
        with compilation_named():
            event.broadcast(ended)
            _compile_two()
            assert "Compiling" in capsys.readouterr().out
            event.broadcast(ended)
            event.broadcast(began)
        assert capsys.readouterr().out.endswith("\r")  # and what has not ended leaves no bar
        event.broadcast(ended)

    def test_two_at_once_share_a_bar(self, capsys):
        with ThreadPoolExecutor(2) as pool, compilation_named():
            inside = Barrier(2)

            def other():
                with compilation_named():
                    inside.wait()
                    inside.wait()

            done = pool.submit(other)
            inside.wait()
            _compile_two()
            drawn = capsys.readouterr().out
            inside.wait()
            done.result()
        assert drawn.count(" 0 functions") == 1

    def test_nothing_is_drawn_outside(self, capsys):
        with compilation_named():
            pass
        _compile_two()
        assert capsys.readouterr().out == ""

    @pytest.mark.parametrize("enable_progress_bar", [True, False])
    def test_a_function_names_it_by_its_argument(self, capsys, enable_progress_bar):
        named = names_compilation(lambda enable_progress_bar: _compile_two())
        assert named(enable_progress_bar=enable_progress_bar).signatures
        assert ("Compiling" in capsys.readouterr().out) == enable_progress_bar

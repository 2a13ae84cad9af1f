"""JSON field by field: what is wrong is named with its file and its field, and quoted in few words."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from genemamba_sc._json import Fields, quoted, read_json, read_object

PATH = Path("config.json")


def test_fields_of_the_right_kind_are_read():
    fields = Fields.of({"a": "text", "b": True, "c": 3, "d": {"e": "f"}, "g": None}, PATH)
    assert (fields.text("a"), fields.flag("b"), fields.whole("c", 1), fields.texts("d")) == (
        "text",
        True,
        3,
        {"e": "f"},
    )
    assert fields.whole("z", 1, default=7) == 7 and fields.optional_text("g") is None
    assert fields.made("c", lambda value: value + 1) == 4


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda f: f.text("number"), r"^config\.json must have text as number\. Got 1\. Copy it again"),
        (lambda f: f.whole("text", 1), r"must have a whole number of at least 1 as text\. Got 'a'"),
        (lambda f: f.whole("flag", 0), r"must have a whole number of at least 0 as flag\. Got True"),
        (lambda f: f.whole("number", 2), r"must have a whole number of at least 2 as number\. Got 1"),
        (lambda f: f.flag("number"), r"must have true or false as number\. Got 1"),
        (lambda f: f.object("text"), r"must hold a JSON object in text\. Got 'a'"),
        (lambda f: f.texts("inner"), r"must have text as inner\.x\. Got \[1\]"),
        (lambda f: f.require("number", "one", "two"), r"lacks one, two: it was edited or damaged\. Copy it again"),
        (lambda f: f.object("inner").require("y"), r"lacks inner\.y: it was"),
        (lambda f: f.object("inner").only({"y"}), r"may have y in inner\. Got \['x'\]\. Copy it again, or upgrade"),
        (lambda f: f.made("text", int), r"has no usable text: invalid literal .*'a'\. Copy it again"),
    ],
)
def test_what_is_wrong_is_named(read: Callable[[Fields], Any], message: str):
    with pytest.raises(ValueError, match=message):
        read(Fields.of({"number": 1, "text": "a", "flag": True, "inner": {"x": [1]}}, PATH))


@pytest.mark.parametrize(
    "content",
    [b'{"a": ', b"\xff\xfe", b"[" * 100_000, b'{"a": ' + b"9" * 5000 + b"}", b""],
    ids=["half", "no text", "deep", "a number without end", "nothing"],
)
def test_what_is_no_json_is_refused_with_the_file(tmp_path: Path, content: bytes):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"config\.json is not readable JSON \(.*truncated or damaged\. Copy it again"):
        read_json(tmp_path / "config.json")


def test_an_object_is_needed(tmp_path: Path):
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(ValueError, match=r"config\.json must hold a JSON object\. Got \[1\]\. Copy it again"):
        read_object(tmp_path / "config.json")


def test_quotes_are_short():
    assert quoted("abc") == "'abc'"
    assert len(quoted("a" * 1000)) == len(quoted(ValueError("a" * 1000))) == 200


def test_a_list_of_objects_is_read_one_by_one(tmp_path: Path):
    (tmp_path / "a.json").write_text('{"files": [{"name": "x"}, {"name": 1}], "other": [2], "none": {}}')
    fields = read_object(tmp_path / "a.json", "Remove it.")
    assert fields.objects("files")[0].text("name") == "x"
    with pytest.raises(ValueError, match=r"must have text as files\[1\]\.name\. Got 1\. Remove it\."):
        fields.objects("files")[1].text("name")
    with pytest.raises(ValueError, match=r"must hold a JSON object in other\[0\]\. Got 2\. Remove it\."):
        fields.objects("other")
    with pytest.raises(ValueError, match=r"must have a list as none\. Got \{\}\. Remove it\."):
        fields.objects("none")

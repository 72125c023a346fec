"""Sections of documents, tables, and the verdict over promises."""

from pathlib import Path

import pytest

from loadtest.documents import Promise, Section, verdict

KEPT, BROKEN = Promise("recovery", "≤ 2 s", "0.1 s", True), Promise("goodput", "≥ 90%", "12%", False)


def test_the_verdict_names_what_is_broken_and_has_a_row_for_each_promise() -> None:
    said, table = verdict([KEPT, BROKEN], "At 3 times its capacity", "a machine").split("\n\n")
    assert said == "At 3 times its capacity (open loop). Broken: goodput. a machine."
    assert table.splitlines()[2:] == ["| recovery | ≤ 2 s | 0.1 s | yes |", "| goodput | ≥ 90% | 12% | **no** |"]
    assert "Every promise is kept." in verdict([KEPT], "", "")


def test_a_document_keeps_what_is_around_its_section(tmp_path: Path) -> None:
    document = tmp_path / "d.md"
    document.write_text("before\n<!-- tune -->\nold\n<!-- /tune -->\nafter\n")
    Section(document, "tune").replace("new\n")
    assert document.read_text() == "before\n<!-- tune -->\nnew\n<!-- /tune -->\nafter\n"
    with pytest.raises(SystemExit, match="<!-- other -->"):
        Section(document, "other").replace("new")


def test_a_section_that_ends_before_it_begins_is_none(tmp_path: Path) -> None:
    document = tmp_path / "d.md"
    document.write_text("<!-- /tune -->\n<!-- tune -->\n")
    with pytest.raises(SystemExit, match="and then"):
        Section(document, "tune").check()

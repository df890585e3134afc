"""The recordings that the README shows are pictures that ask nobody for anything, and the recorder folds what repeats."""

import runpy
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RECORDER = runpy.run_path(str(ROOT / "docs/recordings/record.py"))


@pytest.mark.parametrize("name", [recording.name for recording in RECORDER["RECORDINGS"]])
def test_recording_is_a_picture_of_its_own(name):
    text = (ROOT / f"docs/recordings/{name}.svg").read_text(encoding="utf-8")
    ET.fromstring(text)
    assert f"make&#160;{name}" in text
    assert "prefers-reduced-motion" in text
    for foreign in ("<script", "@font-face", "url(http", "/home/", "/root/", "/tmp/mlops"):
        assert foreign not in text


def test_lines_that_repeat_are_folded_and_counted():
    lines = [(0.0, "begin"), *((float(number), "a window of rows") for number in range(1, 6)), (9.0, "end")]
    shown = [text for _, text in RECORDER["fold"](lines, "window of")]
    assert [shown[0], *shown[1:3], shown[-1]] == ["begin", "a window of rows", "a window of rows", "end"]
    assert "3 more of these" in shown[3]
    assert RECORDER["fold"](lines, "") == lines


def test_lines_appear_in_the_picture_in_their_time_but_for_long_pauses():
    recording = RECORDER["Recording"]("up", "make up", (), "", head=10, tail=10)
    picture = RECORDER["draw"](recording, [(0.2, "one"), (24.0, "\x1b[31mtwo\x1b[0m")])
    assert "[clip-path='url(#up-line-1)'] { animation-delay: 0.20s" in picture
    assert "[clip-path='url(#up-line-2)'] { animation-delay: 0.70s" in picture
    assert "24&#160;s&#160;in&#160;all" in picture

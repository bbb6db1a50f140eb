"""A strategy's lines are passed on, and not more of them than anybody reads."""

from atf.adapters.backtrader.said import LONGEST_LINE, SpokenStream, Voice


class _Listener:
    def __init__(self) -> None:
        self.now = 0.0
        self.heard: list[tuple[str, str]] = []
        self.voice = Voice(lambda level, text: self.heard.append((level, text)), lambda: self.now)


def test_a_hundred_lines_at_once_then_ten_a_second() -> None:
    listener = _Listener()
    for number in range(150):
        listener.voice.say("info", str(number))
    assert [text for _, text in listener.heard] == [str(number) for number in range(100)]
    listener.now = 0.5
    listener.voice.say("info", "again")
    assert listener.heard[100:] == [
        ("warning", "50 more lines were left out, as they came too fast"),
        ("info", "again"),
    ]
    for _ in range(10):
        listener.voice.say("info", "more")
    assert len(listener.heard) == 105


def test_what_was_left_out_is_told_even_if_nothing_follows() -> None:
    listener = _Listener()
    for number in range(101):
        listener.voice.say("info", str(number))
    listener.now = 1.0
    listener.voice.catch_up()
    listener.voice.catch_up()
    assert len(listener.heard) == 101


def test_lines_are_put_together_and_empty_ones_dropped() -> None:
    listener = _Listener()
    stream = SpokenStream("info", listener.voice)
    for piece in ("a", "b\n", "\n  \n", "c\nd", ""):
        stream.write(piece)
    stream.finish()
    stream.finish()
    assert [text for _, text in listener.heard] == ["ab", "c", "d"]


def test_a_line_is_storable_text_of_limited_length() -> None:
    listener = _Listener()
    listener.voice.say("info", "x\0\ud800y" + "z" * LONGEST_LINE)
    assert listener.heard[0][1].startswith("x?yz")
    assert len(listener.heard[0][1]) == LONGEST_LINE + 3


def test_a_line_without_an_end_does_not_grow_for_ever() -> None:
    listener = _Listener()
    stream = SpokenStream("info", listener.voice)
    for _ in range(100):
        stream.write("x" * LONGEST_LINE)
    stream.finish()
    assert len(listener.heard[0][1]) == LONGEST_LINE + 3


def test_each_line_of_a_text_counts() -> None:
    listener = _Listener()
    listener.voice.say("error", "Traceback\n  one\r  two")
    assert [text for _, text in listener.heard] == ["Traceback", "  one", "  two"]
    listener.voice.say("info", "x\r" * 10_000)
    assert len(listener.heard) == 100
    listener.now = 1.0
    listener.voice.catch_up()
    assert listener.heard[100:] == [("warning", "9903 more lines were left out, as they came too fast")]

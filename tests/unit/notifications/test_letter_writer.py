import logging
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.letters import BAR, BERLINER, NOON, OWNER, delivery, put
from tests.strict_markdown import read_markdown

import atf
from atf.notifications.channel import TextForm
from atf.notifications.letter_templates import packaged_templates
from atf.notifications.letter_writer import LetterWriter, Written
from atf.notifications.message import ACTION, Delivery, Priority
from atf.notifications.texts import texts_in

PLAIN, MARKDOWN, HTML = TextForm.PLAIN, TextForm.MARKDOWN_V2, TextForm.HTML
SOURCE = Path(atf.__file__).parent


@pytest.fixture(scope="module")
def writer() -> LetterWriter:
    return LetterWriter()


def test_an_alert_says_its_body_and_the_bar_on_the_readers_clock(writer: LetterWriter) -> None:
    written = writer.write([delivery()], OWNER, "inbox", PLAIN)
    assert written == Written("Alert breakout", "above 150\n\nAAPL 1h, bar of Mar 1, 2027, 11:00\u00a0AM")


def test_it_says_so_in_the_readers_language(writer: LetterWriter) -> None:
    late = delivery(payload={**BAR, "late": True})
    assert writer.write([late], BERLINER, "inbox", PLAIN).text == (
        "above 150\n\nAAPL 1h, Kerze vom 01.03.2027, 11:00\n"
        "Verspätet: Die Kerze war schon länger als zwei Zeiteinheiten abgeschlossen."
    )


def test_the_forms_say_the_same(writer: LetterWriter) -> None:
    written = writer.write([delivery("a_b > 1.5!")], OWNER, "telegram", MARKDOWN)
    assert written.formatted == "a\\_b \\> 1\\.5\\!\n\n_AAPL 1h, bar of Mar 1, 2027, 11:00\u00a0AM_"
    assert read_markdown(written.formatted).text == written.text
    mail = writer.write([delivery("a < b\nc")], OWNER, "email", HTML).formatted
    assert mail == "<p>a &lt; b<br>\nc</p>\n<p><em>AAPL 1h, bar of Mar 1, 2027, 11:00\u00a0AM</em></p>"


def test_an_alert_without_a_bar_in_its_payload_is_its_body(writer: LetterWriter) -> None:
    assert writer.write([delivery(payload={})], OWNER, "inbox", PLAIN).text == "above 150"


def test_a_type_that_nobody_knows_is_written_by_default(writer: LetterWriter) -> None:
    unknown = delivery("some *text*", kind="of_a_plug_in", payload={})
    assert writer.write([unknown], OWNER, "telegram", MARKDOWN) == Written(
        "Alert breakout", "some *text*", "some \\*text\\*"
    )


def test_a_channel_of_plain_text_gets_no_other(writer: LetterWriter) -> None:
    assert writer.write([delivery()], OWNER, "console", PLAIN).formatted is None


def types_in_source() -> set[str]:
    """Return the types that the source gives to messages, written out or by a constant."""
    texts = [path.read_text("utf-8") for path in SOURCE.rglob("*.py")]
    constant = re.compile(r'^(\w+): Final = "([a-z_]+)"$', re.MULTILINE)
    constants = dict(found for text in texts for found in constant.findall(text))
    named = {name for text in texts for name in re.findall(r'notification_type=("?\w+"?)', text)}
    return {constants.get(name, name.strip('"')) for name in named if name.startswith('"') or name in constants}


def test_every_type_in_the_source_has_its_templates() -> None:
    found = types_in_source()
    assert {"alert", "alert_rearmed", "alert_action_failed", "job_watch", "notification", ACTION} <= found
    wanted = {*found, "report", "screener", "digest", "default"} - {ACTION}  # which goes to no person
    assert not {f"{kind}/{form}" for kind in wanted for form in TextForm} - packaged_templates().keys()


class TestDigest:
    deliveries = (
        delivery("first\nof two lines"),
        delivery("second_one", title="Alert two!", kind="notification", created_at=NOON + timedelta(minutes=5)),
    )

    def test_it_has_each_message_with_time_title_and_text(self, writer: LetterWriter) -> None:
        written = writer.write(self.deliveries, BERLINER, "console", PLAIN)
        assert written.title == "2 Nachrichten"
        assert written.text == (
            "01.03.2027, 13:00 · Alert breakout\nfirst\nof two lines\n\nAAPL 1h, Kerze vom 01.03.2027, 11:00\n\n"
            "01.03.2027, 13:05 · Alert two!\nsecond_one"
        )

    def test_what_is_written_already_is_not_escaped_again(self, writer: LetterWriter) -> None:
        written = writer.write(self.deliveries, OWNER, "telegram", MARKDOWN)
        assert written.formatted is not None
        read = read_markdown(written.formatted)
        assert read.text == written.text
        assert ("bold", "Alert two!") in read.entities
        mail = writer.write(self.deliveries, OWNER, "email", HTML).formatted
        assert mail is not None
        assert "<h3>Alert two!</h3>" in mail
        assert "<p>first<br>\nof two lines</p>" in mail

    def test_a_template_of_the_users_writes_it(self, tmp_path: Path) -> None:
        put(
            tmp_path,
            "digest/plain",
            "{% for m in messages %}{{ loop.index }} {{ m.type }}/{{ m.priority }} {% endfor %}",
        )
        several = [delivery(priority=Priority.HIGH), delivery(kind="report", payload={})]
        assert LetterWriter(tmp_path).write(several, OWNER, "x", PLAIN).text == "1 alert/high 2 report/normal "

    def test_one_that_fails_loses_no_message(self, tmp_path: Path, writer: LetterWriter) -> None:
        put(tmp_path, "digest/markdown_v2", "{{ messages[99].text }}")
        assert LetterWriter(tmp_path).write(self.deliveries, OWNER, "telegram", MARKDOWN) == writer.write(
            self.deliveries, OWNER, "telegram", MARKDOWN
        )

    def test_a_digest_too_long_for_every_template_still_has_all(self, tmp_path: Path) -> None:
        put(tmp_path, "default/plain", "Dear reader {{ body }}")  # would write a digest of nothing
        writer = LetterWriter(tmp_path)
        long = [delivery(f"{number}" * 200_000, title=f"t_{number}", payload={}) for number in (1, 2)]
        written = writer.write(long, OWNER, "telegram", MARKDOWN)
        assert written.text == f"t_1\n{'1' * 200_000}\n\nt_2\n{'2' * 200_000}"
        assert (written.formatted or "").startswith("t\\_1\n1")


class TestFitting:
    def test_as_many_as_the_channel_takes_and_not_one_more(self, writer: LetterWriter) -> None:
        several = [delivery(f"number {number} is here!") for number in range(100)]
        count = writer.fitting(several, OWNER, "telegram", MARKDOWN, 4096)
        assert 1 < count < 100
        assert length(writer.write(several[:count], OWNER, "telegram", MARKDOWN)) <= 4096
        assert length(writer.write(several[: count + 1], OWNER, "telegram", MARKDOWN)) > 4096

    def test_all_if_all_fit(self, writer: LetterWriter) -> None:
        assert writer.fitting([delivery()] * 3, OWNER, "telegram", MARKDOWN, 4096) == 3

    def test_at_least_one_however_long(self, writer: LetterWriter) -> None:
        several = [delivery("x" * 10_000), delivery()]
        assert writer.fitting(several, OWNER, "telegram", MARKDOWN, 4096) == 1
        assert "x" * 10_000 in writer.write(several[:1], OWNER, "telegram", MARKDOWN).text

    def test_a_channel_that_merges_nothing_gets_one(self, writer: LetterWriter) -> None:
        assert writer.fitting([delivery(), delivery()], OWNER, "console", PLAIN, 0) == 1

    def test_what_counts_is_the_longer_text_as_telegram_counts(self, writer: LetterWriter) -> None:
        dots = [delivery("." * 1000, payload={})] * 4
        assert writer.fitting(dots, OWNER, "telegram", MARKDOWN, 4096) < writer.fitting(
            dots, OWNER, "sms", PLAIN, 4096
        )
        faces = [delivery("😀" * 1000, payload={})] * 4
        assert writer.fitting(faces, OWNER, "sms", PLAIN, 4096) == 2

    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(st.tuples(st.text(max_size=300), st.text(max_size=60)), min_size=1, max_size=12),
        st.integers(0, 3000),
    )
    def test_what_fits_is_never_longer(
        self, writer: LetterWriter, texts: list[tuple[str, str]], longest: int
    ) -> None:
        several = [delivery(body, title=title) for body, title in texts]
        for form in TextForm:
            count = writer.fitting(several, OWNER, "c", form, longest)
            assert 1 <= count <= len(several)
            assert count == 1 or length(writer.write(several[:count], OWNER, "c", form)) <= longest


def length(written: Written) -> int:
    texts = [written.text, written.formatted or ""]
    return max(len(f"{written.title}\n\n{text}".encode("utf-16-le")) // 2 for text in texts)


def failing() -> list[Delivery]:
    return [delivery("kept words")]


class TestFailure:
    @pytest.mark.parametrize(
        "source",
        [
            "{{ body",
            "{{ payload.missing }}",
            "{{ nothing }}",
            "{{ ''.__class__ }}",
            "{% for i in range(1000000) %}x{% endfor %}",
            "{% for i in range(90000) %}xxxxxxxx{% endfor %}",
            "{% include 'alert/plain.j2' %}{% include '../../etc/passwd' %}",
            "{{ body * 1000000 }}",
            "{{ 1 / 0 }}",
            "{{ payload.ticker | money }}",
            "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
            "  \n ",
        ],
    )
    def test_a_template_that_fails_loses_no_message(
        self, tmp_path: Path, source: str, writer: LetterWriter
    ) -> None:
        put(tmp_path, "alert/telegram", source)
        mine = LetterWriter(tmp_path)
        assert mine.write(failing(), OWNER, "telegram", MARKDOWN) == writer.write(
            failing(), OWNER, "telegram", MARKDOWN
        )

    def test_its_failure_is_logged_once(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        path = put(tmp_path, "alert/plain", "{{ body }}\n{{ payload.missing }}")
        mine = LetterWriter(tmp_path)
        with caplog.at_level(logging.WARNING):
            for _ in range(3):
                mine.write(failing(), OWNER, "telegram", MARKDOWN)
        assert [record.getMessage() for record in caplog.records] == [
            f"template {path} failed, the next one is used: line 2: 'dict object' has no attribute 'missing'"
        ]

    def test_a_file_that_cannot_be_read_is_logged_at_the_start(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        put(tmp_path, "alert/plain", "x" * 70_000)
        with caplog.at_level(logging.WARNING):
            assert LetterWriter(tmp_path).write(failing(), OWNER, "inbox", PLAIN).text.startswith("kept words")
        assert "is larger than 64 KiB" in caplog.text

    def test_a_message_longer_than_any_template_may_write_is_whole(self, writer: LetterWriter) -> None:
        body = "long. " * 60_000
        written = writer.write([delivery(body)], OWNER, "telegram", MARKDOWN)
        assert written.text == body
        assert read_markdown(written.formatted or "").text == body

    def test_no_folder_of_templates_is_no_trouble(self, tmp_path: Path, writer: LetterWriter) -> None:
        mine = LetterWriter(tmp_path / "not there")
        assert mine.write(failing(), OWNER, "x", PLAIN) == writer.write(failing(), OWNER, "x", PLAIN)

    def test_a_zone_or_language_that_is_not_known_falls_back(self, writer: LetterWriter) -> None:
        lost = replace(OWNER, language="tlh-../x", timezone="Mars/Olympus")
        assert writer.write([delivery()], lost, "x", PLAIN).text.endswith("bar of Mar 1, 2027, 10:00\u00a0AM")


@pytest.mark.parametrize("language", ["en", "de"])
def test_every_type_has_a_name(language: str) -> None:
    kinds = {*types_in_source(), *(file.notification_type for file in packaged_templates().values())}
    assert not [kind for kind in kinds if texts_in(language).type_name(kind) == kind]

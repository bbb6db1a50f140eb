import os
from pathlib import Path
from typing import Any

import pytest
from jinja2 import DictLoader
from tests.letters import BERLINER, NOON, OWNER, delivery, put

from atf.notifications.channel import TextForm
from atf.notifications.letter_environment import User, build_environment
from atf.notifications.letter_templates import (
    LONGEST_OUTPUT,
    TemplateBook,
    TemplateFailure,
    TemplateFile,
)
from atf.notifications.letter_writer import LetterWriter

PLAIN, MARKDOWN, HTML = TextForm.PLAIN, TextForm.MARKDOWN_V2, TextForm.HTML


def rendered(source: str, form: TextForm = PLAIN, **values: Any) -> str:
    context = {"user": User("de", "Europe/Berlin"), "body": "a_b", **values}
    return TemplateBook().render(TemplateFile("test/plain", source, Path("/t.j2")), form, context)


def reason(source: str, form: TextForm = PLAIN, **values: Any) -> str:
    with pytest.raises(TemplateFailure) as failed:
        rendered(source, form, **values)
    return str(failed.value)


class TestChoice:
    def test_the_nearest_template_is_taken(self, tmp_path: Path) -> None:
        for name in ("alert/telegram", "alert/markdown_v2", "default/markdown_v2", "default/telegram"):
            put(tmp_path, name, name.replace("/", " ").replace("_", " "))
        for expected in ("alert telegram", "alert markdown v2"):
            assert LetterWriter(tmp_path).write([delivery()], OWNER, "telegram", MARKDOWN).formatted == expected
            (tmp_path / f"{expected.replace(' ', '/', 1).replace(' ', '_')}.j2").unlink()
        packaged = LetterWriter(tmp_path).write([delivery()], OWNER, "telegram", MARKDOWN).formatted
        assert packaged is not None
        assert "bar of" in packaged
        unknown = delivery(kind="other")
        assert (
            LetterWriter(tmp_path).write([unknown], OWNER, "telegram", MARKDOWN).formatted == "default telegram"
        )
        (tmp_path / "default/telegram.j2").unlink()
        assert (
            LetterWriter(tmp_path).write([unknown], OWNER, "telegram", MARKDOWN).formatted
            == "default markdown v2"
        )

    def test_a_channels_template_is_in_the_channels_form_and_not_the_plain_text_beside_it(
        self, tmp_path: Path
    ) -> None:
        put(tmp_path, "alert/telegram", "*bold* {{ body }}")
        written = LetterWriter(tmp_path).write([delivery("a.b", payload={})], OWNER, "telegram", MARKDOWN)
        assert (written.text, written.formatted) == ("a.b", "*bold* a\\.b")

    def test_of_a_channel_of_plain_text_it_is_the_text(self, tmp_path: Path) -> None:
        put(tmp_path, "alert/sms", "SMS {{ body }}")
        assert LetterWriter(tmp_path).write([delivery("a.b")], OWNER, "sms", PLAIN).text == "SMS a.b"

    @pytest.mark.parametrize(
        "kind", ["../secret", "..", "alert/../secret", "/etc", "", "secret\0", "a/b", "A" * 9999]
    )
    def test_a_type_leads_to_no_other_file(self, tmp_path: Path, kind: str) -> None:
        put(tmp_path, "secret/plain", "secret")
        put(tmp_path, "templates/alert/plain", "mine")
        written = LetterWriter(tmp_path / "templates").write([delivery("words", kind=kind)], OWNER, "x", PLAIN)
        assert written.text == "words"

    @pytest.mark.parametrize("channel", ["../../secret/plain", "plain/../../secret", ""])
    def test_nor_does_a_channel(self, tmp_path: Path, channel: str) -> None:
        put(tmp_path, "secret/plain", "secret")
        (tmp_path / "templates").mkdir()
        written = LetterWriter(tmp_path / "templates").write([delivery("a", payload={})], OWNER, channel, PLAIN)
        assert written.text == "a"

    def test_a_link_out_of_the_folder_is_not_followed(self, tmp_path: Path) -> None:
        outside = put(tmp_path, "outside/plain", "outside")
        folder = tmp_path / "templates"
        (folder / "alert").mkdir(parents=True)
        (folder / "alert/plain.j2").symlink_to(outside)
        (folder / "report").symlink_to(outside.parent)
        book = TemplateBook(folder)
        assert [file for file in book.files if file.path] == []
        assert len(book.problems) == 2

    def test_what_is_no_template_is_a_problem_and_hidden_files_are_none(self, tmp_path: Path) -> None:
        for name in (
            "alert/plain.txt",
            "plain.j2",
            "a/b/plain.j2",
            "Alert/plain.j2",
            ".git/config",
            "alert/.plain.j2.swp",
        ):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("x", "utf-8")
        (tmp_path / "report").mkdir()
        (tmp_path / "report/plain.j2").write_bytes(b"\xff\xfe")
        os.mkfifo(tmp_path / "report/html.j2")
        problems = {str(one.path.relative_to(tmp_path)): one.reason for one in TemplateBook(tmp_path).problems}
        unread = "is not read: templates are TYPE/CHANNEL.j2 or TYPE/FORM.j2, in small letters"
        assert problems == {
            **dict.fromkeys(("alert/plain.txt", "plain.j2", "a/b/plain.j2", "Alert/plain.j2"), unread),
            "report/plain.j2": "is no text in UTF-8",
            "report/html.j2": f"{tmp_path}/report/html.j2 is no ordinary file",
        }


class TestSandbox:
    @pytest.mark.parametrize(
        "source",
        [
            "{{ ''.__class__ }}",
            "{{ ''['__class__'] }}",
            "{{ ''.__class__.__mro__[1].__subclasses__() }}",
            "{{ payload.__init__.__globals__ }}",
            "{{ words.__call__.__globals__ }}",
            "{{ words.__class__ }}",
            "{{ range.__self__ }}",
            "{{ [1] | map(attribute='__class__') | first }}",
            "{{ body.format(1) }}",
            "{{ '{0.__class__}'.format(body) }}",
            "{{ '{0.__class__}'.format_map({'0': 1}) }}",
            "{{ body.join(['a']) }}",
            "{{ 'x'.ljust(1000000000) }}",
            "{{ 'x'.zfill(1000000000) }}",
            "{{ 'x' * 1000000000 }}",
            "{{ 1000000000 * [1] }}",
            "{{ '%1000000000d' % 1 }}",
            "{{ 9 ** 999999999 }}",
            "{{ (1).to_bytes(1000000000) }}",
            "{{ payload.update({'a': 1}) }}",
            "{{ payload.clear() }}",
            "{{ payload.setdefault('a', 1) }}",
            "{% do payload.clear() %}",
            "{{ range(10000000) | list }}",
            "{{ body | center(1000000000) }}",
            "{{ '%1000000000d' | format(1) }}",
            "{{ body | attr('__class__') }}",
            "{{ 1.5 | round(1000000000) }}",
            "{{ [1] | batch(1000000000, 0) | list }}",
            "{{ lipsum(1000) }}",
            "{{ cycler('a') }}",
            "{{ joiner() }}",
            "{{ self._TemplateReference__context }}",
            "{{ created_at.strftime('%999999d') }}",
            "{% import 'os' as os %}{{ os }}",
            "{% extends '/etc/passwd' %}",
        ],
    )
    def test_what_leads_out_or_fills_the_memory_is_refused(self, source: str) -> None:
        from atf.notifications.texts import texts_in

        assert reason(source, payload={"ticker": "AAPL"}, words=texts_in("en"), created_at=NOON)

    def test_what_templates_need_is_there(self) -> None:
        source = (
            "{% for name, value in payload.items() %}{{ loop.index }}{{ name | upper }}={{ value }} {% endfor %}"
            "{{ body.startswith('a') }} {{ body.split('_') | join('+') }} {{ 3 * 4 }} {{ 7 % 4 }} "
            "{{ created_at.year }}"
        )
        assert rendered(source, payload={"x": 1, "y": None}, created_at=NOON) == "1X=1 2Y= True a+b 12 3 2027"

    def test_products_do_not_grow_without_end(self) -> None:
        squared = "{% set n = n * n %}" * 40
        assert "too large" in reason(f"{{% set n = 3 %}}{squared}{{{{ n }}}}")

    def test_an_output_beyond_the_limit_is_none(self) -> None:
        assert f"more than {LONGEST_OUTPUT:,}" in reason("{% for i in range(99999) %}{{ body }}{% endfor %}")

    def test_an_error_names_its_line(self) -> None:
        assert reason("one\n\n{{ body.nope }}").startswith("line 3: ")
        assert reason("one\n{% if %}").startswith("line 2: ")

    def test_undefined_words_are_errors_and_can_be_asked_for(self) -> None:
        assert "'nothing' is undefined" in reason("{{ nothing }}")
        assert rendered("{{ nothing | default('x') }}{% if nothing is defined %}y{% endif %}") == "x"


class TestFilters:
    def test_numbers_and_times_are_the_readers(self) -> None:
        numbers = "{{ p | money('EUR') }} {{ p | number }} {{ 0.02 | percent }}"
        assert rendered(numbers, p="1234.5") == "1.234,50\u00a0€ 1.234,5 2\u00a0%"
        times = "{{ at | local_time }}, {{ 90 | duration }}"
        assert rendered(times, at=NOON) == "01.03.2027, 13:00, 1 Min. 30 Sek."
        assert rendered("{{ at | local_time(format='date') }}", at=NOON) == "01.03.2027"

    def test_marks_are_named_alike_in_all_forms(self) -> None:
        source = "{{ t | bold }} {{ t | italic }} {{ t | code }} {{ t | link('https://x.y/(a)') }}"
        found = {form: rendered(source, form, t="a.`b`") for form in TextForm}
        assert found == {
            PLAIN: "a.`b` a.`b` a.`b` a.`b` (https://x.y/(a))",
            MARKDOWN: "*a\\.\\`b\\`* _a\\.\\`b\\`_ `a.\\`b\\`` [a\\.\\`b\\`](https://x.y/(a\\))",
            HTML: '<strong>a.`b`</strong> <em>a.`b`</em> <code>a.`b`</code> <a href="https://x.y/(a)">a.`b`</a>',
        }

    def test_marks_of_nothing_are_nothing(self) -> None:
        source = "x{{ '' | bold }}{{ '' | code }}{{ '' | link('https://x.y') }}"
        assert rendered(source, MARKDOWN) == "x"

    @pytest.mark.parametrize(
        "url", ["javascript:alert(1)", "data:text/html,x", "https://x y", "https://x\ny", "//x"]
    )
    def test_only_addresses_of_the_web_are_links(self, url: str) -> None:
        assert [rendered("{{ 'a' | link(u) }}", form, u=url) for form in TextForm] == ["a", "a", "a"]

    def test_marks_nest(self) -> None:
        assert rendered("{{ 'a.' | bold | italic }}", MARKDOWN) == "_*a\\.*_"
        assert rendered("{{ 'a<' | bold | italic }}", HTML) == "<em><strong>a&lt;</strong></em>"

    def test_only_what_a_template_calls_safe_is_not_escaped(self) -> None:
        source = "{% macro twice(x) %}*{{ x }}*{% endmacro %}{{ twice('a.') | safe }} {{ twice('b') }}"
        assert rendered(source, MARKDOWN) == "*a\\.* \\*b\\*"

    def test_a_value_that_is_no_number_fails_the_template(self) -> None:
        assert "'n/a' is no number" in reason("{{ 'n/a' | money }}")


def test_templates_include_those_of_the_package(tmp_path: Path) -> None:
    put(tmp_path, "alert/plain", "My {% include 'alert/plain.j2' %}")
    assert LetterWriter(tmp_path).write([delivery("a", payload={})], OWNER, "x", PLAIN).text == "My a"


def test_the_body_is_not_touched(tmp_path: Path) -> None:
    put(tmp_path, "alert/plain", "{{ title }}|{{ body }}|{{ type }}|{{ priority }}|{{ user.language }}")
    hostile = delivery("{{ 7 * 7 }} {ticker} {% raw %}", title="{{ title }}")
    written = LetterWriter(tmp_path).write([hostile], BERLINER, "x", PLAIN)
    assert written.text == "{{ title }}|{{ 7 * 7 }} {ticker} {% raw %}|alert|normal|de"


def test_each_form_has_the_same_filters() -> None:
    names = [set(build_environment(form, DictLoader({})).filters) for form in TextForm]
    assert names[0] == names[1] == names[2]

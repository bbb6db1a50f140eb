import json
from pathlib import Path

import pytest
from tests.letters import put
from typer.testing import CliRunner, Result

from atf.cli.notifications import app
from atf.errors import InvalidInput
from atf.notifications.letter_samples import given_sample, packaged_sample, sample_types
from atf.notifications.letter_templates import packaged_templates
from atf.notifications.template_check import check_templates


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ATF_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "templates"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["templates", *arguments])


class TestPreview:
    def test_it_is_in_the_channels_form_and_the_readers_language(self, home: Path) -> None:
        done = run("preview", "alert", "--channel", "telegram", "--language", "de", "--timezone", "Europe/Berlin")
        assert done.stdout == (
            "Alert breakout\n\nAAPL closed at 151\\.20 \\(above 150\\)\\!\n\n"
            "_AAPL 1h, Kerze vom 01\\.03\\.2027, 15:00_\n"
        )

    @pytest.mark.parametrize("kind", sample_types())
    @pytest.mark.parametrize("form", ["plain", "markdown_v2", "html"])
    def test_each_type_has_a_sample_that_its_templates_write(self, home: Path, kind: str, form: str) -> None:
        done = run("preview", kind, "--form", form)
        assert (done.exit_code, done.stderr) == (0, "")
        assert len(done.stdout.splitlines()) >= 3

    def test_a_sample_of_ones_own_is_written(self, home: Path, tmp_path: Path) -> None:
        sample = tmp_path / "s.json"
        sample.write_text(json.dumps({"title": "T", "body": "a.b", "payload": {}}))
        done = run("preview", "alert", "--channel", "telegram", "--sample", str(sample), "--json")
        assert json.loads(done.stdout) == {
            "form": "markdown_v2",
            "title": "T",
            "text": "a.b",
            "formatted": "a\\.b",
        }

    def test_a_template_of_ones_own_that_fails_is_told_and_the_message_still_written(self, home: Path) -> None:
        path = put(home, "alert/inbox", "{{ payload.nope }}")
        done = run("preview", "alert")
        assert done.stdout.startswith("Alert breakout\n\nAAPL closed")
        assert done.stderr == (
            f"{path}: line 1: 'dict object' has no attribute 'nope'; the next template is used\n"
        )

    @pytest.mark.parametrize(
        ("arguments", "reason"),
        [
            (["../../etc/passwd"], "TYPE: '../../etc/passwd' is no name"),
            (["alert", "--channel", "../x"], "--channel: '../x' is no name"),
            (["alert", "--language", "fr"], "language: must be one of de, en"),
            (["alert", "--timezone", "Mars/Olympus"], "timezone: unknown time zone"),
            (["of_a_plug_in"], 'type: there is no sample of "of_a_plug_in"'),
            (["alert", "--sample", "not_there.json"], "--sample: cannot read not_there.json"),
        ],
    )
    def test_what_is_wrong_is_named(self, home: Path, arguments: list[str], reason: str) -> None:
        done = run("preview", *arguments)
        assert isinstance(done.exception, InvalidInput)
        assert reason in str(done.exception)


class TestCheck:
    def test_no_template_is_no_problem(self, home: Path) -> None:
        done = run("check")
        assert (done.exit_code, done.stdout) == (0, f"no problem in {home}\n")

    def test_each_problem_is_told_with_file_and_line(self, home: Path) -> None:
        put(home, "alert/telegram", "*{{ title }}*\n{{ body }}")
        put(home, "alert/html", "<p>\n{{ payload.readings.nope }}")
        put(home, "report/plain", "a\nb\n{% if %}")
        put(home, "of_a_plug_in/plain", "{{ payload.unknown_here }}")
        put(home, "of_a_plug_in/email", "{{ }}")
        put(home, "digest/plain", "{{ messages[0].__class__ }}")
        put(home, "default/plain.txt", "x")
        done = run("check")
        assert done.exit_code == 1
        assert done.stdout.splitlines() == [
            f"{home}/alert/html.j2:2: 'dict object' has no attribute 'nope'",
            f"{home}/default/plain.txt.j2: is not read: templates are TYPE/CHANNEL.j2 or TYPE/FORM.j2, "
            "in small letters",
            f"{home}/digest/plain.j2:1: access to attribute '__class__' of 'DigestEntry' object is unsafe.",
            f"{home}/of_a_plug_in/email.j2:1: Expected an expression, got 'end of print statement'",
            f"{home}/report/plain.j2:3: Expected an expression, got 'end of statement block'",
        ]
        told = json.loads(run("check", "--json").stdout)
        assert told["folder"] == str(home)
        assert told["problems"][0] == {
            "file": f"{home}/alert/html.j2",
            "line": 2,
            "reason": "'dict object' has no attribute 'nope'",
        }

    def test_every_language_is_tried(self, tmp_path: Path) -> None:
        put(tmp_path, "alert/plain", "{% if user.language == 'de' %}\n{{ nothing }}{% endif %}x")
        assert [(one.line, one.reason) for one in check_templates(tmp_path)] == [(2, "'nothing' is undefined")]

    def test_the_packages_own_templates_have_none(self, tmp_path: Path) -> None:
        for file in packaged_templates().values():
            put(tmp_path, file.name, file.source)
        assert check_templates(tmp_path) == []


def test_the_list_tells_whose_each_template_is(home: Path) -> None:
    path = put(home, "alert/telegram", "{{ body }}")
    listed = json.loads(run("list", "--json").stdout)
    assert {"type": "alert", "name": "Alert", "for": "telegram", "file": str(path)} in listed
    assert {"type": "alert", "name": "Alert", "for": "plain", "file": None} in listed
    assert "telegram" in run("list").stdout


def test_every_packaged_type_has_a_sample() -> None:
    assert {file.notification_type for file in packaged_templates().values()} == set(sample_types())
    assert len(packaged_sample("digest")) == 3


@pytest.mark.parametrize(
    ("kind", "document", "reason"),
    [
        ("alert", [], "sample: must be a JSON object"),
        ("alert", {"title": 5}, "title: must be a text"),
        ("alert", {"payload": []}, "payload: must be a JSON object"),
        ("alert", {"priority": "low"}, "priority: must be one of normal, high, urgent"),
        ("alert", {"created_at": "2027-03-01T12:00:00"}, "created_at: must be an instant"),
        ("alert", {"created_at": 5}, "created_at: must be an instant"),
        ("alert", {"text": "x"}, "text: must have no fields but"),
        ("digest", {}, "messages: must be a list"),
        ("digest", {"messages": [{"type": "../x"}, {}]}, "type: "),
    ],
)
def test_a_sample_that_is_none_is_refused_by_its_field(kind: str, document: object, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        given_sample(kind, document)


def test_a_digest_of_ones_own_has_messages_with_types() -> None:
    found = given_sample("digest", {"messages": [{"type": "alert", "title": "A"}, {"body": "b"}]})
    assert [(one.notification_type, one.title, one.body) for one in found] == [
        ("alert", "A", ""),
        ("default", "", "b"),
    ]

"""The man pages, the configuration reference and the examples stay true."""

import re
import tomllib
from pathlib import Path

import pytest
from support.pki import Authority

from cpctl import config
from cpctl.api.methods import Methods
from cpctl.cli.completion import words_of
from cpctl.cli.main import build
from cpctl.core.settings import TABLE
from cpctl.dialects.v16.keys import KEYS
from hal import registry

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "deploy").glob("*.toml"))
REFERENCES = [ROOT / "docs" / "cpctl.toml.5", ROOT / "docs" / "configuration.md"]
ROFF_FONTS = re.compile(r"\\f[BIR]")

#: Every section the configuration has, so that every key is asked for.
EVERYTHING = """
schema_version = 1
[csms]
reconnect = {}
[serial.a]
[[reader]]
id = "r"
[[evse]]
id = 1
connectors = [{ id = 1 }]
"""


def text_of(path: Path) -> str:
    """The words of a page, without the marks of roff."""
    return ROFF_FONTS.sub("", path.read_text()).replace("\\-", "-").replace("\\e", "\\")


def has_word(word: str, text: str) -> bool:
    return re.search(rf"(?<![\w.-]){re.escape(word)}(?![\w-])", text) is not None


def test_manual_names_every_command_and_option() -> None:
    page = text_of(ROOT / "docs" / "cpctl.1")

    for path, words in words_of(build(None)).items():
        if path:
            assert f"cpctl {path}" in page, path
        assert [word for word in words if word != "--help" and not has_word(word, page)] == [], path


def test_manual_shows_each_option_with_its_command() -> None:
    page = text_of(ROOT / "docs" / "cpctl.1")
    common = {"--help", "--json", "--socket", "--timeout"}

    for path, words in words_of(build(None)).items():
        lines = re.findall(rf"(?m)^\.(?:B|SS) (cpctl {re.escape(path)}(?: .*|$))", page)
        options = {word for word in words if word.startswith("--")} - common
        assert not path or [word for word in options if not has_word(word, str(lines))] == [], path


def test_api_reference_names_every_method_and_no_other() -> None:
    named = re.findall(r"`((?:[a-z]+\.)?[a-z_]+)`", "".join(
        line.split("|")[1] for line in (ROOT / "docs" / "api.md").read_text().splitlines()
        if line.startswith("| `")))

    assert sorted(named) == sorted(Methods(None).names)  # type: ignore[arg-type]


def keys_of_the_configuration() -> list[str]:
    sections = config.known_keys(EVERYTHING)
    return [key for section, keys in sections.items() if section != "serial" for key in keys]


@pytest.mark.parametrize("path", REFERENCES, ids=lambda path: path.name)
def test_reference_names_every_key_of_the_configuration(path: Path) -> None:
    text = text_of(path)
    keys = keys_of_the_configuration()

    assert len(keys) > 60
    assert [key for key in keys if not has_word(key, text)] == []


@pytest.mark.parametrize("path", REFERENCES, ids=lambda path: path.name)
def test_reference_names_every_driver_and_its_options(path: Path) -> None:
    text = text_of(path)

    for kind in registry.KINDS:
        for driver in registry.names(kind):
            words = [driver, *(option.name for option in registry.options_of(kind, driver))]
            assert [word for word in words if not has_word(word, text)] == [], (kind, driver)


@pytest.mark.parametrize("path", REFERENCES, ids=lambda path: path.name)
def test_reference_names_every_option_and_configuration_key(path: Path) -> None:
    text = text_of(path)
    keys = [key.name for key in KEYS.values() if key.setting is not None]
    with_key = {key.setting for key in KEYS.values()}
    options = [name for name in TABLE if name not in with_key and not name.startswith("link.wait")]

    assert [word for word in [*options, *keys] if not has_word(word, text)] == []
    choices = {choice for name in options for choice in TABLE[name].choices}
    assert [choice for choice in choices if not has_word(choice, text)] == []


def uncommented(path: Path) -> str:
    """The example with all it offers behind "# " taken in."""
    return re.sub(r"(?m)^# (?=\[|[\w.]+ = )", "", path.read_text())


def give_files(folder: Path) -> None:
    """What examples and texts name, beside them."""
    root = Authority("Root")
    for name in ("ca.pem", "csms-root.pem", "maker-root.pem"):
        (folder / name).write_text(root.pem)
    root.client("CP001").write(folder, "station")
    (folder / "csms-password").write_text("a password")
    (folder / "csms-password").chmod(0o600)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
@pytest.mark.parametrize("read", [Path.read_text, uncommented], ids=["as it stands", "all taken"])
def test_example_is_good_and_speaks_what_is_spoken(path: Path, read: object,
                                                   tmp_path: Path) -> None:
    assert callable(read)
    copy = tmp_path / path.name
    copy.write_text(read(path))
    give_files(tmp_path)

    found = config.load(copy)

    assert found.csms.versions == ("1.6",)
    assert found.notes == ()


TOML_IN_TEXT = [(path, block)
                for path in (ROOT / "README.md", *(ROOT / "docs" / f"{name}.md" for name in (
                    "configuration", "readers", "bench")))
                for block in re.findall(r"```toml\n(.*?)```", path.read_text(), re.S)]


@pytest.mark.parametrize(("path", "block"), TOML_IN_TEXT,
                         ids=lambda one: one.name if isinstance(one, Path) else "")
def test_configuration_in_a_text_is_good(path: Path, block: str, tmp_path: Path) -> None:
    tables = tomllib.loads(block)
    rest = "" if "station" in tables else EVERYTHING_AROUND
    give_files(tmp_path)
    (tmp_path / "cpctl.toml").write_text(rest + block)

    config.load(tmp_path / "cpctl.toml")


EVERYTHING_AROUND = """\
schema_version = 1
[station]
identity = "CP001"
vendor = "Example"
model = "PiPost 2"
[csms]
url = "ws://127.0.0.1:9000/ocpp"
[serial.rs485-1]
port = "/dev/ttyUSB0"
"""

"""[certificates]: roots of the first start, as lists of files beside the configuration."""

from pathlib import Path

import pytest

from cpctl import config
from cpctl.app_certificates import configured
from cpctl.config_text import ConfigError

BASE = """\
schema_version = 1
[station]
identity = "CP001"
vendor = "Example"
model = "PiPost 2"
[[evse]]
id = 1
[csms]
url = "wss://csms.example/ocpp"
"""


def loaded(folder: Path, more: str) -> config.Config:
    path = folder / "cpctl.toml"
    path.write_text(BASE + more)
    return config.load([path])


def test_roots_are_files_beside_the_configuration(tmp_path: Path) -> None:
    for name in ("ca.pem", "one.pem", "two.pem", "maker.pem"):
        (tmp_path / name).write_text("PEM")

    found = loaded(tmp_path, """
ca_file = "ca.pem"
[certificates]
csms_root = ["one.pem", "two.pem"]
manufacturer_root = ["maker.pem"]
""")

    assert found.certificates.csms_root == (tmp_path / "one.pem", tmp_path / "two.pem")
    named = configured(found)
    assert [one.name for one in named.csms_root] == ["ca.pem", "one.pem", "two.pem"]
    assert [one.name for one in named.manufacturer_root] == ["maker.pem"]
    assert named.client is None


def test_without_the_section_nothing_is_named(tmp_path: Path) -> None:
    assert configured(loaded(tmp_path, "")).roots() == ()


def test_certificate_and_key_come_together(tmp_path: Path) -> None:
    for name in ("own.pem", "own.key"):
        (tmp_path / name).write_text("PEM")

    named = configured(loaded(tmp_path, 'client_cert_file = "own.pem"\n'
                                        'client_key_file = "own.key"\n'))

    assert named.client == (tmp_path / "own.pem", tmp_path / "own.key")


@pytest.mark.parametrize(("lines", "line", "words"), [
    ('csms_root = ["gone.pem"]', 11, ["csms_root", "gone.pem", "cannot be read"]),
    ('manufacturer_root = "maker.pem"', 11, ["manufacturer_root", "list of texts"]),
    ('csms_roots = []', 11, ["csms_roots", "unknown key"]),
    ('v2g_root = []', 11, ["v2g_root", "unknown key"]),
])
def test_a_mistake_is_told_with_its_line(
        tmp_path: Path, lines: str, line: int, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, f"[certificates]\n{lines}\n")

    (problem,) = caught.value.problems
    assert problem.where.line == line
    assert all(word in str(problem) for word in words), str(problem)

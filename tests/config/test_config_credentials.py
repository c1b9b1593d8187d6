"""Secrets come from credentials/, handed over by systemd or not, else from beside the file."""

from pathlib import Path

import pytest

from cpctl.cli.main import main
from cpctl.config import ConfigError, load

TEXT = """\
schema_version = 1
[station]
identity = "CP001"
vendor = "Example"
model = "Post"
[csms]
url = "wss://csms.invalid/ocpp"
security_profile = {profile}
{more}
[[evse]]
id = 1
"""
PASSWORD = 'password_file = "csms-password"'
KEY = 'client_cert_file = "client.pem"\nclient_key_file = "client.key"'


@pytest.fixture(autouse=True)
def off_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "cpctl.toml"
    path.write_text(TEXT.format(profile=2, more=PASSWORD))
    return path


def secret(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text + "\n")
    path.chmod(0o600)


def test_password_beside_the_file_is_found_as_ever(file: Path) -> None:
    secret(file.with_name("csms-password"), "beside")

    assert load(file).csms.password == "beside"


def hint(file: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load(file)
    (problem,) = caught.value.problems
    return problem.hint


def test_password_that_is_missing_is_asked_for_where_systemd_takes_it_from(file: Path) -> None:
    without_folder = hint(file)
    (file.parent / "credentials").mkdir()

    assert "credentials" not in without_folder
    assert f"create {file.parent}/credentials/csms-password" in hint(file)


def test_folder_that_may_not_be_looked_into_sends_for_root(
        file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (file.parent / "credentials").mkdir()
    monkeypatch.setattr("os.access", lambda *_: False)

    assert "run this as root" in hint(file)


def test_folder_of_credentials_comes_before_what_lies_beside(file: Path) -> None:
    secret(file.with_name("csms-password"), "beside")
    secret(file.parent / "credentials" / "csms-password", "credential")

    assert load(file).csms.password == "credential"


def test_what_systemd_hands_over_comes_first(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret(file.with_name("csms-password"), "beside")
    handed = file.parent / "handed"
    secret(handed / "cpctl_csms-password", "handed over")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(handed))

    assert load(file).csms.password == "handed over"


def test_what_systemd_does_not_hand_over_is_looked_for_as_without_it(
        file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret(file.with_name("csms-password"), "beside")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(file.parent / "empty"))

    assert load(file).csms.password == "beside"


def test_file_in_conf_d_names_the_same_credentials(file: Path) -> None:
    file.write_text(TEXT.format(profile=2, more=PASSWORD.replace("csms-password", "old")))
    secret(file.parent / "credentials" / "csms-password", "credential")
    more = file.parent / "conf.d" / "10-csms.toml"
    more.parent.mkdir()
    more.write_text(f"[csms]\n{PASSWORD}\n")

    assert load(file).csms.password == "credential"


def test_check_and_service_find_the_same_key(file: Path, monkeypatch: pytest.MonkeyPatch,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(TEXT.format(profile=3, more=KEY))
    for name in ("client.pem", "client.key"):
        secret(file.parent / "credentials" / name, "pem")
    handed = file.parent / "handed"
    for name in ("client.pem", "client.key"):
        secret(handed / f"cpctl_{name}", "pem")

    assert main(["config", "check", str(file)]) == 0
    assert load(file).csms.client_key_file == file.parent / "credentials" / "client.key"

    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(handed))
    assert load(file).csms.client_key_file == handed / "cpctl_client.key"
    capsys.readouterr()


def test_path_with_a_folder_is_what_it_says(file: Path) -> None:
    file.write_text(TEXT.format(profile=2, more='password_file = "keys/csms-password"'))
    secret(file.parent / "credentials" / "csms-password", "credential")
    secret(file.parent / "keys" / "csms-password", "by path")

    assert load(file).csms.password == "by path"


def test_missing_secret_says_that_credentials_are_handed_over_at_the_start(
        file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError) as without:
        load(file)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(file.parent))
    with pytest.raises(ConfigError) as within:
        load(file)

    assert "restart" not in str(without.value)
    assert "systemctl restart cpctl" in str(within.value)

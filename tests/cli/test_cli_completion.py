"""Completion knows every command, verb and option, because it is made from the parser."""

import shutil
import subprocess
import sys

import pytest

from cpctl.cli.completion import words_of
from cpctl.cli.main import COMMANDS, build, main


def script(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["completion", shell]) == 0
    return capsys.readouterr().out


def completed(script: str, *words: str) -> set[str]:
    """What bash offers for the last of `words`."""
    line = " ".join(f"'{word}'" for word in words)
    done = subprocess.run(
        ["bash", "-c", f'{script}\nCOMP_WORDS=({line}); COMP_CWORD={len(words) - 1}\n'
                       'COMPREPLY=(); _cpctl; echo "${COMPREPLY[@]}"'],
        capture_output=True, text=True, timeout=30, check=True)
    assert done.stderr == ""
    return set(done.stdout.split())


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_bash_completes_commands_verbs_options_and_choices(
        capsys: pytest.CaptureFixture[str]) -> None:
    text = script("bash", capsys)

    assert set(COMMANDS) < completed(text, "cpctl", "")
    assert completed(text, "cpctl", "se") == {"sessions", "settings"}
    assert completed(text, "cpctl", "evse", "st") == {"start", "stop"}
    assert completed(text, "cpctl", "--json", "evse", "s") == {"show", "start", "stop"}
    assert completed(text, "cpctl", "evse", "availability", "1", "ino") == {"inoperative"}
    assert "--wait" in completed(text, "cpctl", "evse", "start", "1", "--")
    assert completed(text, "cpctl", "completion", "z") == {"zsh"}
    assert completed(text, "cpctl", "nothing", "x") == set()


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_the_same_words(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = script(shell, capsys)

    for path, words in words_of(build(None)).items():
        assert all(word.lstrip("-") in text for word in [*path.split(), *words])
    if shutil.which(shell):
        subprocess.run([shell, "-n", "/dev/stdin"], input=text, text=True, timeout=30, check=True)


def test_every_command_tells_its_help() -> None:
    for path in words_of(build(None)):
        done = main_help(path.split())
        assert done.startswith("usage: cpctl")


def main_help(words: list[str]) -> str:
    import contextlib
    import io

    told = io.StringIO()
    with contextlib.redirect_stdout(told), pytest.raises(SystemExit) as end:
        main([*words, "--help"])
    assert end.value.code == 0, words
    assert sys.stdout is not told
    return told.getvalue()

"""`cpctl completion bash | zsh | fish`: a script made from the parser, so that it stays true."""

from __future__ import annotations

import argparse
from argparse import ArgumentParser, Namespace

from cpctl.cli.main import DONE, build, common
from cpctl.cli.show import Screen

Words = dict[str, list[str]]  # "evse start" -> what may follow


def add(name: str, parser: ArgumentParser) -> None:
    common(parser, top=False)
    parser.add_argument("shell", choices=("bash", "zsh", "fish"))
    parser.set_defaults(run=completion)


def completion(args: Namespace, screen: Screen) -> int:
    words = words_of(build(None))
    screen.line({"bash": _bash, "zsh": _zsh, "fish": _fish}[args.shell](words))
    return DONE


def words_of(parser: ArgumentParser, path: str = "") -> Words:
    """For each command path the words that may follow: verbs, options, choices."""
    found: list[str] = []
    deeper: Words = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, sub in action.choices.items():
                found.append(name)
                deeper.update(words_of(sub, f"{path} {name}".strip()))
            continue
        found.extend(option for option in action.option_strings if option.startswith("--"))
        if action.choices and not action.option_strings:
            found.extend(str(choice) for choice in action.choices)
    return {path: found, **deeper}


def _bash(words: Words) -> str:
    cases = "\n".join(f'        "{path}") words="{" ".join(one)}" ;;'
                      for path, one in words.items())
    return f"""# cpctl completion for bash: eval "$(cpctl completion bash)"
_cpctl() {{
    local path="" words="" word
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case "$word" in -*|[0-9]*) continue ;; esac
        case " $(_cpctl_words "$path") " in
            *" $word "*) path="${{path:+$path }}$word" ;;
        esac
    done
    COMPREPLY=($(compgen -W "$(_cpctl_words "$path")" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
_cpctl_words() {{
    local words=""
    case "$1" in
{cases}
    esac
    printf '%s' "$words"
}}
complete -o default -F _cpctl cpctl"""


def _zsh(words: Words) -> str:
    return "autoload -U +X bashcompinit && bashcompinit\n" + _bash(words)


def _fish(words: Words) -> str:
    lines = ["# cpctl completion for fish: cpctl completion fish | source",
             "complete -c cpctl -f"]
    for path, one in words.items():
        seen = [f"__fish_seen_subcommand_from {word}" for word in path.split()]
        if not path:
            seen = ["__fish_use_subcommand"]
        condition = "; and ".join(seen)
        for word in one:
            what = f"-l {word[2:]}" if word.startswith("--") else f"-a {word}"
            lines.append(f"complete -c cpctl -n '{condition}' {what}")
    return "\n".join(lines)

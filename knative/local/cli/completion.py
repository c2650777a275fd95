"""`completion`: what a shell needs to complete commands and their options."""

from __future__ import annotations

import argparse

from knative.local.cli.parser import commands
from knative.local.cli.terminal import say

_SCRIPT = """_knative_local() {{
  local words
  case "${{COMP_WORDS[1]}}" in
{cases}
  esac
  (( COMP_CWORD == 1 )) && words="{commands}"
  COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o default -F _knative_local knative-local"""


def completion(arguments: argparse.Namespace) -> int:
    """Print the script; zsh reads bash's through its own emulation."""
    there = {name: " ".join(_choices(parser)) for name, parser in commands().items()}
    cases = "\n".join(f'    {name}) words="{choices}";;' for name, choices in there.items())
    if arguments.shell == "zsh":
        say("autoload -U +X compinit bashcompinit && compinit && bashcompinit")
    say(_SCRIPT.format(cases=cases, commands=" ".join(there)))
    return 0


def _choices(parser: argparse.ArgumentParser) -> list[str]:
    return [
        word
        for action in parser._actions
        if action.help != argparse.SUPPRESS
        for word in (action.option_strings or action.choices or ())
    ]

"""The command `rsrefseg2`: one module a sub-command, listed in `commands.py`.

A module of a command has `add_arguments(parser)`, `run(args)` and, where options contradict each
other, `check_arguments(args, parser)`. `tools/*.py` run the same functions.
"""

from .commands import COMMANDS, main, run_command

__all__ = ['COMMANDS', 'main', 'run_command']

"""`rsrefseg2 visualize`: see rsrefseg2/cli/visualize_command.py."""

from rsrefseg2.cli import run_command

if __name__ == '__main__':
    run_command('visualize')

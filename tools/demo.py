"""`rsrefseg2 demo`: see rsrefseg2/cli/demo_command.py."""

from rsrefseg2.cli import run_command

if __name__ == '__main__':
    run_command('demo')

"""`rsrefseg2 data browse`: see rsrefseg2/cli/data_browse_command.py."""

from rsrefseg2.cli import run_command

if __name__ == '__main__':
    run_command('data browse')

"""`rsrefseg2 synthrs generate`: see rsrefseg2/cli/synthrs_generate_command.py."""

from rsrefseg2.cli import run_command

if __name__ == '__main__':
    run_command('synthrs generate')

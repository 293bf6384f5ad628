"""`rsrefseg2 test`: see rsrefseg2/cli/test_command.py."""

from rsrefseg2.cli import run_command

if __name__ == '__main__':
    run_command('test')

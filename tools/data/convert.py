"""`rsrefseg2 data convert`: see rsrefseg2/cli/data_convert_command.py."""

from rsrefseg2.cli import run_command

if __name__ == '__main__':
    run_command('data convert')

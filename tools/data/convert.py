"""`rsrefseg2 data convert`: see rsrefseg2/cli/data_convert_command.py."""

import sys

from rsrefseg2.cli import run_command

if __name__ == '__main__':
    sys.exit(run_command('data convert'))

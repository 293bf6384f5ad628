"""`rsrefseg2 data verify`: see rsrefseg2/cli/data_verify_command.py."""

import sys

from rsrefseg2.cli import run_command

if __name__ == '__main__':
    sys.exit(run_command('data verify'))

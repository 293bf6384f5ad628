"""`rsrefseg2 data fetch`: see rsrefseg2/cli/data_fetch_command.py."""

import sys

from rsrefseg2.cli import run_command

if __name__ == '__main__':
    sys.exit(run_command('data fetch'))

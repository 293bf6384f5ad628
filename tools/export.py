"""`rsrefseg2 export`: see rsrefseg2/cli/export_command.py."""

from rsrefseg2.cli import run_command

if __name__ == '__main__':
    run_command('export')

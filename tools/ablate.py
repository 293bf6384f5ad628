"""`rsrefseg2 ablate`: see rsrefseg2/cli/ablate_command.py."""

from rsrefseg2.cli import run_command

if __name__ == '__main__':
    run_command('ablate')

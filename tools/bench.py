"""`rsrefseg2 bench`: see rsrefseg2/cli/bench_command.py."""

from rsrefseg2.cli import run_command

if __name__ == '__main__':
    run_command('bench')

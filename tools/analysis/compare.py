"""`rsrefseg2 analysis compare`: see rsrefseg2/cli/analysis_compare_command.py."""

from rsrefseg2.cli import run_command

if __name__ == '__main__':
    run_command('analysis compare')

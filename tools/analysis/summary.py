"""`rsrefseg2 analysis summary`: see rsrefseg2/cli/analysis_summary_command.py."""

from rsrefseg2.cli import run_command

if __name__ == '__main__':
    run_command('analysis summary')

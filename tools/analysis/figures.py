"""`rsrefseg2 analysis figures`: see rsrefseg2/cli/analysis_figures_command.py."""

from rsrefseg2.cli import run_command

if __name__ == '__main__':
    run_command('analysis figures')

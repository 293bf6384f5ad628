"""`rsrefseg2 analysis score`: see rsrefseg2/cli/analysis_score_command.py."""

from rsrefseg2.cli import run_command

if __name__ == '__main__':
    run_command('analysis score')

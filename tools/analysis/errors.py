"""`rsrefseg2 analysis errors`: see rsrefseg2/cli/analysis_errors_command.py."""

from rsrefseg2.cli import run_command

if __name__ == '__main__':
    run_command('analysis errors')

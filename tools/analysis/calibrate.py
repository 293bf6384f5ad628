"""`rsrefseg2 analysis calibrate`: see rsrefseg2/cli/analysis_calibrate_command.py."""

from rsrefseg2.cli import run_command

if __name__ == '__main__':
    run_command('analysis calibrate')

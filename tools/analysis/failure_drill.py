"""`rsrefseg2 analysis failure-drill`: see rsrefseg2/cli/analysis_failure_drill_command.py."""

from rsrefseg2.cli import run_command

if __name__ == '__main__':
    run_command('analysis failure-drill')

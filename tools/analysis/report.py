"""`rsrefseg2 analysis report`: see rsrefseg2/cli/analysis_report_command.py."""

from rsrefseg2.cli import run_command

if __name__ == '__main__':
    run_command('analysis report')

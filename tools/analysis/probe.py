"""`rsrefseg2 analysis probe`: see rsrefseg2/cli/analysis_probe_command.py."""

from rsrefseg2.cli import run_command

if __name__ == '__main__':
    run_command('analysis probe')

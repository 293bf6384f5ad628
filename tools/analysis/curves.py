"""`rsrefseg2 analysis curves`: see rsrefseg2/cli/analysis_curves_command.py."""

from rsrefseg2.cli import run_command

if __name__ == '__main__':
    run_command('analysis curves')

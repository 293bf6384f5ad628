"""`rsrefseg2 analysis anchors`: see rsrefseg2/cli/analysis_anchors_command.py."""

from rsrefseg2.cli import run_command

if __name__ == '__main__':
    run_command('analysis anchors')

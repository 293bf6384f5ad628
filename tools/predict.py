"""`rsrefseg2 predict`: see rsrefseg2/cli/predict_command.py."""

from rsrefseg2.cli import run_command

if __name__ == '__main__':
    run_command('predict')

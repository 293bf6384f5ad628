"""`rsrefseg2 train`: see rsrefseg2/cli/train_command.py."""

from rsrefseg2.cli import run_command

if __name__ == '__main__':
    run_command('train')

"""`rsrefseg2 synthrs pretrain`: see rsrefseg2/cli/synthrs_pretrain_command.py."""

from rsrefseg2.cli import run_command

if __name__ == '__main__':
    run_command('synthrs pretrain')

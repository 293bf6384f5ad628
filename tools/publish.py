"""`rsrefseg2 publish`: see rsrefseg2/cli/publish_command.py."""

from rsrefseg2.cli import run_command

if __name__ == '__main__':
    run_command('publish')

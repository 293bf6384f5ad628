"""`rsrefseg2 convert-release`: see rsrefseg2/cli/convert_release_command.py."""

from rsrefseg2.cli import run_command

if __name__ == '__main__':
    run_command('convert-release')

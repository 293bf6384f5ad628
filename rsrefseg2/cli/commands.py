"""The table of commands, and how one of them is found, parsed and run."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Iterable, Sequence

from .. import __version__
from ..errors import UserError, report_user_errors, suggest

# name -> (module, one line)
COMMANDS = {
    'train': ('train_command', 'train a config'),
    'test': ('test_command', 'score a checkpoint on a split'),
    'predict': ('predict_command', "segment what sentences refer to in one's own images"),
    'demo': ('demo_command', 'serve a web page: drop a picture, ask in words'),
    'bench': ('bench_command', 'measure time, FLOP and memory by part, and levers'),
    'publish': ('publish_command', 'make a folder of a trained model that can be given away'),
    'export': ('export_command', 'write graphs for onnxruntime or torch.export'),
    'visualize': ('visualize_command', 'draw the panels of Fig. 7 and an HTML page'),
    'ablate': ('ablate_command', 'run a table of ablations and collect its scores'),
    'convert-release': ('convert_release_command', "convert the authors' checkpoints, or back"),
    'synthrs generate': ('synthrs_generate_command', 'generate the data set SynthRS'),
    'synthrs pretrain': ('synthrs_pretrain_command', 'pretrain a tiny tower on SynthRS'),
    'data verify': ('data_verify_command', 'check a copy of a data set'),
    'data convert': ('data_convert_command', 'convert a layout or a COCO file to another layout'),
    'data browse': ('data_browse_command', 'write an HTML page of a split'),
    'data fetch': ('data_fetch_command', 'download or unpack a benchmark, then verify it'),
    'analysis score': ('analysis_score_command', 'score a dump or a folder of masks'),
    'analysis compare': ('analysis_compare_command', 'compare two dumps by paired bootstrap'),
    'analysis calibrate': ('analysis_calibrate_command', 'calibrate the confidence on val'),
    'analysis errors': ('analysis_errors_command', 'attribute failures to place or outline'),
    'analysis figures': ('analysis_figures_command', 'draw Figs. 2 and 4-6 for print'),
    'analysis report': ('analysis_report_command', 'write the report page of a dump'),
    'analysis curves': ('analysis_curves_command', 'plot losses, rates and scores of runs'),
    'analysis summary': ('analysis_summary_command', 'count parameters and FLOPs by part'),
    'analysis probe': ('analysis_probe_command', 'fit linear probes to the stages of the cascade'),
    'analysis failure-drill': (
        'analysis_failure_drill_command',
        'test the failure analysis with made failures',
    ),
    'analysis anchors': ('analysis_anchors_command', 'test whether relations are solved'),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `rsrefseg2 COMMAND ARGUMENTS ...`; the entry point of the installed script.

    Args:
        argv: the words behind `rsrefseg2`; `sys.argv` where it is None.

    Returns:
        The exit status: 0, or what the command returns; 2 for an unknown command.

    Raises:
        SystemExit: as argparse and `report_user_errors` end a program.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    for length in (2, 1):
        name = ' '.join(words[:length])
        if name in COMMANDS and len(words) >= length:
            return run_command(name, words[length:], prog=f'rsrefseg2 {name}')
    if words and words[0] == '--version':
        print(f'rsrefseg2 {__version__}')
        return 0
    group = words[0] if words and not words[0].startswith('-') else ''
    in_group = [name for name in COMMANDS if name.startswith(f'{group} ')]
    asks_for_help = words[-1:] and words[-1] in ('-h', '--help')
    if not words or asks_for_help and (in_group or not group):
        print(_listing(in_group if group else list(COMMANDS)))
        return 0
    if in_group and len(words) == 1:
        print(_listing(in_group), file=sys.stderr)
        return 2
    asked = ' '.join(words[:2]) if in_group else words[0]
    with report_user_errors(exit_code=2):
        raise UserError(
            f'unknown command {asked!r}{_near(asked, in_group or COMMANDS)}; '
            'rsrefseg2 --help lists the commands'
        )


def run_command(name: str, argv: Sequence[str] | None = None, *, prog: str | None = None) -> int:
    """Parses the arguments of one command and runs it.

    Args:
        name: a key of `COMMANDS`.
        argv: its arguments; `sys.argv[1:]` where it is None, as for `tools/*.py`.
        prog: the program's name in its help; the script's where it is None.

    Returns:
        The exit status.

    Raises:
        SystemExit: as argparse and `report_user_errors` end a program.
    """
    command = importlib.import_module(f'.{COMMANDS[name][0]}', __package__)
    parser = argparse.ArgumentParser(
        prog=prog, description=command.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.add_arguments(parser)
    with report_user_errors(exit_code=getattr(command, 'ERROR_STATUS', 1)):
        intermixed = getattr(command, 'INTERMIXED', False)
        args = parser.parse_intermixed_args(argv) if intermixed else parser.parse_args(argv)
        if hasattr(command, 'check_arguments'):
            command.check_arguments(args, parser)
        return command.run(args) or 0


def _near(asked: str, names: Iterable[str]) -> str:
    """The near match among the names, or among their last words: `verify` is `data verify`."""
    last = {name.split()[-1]: name for name in names}
    if asked in last:
        return suggest(last[asked], [last[asked]])
    return suggest(asked, names) or suggest(asked, last)


def _listing(names: Sequence[str]) -> str:
    """The usage, then one line for each command."""
    width = max(map(len, names))
    return '\n'.join(
        [
            'usage: rsrefseg2 COMMAND [ARGUMENTS ...]',
            '',
            'RSRefSeg 2: referring segmentation of remote sensing images',
            '',
            *(f'  {name:{width}}  {COMMANDS[name][1]}' for name in names),
            '',
            'rsrefseg2 COMMAND --help describes a command; rsrefseg2 --version prints the version',
        ]
    )

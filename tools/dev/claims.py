"""Do the paper's statements about its own tables (Sec. IV-E) hold at tiny scale? A table of the zoo
page, from the index and the records alone."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import NamedTuple

from rsrefseg2.apis.ablations import Index
from rsrefseg2.markup import table as markdown
from rsrefseg2.markup import text
from tools.dev.run_records import Record

DAGGER = 'rrsisd_ablation'
GIoU = Callable[[str], float]  # of a row, by its name


class Contrast(NamedTuple):
    """A difference of gIoU that is above 0 where the paper's statement holds."""

    label: str
    difference: Callable[[GIoU], float]
    runs: int = 2  # that it compares; a range has two ends, a difference of ranges four


class Claim(NamedTuple):
    """A statement of the paper, and what shows it."""

    table: str
    statement: str
    contrasts: tuple[Contrast, ...]


def _span(tower: str) -> Callable[[GIoU], float]:
    """The best less the worst rank of a tower (Table VI)."""
    own = {'text': '16', 'vision': '16', 'sam': '32'}[tower]
    ranks = ('0', '4', '8', '16', '32', '64')
    names = [DAGGER if rank == own else f't06_{tower}_{rank}' for rank in ranks]
    return lambda giou: max(map(giou, names)) - min(map(giou, names))


def _wider(first: str, second: str) -> Callable[[GIoU], float]:
    return lambda giou: _span(first)(giou) - _span(second)(giou)


def _over(first: str, *others: str) -> Callable[[GIoU], float]:
    """A row less the best of others."""
    return lambda giou: giou(first) - max(map(giou, others))


DECOMPOSITIONS = ('learnable_no_pe', 'textpool_no_pe', 'zero', 'learnable')
CLAIMS = (
    Claim(
        'VI',
        'The rank matters more in the two vision towers than in the text tower.',
        (
            Contrast('range over ranks, clip-v less clip-t', _wider('vision', 'text'), runs=4),
            Contrast('range over ranks, sam-v less clip-t', _wider('sam', 'text'), runs=4),
        ),
    ),
    Claim(
        'VI',
        "It matters more in SigLIP's vision tower than in SAM's.",
        (Contrast('range over ranks, clip-v less sam-v', _wider('vision', 'sam'), runs=4),),
    ),
    Claim(
        'VII',
        'Two blocks suffice.',
        tuple(
            Contrast(
                f'{module}: 2 blocks less the better of 4 and 6',
                _over(DAGGER, f't07_{module}_4', f't07_{module}_6'),
            )
            for module in ('decomposition', 'interaction', 'prompt')
        ),
    ),
    Claim(
        'IX',
        'Queries pooled from the text, with a position encoding, are best.',
        (
            Contrast(
                'textpool with PE less the best other',
                _over(DAGGER, *(f't09_decomposition_{name}' for name in DECOMPOSITIONS)),
            ),
        ),
    ),
    Claim(
        'IX',
        'A sine position encoding of the image gains nothing over none.',
        (Contrast('none less sine', _over('t09_interaction_no_pe', 't09_interaction_sine')),),
    ),
    Claim(
        'X',
        'The cascade gains over a single stage; the dense prompt adds to it.',
        (
            Contrast('cascade less single stage', _over('t10_no_dense', 't10_neither')),
            Contrast('with less without dense prompt', _over(DAGGER, 't10_no_dense')),
        ),
    ),
    Claim(
        'XIII',
        't_sent is the best text for the dense prompt.',
        tuple(
            Contrast(f't_sent less {label}', _over(DAGGER, f't13_{name}'))
            for label, name in (('t2', 't2'), ("t2'", 't2_act'), ('T-sparse', 't_sparse'))
        ),
    ),
    Claim(
        'XIV',
        'A larger image for SigLIP gains a little.',
        (Contrast('largest less smallest', _over('t14_size_768', 't14_size_224')),),
    ),
    Claim(
        'XV',
        'The sample contrast gains over CE and ortho; Dice adds to it.',
        (
            Contrast('NCE-t2-v less CE + ortho', _over(DAGGER, 't15_ce_ortho')),
            Contrast('Dice less none', _over('t15_ce_ortho_nce_t2_v_dice', DAGGER)),
        ),
    ),
)
TABLES = frozenset(claim.table for claim in CLAIMS)


def claims_section(
    index: Index, records: Sequence[Record], recipe: str, tables: Collection[str] = TABLES
) -> list[str]:
    """The paper's statement, its difference, ours, and what follows; [] without two seeds of †.

    Args:
        records: of the rows at one tiny scale, all with the same options.
        recipe: that scale, in words.
        tables: whose statements are compared.
    """
    ours: dict[int, dict[str, float]] = defaultdict(dict)
    for record in records:
        ours[record['seed']][record['config'].rpartition('/')[2].removesuffix('.py')] = record[
            'scores'
        ]['gIoU']
    seeds = [scores[DAGGER] for scores in ours.values() if DAGGER in scores]
    if len(seeds) < 2:
        return []
    spread = statistics.stdev(seeds)
    paper = {
        row.name: row.paper['gIoU']
        for table in index.tables
        for row in table.rows
        if row.paper.get('gIoU') is not None
    }
    rows = [
        [f'Table {claim.table}', text(claim.statement), *_cells(contrast, paper, ours, spread)]
        for claim in CLAIMS
        if claim.table in tables
        for contrast in claim.contrasts
    ]
    return [
        f"### Which of the paper's statements hold with {recipe}?",
        '',
        'A statement about this code with tiny towers on SynthRS, not about the paper. Differences of gIoU; above 0 is what the paper '
        'says. ± is the standard deviation of the difference over the seeds; of one seed that of the † row times the root of the '
        f'number of runs whose gIoU enters it (here {spread:.2f} a run). A difference below it says nothing: within the spread. The tiny '
        'model supervises its dense prompt (L_dense) in every row but those that drop it.',
        '',
        *markdown(
            ['table', 'the paper', 'compared', "the paper's", 'ours', 'seeds', 'verdict'], rows
        ),
    ]


def _cells(
    contrast: Contrast, paper: dict[str, float], ours: dict[int, dict[str, float]], spread: float
) -> Iterator[str]:
    """What is compared, the paper's difference, ours, its seeds, the verdict."""
    read: set[str] = set()

    def of_paper(name: str) -> float:
        read.add(name)
        return paper[name]

    yield text(contrast.label)
    yield f'{contrast.difference(of_paper):+.2f}'
    found = [
        contrast.difference(scores.__getitem__)
        for _, scores in sorted(ours.items())
        if read <= scores.keys()
    ]
    if not found:
        yield from ('-', '0', 'not run')
        return
    mean = statistics.fmean(found)
    margin = statistics.stdev(found) if len(found) > 1 else spread * math.sqrt(contrast.runs)
    yield f'{mean:+.2f} ± {margin:.2f}'
    yield str(len(found))
    if abs(mean) <= margin:
        yield 'within the spread'
    else:
        yield 'agrees' if mean > 0 else 'disagrees'

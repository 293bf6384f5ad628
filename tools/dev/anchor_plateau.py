"""When does a small model begin to answer 'the X closest to the Y'? Symbols on a grid, no pictures.

    python tools/dev/anchor_plateau.py [--text tower | read] [--grid 12 --object 2 --layers 3] ...

A scene has five objects of category X and five of other categories, each once, on squares of
`--object` cells, the rest is background; Y is one of the five. Accuracy: the cell that is nearest
to the sentence belongs to the target; who knows X alone reaches 20 %. What comes out stands in
projects/localisation_study/README.md. A line every 100 steps: step, seconds, loss, accuracy, and the loss of reading.
"""

import argparse
import json
import math
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rsrefseg2.models.prompter.init import sine_positions
from rsrefseg2.synthrs.generation.language import Phrase, Relation
from rsrefseg2.synthrs.generation.objects import CATEGORIES
from rsrefseg2.synthrs.generation.wording import say
from rsrefseg2.synthrs.pretraining.siglip_task import SiglipPretraining
from rsrefseg2.synthrs.pretraining.start_values import fan_in_init

NAMES, SAME, OTHERS, WIDTH, HEADS = list(CATEGORIES), 5, 5, 96, 4


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--text',
        default='words',
        choices=('words', 'tower', 'read'),
        help='what makes t: a layer that is given X and Y, the text tower, which '
        'has to find them in the sentence, or that with the loss of reading',
    )
    parser.add_argument('--grid', type=int, default=8, help='cells a side')
    parser.add_argument('--object', type=int, default=1, help='cells a side of an object')
    parser.add_argument('--layers', type=int, default=2, help='of the image tower')
    parser.add_argument('--steps', type=int, default=800)
    parser.add_argument('--scenes', type=int, default=16, help='of a step')
    parser.add_argument('--lr', type=float, default=2e-3)
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    if (args.grid // args.object) ** 2 < SAME + OTHERS:
        parser.error(
            f'--grid {args.grid} has no room for {SAME + OTHERS} objects of --object {args.object}'
        )
    return args


class Reader(nn.Module):
    """v of a text-blind transformer over symbols, t of X and Y; -> scale * cos(v, t)."""

    def __init__(self, grid: int, layers: int, seed: int) -> None:
        super().__init__()
        self.symbols = nn.Embedding(len(NAMES) + 1, WIDTH)
        self.words = nn.Embedding(len(NAMES), WIDTH)
        layer = nn.TransformerEncoderLayer(
            WIDTH, HEADS, 4 * WIDTH, dropout=0, activation='gelu', batch_first=True, norm_first=True
        )
        self.tower = nn.TransformerEncoder(
            layer, layers, nn.LayerNorm(WIDTH), enable_nested_tensor=False
        )
        self.text = nn.Sequential(
            nn.Linear(2 * WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH)
        )
        self.positions = nn.Parameter(torch.empty(grid * grid, WIDTH))
        self.scale = nn.Parameter(torch.tensor(math.log(10)))
        fan_in_init(self)
        self.positions.data = math.sqrt(2) * sine_positions((grid, grid), WIDTH, longest=16)
        with tempfile.TemporaryDirectory() as folder:
            self.spoken = SiglipPretraining(Path(folder), image_size=64, width=WIDTH)
        self.rng = np.random.default_rng(seed)  # of the wording

    def forward(self, scenes: Tensor) -> Tensor:
        """(S, N) symbols -> v (S, N, WIDTH)."""
        return F.normalize(self.tower(self.symbols(scenes) + self.positions), dim=-1)

    def sentence(self, x: Tensor, y: Tensor, text: str) -> tuple[Tensor, Tensor]:
        """Places in NAMES (B,) -> t (B, WIDTH), and the loss of reading, 0 unless asked for."""
        if text == 'words':
            t = self.text(self.words(torch.stack([x, y], 1)).flatten(1))
            return F.normalize(t, dim=-1), t.new_zeros(())
        meanings = [
            Relation(Phrase(NAMES[i]), 'closest', Phrase(NAMES[j]))
            for i, j in zip(x.tolist(), y.tolist())
        ]
        ids, _ = self.spoken.preprocess.tokenize([say(m, self.rng) for m in meanings])
        t = F.normalize(self.spoken.siglip.text_model(input_ids=ids).pooler_output, dim=-1)
        return t, 0.2 * self.spoken.reading(t, meanings) if text == 'read' else t.new_zeros(())


def draw(scenes: int, grid: int, side: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """-> symbols (S, N); cells (S, 10, N) bool of each object, SAME of X first; their centres
    (S, 10, 2); categories (S, 10)."""
    squares = grid // side
    place = torch.rand(scenes, squares * squares).argsort(1)[:, : SAME + OTHERS]
    corner = torch.stack([place // squares, place % squares], -1) * side
    category = torch.rand(scenes, len(NAMES)).argsort(1)[:, : 1 + OTHERS]
    category = torch.cat([category[:, :1].expand(-1, SAME), category[:, 1:]], 1)
    cell = torch.cartesian_prod(torch.arange(grid), torch.arange(grid))
    offset = cell - corner[:, :, None]  # (S, 10, N, 2)
    cells = ((offset >= 0) & (offset < side)).all(-1)
    symbols = torch.where(cells, category[..., None], -1).amax(1)
    return (symbols.where(symbols >= 0, len(NAMES)), cells, corner + (side - 1) / 2, category)


def ask(cells: Tensor, centre: Tensor, category: Tensor) -> tuple[Tensor, ...]:
    """Every clear 'X closest to Y' -> scene, x, y (B,), the target's cells (B, N). Clear: the next
    one is farther by a fifth and half a cell."""
    distance = (centre[:, :SAME, None] - centre[:, None, SAME:]).norm(dim=-1)  # (S, SAME, OTHERS)
    near, order = distance.sort(1)
    scene, anchor = (near[:, 1] > 1.2 * near[:, 0] + 0.5).nonzero(as_tuple=True)
    return (
        scene,
        category[scene, 0],
        category[scene, SAME + anchor],
        cells[scene, order[scene, 0, anchor]],
    )


def score(
    model: Reader, v: Tensor, text: str, scene: Tensor, x: Tensor, y: Tensor, target: Tensor
) -> tuple[Tensor, Tensor, float]:
    """-> cross-entropy over the cells, the loss of reading, the percentage answered."""
    t, reading = model.sentence(x, y, text)
    logits = model.scale.exp() * torch.einsum('bnd,bd->bn', v[scene], t)
    hit = target.gather(1, logits.argmax(1, keepdim=True)).float().mean()
    share = target / target.sum(1, keepdim=True)
    return F.cross_entropy(logits, share), reading, 100 * hit.item()


def main() -> None:
    args = parse_args()
    torch.manual_seed(args.seed)
    model = Reader(args.grid, args.layers, args.seed)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=args.lr, betas=(0.9, 0.98), weight_decay=0.01
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min(
            (step + 1) / 100, 0.02 + 0.98 * (1 + math.cos(math.pi * step / args.steps)) / 2
        ),
    )
    seen, start = [], time.perf_counter()
    for step in range(1, args.steps + 1):
        symbols, cells, centre, category = draw(args.scenes, args.grid, args.object)
        v = model(symbols)
        loss, reading, accuracy = score(model, v, args.text, *ask(cells, centre, category))
        found = {'loss': loss.item(), 'accuracy': accuracy}
        if args.text == 'read':
            found['reading'] = reading.item()
        optimizer.zero_grad()
        (loss + reading).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        seen.append(found)
        if step % 100 == 0:
            means = {name: round(sum(s[name] for s in seen) / len(seen), 3) for name in found}
            print(
                json.dumps(dict(step=step, seconds=round(time.perf_counter() - start), **means)),
                flush=True,
            )
            seen = []


if __name__ == '__main__':
    main()

"""The page of a published model: what it is, what it was trained and tested on, whose weights."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from ..engine import calibration_path
from ..evaluation import COLUMNS
from ..markup import code, table, text
from .card_facts import UNKNOWN, Facts
from .portable_config import DATA

METHOD = (
    'An overhead image and a sentence go in, the mask of just that object comes out. RSRefSeg 2 '
    '(arXiv 2507.06231): two towers that were pretrained on images and captions (SigLIP or CLIP) '
    'say *where*, a cascaded second-order prompter turns their features into prompts, SAM draws '
    '*how*.'
)
BASELINE = (
    'An overhead image and a sentence go in, the mask of just that object comes out. A baseline of '
    'the framework of RSRefSeg 2: Swin reads the words of BERT stage by stage (LAVT, arXiv '
    '2112.02244{variant}), a top-down decoder draws the mask.'
)
# ------------------------------------------------------------------ the page


def write_card(facts: Facts) -> str:
    """The model card as Markdown under the hub's metadata, with its `model-index`."""
    parts = [
        f'---\n{_metadata(facts).to_yaml()}\n---',
        f'# {text(facts.name)}',
        _method(facts.trained.get('model') or {}),
        _files(facts),
        _use(facts),
        _training(facts),
        _scores(facts),
        _towers(facts),
    ]
    return str(ModelCard('\n\n'.join(parts) + '\n'))


def _method(model: Mapping) -> str:
    """What kind of model it is."""
    if 'swin' not in model:
        return METHOD
    variants = {
        'enhancement': 'language-guided enhancement after LGCE, arXiv 2306.08625',
        'cross_scale': 'the interactions of RMSIN, arXiv 2312.12470',
    }
    added = [text for key, text in variants.items() if model.get(key) is not None]
    return BASELINE.format(variant=''.join(f', with {one}' for one in added))


def _metadata(facts: Facts) -> ModelCardData:
    licences = {tower.licence for tower in facts.towers if not tower.drawn} | {'apache-2.0'}
    free = licences == {'apache-2.0'}
    bases = [tower.name for tower in facts.towers if tower.on_hub and tower.name]
    adapted = _adapted(facts.trained.get('model') or {})
    relation = 'finetune' if 'whole' in adapted else 'merge' if facts.merged else 'adapter'
    data = (facts.trained.get('train_dataloader') or {}).get('dataset') or {}
    results = _results(facts)
    return ModelCardData(
        license='apache-2.0' if free else 'other',
        license_name=None if free else 'see-towers',
        pipeline_tag='image-segmentation',
        tags=[
            'rsrefseg2',
            'referring-image-segmentation',
            'remote-sensing',
            *(['lora'] if 'LoRA' in adapted else []),
        ],
        base_model=bases or None,
        base_model_relation=relation if bases else None,
        datasets=[_place(data).split('/')[0]] if _place(data) else None,
        metrics=[name for name in COLUMNS if name in facts.scores.values] if facts.scores else None,
        model_name=facts.name if results else None,
        eval_results=results or None,
    )


def _results(facts: Facts) -> list[EvalResult]:
    """The paper's scores that are defined, in percent, for the `model-index`."""
    if facts.scores is None:
        return []
    data = facts.test or {}
    place = _place(data).split('/')[0] or UNKNOWN
    return [
        EvalResult(
            task_type='image-segmentation',
            task_name='Referring image segmentation',
            dataset_type=place,
            dataset_name=place,
            dataset_split=data.get('split'),
            metric_type=name,
            metric_name=f'{name} (%)',
            metric_value=round(facts.scores.values[name], 2),
            metric_args={'protocol': facts.scores.protocol.name},
        )
        for name in COLUMNS
        if math.isfinite(facts.scores.values.get(name, math.nan))
    ]


def _files(facts: Facts) -> str:
    held = 'what was trained' if not facts.whole else 'all weights, towers included'
    if facts.merged:
        held = 'the prompter, the mask decoder, the scales'
    kind = ' in float16, read as float32' if facts.half else ''
    rows = [
        (
            code(facts.weights),
            f'{held}; plain tensors{kind}, its name ends in the first 8 digits of its SHA-256',
        ),
        (code(facts.config), 'the whole config'),
    ]
    if facts.calibration is not None:
        rows.append(
            (
                code(calibration_path(facts.weights).name),
                'how sure an answer is, and that an object whose presence is below '
                f'{facts.calibration.presence_threshold:.3f} is not found; fitted on '
                f'{facts.calibration.samples} answers'
                f'{" of the weights before they were rounded" if facts.half else ""}',
            )
        )
    if facts.merged:
        rows += [
            (
                '`siglip/`',
                'the image and text tower with LoRA merged, as transformers reads '
                'them: `AutoModel.from_pretrained`, without peft',
            ),
            ('`sam/`', 'SAM with LoRA merged and the trained mask decoder, the same'),
        ]
    rows += [
        (f'`{family}/`', 'the tower that training began with, as transformers reads it')
        for family in facts.beside
    ]
    rows += [
        (
            f'`{folder}/`',
            f'the LoRA adapters of {folder.split("/")[-1]} alone, in the format of PEFT',
        )
        for folder in facts.adapters
    ]
    return _table(('file', 'what it is'), rows)


def _use(facts: Facts) -> str:
    config, weights = (shlex.quote(f'DIR/{name}') for name in (facts.config, facts.weights))
    lines = [
        '## Use',
        'With the code of RSRefSeg 2 installed, DIR being this folder:',
        '```bash\n'
        f'python tools/predict.py IMAGE "the ship on the upper right" --config '
        f'{config} --checkpoint {weights}\n'
        f'python tools/test.py {config} {weights}\n```',
        f'{code(facts.config)} is a Python program that these commands run: run it only if '
        'you trust where it came from. The weights are plain tensors.',
        'Data are looked for below `$RSREFSEG2_DATA`, or `data/`.',
    ]
    for module, file in facts.modules:
        lines.append(
            f'The config imports the module {code(module)} of its author, which is not part of this '
            f'folder: put its file {code(file)} into a folder on `PYTHONPATH`. It is run, as the '
            'config is.'
        )
    for tower in facts.towers:
        inside = facts.merged or tower.drawn or tower.family in facts.beside
        if not inside and tower.name is None:
            lines.append(
                f'The {tower.family} tower is not part of this folder and its author named no '
                f'public source: put it, with the content hash below, into `{tower.family}/` '
                f'beside the config, or add `--cfg-options '
                f'model.{tower.family}.checkpoint=FOLDER`.'
            )
    if facts.adapters:
        lines.append(
            'The adapters alone, without this project: `peft.PeftModel.from_pretrained(base, '
            f'"DIR/{facts.adapters[0]}")`, `base` being the plain model of transformers '
            '(`SiglipModel`, `Sam2Model`, ...) with the weights below. They hold neither '
            'the prompter nor the mask decoder.'
        )
    return '\n\n'.join(lines)


def _training(facts: Facts) -> str:
    config, meta = facts.trained, facts.meta
    loader = config.get('train_dataloader') or {}
    optim = config.get('optim_wrapper') or {}
    optimizer = optim.get('optimizer') or {}
    iterations, epochs = meta.get('iter'), meta.get('epoch')  # whole ones
    if iterations and meta.get('epoch_length'):
        epochs = f'{round(iterations / meta["epoch_length"], 2):g}'
    length = [
        f'{value} {word}'
        for value, word in ((iterations, 'iterations'), (epochs, 'epochs'))
        if value
    ]
    rows = [
        ('data', split_of(loader.get('dataset'))),
        ('length', ', '.join(length)),
        (
            'batch',
            _or_none(loader.get('batch_size'), 'sentences a device')
            + (
                f', accumulated over {optim["accumulative_counts"]}'
                if optim.get('accumulative_counts', 1) > 1
                else ''
            ),
        ),
        ('seed', meta.get('seed', (config.get('randomness') or {}).get('seed'))),
        ('strategy', (config.get('strategy') or {}).get('type')),
        (
            'optimizer',
            optimizer.get('type') and f'{optimizer["type"]}, learning rate {optimizer.get("lr")}',
        ),
        ('towers', _adapted(config.get('model') or {})),
        ('torch', meta.get('torch')),
    ]
    return '## Training\n\n' + _table(
        ('what', 'value'),
        [
            (what, UNKNOWN if value in (None, '') else value if what == 'data' else text(value))
            for what, value in rows
        ],
    )


def _adapted(model: Mapping) -> str:
    if 'swin' in model:
        return 'image tower and text tower trained whole'
    siglip, sam = model.get('siglip') or {}, model.get('sam') or {}
    return ', '.join(
        f'{where} '
        + (
            'trained whole'
            if part.get('trainable')
            else f'LoRA r = {part[key]["r"]}'
            if part.get(key)
            else 'frozen'
        )
        for where, part, key in (
            ('image tower', siglip, 'vision_lora'),
            ('text tower', siglip, 'text_lora'),
            ("SAM's image encoder", sam, 'lora'),
        )
    )


def _scores(facts: Facts) -> str:
    scores = facts.scores
    if scores is None:
        return '## Scores\n\nNot tested: no scores were given when this was published.'
    rows = []
    for name, value in scores.values.items():
        pair = scores.intervals.get(name)
        rows.append(
            (
                text(name),
                _number(value),
                f'{_number(pair.low)} to {_number(pair.high)}' if pair else 'not computed',
            )
        )
    facts_of_test = [f'Percent, protocol `{scores.protocol.name}` ({scores.protocol.rules})']
    facts_of_test += [f'{scores.samples} samples'] if scores.samples is not None else []
    facts_of_test += [f"the config's test is {split_of(facts.test)}"] if facts.test else []
    return (
        f'## Scores\n\n{"; ".join(facts_of_test)}. Intervals: bootstrap over images.\n\n'
        + _table(('score', text(scores.source), '95 % interval'), rows)
    )


def _towers(facts: Facts) -> str:
    rows = [
        (
            tower.family,
            tower.described,
            f'`{tower.sha256}`' if tower.sha256 else UNKNOWN,
            "this model's" if tower.drawn else tower.licence or UNKNOWN,
        )
        for tower in facts.towers
    ]
    held = (
        'with LoRA merged they are in this folder'
        if facts.merged
        else 'they are in the checkpoint'
        if facts.whole
        else f'of them {" and ".join(facts.beside)} is in this folder'
        if facts.beside
        else 'they are not in this folder'
    )
    return (
        f'## Towers and licence\n\nThe weights that training began with; {held}. Their licence '
        'holds for what is made of them; what this project adds is Apache-2.0.\n\n'
        + _table(
            (
                'tower',
                'from',
                'SHA-256 of its weights (`towers.fingerprints.content_hash`)',
                'licence',
            ),
            rows,
        )
    )


def split_of(dataset: Mapping | None) -> str:
    """Which data: their folder, class and split, in Markdown."""
    if not dataset or 'type' not in dataset:
        return UNKNOWN
    split = f', split {code(dataset["split"])}' if 'split' in dataset else ''
    parts = dataset.get('datasets')
    if isinstance(parts, Mapping):  # of a JoinedDataset
        read = (f'{code(_place(one))}, read as {text(one["type"])}' for one in parts.values())
        return ' and '.join(read) + split
    return f'{code(_place(dataset))}, read as {text(dataset["type"])}{split}'


def _place(dataset: Mapping) -> str:
    """The folder below the data's root: SynthRS, too, is read as RRSISD."""
    root = str(dataset.get('data_root', ''))
    return root.removeprefix(f'{DATA}/') if root.startswith(DATA) else Path(root).name


def _or_none(value: object, unit: str) -> str:
    return UNKNOWN if value is None else f'{value} {unit}'


def _number(value: float) -> str:
    return f'{value:.2f}' if math.isfinite(value) else 'undefined'


def _table(head: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> str:
    return '\n'.join(table(head, [tuple(map(str, row)) for row in rows]))

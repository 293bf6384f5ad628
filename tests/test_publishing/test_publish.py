"""tools/publish.py: what is given away is whole, says the truth, and predicts the same."""

import copy
import hashlib
import importlib
import json
import re
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from mmengine.config import Config
from mmengine.registry import DefaultScope
from transformers import AutoModel, CLIPModel, Sam2Model, Siglip2Model, SiglipModel

from rsrefseg2.apis import Predictor
from rsrefseg2.engine import load_config, load_model, read_checkpoint
from rsrefseg2.engine.checkpoint import trained_keys
from rsrefseg2.engine.trained_as import recorded_config
from rsrefseg2.errors import UserError
from rsrefseg2.evaluation import ImageSums, find_protocol, score_intervals
from rsrefseg2.models.towers.catalogue import licence_of
from rsrefseg2.models.towers.fingerprints import tower_sources
from rsrefseg2.publishing import publish, read_scores
from rsrefseg2.publishing.model_card import split_of
from rsrefseg2.publishing.portable_config import published_config
from rsrefseg2.registry import MODELS
from rsrefseg2.rle import encode
from tests import tiny_towers
from tests.training import ROOT, write_config

SENTENCES = ['the red car on the left', 'a ship']
RELEASED = """
_base_ = {base!r}
model = dict(
    data_preprocessor=dict(lower_case=False),
    siglip=dict(vision_lora=dict(r=4, alpha=8, dropout=0.1), text_lora=dict(r=3, extra_layers='head')),
    sam=dict(lora=dict(r=4, extra_layers='neck'), train_prompt_encoder=True))
"""


def save_trained(config, path, **more):
    """A checkpoint as a run leaves it, of weights that were moved a little."""
    cfg = load_config(str(config))
    with DefaultScope.overwrite_default_scope('rsrefseg2'):
        model = MODELS.build(copy.deepcopy(cfg.model))
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    state = model.state_dict()
    meta = dict(
        epoch=2,
        iter=36,
        epoch_length=15,
        seed=7,
        saved=1.5,
        torch='2.13.0',
        experiment_name='secret',
        cfg=cfg.pretty_text,
    )
    torch.save(
        dict(
            state_dict={key: state[key] for key in trained_keys(model)},
            meta=meta,
            towers={name: source._asdict() for name, source in tower_sources(model).items()},
            **more,
        ),
        path,
    )
    return SimpleNamespace(config=config, path=path, cfg=cfg)


@pytest.fixture(scope='module')
def runs(tmp_path_factory, towers, rrsisd_root):
    """Runs by name: the paper's variant, the release's (LoRA on head and neck), CLIP with SAM 1,
    NaFlex SigLIP 2."""
    folder = tmp_path_factory.mktemp('author')

    def make(name, siglip, sam, text='', **more):
        config = write_config(folder / f'{name}.py', siglip=siglip, sam=sam, data_root=rrsisd_root)
        if text:
            config = folder / f'{name}_more.py'
            config.write_text(text.format(base=str(folder / f'{name}.py')))
        return save_trained(config, folder / f'{name}.pth', **more)

    return dict(
        paper=make(
            'paper',
            towers.siglip,
            towers.sam2,
            optimizer=dict(state=torch.zeros(1000)),
            message_hub=dict(loss=[1.0]),
        ),
        released=make('released', towers.siglip, towers.sam2, RELEASED),
        clip=make('clip', tiny_towers.write_clip(folder / 'towers/clip'), towers.sam),
        naflex=make('naflex', tiny_towers.write_naflex(folder / 'towers/naflex'), towers.sam2),
    )


@pytest.fixture(scope='module')
def merged(runs, tmp_path_factory):
    """The paper's variant with all forms, moved after it was written."""
    folder = tmp_path_factory.mktemp('merged')
    done = publish(
        runs['paper'].cfg, runs['paper'].path, folder / 'first', merge_lora=True, adapters=True
    )
    return done._replace(folder=(folder / 'first').rename(folder / 'moved'))


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (37, 53, 3), dtype=np.uint8)


def logits(config, checkpoint, image):
    answers = Predictor(str(config), checkpoint, 'cpu').set_image(image).predict(SENTENCES)
    return np.stack([answer.logits for answer in answers])


def given_logits(run, image):
    return logits(run.config, run.path, image)


def published_logits(folder, image):
    (config,) = folder.glob('*.py')
    (weights,) = folder.glob('*.pth')
    return logits(config, weights, image)


# ------------------------------------------------------------------ weights and config


def test_the_weights_are_stripped_and_named_by_their_hash(runs, tmp_path):
    run = runs['paper']
    done = publish(run.cfg, run.path, tmp_path / 'out')
    weights = done.folder / done.weights
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert done.weights == f'paper-{digest[:8]}.pth'
    before, after = (torch.load(path, weights_only=True) for path in (run.path, weights))
    assert set(after) == {'state_dict', 'towers', 'meta'}
    assert after['state_dict'].keys() == before['state_dict'].keys()
    assert all(
        torch.equal(value, before['state_dict'][key]) for key, value in after['state_dict'].items()
    )
    assert after['meta'] == dict(epoch=2, iter=36, epoch_length=15, seed=7, torch='2.13.0')
    assert {name: tower['sha256'] for name, tower in after['towers'].items()} == {
        name: tower['sha256'] for name, tower in before['towers'].items()
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ['out']  # nothing unfinished


def test_half_the_size_and_the_nearest_float16(run, runs, tmp_path):
    given = runs['paper']
    out = tmp_path / 'out'
    code, _, error = run('publish.py', given.config, given.path, '--out', out, '--half')
    assert code in (0, None), error
    (written,) = out.glob('*.pth')
    source, made = (torch.load(path, weights_only=True) for path in (given.path, written))
    before, after = source['state_dict'], made['state_dict']
    assert after.keys() == before.keys()
    for key, value in before.items():
        expected = value.half() if value.is_floating_point() else value
        assert after[key].dtype == expected.dtype and torch.equal(after[key], expected), key
    assert 'float16' in (out / 'README.md').read_text()
    loaded = load_model(load_config(str(given.config)), written, 'cpu').state_dict()
    assert all(
        torch.equal(loaded[key], value.to(loaded[key].dtype)) for key, value in after.items()
    )
    torch.save(
        dict(
            source,
            state_dict={
                key: value * 1e9 if value.is_floating_point() else value
                for key, value in before.items()
            },
        ),
        tmp_path / 'large.pth',
    )
    code, _, error = run(
        'publish.py', given.config, tmp_path / 'large.pth', '--out', tmp_path / 'no', '--half'
    )
    assert code == 1 and 'float16' in error.splitlines()[-1]
    assert not (tmp_path / 'no').exists()


def test_nothing_of_the_authors_machine_is_left(runs, merged, tmp_path, towers, rrsisd_root):
    run = runs['paper']
    own = [str(path).encode() for path in (run.path.parent, towers.siglip, rrsisd_root, ROOT)]
    for folder in (publish(run.cfg, run.path, tmp_path / 'out').folder, merged.folder):
        for file in folder.rglob('*'):
            if file.is_file():
                content = file.read_bytes()
                assert not any(path in content for path in own), file


def test_a_plain_publication_predicts_the_same_to_the_bit(runs, towers, tmp_path, image):
    """Its towers are the author's folders: put beside the config, as the card says."""
    run, out = runs['paper'], tmp_path / 'out'
    publish(run.cfg, run.path, out)
    for family, source in (('siglip', towers.siglip), ('sam', towers.sam2)):
        assert f'into `{family}/`' in (out / 'README.md').read_text()
        shutil.copytree(source, out / family)
    assert np.array_equal(published_logits(out, image), given_logits(run, image))


def test_the_tools_read_it(run, runs, merged, tmp_path, rrsisd_root, monkeypatch):
    monkeypatch.setenv('RSREFSEG2_DATA', str(rrsisd_root.parent))
    config, weights = (merged.folder / name for name in (merged.config, merged.weights))
    found = []
    for i, (given, checkpoint) in enumerate(
        ((runs['paper'].config, runs['paper'].path), (config, weights))
    ):
        code, _, error = run(
            'test.py',
            given,
            checkpoint,
            '--work-dir',
            tmp_path / str(i),
            '--cfg-options',
            f'experiment_name=publish_{i}',
        )
        assert code in (0, None), error
        found.append(json.loads((tmp_path / str(i) / 'scores.json').read_text()))
    tested = [scores.pop('checkpoint') for scores in found]
    assert found[0] == found[1] and [one['file'] for one in tested] == ['paper.pth', weights.name]
    picture = next(rrsisd_root.rglob('*.jpg'))
    lines = [
        line for log in (tmp_path / '0').rglob('*.log') for line in log.read_text().split('\n')
    ]
    overall = [line for line in lines if line.startswith(('all ', 'the model  '))]
    assert len(overall) == 1 and f'{found[0]["gIoU"]:.2f}' in overall[0].split()
    code, printed, _ = run(
        'predict.py',
        picture,
        'a red car',
        '--config',
        config,
        '--checkpoint',
        weights,
        '--out',
        tmp_path / 'predicted',
        '--device',
        'cpu',
    )
    assert code in (0, None) and 'a red car' in printed


def test_paths_of_a_machine_become_paths_of_any(monkeypatch, tmp_path):
    monkeypatch.setenv('RSREFSEG2_DATA', '/mnt/disk/sets')
    monkeypatch.setenv('HOME', '/home/me')

    class Given(SimpleNamespace):
        def to_dict(self):
            return copy.deepcopy(vars(self))

    cfg = Given(
        work_dir='/home/me/runs/1',
        load_from='/home/me/start.pth',
        resume=True,
        model=dict(
            siglip=dict(checkpoint='google/siglip2-base-patch16-224'),
            sam=dict(checkpoint='/home/me/weights/sam', lora=dict(r=4)),
        ),
        dataset=dict(
            data_root='/mnt/disk/sets/rrsisd',
            ann_file='/srv/lists/mine.json',
            made_by='make --out /mnt/disk/sets/rrsisd; /mnt/disk/sets-2',
        ),
        other=dict(data_root='/big/mine/part', list=['/big/mine/part/x', 'data', 'a/b']),
    )
    config = published_config(
        cfg, dict(siglip='google/siglip2-base-patch16-224', sam=None), merged=False
    )
    assert config == dict(
        model=dict(
            siglip=dict(checkpoint='google/siglip2-base-patch16-224'),
            sam=dict(checkpoint='{{fileDirname}}/sam', lora=dict(r=4)),
        ),
        dataset=dict(
            data_root='{{$RSREFSEG2_DATA:data}}/rrsisd',
            ann_file='mine.json',
            made_by='make --out {{$RSREFSEG2_DATA:data}}/rrsisd; /mnt/disk/sets-2',
        ),
        other=dict(
            data_root='{{$RSREFSEG2_DATA:data}}/part',
            list=['{{$RSREFSEG2_DATA:data}}/part/x', 'data', 'a/b'],
        ),
    )


def test_a_recorded_config_is_read_and_not_run(runs, tmp_path):
    cfg = runs['paper'].cfg
    assert recorded_config(cfg.pretty_text) == cfg.to_dict()
    mark = tmp_path / 'ran'
    for text in (f'a = open({str(mark)!r}, "w")', 'import os', 'a.b = 1', 'a = (', 'a = dict(1)'):
        assert recorded_config(text) is None
    assert recorded_config('') is None and not mark.exists()


# ------------------------------------------------------------------ merged


@pytest.mark.parametrize('name', ['paper', 'released', 'clip', 'naflex'])
def test_merged_towers_predict_the_same(runs, tmp_path, image, name):
    run = runs[name]
    publish(run.cfg, run.path, tmp_path / 'first', merge_lora=True)
    folder = (tmp_path / 'first').rename(tmp_path / 'moved')
    expected, found = given_logits(run, image), published_logits(folder, image)
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()
    (config,) = folder.glob('*.py')
    assert 'lora' not in str(load_config(str(config)).model.to_dict())
    keys = read_checkpoint(next(folder.glob('*.pth')))['state_dict'].keys()
    assert {key.split('.')[0] for key in keys} <= {'prompter', 'losses', 'mask_generator'}
    # of the towers what is always trained, and a tied name of SAM 1, as every checkpoint does
    assert all(
        re.search(r'\.mask_decoder\.|\.shared_embedding\.', key)
        for key in keys
        if key.startswith('mask_generator')
    )


PLAIN = """
import sys
sys.modules['peft'] = None  # importing it fails
import torch
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging
logging.set_verbosity_error()
folder, out = sys.argv[1:]
siglip = AutoModel.from_pretrained(folder + '/siglip').eval()
sam = AutoModel.from_pretrained(folder + '/sam').eval()
words = AutoTokenizer.from_pretrained(folder + '/siglip')(['a red car'], padding='max_length',
                                                          max_length=16, return_tensors='pt')
torch.manual_seed(0)
where, how = torch.randn(1, 3, 32, 32), torch.randn(1, 3, 64, 64)
with torch.no_grad():
    torch.save(dict(
        kinds=[type(siglip).__name__, type(sam).__name__], ids=words['input_ids'],
        v=siglip.vision_model(pixel_values=where).last_hidden_state,
        t=siglip.text_model(input_ids=words['input_ids']).pooler_output,
        pooled=siglip.get_image_features(where).pooler_output,
        masks=sam(pixel_values=how, input_points=torch.full((1, 1, 1, 2), 20.0),
                  multimask_output=False).pred_masks), out)
"""


@pytest.mark.slow  # a process of its own, and transformers in it
def test_transformers_alone_reads_the_merged_folders(runs, merged, tmp_path):
    done = subprocess.run(
        [sys.executable, '-c', PLAIN, str(merged.folder), str(tmp_path / 'x.pt')],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    found = torch.load(tmp_path / 'x.pt', weights_only=True)
    assert found['kinds'] == ['SiglipModel', 'Sam2Model']
    model = load_model(runs['paper'].cfg, runs['paper'].path)
    torch.manual_seed(0)
    where, how = torch.randn(1, 3, 32, 32), torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = dict(
            v=model.encoder.encode_images(where),
            t=model.encoder.text_model(input_ids=found['ids']).pooler_output,
            masks=model.mask_generator.sam(
                pixel_values=how,
                input_points=torch.full((1, 1, 1, 2), 20.0),
                multimask_output=False,
            ).pred_masks,
        )
    for name, value in expected.items():
        assert (found[name] - value).abs().max() <= 1e-5 * value.abs().max(), name
    assert found['pooled'].isfinite().all()  # the pooling head came along


def test_what_the_model_has_no_use_for_is_the_sources(merged, towers):
    source, ours = (
        SiglipModel.from_pretrained(folder) for folder in (towers.siglip, merged.folder / 'siglip')
    )
    head = {key: value for key, value in source.state_dict().items() if 'vision_model.head' in key}
    assert head and all(torch.equal(value, ours.state_dict()[key]) for key, value in head.items())
    assert (merged.folder / 'siglip/tokenizer.json').read_bytes() == (
        towers.siglip / 'tokenizer.json'
    ).read_bytes()


def test_weights_stored_in_bfloat16_are_published_in_float32(runs, merged, tmp_path):
    cfg = copy.deepcopy(runs['paper'].cfg)
    cfg.model.update(autocast='bfloat16', frozen_dtype='bfloat16')
    done = publish(cfg, runs['paper'].path, tmp_path / 'out', merge_lora=True)
    assert done.weights == merged.weights  # so its content
    for tower in ('siglip', 'sam'):
        assert (done.folder / tower / 'model.safetensors').read_bytes() == (
            merged.folder / tower / 'model.safetensors'
        ).read_bytes()
    assert load_config(str(done.folder / done.config)).model.frozen_dtype == 'bfloat16'


# ------------------------------------------------------------------ adapters


@pytest.mark.parametrize('name', ['paper', 'released', 'clip', 'naflex'])
def test_peft_reads_the_adapters(runs, tmp_path, towers, name):
    from peft import PeftModel

    run = runs[name]
    done = publish(run.cfg, run.path, tmp_path / 'out', adapters=True)
    assert done.adapters == ['adapters/siglip', 'adapters/sam']
    model = load_model(run.cfg, run.path)
    kind = dict(clip=CLIPModel, naflex=Siglip2Model).get(name, SiglipModel)
    siglip = PeftModel.from_pretrained(
        kind.from_pretrained(run.cfg.model.siglip.checkpoint), str(done.folder / 'adapters/siglip')
    ).eval()
    sam = PeftModel.from_pretrained(
        AutoModel.from_pretrained(run.cfg.model.sam.checkpoint), str(done.folder / 'adapters/sam')
    ).eval()
    ids, how = torch.randint(3, 12, (2, 16)), torch.randn(1, 3, 64, 64)
    vision = (
        dict(
            pixel_values=torch.randn(1, 16, 192),
            pixel_attention_mask=torch.ones(1, 16),
            spatial_shapes=torch.tensor([[4, 4]]),
        )
        if name == 'naflex'
        else dict(pixel_values=torch.randn(1, 3, 32, 32))
    )
    with torch.no_grad():
        for theirs, ours, inputs in (
            (siglip.base_model.model.text_model, model.encoder.text_model, dict(input_ids=ids)),
            (siglip.base_model.model.vision_model, model.encoder.vision_model, vision),
            (
                sam.base_model.model.vision_encoder,
                model.mask_generator.sam.vision_encoder,
                dict(pixel_values=how),
            ),
        ):
            found, expected = theirs(**inputs), ours(**inputs)
            pairs = [(found.last_hidden_state, expected.last_hidden_state)]
            if ours is model.encoder.text_model and name in ('paper', 'released'):
                pairs.append((found.pooler_output, expected.pooler_output))  # the adapted head
            if hasattr(expected, 'fpn_hidden_states'):  # the adapted neck
                pairs += zip(found.fpn_hidden_states, expected.fpn_hidden_states)
            for one, other in pairs:
                assert (one - other).abs().max() <= 1e-6 * other.abs().max()


# ------------------------------------------------------------------ the card


def card(folder):
    """The card's metadata as the hub reads them, its body, and the rows of its tables."""
    read = ModelCard.load(folder / 'README.md')
    rows = {
        cells[0]: cells[1:]
        for line in read.text.splitlines()
        if line.startswith('| ')
        for cells in [[cell.strip() for cell in line.strip('|').split('|')]]
    }
    return read.data, read.text, rows


def test_the_card_says_what_is_known(runs, tmp_path):
    run = runs['paper']
    header, body, rows = card(
        publish(
            run.cfg,
            run.path,
            tmp_path / 'out',
            names=dict(siglip='google/siglip2-base-patch16-224', sam='somebody/sam'),
        ).folder
    )
    assert header['license'] == 'other' and not header['metrics'] and not header['eval_results']
    assert header['base_model'] == ['google/siglip2-base-patch16-224', 'somebody/sam']
    assert 'Not tested' in body and 'gIoU' not in body
    assert rows['length'] == ['36 iterations, 2.4 epochs'] and rows['seed'] == ['7']
    assert rows['torch'] == ['2.13.0'] and 'split `train`' in rows['data'][0]
    hashes = {tower['sha256'] for tower in read_checkpoint(run.path)['towers'].values()}
    assert {rows['siglip'][1].strip('`'), rows['sam'][1].strip('`')} == hashes
    assert rows['siglip'][2] == 'apache-2.0' and rows['sam'][2] == 'not known'


def test_the_card_names_the_parts_of_joined_data():
    root = '{{$RSREFSEG2_DATA:data}}/'
    parts = dict(
        scenes=dict(type='SynthRS', data_root=root + 'synthrs/rrsisd'),
        nwpu=dict(type='ReferDataset', data_root=root + 'nwpu'),
    )
    assert split_of(dict(type='JoinedDataset', split='train', datasets=parts)) == (
        '`synthrs/rrsisd`, read as SynthRS and `nwpu`, read as ReferDataset, split `train`'
    )


def test_the_scores_of_a_file(run, runs, tmp_path):
    given = json.loads((ROOT / 'docs/results/quickstart.json').read_text())
    given['intervals'] = {'gIoU': [60.0, 65.0]}
    (tmp_path / 'scores.json').write_text(json.dumps(given))
    code, printed, _ = run(
        'publish.py',
        runs['paper'].config,
        runs['paper'].path,
        '--out',
        tmp_path / 'out',
        '--scores',
        tmp_path / 'scores.json',
    )
    assert code in (0, None) and 'names no source of siglip' in printed
    header, body, rows = card(tmp_path / 'out')
    for name in ('gIoU', 'cIoU', 'Pr@0.5', 'object_hit', 'shuffled'):
        assert rows[name][0] == f'{given[name]:.2f}'
    assert rows['gIoU'][1] == '60.00 to 65.00' and rows['cIoU'][1] == 'not computed'
    assert 'protocol `paper`' in body and '750 samples' in body and 'gIoU' in header['metrics']
    found = {result.metric_type: result for result in header['eval_results']}
    assert found['gIoU'].metric_value == round(given['gIoU'], 2) and 'object_hit' not in found
    assert found['cIoU'].metric_args == {'protocol': 'paper'}
    assert found['cIoU'].dataset_split and header['model_name'] == 'paper'


def test_the_scores_of_a_dump(run, runs, tmp_path):
    rng, sums = np.random.default_rng(0), ImageSums(find_protocol('rmsin'))
    lines = []
    for i in range(8):
        masks = [rng.random((480, 480)) < 0.5 for _ in range(2)]
        lines.append(
            json.dumps(
                dict(
                    id=str(i),
                    file=f'{i // 2}.png',
                    **dict(zip(('prediction', 'ground_truth'), map(encode, masks))),
                )
            )
        )
        sums.add(
            dict(
                id=str(i),
                file=f'{i // 2}.png',
                intersection=int((masks[0] & masks[1]).sum()),
                union=int((masks[0] | masks[1]).sum()),
            )
        )
    (tmp_path / 'dump.jsonl').write_text('\n'.join(lines))
    code, _, error = run(
        'publish.py',
        runs['paper'].config,
        runs['paper'].path,
        '--out',
        tmp_path / 'out',
        '--dump',
        tmp_path / 'dump.jsonl',
        '--protocol',
        'rmsin',
    )
    assert code in (0, None), error
    _, body, rows = card(tmp_path / 'out')
    low, high = score_intervals(sums)['cIoU']
    assert rows['cIoU'][1] == f'{low:.2f} to {high:.2f}' and low < high
    assert 'protocol `rmsin`' in body and '8 samples' in body


OWN = """
_base_ = {base!r}
custom_imports = dict(imports=['my_own_losses'])
"""


def test_a_module_of_ones_own_is_named_in_the_card_and_where_it_is_missing(
    runs, tmp_path, monkeypatch
):
    config = tmp_path / 'own.py'
    config.write_text(OWN.format(base=str(runs['paper'].config)))
    with pytest.raises(UserError, match=r"'my_own_losses'.*my_own_losses.py.*PYTHONPATH"):
        load_config(str(config))
    (tmp_path / 'modules').mkdir()
    (tmp_path / 'modules/my_own_losses.py').write_text('import a_package_that_is_not_there')
    monkeypatch.syspath_prepend(str(tmp_path / 'modules'))
    with pytest.raises(UserError, match='a_package_that_is_not_there'):
        load_config(str(config))
    (tmp_path / 'modules/my_own_losses.py').write_text('')
    importlib.invalidate_caches()
    done = publish(load_config(str(config)), runs['paper'].path, tmp_path / 'out')
    monkeypatch.delitem(sys.modules, 'my_own_losses')
    assert '`my_own_losses.py`' in card(done.folder)[1]
    assert any('my_own_losses.py' in note for note in done.notes)
    assert load_config(str(done.folder / done.config)).custom_imports.imports == ['my_own_losses']


def test_licences():
    assert licence_of('facebook/sam2.1-hiera-large') == 'apache-2.0'
    assert licence_of('synthrs/towers/sam2') == 'apache-2.0'
    assert licence_of('synthrs/towers/sam2_256') == 'research use'
    assert licence_of('openai/clip-vit-base-patch32') is None and licence_of(None) is None


def test_the_shipped_towers_keep_their_place(tmp_path):
    text = f"""
_base_ = {str(ROOT / 'configs/synthrs_tiny.py')!r}
model = dict(prompter=dict(inner=16, heads=2, mlp_hidden=16))
"""
    (tmp_path / 'tiny.py').write_text(text)
    run = save_trained(tmp_path / 'tiny.py', tmp_path / 'tiny.pth')
    done = publish(run.cfg, run.path, tmp_path / 'out')
    model = load_config(str(done.folder / done.config)).model
    assert model.siglip.checkpoint == 'synthrs/towers/siglip'
    header, _, rows = card(done.folder)
    assert header['license'] == 'apache-2.0' and not header['base_model']
    assert header['datasets'] == ['synthrs'] and 'shipped' in rows['sam'][0]


def test_a_recorded_config_may_have_keys_that_are_no_names():
    """mmengine writes them as dict({...})."""
    rates = {'encoder.': 0.05, 'prompter.sparse.': 1.0}
    text = Config(dict(optim_wrapper=dict(rates=rates, clip=None))).pretty_text
    assert re.search(r'dict\(\s*\{', text)
    assert recorded_config(text) == dict(optim_wrapper=dict(rates=rates, clip=None))
    assert recorded_config('a = dict([1], b=2)') is None


# ------------------------------------------------------------------ refusals


def test_another_publication_is_not_replaced(runs, tmp_path):
    run, out = runs['paper'], tmp_path / 'out'
    first = publish(run.cfg, run.path, out)
    assert publish(run.cfg, run.path, out) == first  # the same once more
    other = tmp_path / 'other.pth'
    content = torch.load(run.path, weights_only=True)
    next(iter(content['state_dict'].values())).add_(1)
    torch.save(content, other)
    before = {path: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(UserError, match=f'another publication .{first.weights}'):
        publish(run.cfg, other, out)
    assert {path: path.read_bytes() for path in out.iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ['other.pth', 'out']


def test_a_full_disk_leaves_nothing(runs, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('rsrefseg2.publishing.export_towers.save_file', full)
    with pytest.raises(UserError, match='No space left'):
        publish(runs['paper'].cfg, runs['paper'].path, tmp_path / 'out', adapters=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(checkpoint='missing.pth'), 'does not exist'),
        (dict(out='taken'), 'is not empty'),
        (dict(out='file'), 'is a file'),
        (dict(siglip='nonsense'), 'no name of the hub'),
        (dict(scores='missing.json'), "'missing.json': the file of scores does not exist"),
        (dict(scores='bare.json'), 'no protocol'),
        (dict(scores='several.json'), 'several evaluators'),
    ],
)
def test_bad_input_is_one_line(run, runs, tmp_path, monkeypatch, change, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'taken').mkdir()
    for name, text in (
        ('taken/notes.txt', 'mine'),
        ('file', ''),
        ('bare.json', '{"gIoU": 1}'),
        ('several.json', '{"evaluators": []}'),
    ):
        (tmp_path / name).write_text(text)
    given = dict(checkpoint=runs['paper'].path, out='out') | change
    code, _, error = run(
        'publish.py',
        runs['paper'].config,
        given.pop('checkpoint'),
        *(part for key, value in given.items() for part in (f'--{key}', value)),
    )
    (line,) = [line for line in error.splitlines() if line.startswith('error: ')]
    assert code == 1 and message in line and 'Traceback' not in error
    assert not (tmp_path / 'out').exists()


def test_what_cannot_be_done_is_refused(tiny, runs, tmp_path):
    cfg = load_config(tiny.config)
    for options, message in (
        (dict(merge_lora=True), 'drawn at random'),
        (dict(adapters=True), 'no tower of this model is adapted'),
    ):
        with pytest.raises(UserError, match=message):
            publish(cfg, tiny.checkpoint, tmp_path / 'out', **options)
    with pytest.raises(UserError, match='is not of this model'):
        publish(runs['paper'].cfg, tiny.checkpoint, tmp_path / 'out')
    assert not list(tmp_path.iterdir())


def test_towers_drawn_at_random_are_held_whole(tiny, tmp_path, image):
    done = publish(load_config(tiny.config), tiny.checkpoint, tmp_path / 'out')
    assert np.array_equal(
        published_logits(done.folder, image), logits(tiny.config, tiny.checkpoint, image)
    )
    _, body, rows = card(done.folder)
    assert rows['siglip'][0] == 'drawn at random' and 'in the checkpoint' in body


def test_a_whole_checkpoint_stays_whole(runs, towers, tmp_path, image):
    """As tools/convert_release.py writes them: they do not say on which towers they began."""
    run = runs['paper']
    model = load_model(run.cfg, run.path)
    model.encoder.text_model.state_dict()['final_layer_norm.bias'].add_(1)
    torch.save(dict(state_dict=model.state_dict(), release=dict(unused={})), tmp_path / 'whole.pth')
    expected = logits(run.config, tmp_path / 'whole.pth', image)
    done = publish(run.cfg, tmp_path / 'whole.pth', tmp_path / 'out', merge_lora=True)
    found = published_logits(done.folder, image)
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()
    assert np.abs(given_logits(run, image) - expected).max() > 1e-3 * np.abs(expected).max()
    assert card(done.folder)[2]['siglip'][1] == 'not known'


def test_scores_need_a_known_protocol(tmp_path):
    (tmp_path / 'scores.json').write_text('{"gIoU": 1.0, "protocol": "papr"}')
    with pytest.raises(UserError, match='did you mean paper'):
        read_scores(tmp_path / 'scores.json')


def test_sam_is_plain_and_has_the_trained_decoder(runs, merged, towers):
    plain, source = (
        Sam2Model.from_pretrained(folder).state_dict()
        for folder in (merged.folder / 'sam', towers.sam2)
    )
    trained = {
        key.removeprefix('mask_generator.sam.'): value
        for key, value in read_checkpoint(runs['paper'].path)['state_dict'].items()
        if 'mask_decoder' in key
    }
    assert plain.keys() == source.keys() and trained
    assert all(
        torch.equal(plain[key], value) and not torch.equal(source[key], value)
        for key, value in trained.items()
        if 'num_batches' not in key
    )

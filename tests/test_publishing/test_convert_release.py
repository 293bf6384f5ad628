"""tools/convert_release.py and what follows it: whole and thin checkpoints on pretrained towers."""

import json
import re
import shutil

import pytest
import torch
from mmengine.registry import DefaultScope

from rsrefseg2.engine import load_config
from rsrefseg2.engine.checkpoint import load_checkpoint, trained_keys
from rsrefseg2.errors import UserError
from rsrefseg2.models.towers.fingerprints import tower_sources
from rsrefseg2.registry import MODELS
from tests import official
from tests.training import ROOT

from .release_cases import TEXT

LOADERS = """
data = dict(data_root={root!r})
train_dataloader = dict(dataset=data)
val_dataloader = dict(dataset=data)
test_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False, dataset=data)
"""


def build(cfg):
    with DefaultScope.overwrite_default_scope('rsrefseg2'):
        return MODELS.build(cfg.model)


@pytest.fixture(scope='module')
def case(tmp_path_factory, towers, rrsisd_root):
    """(config with the pretrained tiny towers, a thin checkpoint of ours, all of its weights)."""
    folder = tmp_path_factory.mktemp('convert')
    text = TEXT.format(
        base=str(ROOT / 'configs/release/rrsisd.py'),
        siglip=0,
        sam=0,
        r=official.R,
        inner=official.INNER,
        hidden=official.HIDDEN,
    )
    for part, tower in (('siglip', towers.siglip), ('sam', towers.sam2)):
        text = re.sub(
            rf'{part}=dict\(checkpoint=dict\(0, _delete_=True\)',
            f'{part}=dict(checkpoint={str(tower)!r}',
            text,
        )
    config = folder / 'rrsisd.py'
    config.write_text(
        text.replace("init='random'", "init='pretrained'") + LOADERS.format(root=str(rrsisd_root))
    )
    model = build(load_config(str(config)))
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    state, path = model.state_dict(), folder / 'trained.pth'
    torch.save(
        dict(
            state_dict={key: state[key] for key in trained_keys(model)},
            meta={},
            towers={name: source._asdict() for name, source in tower_sources(model).items()},
        ),
        path,
    )
    return config, path, state


def ok(outcome):
    code, stdout, stderr = outcome
    assert code in (0, None), stderr
    return stdout


def test_thin_to_official_to_whole_and_thin_and_its_scores(case, run, tmp_path):
    config, trained, state = case
    official_file, whole, thin = (tmp_path / 'made' / f'{n}.pth' for n in ('theirs', 'w', 't'))

    def convert(*arguments):
        return ok(run('convert_release.py', *arguments, '--dataset', 'rrsisd', '--config', config))

    said = convert(trained, official_file, '--back')
    assert f'written: {official_file}' in said
    assert "this file does not: the image tower's pooling head" in said
    assert 'no key of the release is unused' in said
    theirs = torch.load(official_file, weights_only=True)['state_dict']
    assert set(official.official_shapes()) - set(theirs) == {
        name
        for name in official.official_shapes()
        if '.model.model.head.' in name
        and 'vision' in name
        or re.fullmatch(r'decode_head\.logit_(scale1|bias\d)', name)
    }

    convert(official_file, whole, '--report', tmp_path / 'report.json')
    found = torch.load(whole, weights_only=True)
    assert found['state_dict'].keys() == state.keys() and found['towers'] == {}
    assert all(torch.equal(found['state_dict'][key], value) for key, value in state.items())
    assert 'prompter.img_pe' in (tmp_path / 'report.json').read_text()

    said = convert(official_file, thin, '--thin')
    assert re.search(
        r'\d+ weights are left to .*encoder\.vision_model \(\S+, sha256 \w{12}\)', said
    )
    found, before = torch.load(thin, weights_only=True), torch.load(trained, weights_only=True)
    assert found['state_dict'].keys() == before['state_dict'].keys()
    assert found['towers'] == before['towers']

    tables = []
    for path in (whole, thin):
        said = run(
            'test.py',
            config,
            path,
            '--work-dir',
            tmp_path / 'run',
            '--cfg-options',
            f'experiment_name={path.stem}{tmp_path.name}',
        )
        code, stdout, stderr = said
        assert code in (0, None), stderr
        tables.append(re.findall(r'\n(the model .*|the .*, .* {2}.*)', stdout + stderr))
    assert tables[0] and tables[0] == tables[1]
    model, paper, third = tables[0]  # one table of the overall scores
    assert model.split()[-1].isdigit()
    assert paper.split()[4:] == '80.23 75.78 65.41 50.65 31.05 79.45 69.17 -'.split()
    assert re.fullmatch(
        r'the released weights, a third party +80\.03( +-){4} +79\.66 +69\.06 +-', third
    )


def test_a_whole_checkpoint_lies_over_any_towers(case, run, tmp_path):
    """Other pretrained weights below it do not show, and are not asked about."""
    config, trained, state = case
    whole = tmp_path / 'whole.pth'
    torch.save(dict(state_dict=state, towers={}, meta={}), whole)
    model = build(load_config(str(config)))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    load_checkpoint(model, whole)
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


def test_thin_is_refused_where_a_tower_differs(case, run, tmp_path):
    config, trained, state = case
    key = 'encoder.vision_model.post_layernorm.weight'
    changed, theirs = tmp_path / 'changed.pth', tmp_path / 'theirs.pth'
    torch.save(dict(state_dict={**state, key: state[key] + 1}, towers={}, meta={}), changed)
    options = ('--dataset', 'rrsisd', '--config', config)
    ok(run('convert_release.py', changed, theirs, '--back', *options))
    code, _, stderr = run('convert_release.py', theirs, tmp_path / 'o.pth', '--thin', *options)
    assert code == 1 and not (tmp_path / 'o.pth').exists()
    (line,) = [line for line in stderr.splitlines() if line.startswith('error: ')]
    assert re.fullmatch(
        rf'error: {re.escape(str(theirs))} cannot be thin: 1 of its \d+ frozen '
        rf"weights are not the towers' own \({re.escape(key)}\): drop --thin",
        line,
    )


def test_a_part_of_a_tower_is_not_taken_for_a_whole_one(case, tmp_path):
    config, _, state = case
    part = tmp_path / 'part.pth'
    torch.save(
        dict(
            state_dict={k: v for k, v in state.items() if 'post_layernorm' not in k},
            towers={},
            meta={},
        ),
        part,
    )
    with pytest.raises(UserError, match='was trained on other weights of encoder.vision_model'):
        load_checkpoint(build(load_config(str(config))), part)


def test_a_towers_config_says_what_it_said_in_the_training(case, towers, tmp_path):
    config, trained, _ = case
    sam = shutil.copytree(towers.sam2, tmp_path / 'sam')
    cfg = load_config(str(config))
    cfg.model.sam.checkpoint = str(sam)
    settings = json.loads((sam / 'config.json').read_text())
    settings['of_a_newer_version'], settings['initializer_range'] = 1, 0.5
    (sam / 'config.json').write_text(json.dumps(settings))
    load_checkpoint(build(cfg), trained)  # a copy elsewhere, the same function
    settings['vision_config']['backbone_config']['layer_norm_eps'] = 0.25
    (sam / 'config.json').write_text(json.dumps(settings))
    with pytest.raises(
        UserError,
        match=r'config\.json of mask_generator.sam .* vision_config\S+layer_norm_eps=0\.25 instead of',
    ):
        load_checkpoint(build(cfg), trained)


def test_a_file_that_cannot_be_written(case, run, tmp_path):
    config, trained, _ = case
    (tmp_path / 'folder').mkdir()
    code, _, stderr = run(
        'convert_release.py',
        trained,
        tmp_path / 'folder',
        '--back',
        '--dataset',
        'rrsisd',
        '--config',
        config,
    )
    (line,) = [line for line in stderr.splitlines() if line.startswith('error: ')]
    assert code == 1 and f'{tmp_path}/folder is a folder: choose another' in line


def test_back_and_thin_exclude_each_other(run, tmp_path):
    code, _, stderr = run('convert_release.py', 'a', 'b', '--dataset', 'rrsisd', '--back', '--thin')
    assert code == 2 and "the release's files are whole" in stderr

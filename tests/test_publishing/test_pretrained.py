"""Models by name: what is saved or pushed is what comes back; nothing from the hub is run."""

import copy
import shutil

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from mmengine.registry import DefaultScope

from rsrefseg2.apis import Predictor
from rsrefseg2.engine import load_config, load_model
from rsrefseg2.engine.checkpoint import trained_keys
from rsrefseg2.errors import UserError
from rsrefseg2.models import RSRefSeg2
from rsrefseg2.models.towers.fingerprints import tower_sources
from rsrefseg2.publishing import find_pretrained
from rsrefseg2.publishing.pretrained import find_pair
from rsrefseg2.registry import MODELS
from tests.stand_in_hub import serving
from tests.training import ROOT, write_config

SENTENCES = ['the red car on the left', 'a ship']
OURS = 'me/my-model'


@pytest.fixture(scope='module')
def loaded(tmp_path_factory, towers, rrsisd_root):
    """A model as `load_model` gives it; its config names towers by folders. Not to be changed."""
    folder = tmp_path_factory.mktemp('author')
    config = load_config(
        str(
            write_config(
                folder / 'harbour.py', siglip=towers.siglip, sam=towers.sam2, data_root=rrsisd_root
            )
        )
    )
    model = build(config)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    state = model.state_dict()
    torch.save(
        dict(
            state_dict={key: state[key] for key in trained_keys(model)},
            meta={},
            towers={name: source._asdict() for name, source in tower_sources(model).items()},
        ),
        folder / 'harbour.pth',
    )
    return load_model(config, folder / 'harbour.pth', 'cpu')


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with serving(monkeypatch, tmp_path / 'hub') as hub:
        yield hub


@pytest.fixture(scope='module')
def published(loaded, tmp_path_factory):
    """The folder that `save_pretrained` writes of it. Not to be changed."""
    folder = tmp_path_factory.mktemp('published') / 'model'
    loaded.save_pretrained(folder)
    return folder


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (37, 53, 3), dtype=np.uint8)


def build(config):
    with DefaultScope.overwrite_default_scope('rsrefseg2'):
        return MODELS.build(copy.deepcopy(config.model))


def changed(model, by=0.25):
    """A copy, trained a little further."""
    model = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(by * torch.randn_like(parameter))
    return model


def assert_same(found, expected):
    found, expected = found.state_dict(), expected.state_dict()
    assert found.keys() == expected.keys()
    assert not [key for key, value in expected.items() if not torch.equal(value, found[key])]


def logits(model, image):
    """(2, H, W), of a model in memory."""
    data = model.data_preprocessor
    with torch.inference_mode():
        images = model.encode_images(*data.images([torch.from_numpy(image.transpose(2, 0, 1))]))
        ids, lengths = data.tokenize(SENTENCES)
        outputs = model.segment(images, torch.zeros_like(lengths), ids, lengths)
        return torch.stack(model.masks(outputs.mask_logits, [image.shape[:2]] * len(SENTENCES)))


def message_of(call, *arguments, **options):
    with pytest.raises(UserError) as caught:
        call(*arguments, **options)
    assert '\n' not in str(caught.value)
    return str(caught.value)


# ------------------------------------------------------------------ folders


def test_saved_and_read_back(loaded, image, tmp_path):
    """From another place: the towers that the config names by folders went along."""
    model = changed(loaded)
    model.known_words = frozenset(['ship', 'car'])
    model.save_pretrained(tmp_path / 'first')
    folder = shutil.move(tmp_path / 'first', tmp_path / 'moved')
    found = RSRefSeg2.from_pretrained(folder)
    assert_same(found, model)
    assert not found.training and found.known_words == {'ship', 'car'}
    assert found.cfg.filename == str(tmp_path / 'moved/harbour.py')
    assert torch.equal(logits(found, image), logits(model, image))
    assert not torch.equal(logits(found, image), logits(loaded, image))
    predictor = Predictor.from_pretrained(folder, 'cpu')
    answers = predictor.set_image(image).predict(SENTENCES)
    assert torch.equal(torch.tensor(np.stack([a.logits for a in answers])), logits(model, image))

    (weights,) = (tmp_path / 'moved').glob('*.pth')
    held = torch.load(weights, weights_only=True)
    assert held['state_dict'].keys() == set(trained_keys(model))  # thin
    assert held['meta'].keys() == {'function', 'tokenizer', 'torch', 'words'}
    card = (tmp_path / 'moved/README.md').read_text()
    for family in ('siglip', 'sam'):
        assert f'`{family}/` | the tower that training began with' in card
    assert 'is not part of this folder' not in card and 'siglip and sam is in this folder' in card
    text = (tmp_path / 'moved/harbour.py').read_text()
    assert 'tmp' not in text and '{{fileDirname}}/siglip' in text

    found.save_pretrained(tmp_path / 'again')
    assert_same(RSRefSeg2.from_pretrained(tmp_path / 'again'), model)


def test_frozen_weights_that_a_checkpoint_replaced_are_saved(loaded, tmp_path):
    """A whole checkpoint may hold other ones than the tower's files, as a converted one may."""
    key = 'encoder.vision_model.post_layernorm.weight'
    assert key not in set(trained_keys(loaded))
    state = {**loaded.state_dict(), key: loaded.state_dict()[key] + 1}
    torch.save(dict(state_dict=state, meta={}, towers={}), tmp_path / 'whole.pth')
    model = load_model(loaded.cfg, tmp_path / 'whole.pth', 'cpu')
    assert set(trained_keys(model)) - set(trained_keys(loaded)) == {key}
    model.save_pretrained(tmp_path / 'saved')
    found = RSRefSeg2.from_pretrained(tmp_path / 'saved')
    assert torch.equal(found.state_dict()[key], state[key])
    assert_same(found, model)


def test_the_shipped_folder(image):
    demo = RSRefSeg2.from_pretrained(ROOT / 'demo')
    found = find_pretrained(str(ROOT / 'demo'))
    assert_same(demo, load_model(load_config(found.config), found.checkpoint, 'cpu'))
    assert found.source.startswith('demo_tiny-30318926.pth from ')


def test_a_model_without_its_config(loaded, tmp_path):
    model = build(loaded.cfg)
    assert 'model.cfg = load_config(PATH)' in message_of(model.save_pretrained, tmp_path / 'out')
    assert not (tmp_path / 'out').exists()
    model.cfg = loaded.cfg
    model.save_pretrained(tmp_path / 'out')
    assert_same(RSRefSeg2.from_pretrained(tmp_path / 'out'), model)


def test_a_folder_that_holds_something_else(loaded, tmp_path):
    (tmp_path / 'mine.txt').write_text('x')
    assert 'is not empty' in message_of(loaded.save_pretrained, tmp_path)
    assert 'holds 0 published models' in message_of(find_pretrained, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ['mine.txt']


@pytest.mark.parametrize(
    'names',
    [
        ['a.py', 'a.pth'],
        ['a-01234567.pth', 'b.py'],
        ['a-01234567.pth', 'a-76543210.pth', 'a.py'],
        ['sub/a-01234567.pth', 'sub/a.py'],
    ],
)
def test_what_is_no_published_folder(names):
    message = message_of(find_pair, names, 'x')
    assert 'x holds' in message and 'rsrefseg2-rrsisd' in message
    assert find_pair([*names, 'c-89abcdef.pth', 'c.py'][-3:], 'x') == ('c.py', 'c-89abcdef.pth')


@pytest.mark.parametrize(
    ('name', 'near'),
    [
        ('rsrefseg2-rrsis', '(did you mean rsrefseg2-rrsisd'),
        ('refsegrs', 'rsrefseg2-refsegrs'),
        ('xyz', ''),
    ],
)
def test_an_unknown_name(name, near, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = message_of(find_pretrained, name)
    named, _, known = message.partition(': ')
    assert named.startswith(f'no model is named {name!r}') and 'rsrefseg2-risbench' in known
    assert near in named if near else 'did you mean' not in named


# ------------------------------------------------------------------ the hub


def test_pushed_and_read_back(loaded, hub, image):
    url = loaded.push_to_hub(OURS, token='hf_secret', message='First')
    assert url.startswith(f'{hub.endpoint}/{OURS}/commit/') and hub.summaries == ['First']
    assert 'Bearer hf_secret' in hub.tokens
    found = RSRefSeg2.from_pretrained(OURS)
    assert_same(found, loaded)
    assert torch.equal(logits(found, image), logits(loaded, image))
    source = find_pretrained(OURS).source
    assert f'{hub.endpoint}/{OURS}' in source and 'licence other' in source  # towers of nobody

    held = hub.repositories[OURS]
    held['notes.txt'] = b'mine'
    before = {name for name in held if name.endswith('.pth')}
    model = changed(loaded)
    model.push_to_hub(OURS)
    assert hub.summaries == ['First', 'Publish the model'] and 'notes.txt' in held
    after = {name for name in held if name.endswith('.pth')}
    assert len(before) == len(after) == 1 and before != after
    assert_same(RSRefSeg2.from_pretrained(OURS), model)  # and not what was fetched before
    card = ModelCard(held['README.md'].decode())
    assert card.data.pipeline_tag == 'image-segmentation'


def test_only_the_model_is_fetched(published, hub):
    hub.add_folder(OURS, published)
    hub.repositories[OURS] |= {
        '.gitattributes': b'',
        'video.mp4': b'x',
        'adapters/siglip/a.safetensors': b'x',
    }
    find_pretrained(OURS)
    kinds = {name.removeprefix(f'{OURS}/').partition('/')[0] for name in hub.files_asked()}
    assert {'siglip', 'sam', 'README.md', 'harbour.py'} < kinds
    assert not kinds & {'video.mp4', 'adapters', '.gitattributes'}


@pytest.mark.parametrize('offline', [True, False])
def test_without_the_hub_what_was_fetched_serves(loaded, published, hub, monkeypatch, offline):
    hub.add_folder(OURS, published)
    find_pretrained(OURS)
    hub.close()
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', offline)
    assert_same(RSRefSeg2.from_pretrained(OURS), loaded)
    message = message_of(find_pretrained, 'me/another')
    assert '`hf download me/another`' in message and hub.endpoint in message
    assert ('HF_HUB_OFFLINE forbids' in message) == offline


def test_half_a_download_does_not_serve(loaded, published, hub, tmp_path, monkeypatch):
    hub.add_folder(OURS, published)
    find_pretrained(OURS)
    (tower,) = (tmp_path / 'hub').glob('models--me--my-model/snapshots/*/sam/model.safetensors')
    tower.unlink()
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)
    assert 'does not hold it' in message_of(find_pretrained, OURS)
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', False)
    assert_same(RSRefSeg2.from_pretrained(OURS), loaded)


def test_there_is_no_such_repository(hub):
    message = message_of(find_pretrained, 'me/nothing')
    assert 'RepositoryNotFoundError' in message and '`hf download me/nothing`' in message
    hub.repositories['me/nothing'] = {'README.md': b''}
    assert 'me/nothing holds 0 published models' in message_of(find_pretrained, 'me/nothing')


def test_a_push_that_is_refused(loaded, hub):
    message = message_of(loaded.push_to_hub, 'somebody/model')
    assert 'somebody/model is not pushed' in message and '`hf auth login`' in message
    assert 'somebody/model' not in hub.repositories


@pytest.mark.parametrize(
    ('old', 'new', 'said'),
    [
        ('', "open('ran', 'w')\n", 'something else than values'),
        ('', "_base_ = './other.py'\n", '_base_'),
        ('', "custom_imports = dict(imports=['other'])\n", 'custom_imports'),
        ("'mmdet.DiceLoss'", "'os.system'", "type='os.system'"),
        ("'mmdet.DiceLoss'", "'mmdet.apis.inference'", "type='mmdet.apis.inference'"),
        ("'mmdet.DiceLoss'", "'{{$NOT_SET:os.system}}'", "type='os.system'"),
        ("type='mmdet.DiceLoss'", "**{'{{$NOT_SET:type}}': 'os.system'}", 'something else'),
    ],
)
def test_no_program_comes_from_the_hub(published, hub, tmp_path, old, new, said):
    """What would run one if the config were read: the file itself, a base, a module, a `type`."""
    hub.add_folder(OURS, published)
    held = hub.repositories[OURS]
    text = held['harbour.py'].decode()
    assert old in text
    held['harbour.py'] = text.replace(old, new, 1).encode()
    held['other.py'] = b"open('ran', 'w')"
    message = message_of(find_pretrained, OURS)
    assert said in message and f'`hf download {OURS} --local-dir DIR`' in message
    assert not (tmp_path / 'ran').exists()


# ------------------------------------------------------------------ the command line


@pytest.mark.parametrize(
    'other', [['--config', 'a.py'], ['--checkpoint', 'a.pth'], ['--demo']], ids=lambda o: o[0]
)
def test_a_name_excludes_files(run, other):
    code, _, err = run('predict.py', 'a.png', 'a ship', '--model', 'rsrefseg2-rrsisd', *other)
    assert code == 2
    assert err.splitlines()[-1].endswith(
        '--model has its own config and checkpoint: drop --config, --checkpoint, --demo'
    )


def test_a_name_without_a_picture(run):
    code, _, err = run('predict.py', '--model', 'rsrefseg2-rrsisd')
    assert code == 2 and 'IMAGE and --model are needed' in err.splitlines()[-1]

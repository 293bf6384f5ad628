"""The authors' three checkpoints by name, from a stand-in of the hub: fetched and converted once."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

from rsrefseg2.apis import Predictor
from rsrefseg2.engine import load_config
from rsrefseg2.errors import UserError
from rsrefseg2.files import cache_folder
from rsrefseg2.models import RSRefSeg2
from rsrefseg2.models.towers import catalogue
from rsrefseg2.publishing import find_pretrained, from_release, released
from tests import official, tiny_towers
from tests.stand_in_hub import serving
from tests.training import ROOT

from .release_cases import TEXT, write_official

NAME = 'rsrefseg2-rrsisd'
OTHERWISE = 'by hand'


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """A folder with both towers and a checkpoint in the authors' layout, all tiny."""
    folder = tmp_path_factory.mktemp('authors')
    words = (*tiny_towers.WORDS, *(f'word{i}' for i in range(46)))  # 64 with the special ones
    tiny_towers.write_siglip(folder / 'siglip', words=words)
    tiny_towers.write_sam2(folder / 'sam2')
    (folder / 'official').mkdir()
    write_official(folder / 'official/rrsisd.pth')
    return folder


@pytest.fixture
def hub(files, tmp_path, monkeypatch):
    """The hub with the authors' repository; configs/release with tiny towers that it has, too."""
    monkeypatch.setenv('RSREFSEG2_CACHE', str(tmp_path / 'cache'))
    monkeypatch.chdir(tmp_path)
    for family, name, described in (
        ('SIGLIP', 'tiny/siglip', tiny_towers.siglip_config()),
        ('SAM', 'tiny/sam2', tiny_towers.sam2_config()),
    ):
        monkeypatch.setitem(getattr(catalogue, family), name, described)
    monkeypatch.setitem(catalogue.LICENCES, 'tiny/s', 'apache-2.0')
    for dataset in released.RELEASED:
        text = TEXT.format(
            base=str(ROOT / f'configs/release/{dataset}.py'),
            siglip='tiny/siglip',
            sam='tiny/sam2',
            r=official.R,
            inner=official.INNER,
            hidden=official.HIDDEN,
        )
        text = re.sub(r"dict\(('tiny/\w+'), _delete_=True\)", r'\1', text)
        (tmp_path / f'{dataset}.py').write_text(text.replace("'random'", "'pretrained'"))
    monkeypatch.setattr(released, 'CONFIG', str(tmp_path / '{}.py'))
    with serving(monkeypatch, tmp_path / 'hub') as hub:
        hub.add_folder('tiny/siglip', files / 'siglip')
        hub.add_folder('tiny/sam2', files / 'sam2')
        hub.add_folder(released.REPOSITORY, files / 'official')
        hub.repositories[released.REPOSITORY] |= {'README.md': b'', 'refsegrs.pth': b'another'}
        yield hub


@pytest.fixture
def conversions(monkeypatch):
    """A list that grows by one for each conversion."""
    done = []

    def counted(*args, **kwargs):
        done.append(args[0])
        return from_release(*args, **kwargs)

    monkeypatch.setattr(released, 'from_release', counted)
    return done


def test_fetched_and_converted_once(hub, files, conversions, tmp_path):
    first = find_pretrained(NAME)
    assert hub.files_asked() == [f'{released.REPOSITORY}/rrsisd.pth']  # and no other one
    assert first.config == str(tmp_path / 'rrsisd.py')
    by_hand = tmp_path / 'by_hand.pth'
    from_release(
        str(files / 'official/rrsisd.pth'),
        str(by_hand),
        cfg=load_config(first.config),
        dataset='rrsisd',
    )
    found, expected = (
        torch.load(path, weights_only=True)['state_dict'] for path in (first.checkpoint, by_hand)
    )
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], value) for key, value in expected.items())
    for part in (NAME, f'https://huggingface.co/{released.REPOSITORY}', 'Apache-2.0'):
        assert part in first.source
    assert 'tiny/siglip (apache-2.0), tiny/sam2 (apache-2.0)' in first.source
    assert '\n' not in first.source

    hub.asked.clear()
    assert find_pretrained(NAME) == first
    assert len(conversions) == 1 and not hub.asked


def test_predict_by_name(hub, run, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / 'a.png')
    code, out, err = run('predict.py', tmp_path / 'a.png', 'a ship', '--model', NAME, '--out', 'p')
    assert code in (0, None), err
    (said,) = [line for line in out.splitlines() if 'licence' in line]
    assert said == find_pretrained(NAME).source
    mask = np.asarray(Image.open(tmp_path / 'p/a_1_mask.png')) > 0
    model = Predictor.from_pretrained(NAME, 'cpu')
    (answer,) = model.set_image(pixels).predict('a ship')
    assert 0 < mask.mean() < 1 and np.array_equal(mask, answer.mask)
    asked = set(hub.files_asked())
    assert {'tiny/siglip/model.safetensors', 'tiny/sam2/model.safetensors'} <= asked
    weights = RSRefSeg2.from_pretrained(NAME).state_dict()
    assert all(torch.equal(value, weights[key]) for key, value in model.model.state_dict().items())


def test_an_interrupted_conversion_leaves_nothing(hub, conversions, monkeypatch):
    def half(_, file):
        file.write(b'half')
        raise KeyboardInterrupt

    folder = cache_folder() / 'released'
    with monkeypatch.context() as patch:
        patch.setattr('torch.save', half)
        with pytest.raises(KeyboardInterrupt):
            find_pretrained(NAME)
    assert not list(folder.glob('*.pth'))
    find_pretrained(NAME)
    assert len(conversions) == 2  # of a file that was fetched once
    assert hub.files_asked() == [f'{released.REPOSITORY}/rrsisd.pth']
    assert sorted(path.suffix for path in folder.iterdir()) == ['.lock', '.pth']


def test_two_at_once_convert_once(hub, monkeypatch):
    """The second waits for the lock of the first, and finds its file."""
    begun, calls = threading.Event(), []

    def slow(*args, **kwargs):
        calls.append(args)
        begun.set()
        second.append(pool.submit(find_pretrained, NAME))
        assert not second[0].done()
        return from_release(*args, **kwargs)

    second = []
    monkeypatch.setattr(released, 'from_release', slow)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(find_pretrained, NAME).result(timeout=60)
        assert begun.is_set() and second[0].result(timeout=60) == first
    assert len(calls) == 1


def test_a_file_of_another_data_set_is_refused(hub):
    hub.repositories[released.REPOSITORY]['risbench.pth'] = hub.repositories[released.REPOSITORY][
        'rrsisd.pth'
    ]
    with pytest.raises(UserError, match='was trained on rrsisd, as its own "meta" says'):
        find_pretrained('rsrefseg2-risbench')
    assert not list((cache_folder() / 'released').glob('*.pth'))


def test_what_was_fetched_elsewhere_needs_no_network(hub, monkeypatch, conversions):
    from huggingface_hub import constants, hf_hub_download

    hf_hub_download(released.REPOSITORY, 'rrsisd.pth', cache_dir=constants.HF_HUB_CACHE)
    hub.asked.clear()
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)
    find_pretrained(NAME)
    assert len(conversions) == 1 and not hub.asked


@pytest.mark.parametrize('offline', [True, False])
def test_without_the_hub_one_line_says_what_to_fetch(hub, monkeypatch, offline):
    if offline:
        monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)
    hub.close()
    with pytest.raises(UserError) as caught:
        find_pretrained(NAME)
    message = str(caught.value)
    assert ('HF_HUB_OFFLINE forbids' in message) == offline
    for part in (
        *(f'`hf download {name}`' for name in (released.REPOSITORY, 'tiny/siglip', 'tiny/sam2')),
        hub.endpoint,
        'HF_HOME',
        'HF_ENDPOINT',
        '`rsrefseg2 convert-release FILE OUT --dataset rrsisd`',
        '--checkpoint OUT',
    ):
        assert part in message
    assert '\n' not in message


@pytest.mark.parametrize(
    ('names', 'chosen'),
    [
        (['rrsisd.pth', 'risbench.pth', 'old/risbench.pth'], 'risbench.pth'),
        (['rrsisd.pth', 'RIS-Bench_best.pth'], 'RIS-Bench_best.pth'),
        (['README.md', 'risbench.txt', 'weights/risbench_7257.pth'], 'weights/risbench_7257.pth'),
    ],
)
def test_the_file_is_the_one_that_names_the_data_set(names, chosen):
    assert released.choose_file(names, 'risbench', OTHERWISE) == chosen


@pytest.mark.parametrize(
    ('names', 'held'),
    [
        (['README.md', 'risbench.txt'], '(none)'),
        (['rrsisd.pth', 'refsegrs.pth'], '(refsegrs.pth, rrsisd.pth)'),
        (['risbench_b.pth', 'risbench_a.pth', 'rrsisd.pth'], '(risbench_a.pth, risbench_b.pth)'),
    ],
)
def test_no_file_is_guessed(names, held):
    with pytest.raises(UserError) as caught:
        released.choose_file(names, 'risbench', OTHERWISE)
    assert held in str(caught.value) and str(caught.value).endswith(OTHERWISE)


def test_the_names_are_those_of_the_release():
    """Each has its config among the shipped ones, whose towers are the authors'."""
    assert released.NAMES == {f'rsrefseg2-{name}': name for name in released.RELEASED}
    for dataset in released.NAMES.values():
        model = load_config(released.CONFIG.format(dataset)).model
        assert model.siglip.checkpoint == 'google/siglip2-so400m-patch16-512'
        assert model.sam.checkpoint == 'facebook/sam2.1-hiera-large'

"""The tiny towers' pretraining, and how well a SigLIP points, on a few scenes."""

import json
import math

import pytest
import torch
from mmengine.registry import DefaultScope
from pycocotools import mask as coco_mask
from safetensors.torch import load_file
from transformers import AutoConfig

from rsrefseg2.datasets.scene_files import read_scenes
from rsrefseg2.errors import UserError
from rsrefseg2.models.data_preprocessor import RefSegDataPreprocessor
from rsrefseg2.models.prompter.init import sine_positions
from rsrefseg2.models.towers.load import load_sam, load_siglip
from rsrefseg2.registry import MODELS, SCOPE
from rsrefseg2.synthrs.generation.language import Phrase, Relation
from rsrefseg2.synthrs.pretraining.lavt_task import LAVTPretraining
from rsrefseg2.synthrs.pretraining.pointing import pointing_game
from rsrefseg2.synthrs.pretraining.pointing_task import PointingPretraining, Reading, even_contrast
from rsrefseg2.synthrs.pretraining.questions import questions
from rsrefseg2.synthrs.pretraining.sam_task import SamPretraining
from rsrefseg2.synthrs.pretraining.siglip_task import SiglipPretraining
from rsrefseg2.synthrs.pretraining.start_values import whiten_patches
from rsrefseg2.synthrs.pretraining.train_towers import pretrain, training_scenes

OPTIONS = dict(image_size=64, patch_size=16, layers=2, width=48, positions='sine', reading=0.1)
LOSSES = ('contrast', 'patches', 'softmax', 'reading')


def test_a_tower_is_trained_saved_and_loads(dataset, tmp_path):
    pretrain('siglip', data_root=dataset, out=tmp_path, steps=2, seed=0, images=2, **OPTIONS)
    siglip = load_siglip(str(tmp_path))
    vision = siglip.config.vision_config
    assert (vision.image_size, vision.patch_size, vision.num_hidden_layers) == (64, 16, 2)
    for part in (vision, siglip.config.text_config):
        assert (part.hidden_size, part.intermediate_size, part.num_attention_heads) == (48, 192, 2)
    head, step, last = map(json.loads, (tmp_path / 'pretraining.jsonl').read_text().splitlines())
    assert head.items() >= dict(OPTIONS, images=2, lr=2e-3, steps=2).items()
    assert step['step'] == 2 and math.isfinite(sum(step[name] for name in LOSSES))
    assert {'attribute', 'position', 'relation'} < set(last['pointing'])
    pretrain(
        'siglip',
        data_root=dataset,
        out=tmp_path / 'on',
        steps=1,
        seed=0,
        images=2,
        start=tmp_path,
        **OPTIONS,
    )
    head = json.loads((tmp_path / 'on/pretraining.jsonl').read_text().splitlines()[0])
    assert head['layers'] == 2 and not {'positions', 'patches'} & set(head)  # of the first run


def test_lavts_towers_are_trained_saved_and_load_into_the_model(dataset, tmp_path):
    pretrain('lavt', data_root=dataset, out=tmp_path, steps=2, seed=0, images=2, image_size=64)
    swin, bert = (dict(checkpoint=str(tmp_path / name)) for name in ('swin', 'bert'))
    with DefaultScope.overwrite_default_scope(SCOPE):
        model = MODELS.build(dict(type='LAVT', swin=swin, bert=dict(bert, max_length=24)))
    assert model.input_size == (64, 64) and model.mask_size == (16, 16)
    kept = load_file(tmp_path / 'swin/model.safetensors')
    place = 'embeddings.position_embeddings'
    assert torch.equal(model.swin.swin.state_dict()[place], kept[place])
    head, step, last = map(json.loads, (tmp_path / 'pretraining.jsonl').read_text().splitlines())
    assert head.items() >= dict(tower='lavt', image_size=64, images=2, steps=2).items()
    assert head['parameters'] == sum(
        p.numel() for p in (*model.swin.parameters(), *model.bert.parameters())
    )
    assert math.isfinite(sum(step[name] for name in LOSSES))
    assert {'attribute', 'position', 'relation'} < set(last['pointing'])


def test_a_patch_of_lavts_is_the_sum_of_two_stages_and_a_sentence_the_mean_of_its_words(tmp_path):
    torch.manual_seed(0)
    task = LAVTPretraining(tmp_path, image_size=64).eval()
    swin, images = task.swin.swin, torch.randn(2, 3, 64, 64)
    hidden = swin(images, output_hidden_states=True, always_partition=True).reshaped_hidden_states
    # transformers gives what enters stage 2, 3 and 4 (after merging), and the last stage's output
    tokens, size = hidden[2].flatten(2).mT, (4, 4)
    for block in swin.encoder.layers[2].blocks:
        tokens = block(tokens, size, always_partition=True)[0]
    third = task.heads[0](task.norms[0](tokens)).mT.unflatten(2, size)
    fourth = task.heads[1](task.norms[1](hidden[4].flatten(2).mT)).mT.unflatten(2, (2, 2))
    both = third + torch.nn.functional.interpolate(fourth, (4, 4), mode='bilinear')
    torch.testing.assert_close(task.patches(images), both.flatten(2).mT)
    ids, lengths = torch.randint(3, 40, (2, 24)), torch.tensor([5, 9])
    for k, n in enumerate(lengths):
        words = task.bert.bert(input_ids=ids[k : k + 1, :n]).last_hidden_state[0]
        expected = torch.nn.functional.normalize(words.mean(0), dim=0)
        torch.testing.assert_close(task.sentences(ids, lengths)[k], expected)


def test_a_pretraining_replaces_its_own_files_alone(dataset, tmp_path):
    given = dict(data_root=dataset, steps=1, seed=0, images=1)
    target = tmp_path / 'of_mine'
    target.write_text('mine')
    out = tmp_path / 'out'
    out.mkdir()
    (out / 'config.json').symlink_to(target)
    for wrong, says in (
        (dict(), 'config.json is a link'),
        (dict(steps=0), '--steps'),
        (dict(lr=math.nan), '--lr'),
        (dict(device='abacus'), 'abacus'),
        (dict(data_root=tmp_path), str(tmp_path)),
        (dict(start=out, overwrite=True), 'the weights to go on from'),
    ):
        with pytest.raises(UserError, match=says):
            pretrain('sam2', out=out, **{**given, **wrong})
    pretrain('sam2', out=out, **given)  # begun by the last one: ours
    assert target.read_text() == 'mine' and not (out / 'config.json').is_symlink()
    (out / 'pretraining.jsonl').write_text('{"other": 1}')
    with pytest.raises(UserError, match='pretraining.jsonl is there'):
        pretrain('sam2', out=out, **given)


def test_sam_goes_on_from_where_it_was(dataset, tmp_path):
    pretrain('sam2', data_root=dataset, out=tmp_path / 'a', steps=1, seed=0, images=2)
    pretrain(
        'sam2',
        data_root=dataset,
        out=tmp_path / 'b',
        steps=1,
        seed=1,
        images=2,
        start=tmp_path / 'a',
    )
    first, second = (load_sam(str(tmp_path / name)).state_dict() for name in 'ab')
    moved = [(first[name] - second[name]).abs().max() for name in first]
    assert 0 < max(moved) < 0.05  # one step, not other weights
    assert AutoConfig.from_pretrained(tmp_path / 'b').model_type == 'sam2'
    head = json.loads((tmp_path / 'b/pretraining.jsonl').read_text().splitlines()[0])
    assert head.items() >= dict(images=2, sentences=4, image_size=192).items()


def test_sams_point_lies_on_the_mask_and_the_coarse_mask_over_it(monkeypatch):
    """Masks of 64 x 64 for an image of 192: a mask pixel is 3 x 3 of the image's."""
    torch.manual_seed(0)
    task = SamPretraining()
    drawn = []
    encode = task.sam.prompt_encoder.forward

    def keep(points, *others):
        drawn.append(points[:, 0, 0])
        return encode(points, *others)

    monkeypatch.setattr(task.sam.prompt_encoder, 'forward', keep)
    masks = torch.zeros(2, 64, 64)
    masks[0, 10, 50] = 1  # one pixel
    masks[1, 20:22, 5:45:4] = 1  # twenty
    for _ in range(60):
        task._points(masks)
    points = torch.stack(drawn, 1)
    assert points[0].eq(torch.tensor([50 * 3 + 1.0, 10 * 3 + 1.0])).all()
    pixels = ((points[1] - 1) / 3).long()
    assert masks[1, pixels[:, 1], pixels[:, 0]].all() and len(pixels.unique(dim=0)) > 15
    coarse = task._coarse(masks.repeat(100, 1, 1))
    absent = coarse.flatten(1).eq(0).all(1)
    assert coarse.shape == (200, 48, 48) and 30 < absent.sum() < 90
    peak = coarse[0::2][~absent[0::2]].mean(0)
    assert divmod(int(peak.argmax()), 48)[0] // 4 == 10 * 12 // 64
    assert divmod(int(peak.argmax()), 48)[1] // 4 == 50 * 12 // 64


def test_each_tower_takes_its_own_options(run, dataset, tmp_path):
    code, _, error = run(
        'pretrain_tiny_towers.py',
        'sam2',
        '--data',
        dataset,
        '--layers',
        2,
        '--out',
        tmp_path / 'out',
    )
    assert code == 2 and '--layers is for siglip alone' in error
    code, _, error = run(
        'pretrain_tiny_towers.py',
        'siglip',
        '--data',
        dataset,
        '--sentences',
        2,
        '--out',
        tmp_path / 'out',
    )
    assert code == 2 and '--sentences is for sam2 alone' in error
    for option, says in (
        (('--layers', 2), 'for siglip alone'),
        (('--start', tmp_path), 'sam2 alone'),
    ):
        code, _, error = run('pretrain_tiny_towers.py', 'lavt', '--data', dataset, *option)
        assert code == 2 and f'{option[0]} is for siglip' in error and says in error
    with pytest.raises(TypeError, match='layers'):
        pretrain('sam2', data_root=dataset, out=tmp_path / 'out', steps=1, seed=0, layers=2)


SENTENCES = (
    (
        Phrase('ship', 'red', 'small', 'upper left'),
        ('ship', 'red', 'small', 'upper left', None, None, None, None, None),
    ),
    (
        Relation(Phrase('vehicle'), 'closest', Phrase('ship', place='left')),
        ('vehicle', None, None, None, 'closest', 'ship', None, None, 'left'),
    ),
)


def test_reading_names_every_part_of_a_sentence():
    for meaning, parts in SENTENCES:
        assert Reading.parts(meaning) == parts


def test_reading_is_the_sum_of_the_parts_cross_entropies():
    torch.manual_seed(0)
    reading = Reading(24)
    t_sent = torch.nn.functional.normalize(torch.randn(2, 24), dim=-1)
    found = reading(t_sent, [meaning for meaning, _ in SENTENCES])
    weight, bias, count = reading.words.weight, reading.words.bias, len(Reading.WORDS)
    expected = []
    for t, (_, parts) in zip(t_sent, SENTENCES):
        total = 0
        for k, word in enumerate(parts):
            rows = slice(k * count, (k + 1) * count)
            logits = weight[rows] @ (t * math.sqrt(24)) + bias[rows]
            total = total - logits[Reading.WORDS.index(word)] + logits.exp().sum().log()
        expected.append(total)
    torch.testing.assert_close(found, sum(expected) / 2)


def test_reading_teaches_the_text_tower_alone_and_only_where_it_is_asked_for(dataset, tmp_path):
    batch = next(questions(training_scenes(dataset), dataset, images=2, seed=0))
    for weight in (0.0, 0.2):
        torch.manual_seed(0)
        task = SiglipPretraining(tmp_path, image_size=64, reading=weight)
        task(batch)['reading'].backward()
        moved = [
            p.grad is not None and p.grad.abs().sum() > 0
            for p in task.siglip.text_model.parameters()
        ]
        assert any(moved) == (weight > 0)
        assert all(p.grad is None for p in task.siglip.vision_model.parameters())


def test_an_even_contrast_asks_for_every_positive_alike():
    torch.manual_seed(0)
    v, t = (torch.nn.functional.normalize(torch.randn(3, 8), dim=-1) for _ in 'vt')
    positive = torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 1]]).bool()
    expected = 0
    for a, b in ((v, t), (t, v)):
        for i in range(3):
            scores = 5 * b @ a[i]
            for j in positive[i].nonzero()[:, 0]:
                expected += (scores.exp().sum().log() - scores[j]) / positive[i].sum() / 6
    torch.testing.assert_close(even_contrast(v, t, torch.tensor(5.0), positive), expected)


def test_heads_of_24_channels(tmp_path):
    for width in (0, 100):
        with pytest.raises(UserError, match=f'--width must be a multiple of 24, got {width}'):
            SiglipPretraining(tmp_path, image_size=64, width=width)


def test_an_empty_mask_has_no_point():
    with pytest.raises(ValueError, match='a mask is empty'):
        SamPretraining()._points(torch.zeros(1, 8, 8))


def test_positions_start_smooth_or_random(tmp_path):
    """A patch is nearer to its neighbour than to one far away; at random they are all alike."""

    def places(kind):
        torch.manual_seed(0)
        made = SiglipPretraining(tmp_path, image_size=128, positions=kind)
        return made.siglip.vision_model.embeddings.position_embedding.weight.detach()

    sine, random = places('sine'), places('random')
    for found in (sine, random):
        assert float(found.square().mean()) == pytest.approx(1, abs=0.1)
    grid = sine.view(8, 8, -1)
    assert (grid[2, 2] - grid[2, 3]).norm() < 0.6 * (grid[2, 2] - grid[2, 7]).norm()
    assert float((random[18] - random[19]).norm()) == pytest.approx(
        float((random[18] - random[23]).norm()), rel=0.3
    )


def test_a_whitened_patch_embedding_answers_with_variance_1_and_no_correlation():
    torch.manual_seed(0)
    smooth = torch.nn.functional.interpolate(torch.randn(60, 3, 9, 9), (32, 32), mode='bilinear')
    embedding = torch.nn.Conv2d(3, 12, 8, stride=8)
    whiten_patches(embedding, smooth + 0.1 * torch.randn_like(smooth))
    found = embedding(smooth).flatten(2).transpose(1, 2).flatten(0, 1)
    torch.testing.assert_close(found.T.cov(), torch.eye(12), atol=0.15, rtol=0)
    torch.testing.assert_close(found.mean(0), torch.zeros(12), atol=0.05, rtol=0)
    assert embedding.weight.std(0).min() > 0  # every component in every filter: mixed


def test_overlapping_patches_are_whitened_too():
    """Hiera's: 7 x 7 at stride 4."""
    torch.manual_seed(0)
    images = torch.nn.functional.interpolate(torch.randn(60, 3, 9, 9), (32, 32), mode='bilinear')
    embedding = torch.nn.Conv2d(3, 12, 7, stride=4, padding=3)
    whiten_patches(embedding, images)
    embedding.padding = 0  # of the same patches
    inner = embedding(images).flatten(2).transpose(1, 2).flatten(0, 1)
    torch.testing.assert_close(inner.T.cov(correction=0), torch.eye(12), atol=1e-3, rtol=0)


def test_sines_by_the_formula():
    found = sine_positions((3, 5), 8, longest=16.0)
    for row in range(3):
        for column in range(5):
            expected = []
            for place in (row, column):
                angles = [place / 16 ** (k / 2) for k in range(2)]
                expected += [*map(math.sin, angles), *map(math.cos, angles)]
            torch.testing.assert_close(found[row * 5 + column], torch.tensor(expected))


class Pointing(PointingPretraining):
    """A stand-in for two towers whose nearest patch is the one that `choose` gives."""

    def __init__(self, grid_size, preprocess, choose):
        super().__init__()
        self.grid_size, self.preprocess, self.choose, self.calls = grid_size, preprocess, choose, 0

    def patches(self, images):
        return torch.eye(math.prod(self.grid_size)).expand(len(images), -1, -1)

    def sentences(self, input_ids, lengths):
        n = len(input_ids)
        chosen = [self.choose(self.calls + i) for i in range(n)]
        self.calls += n
        return torch.eye(math.prod(self.grid_size))[chosen]


def test_pointing_counts_what_the_patch_shows_most_of(dataset, tmp_path):
    """Patches chosen with the masks at hand: all hits; the corner patch: what is there."""
    side = 8
    made = SiglipPretraining(tmp_path, image_size=128)
    preprocess = RefSegDataPreprocessor(
        tokenizer=str(tmp_path), init='pretrained', max_length=24, size_siglip=128, size_sam=128
    )
    scenes = list(read_scenes(dataset, 'test'))
    known = {s['keys']['rrsisd']: (scene, s) for scene in scenes for s in scene['sentences']}
    order = list(known)  # the dataset's

    def cover(scene, index):
        mask = torch.from_numpy(coco_mask.decode(scene['objects'][index]['rle'])).float()
        return torch.nn.functional.avg_pool2d(mask[None], 128 // side)[0].flatten()

    def best(i):
        scene, sentence = known[order[i]]
        others = sum(
            cover(scene, k) for k in range(len(scene['objects'])) if k != sentence['target']
        )
        return int((cover(scene, sentence['target']) - others).argmax())

    assert made.grid_size == (side, side)
    found = pointing_game(Pointing(made.grid_size, preprocess, best), dataset)
    assert found['attribute'] == found['position'] == found['relation'] == 100
    corner = pointing_game(Pointing(made.grid_size, preprocess, lambda i: 0), dataset)
    expected = []
    for key in order:
        scene, sentence = known[key]
        shares = [float(cover(scene, k)[0]) for k in range(len(scene['objects']))]
        if sentence['level'] == 'position':
            others = [share for k, share in enumerate(shares) if k != sentence['target']]
            expected.append(shares[sentence['target']] > max(others))
    assert corner['position'] == pytest.approx(100 * sum(expected) / len(expected), abs=0.1)

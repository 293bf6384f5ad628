"""The zero-shot baselines on tiny checkpoints: load, answer, equal their pipelines, refuse."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import DefaultScope
from PIL import Image
from transformers import (
    AutoImageProcessor,
    AutoTokenizer,
    CLIPSegForImageSegmentation,
    GroundingDinoForObjectDetection,
    GroundingDinoProcessor,
    Owlv2ForObjectDetection,
    Owlv2Processor,
    Sam2Model,
    Sam3Model,
    SiglipModel,
)

from rsrefseg2.apis import Predictor
from rsrefseg2.cli import main
from rsrefseg2.engine import load_config
from rsrefseg2.errors import UserError
from rsrefseg2.models import BoxToMask, CLIPSeg, SAM3Concepts, SigLIPMap
from rsrefseg2.models.data_preprocessor import IMAGENET_MEAN, IMAGENET_STD
from tests import tiny_towers, tiny_zero_shot
from tests.fabricate import fabricate
from tests.shipped import ROOT

SENTENCES = ['the red ship', 'A plane on the left of the blue car.']
CONFIGS = ROOT / 'configs/zero_shot'


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp('zero_shot')
    return dict(
        dino=str(tiny_zero_shot.write_grounding_dino(root / 'dino')),
        owl=str(tiny_zero_shot.write_owlv2(root / 'owl')),
        clipseg=str(tiny_zero_shot.write_clipseg(root / 'clipseg')),
        sam3=str(tiny_zero_shot.write_sam3(root / 'sam3')),
        siglip=str(tiny_towers.write_siglip(root / 'siglip')),
        sam=str(tiny_towers.write_sam2(root / 'sam')),
    )


@pytest.fixture
def image():
    pixels = np.random.default_rng(0).integers(0, 255, (50, 70, 3), dtype=np.uint8)
    pixels[10:30, 20:40] = (200, 30, 30)
    return pixels


def build(kind, folders, **options):
    sam = dict(checkpoint=folders['sam'])
    with DefaultScope.overwrite_default_scope('rsrefseg2'):
        model = dict(
            dino=lambda: BoxToMask(detector=folders['dino'], sam=sam, **options),
            owl=lambda: BoxToMask(detector=folders['owl'], sam=sam, **options),
            clipseg=lambda: CLIPSeg(checkpoint=folders['clipseg'], **options),
            sam3=lambda: SAM3Concepts(checkpoint=folders['sam3'], **options),
            siglip=lambda: SigLIPMap(siglip=dict(checkpoint=folders['siglip']), sam=sam, **options),
        )[kind]()
    return model.eval()


KINDS = ('dino', 'owl', 'clipseg', 'sam3', 'siglip')


@torch.inference_mode()
def ask(model, images, image_index, sentences):
    tensors = [torch.from_numpy(image).movedim(-1, 0) for image in images]
    encoded = model.encode_images(*model.data_preprocessor.images(tensors))
    return model.segment(
        encoded, torch.tensor(image_index), *model.data_preprocessor.tokenize(sentences)
    )


def upsampled(logits, shape):
    return F.interpolate(logits[None, None], shape, mode='bilinear', align_corners=False)[0, 0]


@torch.inference_mode()
def sam_from(folder, image, **prompt):
    """transformers' own SAM 2, mask token 0, as float logits of the decoder's size."""
    sam = Sam2Model.from_pretrained(folder).eval()
    sam.mask_decoder.dynamic_multimask_via_stability = False
    pixels = torch.from_numpy(image).movedim(-1, 0)[None] / 255
    pixels = F.interpolate(pixels, (64, 64), mode='bilinear', antialias=True)
    mean, std = (torch.tensor(v)[:, None, None] for v in (IMAGENET_MEAN, IMAGENET_STD))
    found = sam(pixel_values=(pixels - mean) / std, multimask_output=False, **prompt)
    return found.pred_masks[0, 0, 0]


@torch.inference_mode()
def boxes_of_transformers(kind, folder, image, text):
    """Every box in pixels with its score, by the checkpoint's own processor."""
    model, processor = dict(
        dino=(GroundingDinoForObjectDetection, GroundingDinoProcessor),
        owl=(Owlv2ForObjectDetection, Owlv2Processor),
    )[kind]
    processor = processor(
        AutoImageProcessor.from_pretrained(folder, backend='pil'),
        AutoTokenizer.from_pretrained(folder),
    )
    given = processor(
        images=Image.fromarray(image),
        text=text,
        return_tensors='pt',
        truncation=True,
        max_length={'dino': 16, 'owl': 8}[kind],
    )
    found = model.from_pretrained(folder).eval()(**given)
    extra = dict(input_ids=given['input_ids'], text_threshold=0) if kind == 'dino' else {}
    (answer,) = processor.post_process_grounded_object_detection(
        found, threshold=-1, target_sizes=[image.shape[:2]], **extra
    )
    return answer


@pytest.mark.parametrize('kind', ['dino', 'owl'])
@pytest.mark.parametrize('sentence', SENTENCES)
def test_the_best_box_and_its_mask_are_those_of_transformers(kind, sentence, folders, image):
    model = build(kind, folders)
    outputs = ask(model, [image], [0], [sentence])
    text = sentence.lower().rstrip('.') + '.' if kind == 'dino' else sentence
    found = boxes_of_transformers(kind, folders[kind], image, text)

    corners = torch.tensor([70.0, 50, 70, 50])
    clipped = found['boxes'].clamp(min=0).minimum(corners)
    inside = (clipped[:, 2:] > clipped[:, :2]).all(1)
    best = torch.where(inside, found['scores'], -1).argmax()
    torch.testing.assert_close(outputs.boxes[0] * corners, clipped[best], rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(outputs.scores[0], found['scores'][best])

    box = clipped[best] / corners * 64
    logits = sam_from(folders['sam'], image, input_boxes=box[None, None])
    torch.testing.assert_close(outputs.mask_logits[0], logits, rtol=1e-3, atol=1e-4)
    (mask,) = model.masks(outputs.mask_logits, [(50, 70)])
    torch.testing.assert_close(mask, upsampled(logits, (50, 70)), rtol=1e-3, atol=1e-4)


def test_clipseg_is_that_of_transformers(folders, image):
    folder = folders['clipseg']
    model = build('clipseg', folders, threshold=0.4)
    outputs = ask(model, [image], [0, 0], SENTENCES)
    pixels = AutoImageProcessor.from_pretrained(folder, backend='pil')(image, return_tensors='pt')
    for i, sentence in enumerate(SENTENCES):
        text = AutoTokenizer.from_pretrained(folder)(
            [sentence], truncation=True, max_length=8, return_tensors='pt'
        )
        with torch.inference_mode():
            logits = (
                CLIPSegForImageSegmentation.from_pretrained(folder)
                .eval()(pixel_values=pixels['pixel_values'], **text)
                .logits.reshape(32, 32)
            )
        torch.testing.assert_close(outputs.scores[i], logits.sigmoid().max())
        assert ((outputs.mask_logits[i] > 0) == (logits.sigmoid() > 0.4)).all()


@pytest.mark.parametrize('prompt', ['point', 'box'])
def test_the_map_of_siglip_is_a_cosine_and_its_peak_is_drawn(prompt, folders, image):
    outputs = ask(build('siglip', folders, prompt=prompt), [image], [0], SENTENCES[:1])
    siglip = SiglipModel.from_pretrained(folders['siglip']).eval()
    pixels = torch.from_numpy(image).movedim(-1, 0)[None] / 255
    pixels = F.interpolate(pixels, (32, 32), mode='bilinear', antialias=True)
    ids = AutoTokenizer.from_pretrained(folders['siglip'])(
        SENTENCES[:1], padding='max_length', max_length=16, return_tensors='pt'
    )['input_ids']
    with torch.inference_mode():
        v = siglip.vision_model((pixels - 0.5) / 0.5).last_hidden_state  # (1, 16, d1)
        t = siglip.text_model(ids).pooler_output
        grid = F.interpolate(v.mT.reshape(1, -1, 4, 4), (16, 16), mode='bilinear')
        cosine = F.cosine_similarity(grid, t[..., None, None])[0]
        dense = siglip.logit_scale.exp() * cosine + siglip.logit_bias
    torch.testing.assert_close(outputs.p_dense[0], dense, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(outputs.scores[0], dense.max().sigmoid())

    y, x = divmod(int(cosine.argmax()), 16)
    if prompt == 'point':
        place = torch.tensor([4 * x + 2.0, 4 * y + 2])
        torch.testing.assert_close(64 * outputs.points[0], place)
        given = dict(
            input_points=place[None, None, None], input_labels=torch.ones(1, 1, 1, dtype=torch.int)
        )
    else:
        part, grown = torch.zeros(16, 16), torch.zeros(16, 16)
        grown[y, x] = 1
        high = (dense >= dense.min() + 0.5 * (dense.max() - dense.min())).float()
        while not torch.equal(part, grown):  # flood fill
            part = grown
            grown = F.max_pool2d(part[None], 3, 1, 1)[0] * high
        rows, columns = (part.any(d).nonzero() for d in (1, 0))
        box = 4 * torch.tensor([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        torch.testing.assert_close(64 * outputs.boxes[0], box.float())
        given = dict(input_boxes=box.float()[None, None])
    torch.testing.assert_close(
        outputs.mask_logits[0], sam_from(folders['sam'], image, **given), rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize('instances', ['best', 'all'])
def test_sam3_is_that_of_transformers(instances, folders, image):
    sam3 = Sam3Model.from_pretrained(folders['sam3']).eval()
    pixels = torch.from_numpy(image).movedim(-1, 0)[None] / 255
    pixels = F.interpolate(pixels, (56, 56), mode='bilinear', antialias=True)
    text = AutoTokenizer.from_pretrained(folders['sam3'])(SENTENCES[:1], return_tensors='pt')
    with torch.inference_mode():
        found = sam3(pixel_values=(pixels - 0.5) / 0.5, **text)
    scores = (found.pred_logits.sigmoid() * found.presence_logits.sigmoid())[0]
    threshold = float(scores.sort().values[-3])  # the third best
    model = build('sam3', folders, instances=instances, threshold=threshold)
    outputs = ask(model, [image], [0], SENTENCES[:1])
    taken = scores >= threshold if instances == 'all' else scores == scores.max()
    assert taken.sum() == {'all': 3, 'best': 1}[instances]
    masks = found.pred_masks[0, taken].amax(0)
    torch.testing.assert_close(outputs.mask_logits[0], masks, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(outputs.boxes[0], found.pred_boxes[0, scores.argmax()])
    torch.testing.assert_close(outputs.scores[0], scores.max())


def test_sam3_is_read_from_its_video_model(folders, image, tmp_path):
    folder = tiny_zero_shot.as_video(shutil.copytree(folders['sam3'], tmp_path / 'video'))
    of_video = ask(build('sam3', {**folders, 'sam3': str(folder)}), [image], [0], SENTENCES[:1])
    outputs = ask(build('sam3', folders), [image], [0], SENTENCES[:1])
    assert torch.equal(of_video.mask_logits, outputs.mask_logits)


@pytest.mark.parametrize('kind', KINDS)
def test_an_answer_does_not_depend_on_its_batch(kind, folders, image):
    model = build(kind, folders)
    images = [image, np.ascontiguousarray(image[:40, ::-1])]
    together = ask(model, images, [0, 1, 1], [*SENTENCES, SENTENCES[0]])
    for i, (one, sentence) in enumerate([(0, SENTENCES[0]), (1, SENTENCES[1]), (1, SENTENCES[0])]):
        alone = ask(model, [images[one]], [0], [sentence])
        for name in ('mask_logits', 'scores', 'boxes', 'points', 'p_dense'):
            if getattr(alone, name) is not None:
                torch.testing.assert_close(
                    getattr(together, name)[i], getattr(alone, name)[0], rtol=1e-3, atol=1e-4
                )


@pytest.mark.parametrize('kind', ['dino', 'owl', 'sam3'])
def test_below_the_threshold_the_mask_is_empty_and_the_box_stays(kind, folders, image):
    sure = ask(build(kind, folders), [image], [0], SENTENCES[:1])
    held = ask(build(kind, folders, threshold=1.0), [image], [0], SENTENCES[:1])
    assert sure.scores[0] < 1 and (sure.mask_logits > 0).any()
    assert not (held.mask_logits > 0).any()
    torch.testing.assert_close(held.boxes, sure.boxes)


def test_nothing_is_trained(folders):
    for kind in KINDS:
        model = build(kind, folders)
        assert not [name for name, p in model.named_parameters() if p.requires_grad]
        with pytest.raises(UserError, match='zero-shot model, which is not trained'):
            model(None, [], mode='loss')


@pytest.mark.parametrize(
    ('command', 'says'),
    [
        (['train'], 'not trained'),
        (['bench'], 'not counted'),
        (['analysis', 'summary'], 'not counted'),
    ],
)
def test_a_command_of_a_trained_model_says_so(command, says, capsys):
    with pytest.raises(SystemExit):
        main([*command, str(CONFIGS / 'rrsisd_clipseg.py')])
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith('error: CLIPSeg is a zero-shot model') and says in last


# ------------------------------------------------------------------ configs, test and predict

OPTIONS = {
    'rrsisd_grounding_dino_sam21l': lambda f: [f'model.detector={f["dino"]}', SAM % f['sam']],
    'rrsisd_owlv2_sam21l': lambda f: [f'model.detector={f["owl"]}', SAM % f['sam']],
    'rrsisd_clipseg': lambda f: [f'model.checkpoint={f["clipseg"]}'],
    'rrsisd_siglip_map_sam21l': lambda f: [
        f'model.siglip.checkpoint={f["siglip"]}',
        SAM % f['sam'],
    ],
    'rrsisd_sam3': lambda f: [f'model.checkpoint={f["sam3"]}'],
}
SAM = 'model.sam.checkpoint=%s'


def as_dict(options):
    return dict(option.split('=') for option in options)


def test_every_config_is_tested_here():
    assert {path.stem for path in CONFIGS.glob('*.py')} == set(OPTIONS)


@pytest.mark.parametrize('name', OPTIONS)
def test_one_command_tests_a_config(name, folders, tmp_path, capsys):
    """Scores, and in the dump masks, scores and boxes that lie inside the pictures."""
    root = fabricate('rrsisd', tmp_path)
    work = tmp_path / 'work'
    main(
        [
            'test',
            str(CONFIGS / f'{name}.py'),
            *('--work-dir', str(work), '--dump', str(work / 'dump.jsonl'), '--cfg-options'),
            *OPTIONS[name](folders),
            f'test_dataloader.dataset.data_root={root}',
            'test_dataloader.num_workers=0',
            'val_dataloader.num_workers=0',
            'val_dataloader.persistent_workers=False',
        ]
    )
    scores = json.loads((work / 'scores.json').read_text())
    lines = [json.loads(line) for line in (work / 'dump.jsonl').read_text().splitlines()]
    assert len(lines) == scores['samples'] > 0 and 0 <= scores['gIoU'] <= 100
    assert 'checkpoint' not in scores
    for line in lines:
        height, width = line['prediction']['size']
        assert 0 <= line['score'] <= 1
        if name == 'rrsisd_siglip_map_sam21l':
            x, y = line['point']
            assert 0 < x < width and 0 < y < height and 0 <= line['coarse_localisation'] <= 1
        elif name != 'rrsisd_clipseg':
            x1, y1, x2, y2 = line['box']
            assert 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height
    capsys.readouterr()
    main(['analysis', 'score', str(work / 'dump.jsonl'), '--json'])  # it is read again
    assert json.loads(capsys.readouterr().out)['gIoU'] == pytest.approx(scores['gIoU'], abs=0.01)


def test_the_pages_config_of_another_benchmark(folders, tmp_path):
    page = (ROOT / 'docs/zero_shot.md').read_text(encoding='utf-8')
    (block,) = re.findall(r'```python\n(.*?)```', page, re.S)
    path = tmp_path / 'risbench_clipseg.py'
    path.write_text(block.replace("'./zero_shot/", f"'{CONFIGS}/"))
    config = load_config(str(path))
    data = config.test_dataloader.dataset
    assert (data.type, data.data_root, data.split) == ('RISBench', 'data/risbench', 'test')
    assert config.model.type == 'CLIPSeg'


@pytest.mark.parametrize('name', OPTIONS)
def test_a_predictor_answers_as_the_model(name, folders, image):
    config = load_config(str(CONFIGS / f'{name}.py'), options=as_dict(OPTIONS[name](folders)))
    predictor = Predictor(config, device='cpu').set_image(image)
    outputs = ask(predictor.model, [image], [0, 0], SENTENCES)
    for answer, logits in zip(predictor.predict(SENTENCES), outputs.mask_logits, strict=True):
        expected = upsampled(logits, (50, 70)).numpy()
        np.testing.assert_allclose(answer.logits, expected, rtol=1e-3, atol=1e-4)
        assert answer.mask.shape == (50, 70) and (answer.mask == (answer.logits > 0)).all()


@pytest.mark.parametrize('mode', ['whole', 'zoom', 'sweep'])
def test_predict_writes_masks(mode, folders, image, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.tile(image, (4, 4, 1))).save('scene.png')
    command = ['predict', 'scene.png', 'the red ship', '--mode', mode, '--device', 'cpu']
    config = str(CONFIGS / 'rrsisd_siglip_map_sam21l.py')
    options = OPTIONS['rrsisd_siglip_map_sam21l'](folders)
    main([*command, '--config', config, '--cfg-options', *options])
    mask = np.asarray(Image.open('predictions/scene_1_mask.png'))
    assert mask.shape == (200, 280) and set(np.unique(mask)) <= {0, 255}
    answer = json.loads((tmp_path / 'predictions/answers.jsonl').read_text().splitlines()[-1])
    assert answer['model'] == 'SigLIPMap'


# ------------------------------------------------------------------ refusals: one line each


def refusal(kind, folders):
    with pytest.raises(UserError) as caught:
        build(kind, folders)
    message = str(caught.value)
    assert '\n' not in message
    return message


@pytest.mark.parametrize('kind', ['dino', 'owl', 'clipseg', 'sam3'])
def test_another_kind_of_checkpoint(kind, folders):
    message = refusal(kind, {**folders, kind: folders['siglip']})
    assert "a model of type 'siglip', wanted one of" in message


@pytest.mark.parametrize('kind', ['dino', 'clipseg', 'sam3'])
def test_a_checkpoint_that_is_not_there(kind, folders, monkeypatch):
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)
    message = refusal(kind, {**folders, kind: 'nobody/has-this-one'})
    assert 'hf download nobody/has-this-one' in message and 'init' not in message
    message = refusal(kind, {**folders, kind: 'no/such/folder'})
    assert 'is not a folder' in message


@pytest.mark.parametrize(
    ('kind', 'file', 'says'),
    [
        ('dino', 'model.safetensors', 'lacks model.safetensors'),
        ('owl', 'preprocessor_config.json', 'the image processor in'),
        ('clipseg', 'tokenizer.json', 'has no tokenizer'),
    ],
)
def test_a_file_that_is_missing(kind, file, says, folders, tmp_path):
    folder = shutil.copytree(folders[kind], tmp_path / kind)
    (folder / file).unlink()
    assert says in refusal(kind, {**folders, kind: str(folder)})


def test_a_package_that_is_missing(folders, monkeypatch):
    def refuse(*_):
        raise ImportError('it needs the SciPy library')

    processor = 'transformers.models.owlv2.image_processing_pil_owlv2'
    monkeypatch.setattr(f'{processor}.requires_backends', refuse)
    assert 'SciPy library; install what it needs' in refusal('owl', folders)


def test_no_weight_stays_random(folders, tmp_path):
    folder = shutil.copytree(folders['clipseg'], tmp_path / 'clipseg')
    tiny_towers.edit_weights(folder, drop=('clip.text_projection.weight',))
    message = refusal('clipseg', {**folders, 'clipseg': str(folder)})
    assert '1 are missing' in message and 'clip.text_projection.weight' in message


def test_a_checkpoint_of_training_is_refused_and_a_trained_model_needs_one(
    folders, tmp_path, capsys
):
    config = str(CONFIGS / 'rrsisd_clipseg.py')
    for arguments, says in (
        (['test', config, 'some.pth'], 'leave out the checkpoint some.pth'),
        (['test', str(ROOT / 'configs/synthrs_tiny.py')], 'give its checkpoint'),
        (
            [
                *('predict', str(ROOT / 'docs/panel.png'), 'a ship', '--out', str(tmp_path)),
                *('--config', str(ROOT / 'configs/synthrs_tiny.py')),
            ],
            'give its checkpoint',
        ),
    ):
        with pytest.raises(SystemExit):
            main(arguments)
        assert says in capsys.readouterr().err
    cfg = load_config(config, options=as_dict(OPTIONS['rrsisd_clipseg'](folders)))
    with pytest.raises(UserError, match='leave out the checkpoint'):
        Predictor(cfg, 'some.pth')


@pytest.mark.parametrize(
    'make',
    [
        lambda f: build('clipseg', f, threshold=1.0),
        lambda f: build('siglip', f, prompt='mask'),
        lambda f: build('sam3', f, instances='both'),
    ],
)
def test_another_value(make, folders):
    with pytest.raises(ValueError, match='not'):
        make(folders)

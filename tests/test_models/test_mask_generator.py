"""Eq. 8 against transformers' own SAM 2 and SAM 1, tiny and random: mask token 0 in training and in
test, and SAM 2's no-memory embedding once; and seeded faults that the comparison must notice."""

import pytest
import torch
from transformers import Sam2Model, SamModel

from rsrefseg2.errors import UserError
from rsrefseg2.models import mask_generator
from rsrefseg2.models.mask_generator import MaskGenerator
from tests import tiny_towers

TOLERANCE, FAULT_TOLERANCE = 1e-10, 1e-4
KINDS = {'sam2': (tiny_towers.write_sam2, Sam2Model), 'sam': (tiny_towers.write_sam, SamModel)}


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
    """Checkpoints of each kind with a no-memory embedding that is not 0, as random weights are."""
    paths = {kind: write(tmp_path_factory.mktemp(kind)) for kind, (write, _) in KINDS.items()}
    memory = torch.randn(1, 1, 32, generator=torch.Generator().manual_seed(1))
    tiny_towers.edit_weights(paths['sam2'], add=dict(no_memory_embedding=memory))
    return paths


def inputs():
    """Images (2, 3, 64, 64), sparse prompts (2, 5, 32), dense prompts (2, 16, 16)."""
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(shape, generator=generator, dtype=torch.float64)
        for shape in [(2, 3, 64, 64), (2, 5, 32), (2, 16, 16)]
    ]


def swap_first_two(decoder):
    """Mask token 0 with its head in the place of 1: `multimask_output` then gives it first.

    Tokens carry no position, so the exchange changes no mask, only their order.
    """
    with torch.no_grad():
        tokens, heads = decoder.mask_tokens.weight, decoder.output_hypernetworks_mlps
        tokens[:2] = tokens[:2].flip(0).clone()
        heads[0], heads[1] = heads[1], heads[0]


def transformers_masks(kind, folder):
    """(2, 3, 16, 16): the masks of tokens 0, 2 and 3, and the image embeddings."""
    model = KINDS[kind][1].from_pretrained(str(folder)).double().eval()
    swap_first_two(model.mask_decoder)
    images, sparse, dense = inputs()
    embeddings, more = model.get_image_embeddings(images), {}
    if kind == 'sam2':  # three maps, the last with the no-memory embedding
        *high, embeddings = embeddings
        more = dict(high_resolution_features=high)
    _, dense = model.prompt_encoder(
        input_points=None, input_labels=None, input_boxes=None, input_masks=dense[:, None]
    )
    masks = model.mask_decoder(
        image_embeddings=embeddings,
        dense_prompt_embeddings=dense,
        image_positional_embeddings=model.get_image_wide_positional_embeddings().repeat(2, 1, 1, 1),
        sparse_prompt_embeddings=sparse[:, None],
        multimask_output=True,
        **more,
    )[0]
    return masks[:, 0], embeddings


def assert_equal(name, found, wanted, tolerance):
    """Up to `tolerance` times the largest number."""
    difference = float((found - wanted).abs().max() / wanted.abs().max())
    assert difference < tolerance, f'{name} differs by {difference:.1e}'


def check_eq8(kind, folder, training=False, tolerance=TOLERANCE):
    generator = MaskGenerator(checkpoint=str(folder)).double().train(training)
    images, sparse, dense = inputs()
    with torch.no_grad():
        embeddings, high = generator.encode_images(images)
        logits = generator(embeddings, high, sparse, dense)
        masks, wanted = transformers_masks(kind, folder)
    assert_equal('image embedding', embeddings, wanted, tolerance)
    assert_equal('mask', logits, masks[:, 0], tolerance)
    # the other tokens draw other masks: the comparison can tell them apart
    for other in masks[:, 1], masks[:, 2]:
        assert (other - logits).abs().max() > 1e-2 * logits.abs().max()


@pytest.mark.parametrize('training', [False, True])
@pytest.mark.parametrize('kind', KINDS)
def test_eq8(kind, training, folders):
    check_eq8(kind, folders[kind], training)


def test_sam_1_has_no_stability_rule(folders):
    with pytest.raises(UserError, match='stability_rule is a rule of SAM 2, not of SAM 1'):
        MaskGenerator(
            checkpoint=str(folders['sam']), stability_rule=dict(delta=0.05, threshold=0.98)
        )


# --- and it notices a seeded fault ---------------------------------------------------------------


def switching_tokens(model):
    """transformers' default: in test the token is chosen by stability."""
    model.mask_decoder.dynamic_multimask_via_stability = True


def memory_twice(model):
    model.no_memory_embedding.data *= 2


def memory_never(model):
    model.no_memory_embedding.data *= 0


FAULTS = [
    (switching_tokens, 'mask'),
    (memory_twice, 'image embedding'),
    (memory_never, 'image embedding'),
]


@pytest.mark.parametrize(('change', 'seen_in'), FAULTS)
def test_fault_is_noticed(change, seen_in, folders, monkeypatch):
    load = mask_generator.load_sam

    def faulty(*args, **kwargs):
        model = load(*args, **kwargs)
        change(model)
        return model

    monkeypatch.setattr(mask_generator, 'load_sam', faulty)
    with pytest.raises(AssertionError, match=f'^{seen_in} differs by'):
        check_eq8('sam2', folders['sam2'], tolerance=FAULT_TOLERANCE)

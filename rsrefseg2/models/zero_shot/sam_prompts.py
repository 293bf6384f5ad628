"""SAM draws what a box or a point marks: the published prompt, without a prompter."""

from __future__ import annotations

from torch import Tensor

from ..mask_generator import MaskGenerator


def draw(
    generator: MaskGenerator,
    features: tuple[Tensor, list[Tensor]],
    image_index: Tensor,
    *,
    boxes: Tensor | None = None,
    points: Tensor | None = None,
) -> Tensor:
    """B prompts on U encoded images -> mask_logits (B, H2/4, W2/4).

    Args:
        features: of `MaskGenerator.encode_images`.
        image_index: (B,) into U.
        boxes: (B, 4), points: (B, 2): one of them, in shares of the image's sides.
    """
    side = generator.input_size[0]
    given: dict[str, Tensor | None] = dict.fromkeys(
        ('input_points', 'input_labels', 'input_boxes', 'input_masks')
    )
    if boxes is not None:
        given['input_boxes'] = side * boxes[:, None]  # (B, one box, 4)
    if points is not None:
        given['input_points'] = side * points[:, None, None]  # (B, one prompt, one point, 2)
        given['input_labels'] = image_index.new_ones(len(points), 1, 1)
    p_sparse = generator.sam.prompt_encoder(**given)[0]  # (B, 1, n, d2)
    embeddings, maps = features
    return generator(
        embeddings[image_index], [one[image_index] for one in maps], p_sparse[:, 0], None
    )

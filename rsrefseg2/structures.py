"""The one data sample that travels from the dataset to the metric."""

from mmengine.structures import BaseDataElement


class RefSegDataSample(BaseDataElement):
    """A triplet (image, sentence, mask) and what the model says of it.

    Metainfo: `sample_id` (str, unique in its split), `img_path`, `text`, `category` (str or None),
    `ori_shape` (H, W); `mask_size` (H, W) where the stored mask had another size than the image and
    was resized; `no_target` (True) where the mask is empty because the sentence names no object.

    Data fields:
        gt_mask: (H, W) bool, the annotated target; absent where it is not known.
        other_mask: (H, W) bool, the image's other objects without the target's pixels; absent
            unless the dataset was asked for them (`other_objects`).
        pred_mask: (H, W) bool at the original size, after `predict`.
        dense_prompt: (H2/4, W2/4) float32 logits, p_dense of Eq. 7, without a border (`fit='pad'`);
            absent where there is none.
        predicted_iou, presence: (), 0 to 1, of SAM's heads where `sam.score_heads` has trained them:
            the IoU of the mask as drawn, and the probability that there is what the sentence names.
        mean_probability: (), 0 to 1, beside these: of the pixels of the mask as drawn, 0 of none.
        drawn_mask: (H, W) bool, the mask as drawn, where `presence_threshold` emptied pred_mask.
        score, box, point: of a zero-shot model: its score (), and x1, y1, x2, y2 (4,) or x, y (2,)
            in pixels of the image, from which the mask was drawn.
    """

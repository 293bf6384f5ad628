"""RSRefSeg 2: encode, prompt, decode. Start here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from ..bounds import Fraction, NonNegativeFloat, PositiveInt
from ..errors import UserError
from ..registry import MODELS
from ..structures import RefSegDataSample
from ..symmetries import GROUPS, Group
from .data_preprocessor import ModelInputs
from .dual_modality_encoder import DualModalityEncoder
from .encoded_before import EncodedBefore
from .losses.segmentation import upsample
from .mask_generator import MaskGenerator
from .placement_average import predict_with_placements
from .placements import Placement, placements_of
from .ref_seg_model import RefSegModel, check_with_target
from .symbols import EncodedImages, RefSegOutputs, TowerSpec
from .towers.activation_checkpointing import store_frozen_in_bfloat16
from .towers.compiling import compile_towers
from .towers.cuda_graphs import Graphed
from .towers.prediction_weights import PredictionDtype, convert_for_prediction


@MODELS.register_module()
class RSRefSeg2(RefSegModel):
    """Eq. 1: mask = Phi_generator(I_2, Phi_prompter(Phi_encoder(I_1, T))).

    Parts: `encoder` (Eq. 2) says where, `prompter` (Eq. 3) turns that into prompts,
    `mask_generator` (Eq. 8) draws how, `losses` (Eq. 9). The parts do not know each other.

    Args:
        siglip, sam: arguments of `DualModalityEncoder` and `MaskGenerator`: checkpoint (hub name,
            folder or transformers config) and LoRA.
        prompter: config of the prompter, without `towers` (a `TowerSpec`), which is added here.
        losses: name -> config of a loss or None (off); absent for a model that only predicts.
        init: 'pretrained', or 'random': architectures with random weights, without a network.
        data_preprocessor: options of `RefSegDataPreprocessor` (`lower_case`, `fit`).
        autocast: 'bfloat16': the forward pass runs under torch.autocast, on every device and with
            every strategy, in training, validation, test and prediction alike. Weights, their
            gradients, the optimizer, BatchNorm's statistics and the losses stay in float32.
        frozen_dtype: 'bfloat16': the towers' frozen weights are kept in BF16, which needs
            autocast (`store_frozen_in_bfloat16`). Checkpoints are the same.
        prediction_dtype: 'bfloat16' or 'int8': what predicts (`for_prediction`) has the towers' LoRA
            merged and their weights in this type (`convert_for_prediction`). Nothing is trained so.
        cuda_graphs: what predicts replays the image towers' pass over one picture as a CUDA graph
            (`Graphed`), which spares a GPU the start of each kernel. Nothing is trained so.
        compile_blocks: a backend of torch.compile ('inductor'): the towers' blocks are compiled, each
            kind once for its sizes (`compile_blocks`). The first pass takes minutes at full size.
        upsample_via_sam_input: masks are upsampled to SAM's H2 x W2, then to their original size
            (the release's variant), instead of at once.
        test_symmetries: 'flips', 'turns' or 'all' (`symmetries.GROUPS`): test and prediction average
            the logits over these (`predict_with_placements`), at the cost of 4 or 8 passes.
        test_shift: by how many of SigLIP's patches the passes move the picture, each another way
            (`placements_of`); logits are then averaged at SAM's resolution.
        test_agreement: the exponent by which a pass weighs more, the more it agrees with the others
            (`agreed_mean`); 0: all weigh the same.
        whole_view: pixels: a prediction looks at pictures of at most this side at once, not closer, unless
            it is told to: their kind was trained on whole.
        with_target: names of losses that are taken over the sentences with a target alone, where
            the data set has sentences without one (`no_target`); the others see an empty mask.
        presence_threshold: 'predict' gives an empty mask where `sam.score_heads` finds the object
            present with a lower probability. None: the mask as drawn.

    Raises:
        ValueError: another value than these.
        UserError: options do not fit each other (`check_values`).
    """

    PLAIN = 'model.autocast=None and model.frozen_dtype=float32'
    _before: EncodedBefore | None = None  # within `remembering`
    _predicts = False  # it has become what `for_prediction` makes of it

    def __init__(
        self,
        *,
        siglip: dict,
        sam: dict,
        prompter: dict,
        losses: dict | None = None,
        init: Literal['pretrained', 'random'] = 'pretrained',
        data_preprocessor: dict | None = None,
        autocast: Literal['bfloat16'] | None = None,
        frozen_dtype: Literal['float32', 'bfloat16'] = 'float32',
        prediction_dtype: PredictionDtype | None = None,
        cuda_graphs: bool = False,
        compile_blocks: str | None = None,
        upsample_via_sam_input: bool = False,
        test_symmetries: Group | None = None,
        test_shift: NonNegativeFloat = 0.0,
        test_agreement: NonNegativeFloat = 0.0,
        whole_view: PositiveInt | None = None,
        with_target: Sequence[str] = (),
        presence_threshold: Fraction | None = None,
    ) -> None:
        _check_choices(init, autocast, frozen_dtype, prediction_dtype, test_symmetries)
        self.check_values(
            autocast=autocast,
            frozen_dtype=frozen_dtype,
            with_target=with_target,
            losses=losses,
            presence_threshold=presence_threshold,
            sam=sam,
            prediction_dtype=prediction_dtype,
        )
        encoder = DualModalityEncoder(init=init, **siglip)
        mask_generator = MaskGenerator(init=init, **sam)
        parts = inputs_of(encoder, mask_generator)
        preprocessor = _preprocessor(siglip['checkpoint'], init, parts, data_preprocessor)
        super().__init__(preprocessor, autocast=autocast)
        # Plain nn.Modules: mmengine's init_weights() would reach into a BaseModule's children and
        # overwrite LoRA's zeros.
        self.encoder, self.mask_generator = encoder, mask_generator
        self._prepare_towers(frozen_dtype, compile_blocks)
        self.prediction_dtype, self.cuda_graphs = prediction_dtype, cuda_graphs
        self.upsample_via_sam_input = upsample_via_sam_input
        self.test_symmetries, self.test_shift = test_symmetries, test_shift
        self.test_agreement = test_agreement
        self.with_target, self.presence_threshold = tuple(with_target), presence_threshold
        self.whole_view = whole_view
        self.score_heads = mask_generator.score_heads
        self.prompter = MODELS.build(dict(prompter, towers=_spec_of(encoder, mask_generator)))
        self.add_losses(losses)

    def _prepare_towers(self, frozen_dtype: str, compile_blocks: str | None) -> None:
        if frozen_dtype == 'bfloat16':
            for tower in self.towers():
                store_frozen_in_bfloat16(tower)
        if compile_blocks is not None:
            compile_towers(self, compile_blocks)

    def towers(self) -> list[nn.Module]:
        """SigLIP's two towers and SAM's image encoder."""
        encoder = self.encoder
        return [encoder.vision_model, encoder.text_model, self.mask_generator.sam.vision_encoder]

    @staticmethod
    def check_values(
        *,
        autocast: str | None,
        frozen_dtype: str,
        with_target: Sequence[str],
        losses: dict | None,
        presence_threshold: float | None,
        sam: dict,
        prediction_dtype: str | None = None,
    ) -> None:
        """Raises a UserError where options do not fit each other."""
        check_with_target(with_target, losses)
        if presence_threshold is not None and 'object' not in sam.get('score_heads', ()):
            raise UserError(
                "presence_threshold needs SAM's object score: set model.sam.score_heads=['object'],"
                ' or presence_threshold to None'
            )
        if frozen_dtype == 'bfloat16' and autocast is None:
            raise UserError(
                "frozen_dtype='bfloat16' mixes BF16 and float32 weights, which only "
                "autocast can compute with: set model.autocast='bfloat16', too"
            )
        if prediction_dtype is not None and frozen_dtype == 'bfloat16':
            raise UserError(
                'prediction_dtype merges LoRA into float32 weights, BF16 would swallow it: set '
                "model.frozen_dtype='float32'"
            )
        if prediction_dtype == 'int8' and autocast is not None:
            raise UserError(
                "prediction_dtype='int8' computes on float32 activations: set model.autocast=None"
            )

    def images_of(self, inputs: ModelInputs) -> EncodedImages:
        """The images of a batch, encoded; within `remembering` those that are not known."""
        if self._before is None:
            return super().images_of(inputs)
        return self._before.images(self.encode_images, inputs)

    def test_step(self, data: dict) -> list[RefSegDataSample]:
        """A batch of the loader -> its samples as of 'predict'; by `test_symmetries` if set."""
        placements = self.test_placements
        if not placements:
            return super().test_step(data)
        return predict_with_placements(self, data, placements)

    @property
    def test_placements(self) -> tuple[Placement, ...]:
        """As of `RefSegModel`, by `test_symmetries`."""
        if self.test_symmetries is None:
            return ()
        return placements_of(self.test_symmetries, self.test_shift, self.encoder.grid_size)

    def encode_images(self, images_siglip: Tensor, images_sam: Tensor) -> EncodedImages:
        """I_1 (U, 3, H1, W1), I_2 (U, 3, H2, W2) -> what depends on the U images alone."""
        with self.precision(images_siglip.device):
            return EncodedImages(
                self.encoder.encode_images(images_siglip),
                *self.mask_generator.encode_images(images_sam),
            )

    def segment(
        self,
        images: EncodedImages,
        image_index: Tensor,
        input_ids: Tensor,
        lengths: Tensor,
        dense_prior: Tensor | None = None,
    ) -> RefSegOutputs:
        """B sentences on U encoded images; image_index (B,) into U, ids (B, L), lengths (B,).

        dense_prior (B, H2/4, W2/4) is added to p_dense, where the prompter makes one: what is known
        of the place beforehand, as logits.
        """
        with self.precision(input_ids.device):
            if self._before is None:
                text = self.encoder.encode_text(input_ids, lengths)  # Eq. 2
            else:
                text = self._before.texts(self.encoder, input_ids, lengths)

            one = len(images.v) == 1  # a view for all sentences, not a copy for each
            v = images.v.expand(len(lengths), -1, -1) if one else images.v[image_index]
            prompts = self.prompter(v, text)  # Eq. 3
            if dense_prior is not None and prompts.p_dense is not None:
                prompts = prompts._replace(p_dense=prompts.p_dense + dense_prior)

            drawn = self.mask_generator(  # Eq. 8
                images.image_embeddings,
                images.high_resolution_features,
                prompts.p_sparse,
                prompts.p_dense,
                image_index,
                with_scores=True,
            )
        return RefSegOutputs(
            images,
            image_index,
            text,
            prompts,
            drawn.mask_logits,
            self.mask_generator.input_size,
            self.encoder.grid_size,
            drawn.iou_score,
            drawn.object_score,
        )

    @contextmanager
    def remembering(self, before: EncodedBefore | None = None) -> Iterator[None]:
        """Within it sentences that repeat are encoded once, and images that the next batch shows
        again. For tests and predictions: gradients are off, and the weights stay as they are.

        Args:
            before: what was encoded already, and gets what is encoded now; None: nothing, and what
                is encoded is forgotten behind it.

        Nothing is kept where FSDP2 divides the weights: ranks that know their sentences would not
        take part in gathering them.
        """
        divided = any(hasattr(weight, 'device_mesh') for weight in self.parameters())
        self._before = None if divided else before or EncodedBefore()
        try:
            with torch.no_grad():
                yield
        finally:
            self._before = None

    def for_prediction(self) -> RSRefSeg2:
        """The model itself, its towers once and for all as `prediction_dtype` and `cuda_graphs` say;
        called by what predicts, when the weights are loaded and on their device.

        Raises:
            UserError: see `convert_for_prediction`; `cuda_graphs` without a GPU.
        """
        if self._predicts:
            return self
        device = next(self.parameters()).device
        if self.cuda_graphs and device.type != 'cuda':
            raise UserError(
                f'model.cuda_graphs=True records graphs on a GPU, not on {device}: set it to False'
            )
        if self.prediction_dtype is not None:
            convert_for_prediction(self.towers(), self.prediction_dtype)
        if self.cuda_graphs:
            for part in (self.encoder, self.mask_generator):
                part.encode_images = Graphed(part.encode_images)  # type: ignore[method-assign]
        self._predicts = True
        return self

    def train(self, mode: bool = True) -> RSRefSeg2:
        """As torch's.

        Raises:
            UserError: training with `prediction_dtype` or `cuda_graphs`.
        """
        for name in ('prediction_dtype', 'cuda_graphs'):
            if mode and getattr(self, name):
                raise UserError(
                    f'model.{name}={getattr(self, name)!r} is for tests and predictions: leave it '
                    'out to train'
                )
        return super().train(mode)

    @property
    def input_size(self) -> tuple[int, int]:
        """(H2, W2): the finest of the two squares that an image is brought to."""
        return self.mask_generator.input_size

    @property
    def mask_size(self) -> tuple[int, int]:
        """(h, w) of the square that the logits of `without_border`, or of several passes, are cut
        from."""
        finer = self.upsample_via_sam_input or (self.test_symmetries and self.test_shift)
        return self.input_size if finer else self.mask_generator.prompt_size

    def answer(
        self, outputs: RefSegOutputs, masks: list[Tensor], data_samples: list[RefSegDataSample]
    ) -> list[RefSegDataSample]:
        """As `RefSegModel.answer`, and of the heads that `sam.score_heads` has trained `presence`
        and `predicted_iou`, with `mean_probability`. Where `presence_threshold` empties a mask,
        `drawn_mask` is what was drawn."""
        samples = super().answer(outputs, masks, data_samples)
        for i, (sample, mask) in enumerate(zip(samples if self.score_heads else (), masks)):
            found = mask[sample.pred_mask].sigmoid()
            sample.mean_probability = found.sum() / max(found.numel(), 1)
            if outputs.iou_score is not None:
                sample.predicted_iou = outputs.iou_score[i].float()
            if outputs.object_score is not None:
                sample.presence = outputs.object_score[i].float().sigmoid()
            if self.presence_threshold is not None and sample.presence < self.presence_threshold:
                sample.drawn_mask = sample.pred_mask
                sample.pred_mask = torch.zeros_like(sample.pred_mask)
        return samples

    def without_border(
        self, mask_logits: Tensor, ori_shapes: list[tuple[int, int]]
    ) -> list[Tensor]:
        """(B, H2/4, W2/4) -> B times (h, w) logits that cover the original images, as they come
        from the decoder; with `upsample_via_sam_input` at SAM's resolution.

        Raises:
            UserError: a logit is NaN, of which `> 0` would make an empty mask.
        """
        if self.upsample_via_sam_input:
            mask_logits = upsample(mask_logits, self.mask_generator.input_size)
        return super().without_border(mask_logits, ori_shapes)


def require_rsrefseg2(model: nn.Module, what: str) -> None:
    """Raises a UserError where a model is another one, of whose parts `what` knows nothing."""
    if not hasattr(model, 'prompter'):
        raise UserError(f'{type(model).__name__} is no RSRefSeg2, of whose parts {what} asks')


def _check_choices(
    init: str,
    autocast: str | None,
    frozen_dtype: str,
    prediction_dtype: str | None,
    test_symmetries: str | None,
) -> None:
    if init not in ('pretrained', 'random'):
        raise ValueError(f"init is 'pretrained' or 'random', not {init!r}")
    if autocast not in (None, 'bfloat16') or frozen_dtype not in ('float32', 'bfloat16'):
        raise ValueError(
            "autocast is None or 'bfloat16', frozen_dtype 'float32' or 'bfloat16',"
            f' not {autocast!r} and {frozen_dtype!r}'
        )
    if prediction_dtype not in (None, *get_args(PredictionDtype)):
        raise ValueError(
            f"prediction_dtype is None, 'bfloat16' or 'int8', not {prediction_dtype!r}"
        )
    if test_symmetries not in (None, *GROUPS):
        raise ValueError(
            f'test_symmetries is None or one of {", ".join(map(repr, GROUPS))}, '
            f'not {test_symmetries!r}'
        )


def _preprocessor(tokenizer: str | dict, init: str, parts: dict, options: dict | None) -> dict:
    """The config of the data preprocessor.

    Args:
        parts: of `inputs_of`.  options: of the config.
    """
    kind = 'rsrefseg2.RefSegDataPreprocessor'
    return dict(type=kind, tokenizer=tokenizer, init=init, **parts, **(options or {}))


def inputs_of(encoder: DualModalityEncoder, mask_generator: MaskGenerator) -> dict:
    """Arguments of `RefSegDataPreprocessor` that the towers fix."""
    return dict(
        max_length=encoder.max_length,
        size_siglip=encoder.image_size,
        size_sam=mask_generator.input_size[0],
        mean_siglip=encoder.pixel_mean,
        std_siglip=encoder.pixel_std,
    )


def _spec_of(encoder: DualModalityEncoder, mask_generator: MaskGenerator) -> TowerSpec:
    """What the prompter is built for."""
    return TowerSpec(
        d1=encoder.d1,
        d2=mask_generator.d2,
        grid_size=encoder.grid_size,
        prompt_size=mask_generator.prompt_size,
        logit_scale=encoder.logit_scale,
        logit_bias=encoder.logit_bias,
        sam_positions=mask_generator.positions_of(encoder.grid_size),
    )

"""What a training step keeps for its backward pass: counted to the byte, on a step that runs or on
tensors that have shapes and no data."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from ..models import ModelInputs, RSRefSeg2
from ..models.towers.activation_checkpointing import layers_of, stages_of
from ..structures import RefSegDataSample
from .complexity import build_on_meta

OUTSIDE = -1  # in place of a layer's number: what runs outside of the towers' layers


def _attention_flop(
    query: torch.Size, key: torch.Size, value: torch.Size, *_: Any, **__: Any
) -> int:
    """torch does not count a CPU's fused attention by itself."""
    return sdpa_flop_count(query, key, value)


ATTENTION = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flop}


class Saved:
    """Bytes that the forward passes below `count` keep for backward: each storage once, however
    many views of it are kept; the model's own weights not at all."""

    def __init__(self, model: nn.Module) -> None:
        self._own = {p.untyped_storage()._cdata for p in (*model.parameters(), *model.buffers())}
        self._storages: dict[int, Any] = {}

    @property
    def nbytes(self) -> int:
        """Of what was kept below the last `count`."""
        return sum(storage.nbytes() for storage in self._storages.values())

    @contextmanager
    def count(self) -> Iterator[None]:
        """Within it what is kept is noted."""
        self._storages.clear()
        with torch.autograd.graph.saved_tensors_hooks(self._pack, lambda x: x):
            yield

    def _pack(self, x: Tensor) -> Tensor:
        self._note(x)
        return x.detach()

    def _note(self, x: Tensor) -> int | None:
        """The number of a tensor's storage; None: a weight's."""
        storage = x.untyped_storage()
        if storage._cdata in self._own:
            return None
        self._storages[storage._cdata] = storage  # held, so that its number stays its own
        return storage._cdata


class Storage(NamedTuple):
    """Something that a step keeps where nothing is computed again."""

    nbytes: int
    kept_by: frozenset[int]  # numbers of layers, and OUTSIDE
    enters: frozenset[int]  # layers whose input it is


class Layer(NamedTuple):
    """A layer that may be computed again in the backward pass."""

    unit: str  # of `units_of`
    flop: int  # of its forward pass on the whole batch


class StepMemory(NamedTuple):
    """What a training step of one batch needs; `again`: the units that are computed again."""

    weights: int  # bytes
    trained: int  # numbers in what is trained
    forward_flop: int  # of the whole forward pass
    layers: tuple[Layer, ...]
    storages: tuple[Storage, ...]

    def kept(self, again: Collection[str]) -> int:
        """Bytes that the forward pass keeps for the backward pass."""
        numbers = self._numbers(again)
        return sum(one.nbytes for one in self.storages if _stays(one, numbers))

    def largest_again(self, again: Collection[str]) -> int:
        """Bytes that come back while the largest of these layers is computed again."""
        numbers, of_layer = self._numbers(again), dict.fromkeys(range(len(self.layers)), 0)
        for one in self.storages:
            if not _stays(one, numbers):
                for number in one.kept_by:
                    of_layer[number] += one.nbytes
        return max(of_layer.values(), default=0)

    def flop(self, again: Collection[str]) -> int:
        """FLOP of the second forward passes."""
        return sum(layer.flop for layer in self.layers if layer.unit in again)

    def _numbers(self, again: Collection[str]) -> frozenset[int]:
        return frozenset(k for k, layer in enumerate(self.layers) if layer.unit in again)


def _stays(one: Storage, again: frozenset[int]) -> bool:
    """A layer that is computed again keeps its inputs, and nothing that it makes."""
    return bool(one.kept_by - again or one.enters & again)


def units_of(model: RSRefSeg2) -> dict[str, list[nn.Module]]:
    """name -> the layers that one setting computes again: SAM 2's stages, else SAM's image encoder;
    SigLIP's two towers."""
    encoder, sam = model.encoder, model.mask_generator.sam.vision_encoder
    stages = stages_of(sam)
    of_sam = {f'SAM stage {k}': blocks for k, blocks in enumerate(stages, 1)}
    return {
        **(of_sam or {'SAM': layers_of(sam)}),
        'SigLIP vision': layers_of(encoder.vision_model),
        'SigLIP text': layers_of(encoder.text_model),
    }


class ByLayer(Saved):
    """As `Saved`, which also notes the layer that keeps a storage, and what enters a layer."""

    def __init__(self, model: RSRefSeg2, counter: FlopCounterMode) -> None:
        super().__init__(model)
        self.layers: list[Layer] = []
        self._counter, self._running, self._before = counter, OUTSIDE, 0
        self._kept_by: dict[int, set[int]] = {}
        self._enters: dict[int, set[int]] = {}
        for unit, layers in units_of(model).items():
            for layer in layers:
                self._watch(layer, unit, len(self.layers))
                self.layers.append(Layer(unit, 0))

    def storages(self) -> tuple[Storage, ...]:
        """What the pass below `count` kept."""
        return tuple(
            Storage(
                storage.nbytes(),
                frozenset(self._kept_by.get(number, ())),
                frozenset(self._enters.get(number, ())),
            )
            for number, storage in self._storages.items()
        )

    def _watch(self, layer: nn.Module, unit: str, k: int) -> None:
        def enter(layer: nn.Module, args: tuple) -> None:
            self._running, self._before = k, self._counter.get_total_flops()
            for value in args:
                number = self._note(value) if isinstance(value, Tensor) else None
                if number is not None:
                    self._enters.setdefault(number, set()).add(k)

        def leave(*_: Any) -> None:
            flop = self._counter.get_total_flops() - self._before
            self._running, self.layers[k] = OUTSIDE, Layer(unit, flop)

        layer.register_forward_pre_hook(enter)
        layer.register_forward_hook(leave)

    def _pack(self, x: Tensor) -> Tensor:
        number = self._note(x)
        if number is not None:
            self._kept_by.setdefault(number, set()).add(self._running)
        return x.detach()


class _Scalars(TorchFunctionMode):
    """int(x) of a tensor without data is the number of words of the longest sentence; bool(x), which
    asks whether a mask is empty, True."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.words = words

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        if func in (Tensor.__int__, Tensor.__bool__) and isinstance(args[0], FakeTensor):
            return self.words if func is Tensor.__int__ else True
        return func(*args, **(kwargs or {}))


def count_step(
    model_cfg: Mapping,
    images: int,
    sentences: int,
    *,
    words: int | None = None,
    side: int | None = None,
    half: bool = False,
) -> StepMemory:
    """A training step's memory as on a CPU, without data: any size, in seconds.

    A GPU's autocast keeps norms in float32, so there somewhat more is kept in BF16.

    Args:
        model_cfg: an `RSRefSeg2`; what it says of `recompute` is left out.
        images, sentences: U and B of the batch.
        words: of the longest sentence; None: as many as the text tower takes.
        side: of the pictures and their masks; None: SAM's input.
        half: all weights are in BF16, as under ZeRO-2.
    """
    model = build_on_meta(without_recompute(model_cfg))
    if half:
        model.bfloat16()
    model.with_target = ()  # all sentences, as many at most
    counter = FlopCounterMode(display=False, custom_mapping=ATTENTION)
    with FakeTensorMode(allow_non_fake_inputs=True):
        model.to_empty(device='cpu').train()
        words = model.encoder.max_length - 1 if words is None else words
        inputs = _inputs(model, images, sentences, words)
        data = noise_samples(images, sentences, side or model.mask_generator.input_size[0])
        by_layer = ByLayer(model, counter)
        with _Scalars(words), counter, by_layer.count():
            model(inputs, data, mode='loss')
        trained = [p for p in model.parameters() if p.requires_grad]
        return StepMemory(
            nbytes(model.parameters()),
            sum(p.numel() for p in trained),
            counter.get_total_flops(),
            tuple(by_layer.layers),
            by_layer.storages(),
        )


def without_recompute(model_cfg: Mapping) -> dict:
    """A config's `model` as it is counted: nothing is computed again, nothing compiled."""
    plain = copy.deepcopy(dict(model_cfg))
    plain.pop('compile_blocks', None)
    for part, key in RECOMPUTE:
        plain[part] = {name: value for name, value in plain[part].items() if name != key}
    return plain


RECOMPUTE = (('sam', 'recompute'), ('siglip', 'vision_recompute'), ('siglip', 'text_recompute'))


def _inputs(model: RSRefSeg2, images: int, sentences: int, words: int) -> ModelInputs:
    encoder = model.encoder
    return ModelInputs(
        torch.empty(images, 3, encoder.image_size, encoder.image_size),
        torch.empty(images, 3, *model.mask_generator.input_size),
        torch.arange(sentences) % images,
        torch.zeros(sentences, encoder.max_length, dtype=torch.int64),
        torch.full((sentences,), words + 1),
        torch.arange(sentences) % images,
    )


def noise_samples(images: int, sentences: int, side: int) -> list[RefSegDataSample]:
    """Sentences in turn on the images, each with a square of its own, and another object's."""
    found = []
    for i in range(sentences):
        facts = dict(sample_id=str(i), img_path=f'{i % images}.jpg', category=None)
        text = ('A ship on the upper right', 'the vehicle on the right of the airplane')[i % 2]
        sample = RefSegDataSample(metainfo=dict(facts, text=text, ori_shape=(side, side)))
        sample.gt_mask = torch.zeros(side, side, dtype=torch.bool)
        top, size = (side // 16 + i * side // 40) % (side // 2), side // 3
        sample.gt_mask[top : top + size, side // 5 : side // 2] = True
        sample.other_mask = sample.gt_mask.flip(1)
        found.append(sample)
    return found


def nbytes(tensors: Iterable[Tensor]) -> int:
    """Of all of them."""
    return sum(x.numel() * x.element_size() for x in tensors)

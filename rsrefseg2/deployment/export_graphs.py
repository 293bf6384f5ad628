"""Write a trained model as three graphs, the tokenizer and a description of what they need."""

from __future__ import annotations

import contextlib
import copy
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from mmengine.config import Config
from torch import nn

from ..engine import load_model
from ..engine.calibration_files import calibration_of, threshold_of
from ..errors import UserError
from ..extras import require_extra
from ..files import write_text
from ..models import RSRefSeg2
from ..models.data_preprocessor import IMAGENET_MEAN, IMAGENET_STD
from ..models.rsrefseg2 import require_rsrefseg2
from ..publishing.export_towers import merge_towers
from ..publishing.out_folder import staged
from .exported_model import TOKENIZER, Description, GraphFile, write_description
from .graph_modules import DecoderGraph, ImageEncoderGraph, TextEncoderGraph, outputs_of

Format = Literal['onnx', 'torch', 'aoti']
FORMATS: tuple[Format, ...] = ('onnx', 'torch', 'aoti')
ENDINGS = {'onnx': '.onnx', 'torch': '.pt2', 'aoti': '.pt2'}
OPSET = 20  # of ONNX
MOST_SENTENCES = 4096  # of one pass
# AOTInductor's code that calls the kernels is one long function: with optimisation the tiny
# model's took more than half an hour to compile. The kernels themselves are optimised.
COMPILER = {'aot_inductor.compile_wrapper_opt_level': 'O0'}


class Graph(NamedTuple):
    """One graph before it is exported."""

    name: str
    module: nn.Module
    args: tuple[Any, ...]  # an example of its inputs
    inputs: list[str]
    outputs: list[str]
    dynamic: tuple[Any, ...]  # of torch.export, one for each of `args`


def export(
    cfg: Config, checkpoint: str | Path, out: str | Path, form: Format, device: str = 'cpu'
) -> Description:
    """The folder `out` with three graphs, tokenizer.json, model.json and README.md.

    LoRA is merged, and the graphs are float32 whatever `autocast` says; the cosine of Eq. 7 stays
    float64 inside. An exported model takes one pass, whatever `test_symmetries` says.

    Args:
        device: that the graphs of 'torch' and 'aoti' run on; ONNX runs anywhere.
    Raises:
        UserError: the format is unknown, or has no such device; `out` is not empty; there is no C++
            compiler for 'aoti'; the checkpoint does not fit the config; the tokenizer cannot be
            written (`tokenizer_file`). Nothing is written.
    """
    out = Path(os.path.realpath(out))
    check_request(out, form, device)
    exact = copy.deepcopy(cfg)
    for key in ('frozen_dtype', 'compile_blocks'):
        exact.model.pop(key, None)
    model = load_model(exact, checkpoint, device, predicts=False)
    require_rsrefseg2(model, 'an export')
    calibration = calibration_of(model, checkpoint)
    tokenizer = tokenizer_file(model)
    with staged(out) as stage:
        graphs = write_graphs(model, stage, form)
        (stage / TOKENIZER).write_text(tokenizer, encoding='utf-8')
        description = describe(model, Path(cfg.filename).stem, form, graphs)._replace(
            device=torch.device(device).type,
            presence_threshold=threshold_of(model, calibration),
            calibration=calibration,
        )
        write_description(description, stage)
        write_text(stage / 'README.md', read_me(description))
    return description


def check_request(out: Path, form: str, device: str = 'cpu') -> None:
    """Asked before any work.

    Raises:
        UserError: see `export`; the packages of the format are missing.
    """
    if form not in FORMATS:
        raise UserError(f'unknown format {form!r}: take {" or ".join(FORMATS)}')
    if form == 'onnx' and device != 'cpu':
        raise UserError(f'--device {device}: ONNX graphs run anywhere: leave --device out')
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        what = 'not empty' if out.is_dir() else 'a file'
        raise UserError(f'{out} is {what}: give a folder that is new or empty')
    if form == 'onnx':
        for package in ('onnx', 'onnxscript'):
            require_extra('onnx', '--format onnx', package=package, otherwise='take --format torch')
    if form == 'aoti':
        require_compiler()


def require_compiler() -> None:
    """Raises a UserError where AOTInductor has no C++ compiler."""
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        raise UserError(
            '--format aoti compiles the graphs, and there is no working C++ compiler: install g++, '
            'name one in the variable CXX, or take --format torch'
        ) from None


def tokenizer_file(model: RSRefSeg2) -> str:
    """The text of tokenizer.json: the model's tokenizer as it is set, for the library tokenizers.

    Raises:
        UserError: the towers were drawn at random and have none; it is written in Python (SigLIP
            1's) and has no such form.
    """
    tokenizer = getattr(model.data_preprocessor.tokenizer, 'tokenizer', None)
    if tokenizer is None:
        raise UserError(
            'the towers were drawn at random (model.init=random) and have no tokenizer: export a '
            'model of pretrained towers'
        )
    core = getattr(tokenizer, 'backend_tokenizer', None)
    if core is None:
        raise UserError(
            f'the tokenizer {type(tokenizer).__name__} has no tokenizer.json: '
            'take a SigLIP 2 or CLIP checkpoint'
        )
    return core.to_str()


def write_graphs(model: RSRefSeg2, folder: Path, form: Format) -> dict[str, GraphFile]:
    """The three graphs of `model`, whose LoRA is merged and whose gradients are switched off."""
    merge_towers(model)
    model.eval().requires_grad_(False)
    written = {}
    for graph in graphs_of(model):
        file = graph.name + ENDINGS[form]
        with quiet():
            program = torch.export.export(
                graph.module.eval(), graph.args, dynamic_shapes=graph.dynamic
            )
            _write(program, folder / file, graph, form)
        written[graph.name] = GraphFile(file, graph.inputs, graph.outputs)
    return written


def _write(program: torch.export.ExportedProgram, path: Path, graph: Graph, form: Format) -> None:
    """One graph's file."""
    if form == 'torch':
        torch.export.save(program, path)
    elif form == 'aoti':
        torch._inductor.aoti_compile_and_package(
            program, package_path=str(path), inductor_configs=COMPILER
        )
    else:
        onnx = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=OPSET,
            input_names=graph.inputs,
            output_names=graph.outputs,
        )
        assert onnx is not None  # of dynamo=True
        onnx.save(path)


def graphs_of(model: RSRefSeg2) -> list[Graph]:
    """The three graphs with examples of their inputs: one image, three sentences."""
    sentences = torch.export.Dim('sentences', min=1, max=MOST_SENTENCES)
    device = next(model.parameters()).device
    sides = model.encoder.image_size, model.mask_generator.input_size[0]
    images = tuple(torch.zeros(1, 3, side, side, device=device) for side in sides)
    positions, width = model.encoder.max_length, None  # type: int, Any
    if model.data_preprocessor.padding == 'longest':  # ids are as wide as the longest sentence
        width = torch.export.Dim('positions', min=2, max=positions)
        positions -= 1
    lengths = torch.tensor([3, 4, 5], device=device)
    ids = lengths.new_zeros(3, positions), lengths

    seen, read = ImageEncoderGraph(model), TextEncoderGraph(model)
    with torch.no_grad():  # AOTInductor takes the examples' strides for those of all inputs
        v, embedding, *maps = (value.contiguous() for value in seen(*images))
        t_word, word_mask, t_sent = read(*ids)
    kept = min(4, t_word.shape[1])  # the predictor drops what no sentence reads
    words = torch.export.Dim('words', min=1, max=model.encoder.max_length)
    text = [part.contiguous() for part in (t_word[:, :kept], word_mask[:, :kept], t_sent)]
    image_outputs = ['v', 'image_embedding', *(f'map_{i}' for i in range(len(maps)))]
    text_outputs = ['t_word', 'word_mask', 't_sent']
    by_word = {0: sentences, 1: words}
    return [
        Graph(
            'image_encoder',
            seen,
            images,
            ['images_siglip', 'images_sam'],
            image_outputs,
            (None, None),
        ),
        Graph(
            'text_encoder',
            read,
            ids,
            ['input_ids', 'lengths'],
            text_outputs,
            ({0: sentences} if width is None else {0: sentences, 1: width}, {0: sentences}),
        ),
        Graph(
            'decoder',
            DecoderGraph(model),
            (*text, v, embedding, maps),
            [*text_outputs, *image_outputs],
            outputs_of(model),
            (by_word, by_word, {0: sentences}, None, None, [None] * len(maps)),
        ),
    ]


def describe(
    model: RSRefSeg2, name: str, form: Format, graphs: dict[str, GraphFile]
) -> Description:
    """What `model.json` says."""
    inputs = model.data_preprocessor
    return Description(
        name=name,
        format=form,
        opset=OPSET if form == 'onnx' else None,
        graphs=graphs,
        size_siglip=inputs.size_siglip,
        size_sam=inputs.size_sam,
        mean_siglip=list(inputs.mean_siglip),
        std_siglip=list(inputs.std_siglip),
        mean_sam=list(IMAGENET_MEAN),
        std_sam=list(IMAGENET_STD),
        siglip_from=inputs.siglip_from,
        sam_resize=inputs.sam_resize,
        fit=inputs.fit,
        upsample_via_sam_input=model.upsample_via_sam_input,
        max_length=inputs.max_length,
        padding=inputs.padding,
        lower_case=inputs.lower_case,
        pad_id=inputs.tokenizer.pad_id,
        eos_id=inputs.tokenizer.eos_id,
        bos_id=inputs.tokenizer.bos_id,
    )


def read_me(description: Description) -> str:
    """The text of README.md."""
    how = {
        'onnx': 'from rsrefseg2.deployment.onnx_predictor import OnnxPredictor\n\n'
        "predictor = OnnxPredictor('.').set_image('picture.png')\n"
        "answers = predictor.predict(['the ship at the left'])",
        **dict.fromkeys(
            ('torch', 'aoti'),
            'from rsrefseg2.deployment.torch_predictor import TorchPredictor\n\n'
            "predictor = TorchPredictor('.').set_image('picture.png')\n"
            "answers = predictor.predict(['the ship at the left'])",
        ),
    }[description.format]
    rows = '\n'.join(
        f'| {graph.file} | {", ".join(graph.inputs)} | {", ".join(graph.outputs)} |'
        for graph in description.graphs.values()
    )
    opset = '' if description.opset is None else f', opset {description.opset}'
    return (
        f'# {description.name}, exported\n\nFormat {description.format}{opset}, for {description.device}; '
        'float32. '
        f'Images: {description.size_siglip} x {description.size_siglip} and '
        f'{description.size_sam} x {description.size_sam}. Any number of sentences.\n\n'
        f'| file | inputs | outputs |\n|---|---|---|\n{rows}\n\n```python\n{how}\n```\n'
    )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the exporter's progress lines and notices."""
    logger = logging.getLogger('torch.onnx')
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with (
            warnings.catch_warnings(),
            open(os.devnull, 'w', encoding='utf-8') as nowhere,
            contextlib.redirect_stdout(nowhere),
        ):
            warnings.simplefilter('ignore')
            yield
    finally:
        logger.setLevel(level)

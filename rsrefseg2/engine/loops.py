"""The test loop: it can be continued, and has the control that shows if the sentence was read."""

from __future__ import annotations

import copy
import hashlib
import os
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import get_world_size, is_main_process
from mmengine.evaluator import Evaluator
from mmengine.logging import MMLogger
from mmengine.runner import FlexibleRunner, TestLoop, autocast

from ..errors import UserError
from ..evaluation import COLUMNS, RATES, RefSegMetric, score_table, score_title
from ..registry import DATASETS, LOOPS
from .cpu_threads import limit_threads
from .evaluator import EvaluatorBeside


@LOOPS.register_module()
class RefSegTestLoop(TestLoop):
    """Test; then, if asked, once more with sentences exchanged between images.

    Where the metric's dump is continued (`resume`), the samples that are in it already are neither
    read nor predicted.

    Args:
        exchanged: run the control too. Its gIoU is added to the metrics as `shuffled`: what the
            same model scores with another image's sentence. A model that reads scores far lower.
    """

    def __init__(
        self,
        runner: FlexibleRunner,
        dataloader: dict,
        evaluator: Evaluator | dict | list,
        fp16: bool = False,
        exchanged: bool = False,
    ) -> None:
        control = None
        if exchanged:
            control = copy.deepcopy(dataloader)
            control['dataset']['exchange_sentences'] = True
        if not isinstance(evaluator, Evaluator):
            evaluator = runner.build_evaluator(evaluator)
        evaluator = EvaluatorBeside(evaluator.metrics)
        dataloader = leave_out_what_is_done(dataloader, evaluator, runner.logger)
        super().__init__(runner, dataloader, evaluator, fp16=fp16)
        self.control = control

    def run(self) -> dict:
        """-> the metrics by name, in percent. One table of them is the last entry of the log."""
        try:
            with encoding_once(self.runner):
                metrics = super().run()
        except BaseException:
            with suppress(Exception):  # the first fault is the one that is told
                self.evaluator.wait()  # what was predicted before it is in the dump
            raise
        scored = self._scored()
        rows: dict[str, dict] = {
            f'the model{f", {name}" if name else ""}': metric.report
            for name, metric in scored.items()
        }
        if self.control is not None:
            self.runner.logger.info('the control: the same images with exchanged sentences')
            dataloader = self.runner.build_dataloader(self.control, seed=self.runner.seed)
            control = ControlLoop(self.runner, dataloader, self._plain_metric())
            with encoding_once(self.runner):
                metrics['shuffled'] = control.run()['gIoU']
            rows['the control: exchanged sentences'] = control.evaluator.metrics[0].report
        for metric in scored.values():
            rows |= metric.beside
        if is_main_process() and scored:
            columns = (
                *COLUMNS,
                *(name for name in RATES if any(name in row for row in rows.values())),
                'samples',
            )
            protocols = {metric.protocol.name: metric.protocol for metric in scored.values()}
            titles = [score_title('this test', protocol) for protocol in protocols.values()]
            self.runner.logger.info('\n' + score_table(rows, '\n'.join(titles), columns=columns))
        return metrics

    def _scored(self) -> dict[str, RefSegMetric]:
        """The metrics that have a report; by '' where there is one, else by prefix and protocol."""
        found = [metric for metric in self.evaluator.metrics if isinstance(metric, RefSegMetric)]
        return {
            f'{metric.prefix or ""} {metric.protocol.name}'.strip()
            if len(found) > 1
            else '': metric
            for metric in found
        }

    def _plain_metric(self) -> dict:
        """gIoU under the protocol that the test is scored by."""
        protocols = [metric.protocol.name for metric in self._scored().values()]
        return dict(
            type='RefSegMetric', protocol=protocols[0] if protocols else 'paper', tables=False
        )


def encoding_once(runner: FlexibleRunner) -> AbstractContextManager:
    """`RSRefSeg2.remembering` of the model that a runner tests, which gets ready for it; nothing for
    a zero-shot model."""
    model = getattr(runner.model, 'module', runner.model)
    limit_threads()
    if not hasattr(model, 'remembering'):
        return nullcontext()
    return model.for_prediction().remembering()


class ControlLoop(TestLoop):
    """A test whose scores are nobody's: no hook gets them but the progress bar, by hooks of its
    own."""

    def run(self) -> dict:
        """-> the metrics by name, in percent."""
        self.runner.call_hook('before_control', total=len(self.dataloader))
        self.runner.model.eval()
        for batch in self.dataloader:
            with torch.no_grad(), autocast(enabled=self.fp16):
                samples = self.runner.model.test_step(batch)
            self.evaluator.process(data_samples=samples, data_batch=batch)
            self.runner.call_hook('after_control_iter')
        metrics = self.evaluator.evaluate(len(self.dataloader.dataset))
        self.runner.call_hook('after_control')
        return metrics


def leave_out_what_is_done(dataloader: dict, evaluator: Evaluator, logger: MMLogger) -> dict:
    """The loader of the samples that no interrupted test has scored."""
    metrics = [metric for metric in evaluator.metrics if hasattr(metric, 'start')]
    done = [metric.start() for metric in metrics]
    if not any(done):
        return dataloader
    if len(evaluator.metrics) > 1:
        raise UserError(
            'a test with several evaluators cannot be continued: drop --resume, '
            'or score the dump with tools/analysis/score.py'
        )
    dataset = DATASETS.build(dataloader['dataset'])
    rest = [i for i in range(len(dataset)) if dataset.get_data_info(i)['sample_id'] not in done[0]]
    # A rank without any batch would not be served by the sampler; what is predicted twice counts
    # once.
    rest = rest if len(rest) >= get_world_size() else list(range(len(dataset)))[-get_world_size() :]
    metrics[0].skipped = len(dataset) - len(rest)
    logger.info(f'continuing: {metrics[0].skipped} of {len(dataset)} samples were scored before')
    dataset.get_subset_(rest)
    return {**dataloader, 'dataset': dataset}


def test_on(cfg: Config, split: str) -> None:
    """Lets the test read another split: its data set, with the test's pipeline and metric.

    Args:
        cfg: changed in place; `test_dataloader.dataset` becomes that of `<split>_dataloader`.
        split: 'train', 'val' or 'test'; 'test' changes nothing.

    Raises:
        UserError: the config has no `<split>_dataloader`, or no test_dataloader.
    """
    if split == 'test':
        return
    for name in ('test', split):
        if cfg.get(f'{name}_dataloader') is None:
            raise UserError(f'{cfg.filename} has no {name}_dataloader; choose another split')
    dataset = copy.deepcopy(cfg[f'{split}_dataloader'].dataset)
    pipeline = cfg.test_dataloader.dataset.get('pipeline')
    if pipeline is not None:
        dataset.pipeline = copy.deepcopy(pipeline)
    cfg.test_dataloader.dataset = dataset
    evaluators = cfg.test_evaluator
    several: list[dict] = [evaluators] if isinstance(evaluators, dict) else evaluators
    for evaluator in several:
        if evaluator.get('type') == 'ObjectHitMetric':  # it reads the split's scenes
            evaluator['split'] = split


def set_scoring(cfg: Config, **options: Any) -> None:
    """Puts options of RefSegMetric (protocol, dump, resume) into the config's test_evaluator; those
    that are None stay as the config has them.

    Raises:
        UserError: the config has several evaluators.
    """
    options = {key: value for key, value in options.items() if value is not None}
    if options and not isinstance(cfg.test_evaluator, dict):
        raise UserError(
            f'{cfg.filename} has several test evaluators: set their '
            f'{", ".join(options)} in the config'
        )
    cfg.merge_from_dict(dict(test_evaluator=options))


def identify_run(cfg: Config, checkpoint: str | None) -> dict[str, str]:
    """What a dump's lines depend on: a test of anything else does not continue it."""

    def digest(part: dict) -> str:
        text = Config(dict(part=part)).pretty_text
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    weights = 'none'  # of a zero-shot model: its config names them
    if checkpoint is not None:
        state = os.stat(checkpoint)
        weights = f'{os.path.basename(checkpoint)}, {state.st_size} bytes, {state.st_mtime_ns}'
    return dict(
        checkpoint=weights, model=digest(cfg.model), dataset=digest(cfg.test_dataloader.dataset)
    )

"""A batch is scored while the next is predicted; nothing is lost, and a fault is told."""

import threading

import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.structures import BaseDataElement

from rsrefseg2.engine.evaluator import EvaluatorBeside
from rsrefseg2.errors import UserError

SECONDS = 30


class Slow(BaseMetric):
    """Sums values, each once it may."""

    def __init__(self):
        super().__init__()
        self.may = threading.Event()

    def process(self, data_batch, data_samples):
        assert self.may.wait(SECONDS) and not torch.is_grad_enabled()
        for sample in data_samples:
            if sample['value'] < 0:
                raise UserError(f'value {sample["value"]} is below 0')
            self.results.append(sample['value'])

    def compute_metrics(self, results):
        return dict(values=list(results))


def samples(*values):
    found = []
    for value in values:
        found.append(BaseDataElement())
        found[-1].value = value
    return found


def test_all_are_scored_in_order_beside_the_caller():
    metric = Slow()
    evaluator = EvaluatorBeside([metric])
    evaluator.process(samples(1, 2))
    assert metric.results == []  # the caller goes on
    metric.may.set()
    for k in range(3, 9):
        evaluator.process(samples(k), data_batch=None)
    assert evaluator.evaluate(8) == dict(values=list(range(1, 9)))


@pytest.mark.parametrize('call', ['process', 'evaluate', 'wait'])
def test_a_fault_is_told_by_the_next_call(call):
    metric = Slow()
    evaluator = EvaluatorBeside([metric])
    metric.may.set()
    evaluator.process(samples(-1))
    args = dict(process=(samples(1),), evaluate=(1,), wait=())[call]
    with pytest.raises(UserError, match='value -1 is below 0'):
        getattr(evaluator, call)(*args)

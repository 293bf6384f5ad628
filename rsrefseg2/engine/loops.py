"""The test loop, with the control that shows whether the sentence was read."""
from __future__ import annotations

import copy

from mmengine.evaluator import Evaluator
from mmengine.runner import TestLoop

from ..registry import LOOPS


@LOOPS.register_module()
class RefSegTestLoop(TestLoop):
    """Test; then, if asked, once more with sentences exchanged between images.

    Args:
        exchanged: run the control too. Its gIoU is added to the metrics as `shuffled`: what the
            same model scores with another image's sentence. A model that reads scores far lower.
    """

    def __init__(self, runner, dataloader: dict, evaluator: Evaluator | dict | list,
                 fp16: bool = False, exchanged: bool = False) -> None:
        control = None
        if exchanged:
            control = copy.deepcopy(dataloader)
            control['dataset']['exchange_sentences'] = True
        super().__init__(runner, dataloader, evaluator, fp16=fp16)
        self.control = control

    def run(self) -> dict:
        """-> the metrics by name, in percent."""
        if self.control is None:
            return super().run()
        metrics = super().run()
        self.runner.logger.info('the control: the same images with exchanged sentences')
        dataloader = self.runner.build_dataloader(self.control, seed=self.runner.seed)
        control = TestLoop(self.runner, dataloader, dict(type='RefSegMetric'))
        metrics['shuffled'] = control.run()['gIoU']
        return metrics

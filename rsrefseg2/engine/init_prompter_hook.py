"""The joint training starts from what the towers say already."""

from __future__ import annotations

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.runner import FlexibleRunner
from torch import Tensor, nn

from ..bounds import PositiveInt
from ..datasets import unique_images_collate
from ..errors import UserError
from ..models.prompter.base_prompter import BasePrompter
from ..registry import HOOKS


@HOOKS.register_module()
class InitPrompterFromTowersHook(Hook):
    """Start values of the prompter with which p_dense is nearly cos(v, t_sent) at its grid.

    With random ones Eq. 5 and the convolutions of Eq. 7 bury what a pretrained tower points at, and
    the training has to find it again (projects/localisation_study/README.md). The paper says nothing of start values, so
    this is off unless a config asks for it: `default_hooks = dict(tower_start=dict(type=...))`.
    Nothing happens in a run that resumes or loads weights.

    Args:
        batches: how many are read, evenly spaced over the training set.
        sentences: consecutive ones of a batch.
    """

    def __init__(self, *, batches: PositiveInt = 64, sentences: PositiveInt = 6) -> None:
        self.batches, self.sentences = batches, sentences

    def before_train(self, runner: FlexibleRunner) -> None:
        """Set the start values, on all ranks alike, unless the run resumes or loads weights.

        Raises:
            UserError: the model has no stack of Eq. 5.
        """
        if runner.iter or runner._load_from is not None:
            return
        model = runner.strategy.plain_model
        prompter = getattr(model, 'prompter', None)
        if not isinstance(prompter, BasePrompter):
            raise UserError(
                'default_hooks.tower_start sets the start of Eqs. 5 and 7, which this model has '
                'not: set it to None'
            )
        runner.strategy.load_weights(
            {f'prompter.{name}': zeros for name, zeros in prompter.identity_start().items()}
        )
        if prompter.dense is None:
            return
        dataset = runner.train_loop.dataloader.dataset
        training = model.training
        model.eval()
        v, t_sent = [], []
        for start in np.linspace(0, max(0, len(dataset) - self.sentences), self.batches):
            few = range(int(start), min(int(start) + self.sentences, len(dataset)))
            v_act, t = self._read(model, unique_images_collate(dataset.__getitems__(few)))
            v.append(v_act)
            t_sent.append(t)
        model.train(training)
        values = prompter.dense.tower_start(torch.cat(v), torch.cat(t_sent))
        values = runner.agreement.from_main({name: value.cpu() for name, value in values.items()})
        runner.strategy.load_weights(
            {f'prompter.dense.{name}': value for name, value in values.items()}
        )
        runner.logger.info(
            f'the prompter starts from the towers: {len(torch.cat(t_sent))} sentences read'
        )

    @torch.no_grad()
    def _read(self, model: nn.Module, batch: dict) -> tuple[Tensor, Tensor]:
        """v2_act (B, h1*w1, d1) and t_sent (B, d1) of a batch."""
        preprocess = model.data_preprocessor
        n_cut = preprocess.n_cut
        processed = preprocess(batch, False)
        preprocess.n_cut = n_cut  # counts what is trained on
        # The whole model, although SAM's part is not read: FSDP2 gathers from the root.
        outputs = model(**processed, mode='tensor')
        return outputs.prompts.v2_act.float(), outputs.text.t_sent.float()

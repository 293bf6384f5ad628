"""BERT's words, each sentence by itself."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ...bounds import PositiveInt
from ...errors import UserError
from ..towers.load import Init, init_of, load_bert


class Words(NamedTuple):
    """The sentences' tokens, marks included."""

    features: Tensor  # (B, L, C_t)
    mask: Tensor  # (B, L) bool, True on the sentence's own tokens


class BertEncoder(nn.Module):
    """L = BERT(T): the last hidden states, with an attention mask on the padding.

    Args:
        checkpoint: hub name, folder, or transformers config: a dict is drawn at random.
        init: 'pretrained' or 'random'.
        tokenizer: hub name or folder of another tokenizer, for a BERT that is drawn at random;
            None: the checkpoint's own.
        max_length: tokens, marks included; a longer sentence is cut.
        trained_layers: the first so many layers are trained, the others and the embeddings are
            frozen; None: all of it is trained.
    Raises:
        UserError: more tokens than the tower has positions, or layers than it has; another
            tokenizer with pretrained weights, to which its numbers mean nothing.
    """

    def __init__(
        self,
        *,
        checkpoint: str | dict,
        init: Init = 'pretrained',
        tokenizer: str | None = None,
        max_length: PositiveInt = 20,
        trained_layers: PositiveInt | None = None,
    ) -> None:
        super().__init__()
        own = init_of(checkpoint, init)
        if tokenizer is not None and own == 'pretrained':
            raise UserError(
                f'model.bert.tokenizer={tokenizer!r} gives words other numbers than the pretrained '
                f'{checkpoint} knows: drop it'
            )
        self.bert = load_bert(checkpoint, init=init)
        config = self.bert.config
        if max_length > config.max_position_embeddings:
            raise UserError(
                f'model.bert.max_length {max_length} is above the '
                f'{config.max_position_embeddings} positions of {checkpoint!r:.80}'
            )
        self.max_length, self.width = max_length, config.hidden_size
        # what the data preprocessor takes
        self.tokenizer = checkpoint if tokenizer is None else tokenizer
        self.tokenizer_init: Init = own if tokenizer is None else init
        if trained_layers is not None:
            self._train_first(trained_layers)

    def _train_first(self, layers: int) -> None:
        found = self.bert.encoder.layer
        if layers > len(found):
            raise UserError(f'model.bert.trained_layers {layers}: it has {len(found)} layers')
        self.bert.requires_grad_(False)
        found[:layers].requires_grad_(True)

    def check_vocabulary(self, size: int) -> None:
        """Raises a UserError where a tokenizer of `size` words has numbers that BERT has not."""
        known = self.bert.config.vocab_size
        if size > known:
            raise UserError(
                f'the tokenizer {self.tokenizer!r:.80} has {size} tokens, model.bert only {known}: '
                'raise its vocab_size'
            )

    def forward(self, input_ids: Tensor, lengths: Tensor) -> Words:
        """ids (B, max_length), lengths (B,) with marks -> L is the longest of the batch."""
        longest = int(lengths.max())
        mask = torch.arange(longest, device=lengths.device) < lengths[:, None]
        found = self.bert(input_ids=input_ids[:, :longest], attention_mask=mask.to(torch.int64))
        return Words(found.last_hidden_state, mask)

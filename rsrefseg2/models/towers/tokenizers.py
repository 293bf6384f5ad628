"""Sentences to token ids, as the text tower was trained: padded on the right to its full length.

SigLIP was trained without an attention mask: it sees its padding. So the ids are always padded to
the tower's length, and a sentence's own length comes from the tokenizer's count: in SigLIP 1 the
padding token is eos, and a test of `id != pad` would be wrong.

Case: whether a checkpoint's own tokenizer lower-cases depends on the class that its
tokenizer_config.json names: transformers' Siglip and Siglip2 tokenizers do, the Gemma class that
older SigLIP 2 folders name does not. The data preprocessor's `lower_case` makes them alike: True
lower-cases every sentence before its tokenizer, False switches the tokenizer's own lower-casing
off (`keep_case`).
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...errors import UserError


def words_in(sentence: str) -> list[str]:
    """The words of a sentence, lower case, in their order, each once."""
    return list(dict.fromkeys(re.findall(r'\w+', sentence.lower())))


class TowerTokenizer:
    """Base: subclasses give `sentence_ids`, the ids of one sentence without eos and padding."""

    def __init__(
        self,
        *,
        pad_id: int,
        eos_id: int,
        vocab_size: int,
        unk_id: int | None = None,
        bos_id: int | None = None,
    ) -> None:
        self.pad_id = pad_id
        self.eos_id = eos_id
        self.bos_id = bos_id  # CLIP's sentences start with it; None: SigLIP's don't
        self.unk_id = -1 if unk_id is None else unk_id  # -1: every word has an id of its own
        self.vocab_size = vocab_size

    def sentence_ids(self, text: str) -> list[int]:
        """The ids of one sentence, not padded."""
        raise NotImplementedError

    def encode(self, texts: list[str], max_length: int) -> tuple[Tensor, Tensor, int]:
        """Ids of B sentences, each followed by eos and padded on the right; CLIP's after its bos.

        Returns:
            ids: (B, max_length) int64.
            lengths: (B,) int64, tokens of each sentence with its eos, and bos where it has one.
            n_cut: number of sentences longer than `max_length`; they keep their eos.
        """
        if max_length < 2:
            raise ValueError(f'max_length must hold a token and eos, got {max_length}')
        ids = torch.full((len(texts), max_length), self.pad_id, dtype=torch.int64)
        lengths = torch.zeros(len(texts), dtype=torch.int64)
        n_cut = 0
        for row, text in enumerate(texts):
            tokens = self.sentence_ids(text)
            if not tokens:
                raise UserError(f'sentence {text!r} is empty for the tokenizer: it has no word')
            bos = [] if self.bos_id is None else [self.bos_id]
            room = max_length - 1 - len(bos)
            n_cut += len(tokens) > room
            tokens = [*bos, *tokens[:room], self.eos_id]
            ids[row, : len(tokens)] = torch.tensor(tokens)
            lengths[row] = len(tokens)
        return ids, lengths, n_cut


class PretrainedTokenizer(TowerTokenizer):
    """The checkpoint's own tokenizer, through transformers; with `keep_case` it does not
    lower-case, whatever its class."""

    def __init__(
        self, tokenizer: Any, *, source: str, with_bos: bool = False, keep_case: bool = False
    ) -> None:
        # BERT ends with its separator and begins with its class token.
        eos_id, bos_id = tokenizer.eos_token_id, tokenizer.bos_token_id
        eos_id = tokenizer.sep_token_id if eos_id is None else eos_id
        bos_id = tokenizer.cls_token_id if bos_id is None else bos_id
        if eos_id is None or tokenizer.pad_token_id is None:
            raise UserError(
                f'the tokenizer of {source} names no eos or no padding token '
                f'(eos {tokenizer.eos_token!r}, pad {tokenizer.pad_token!r})'
            )
        # CLIP names its eos as unknown token; its byte pairs know every word.
        unk_id = tokenizer.unk_token_id
        super().__init__(
            pad_id=tokenizer.pad_token_id,
            eos_id=eos_id,
            vocab_size=len(tokenizer),
            unk_id=None if unk_id == eos_id else unk_id,
            bos_id=bos_id if with_bos else None,
        )
        if keep_case:
            keep_case_of(tokenizer)
        self.tokenizer = tokenizer

    def sentence_ids(self, text: str) -> list[int]:
        """The ids of one sentence, not padded."""
        # The eos is taken off and put back by `encode`, so that a cut sentence keeps it, and a
        # tokenizer that forgets it gets it. So is CLIP's bos; SigLIP was trained without one.
        return self.tokenizer(
            text, add_special_tokens=False, truncation=False, padding=False, verbose=False
        )['input_ids']


def keep_case_of(tokenizer: Any) -> None:
    """Switch off the lower-casing of one of transformers' tokenizers, and nothing else of it."""
    if hasattr(tokenizer, 'do_lower_case'):  # in Python: SigLIP 1's
        tokenizer.do_lower_case = False
    core = getattr(tokenizer, 'backend_tokenizer', None)  # in Rust: all others
    if core is None or core.normalizer is None:
        return
    state = json.loads(core.normalizer.__getstate__())
    steps = state['normalizers'] if state['type'] == 'Sequence' else [state]
    kept = [
        step | {'lowercase': False} if 'lowercase' in step else step
        for step in steps
        if step['type'] != 'Lowercase'
    ]
    if kept != steps:
        from tokenizers import normalizers

        normalizer = normalizers.Sequence([])
        normalizer.__setstate__(json.dumps({'type': 'Sequence', 'normalizers': kept}).encode())
        core.normalizer = normalizer


class StandInTokenizer(TowerTokenizer):
    """Deterministic ids for towers with random weights: a stable hash of each word.

    Words and punctuation marks of the sentence, lower-cased without `keep_case`; the same word has
    the same id on every machine and in every process. The first four ids stay reserved (pad, eos, bos, unk), and so do
    the pad and eos of the tower's own config.
    """

    N_RESERVED = 4

    def __init__(
        self,
        *,
        vocab_size: int,
        pad_id: int,
        eos_id: int,
        bos_id: int | None = None,
        keep_case: bool = False,
    ) -> None:
        if vocab_size <= self.N_RESERVED + 2:
            raise ValueError(f'vocab_size must exceed {self.N_RESERVED + 2}, got {vocab_size}')
        if not (0 <= pad_id < vocab_size and 0 <= eos_id < vocab_size):
            raise ValueError(f'pad {pad_id} and eos {eos_id} must lie in 0..{vocab_size - 1}')
        super().__init__(pad_id=pad_id, eos_id=eos_id, vocab_size=vocab_size, bos_id=bos_id)
        self.keep_case = keep_case

    def sentence_ids(self, text: str) -> list[int]:
        """The ids of one sentence, not padded."""
        text = text if self.keep_case else text.lower()
        return [self._word_id(word) for word in re.findall(r'\w+|[^\w\s]', text)]

    def _word_id(self, word: str) -> int:
        free = self.vocab_size - self.N_RESERVED
        number = self.N_RESERVED + zlib.crc32(word.encode('utf-8')) % free
        while number in (self.pad_id, self.eos_id, self.bos_id):
            number = self.N_RESERVED + (number - self.N_RESERVED + 1) % free
        return number


def write_word_tokenizer(
    folder: str | Path, words: Iterable[str], *, pad_is_eos: bool = False
) -> int:
    """Write a word-level tokenizer into a hub-format folder that AutoTokenizer can load.

    Words and punctuation marks, lower-cased; eos at the end; unknown words become <unk>. Ids:
    <pad> 0, <eos> 1, <unk> 2, then the words in the given order. With `pad_is_eos` (as SigLIP 1
    has it) padding is <eos> and id 0 is unused.

    Returns:
        The size of the vocabulary, for the text tower's config.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {'<pad>': 0, '<eos>': 1, '<unk>': 2}
    for word in words:
        if word != word.lower() or re.fullmatch(r'\w+|[^\w\s]', word) is None:
            raise ValueError(f'words are single lower-case words or marks, got {word!r}')
        vocabulary.setdefault(word, len(vocabulary))
    core = Tokenizer(models.WordLevel(vocabulary, unk_token='<unk>'))
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()]
    )
    core.post_processor = processors.TemplateProcessing(
        single='$A <eos>', pair='$A $B <eos>', special_tokens=[('<eos>', 1)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        unk_token='<unk>',
        eos_token='<eos>',
        pad_token='<eos>' if pad_is_eos else '<pad>',
        padding_side='right',
    )
    tokenizer.save_pretrained(str(folder))
    return len(vocabulary)

"""The cascaded second-order prompter (Sec. III-C), and the variants that are compared with it."""

from .attn_prompter import AttnPrompter
from .cascaded_prompter import CascadedPrompter
from .interleaved_prompter import InterleavedPrompter
from .single_stage_prompter import SingleStagePrompter

__all__ = ['AttnPrompter', 'CascadedPrompter', 'InterleavedPrompter', 'SingleStagePrompter']

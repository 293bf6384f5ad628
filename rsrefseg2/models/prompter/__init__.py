"""The cascaded second-order prompter (Sec. III-C), and the two variants that are compared with it."""

from .cascaded_prompter import CascadedPrompter
from .interleaved_prompter import InterleavedPrompter
from .single_stage_prompter import SingleStagePrompter

__all__ = ['CascadedPrompter', 'InterleavedPrompter', 'SingleStagePrompter']

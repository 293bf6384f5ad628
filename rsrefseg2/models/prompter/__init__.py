"""The cascaded second-order prompter (Sec. III-C)."""

from .cascaded_prompter import CascadedPrompter

__all__ = ['CascadedPrompter']

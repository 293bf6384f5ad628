"""The panel of Fig. 7 and a page of such panels."""
from .page import Case, page, write_page
from .panel import panel

__all__ = ['Case', 'page', 'panel', 'write_page']

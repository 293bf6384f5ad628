"""The panel of Fig. 7, a page of such panels, the grids of Figs. 2 and 4-6, plots for a page, plots
of where and how."""
from .error_plots import plot_causes, plot_interventions
from .grid import Row, Tile, grid, save
from .page import Case, page, write_page
from .panel import GREEN, ORANGE, panel, resize_mask
from .plots import bar_table, curve, histogram

__all__ = ['Case', 'GREEN', 'ORANGE', 'Row', 'Tile', 'bar_table', 'curve', 'grid', 'histogram',
           'page', 'panel', 'plot_causes', 'plot_interventions', 'resize_mask', 'save',
           'write_page']

"""Pictures of results: the panel of Fig. 7 and pages of panels, the grids of Figs. 2 and 4-6, plots
for a page, causes of failures, training curves.

Panels and pages need Pillow and OpenCV; what is plotted needs matplotlib, the extra `plots`."""

from .calibration_plots import plot_calibration
from .cost_plots import Growth, plot_growth
from .failure_plots import plot_causes, plot_interventions
from .grid import Row, Tile, free_paths, grid, save
from .page import MARK, PICTURE_MARK, Case, file_name, page, spread, write_page, write_panel
from .page_parts import bar_table, plot_section
from .panel import GREEN, ORANGE, panel, resize_mask
from .plots import curve, histogram
from .training_curves import plot_runs, read_runs

__all__ = [
    'Case',
    'GREEN',
    'Growth',
    'MARK',
    'ORANGE',
    'PICTURE_MARK',
    'Row',
    'Tile',
    'bar_table',
    'curve',
    'file_name',
    'free_paths',
    'grid',
    'histogram',
    'page',
    'panel',
    'plot_calibration',
    'plot_causes',
    'plot_growth',
    'plot_interventions',
    'plot_runs',
    'plot_section',
    'read_runs',
    'resize_mask',
    'save',
    'spread',
    'write_page',
    'write_panel',
]

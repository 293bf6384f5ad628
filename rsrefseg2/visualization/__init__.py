"""The panel of Fig. 7, a page of such panels, and the plots of where and how."""
from .error_plots import plot_causes, plot_interventions, save_figure
from .page import Case, page, write_page
from .panel import panel

__all__ = ['Case', 'page', 'panel', 'plot_causes', 'plot_interventions', 'save_figure',
           'write_page']

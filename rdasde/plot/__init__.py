"""Pictures: paths, mean curves, thresholded region and bands, in the dual and in the primal.

Every function draws into the axes given as ``ax``, or into a figure of its own, and returns the figure. Sizes and
colors are Matplotlib's settings: ``plt.style.use("rdasde.print")`` for a journal's page (6.8 or 3.3 inches, text of 7
and 8 points, fonts embedded as TrueType), ``plt.style.use("rdasde.dark")`` for slides. The kit that the package draws
with is here, too: `page`, `panels`, `draw_band`, `draw_path`, `draw_mean`, `shade_threshold`, `finish`, `letters`,
`caption`, the inks.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""The drawing kit: figures of a page's width, inks, bands, paths and mean curves, panel letters, a caption beside.

Everything is drawn under Matplotlib's own settings. The package brings two style sheets, ``rdasde.print`` (a journal's
page) and ``rdasde.dark``; widths of lines and figures follow the sizes of whichever is in force.
"""

from rdasde._drawing.axes import bare as bare
from rdasde._drawing.axes import decimal_ticks as decimal_ticks
from rdasde._drawing.axes import over_time as over_time
from rdasde._drawing.axes import plain_ticks as plain_ticks
from rdasde._drawing.axes import signed as signed
from rdasde._drawing.axes import zero_line as zero_line
from rdasde._drawing.colors import BLACK as BLACK
from rdasde._drawing.colors import BLUE as BLUE
from rdasde._drawing.colors import GREEN as GREEN
from rdasde._drawing.colors import INK as INK
from rdasde._drawing.colors import RED as RED
from rdasde._drawing.colors import SKY as SKY
from rdasde._drawing.colors import TEAL as TEAL
from rdasde._drawing.colors import YELLOW as YELLOW
from rdasde._drawing.colors import inks as inks
from rdasde._drawing.colors import line_width as line_width
from rdasde._drawing.curves import draw_band as draw_band
from rdasde._drawing.curves import draw_mean as draw_mean
from rdasde._drawing.curves import draw_path as draw_path
from rdasde._drawing.curves import shade_threshold as shade_threshold
from rdasde._drawing.legends import finish as finish
from rdasde._drawing.legends import legend_above as legend_above
from rdasde._drawing.legends import legend_below as legend_below
from rdasde._drawing.pages import DOUBLE as DOUBLE
from rdasde._drawing.pages import SINGLE as SINGLE
from rdasde._drawing.pages import bake as bake
from rdasde._drawing.pages import caption as caption
from rdasde._drawing.pages import letters as letters
from rdasde._drawing.pages import new_figure as new_figure
from rdasde._drawing.pages import page as page
from rdasde._drawing.pages import panels as panels
from rdasde._drawing.pages import printed as printed
from rdasde._drawing.pair import draw_pair as draw_pair
from rdasde._drawing.pair import space_symbol as space_symbol

"""The drawing kit, for those who draw on their own."""

from rdasde._drawing import BLUE as BLUE
from rdasde._drawing import DOUBLE as DOUBLE
from rdasde._drawing import GREEN as GREEN
from rdasde._drawing import INK as INK
from rdasde._drawing import SINGLE as SINGLE
from rdasde._drawing import bake as bake
from rdasde._drawing import caption as caption
from rdasde._drawing import draw_band as draw_band
from rdasde._drawing import draw_mean as draw_mean
from rdasde._drawing import draw_path as draw_path
from rdasde._drawing import finish as finish
from rdasde._drawing import inks as inks
from rdasde._drawing import legend_above as legend_above
from rdasde._drawing import letters as letters
from rdasde._drawing import new_figure as new_figure
from rdasde._drawing import page as page
from rdasde._drawing import panels as panels
from rdasde._drawing import shade_threshold as shade_threshold

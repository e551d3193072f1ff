"""Grids: many runs that differ along axes, played in parallel, resumed, and drawn as heat maps (docs/grids.md)."""

from platoon.experiments.grid.page import choose_axes, write_page
from platoon.experiments.grid.plan import Grid, load_grid
from platoon.experiments.grid.run import find_failures, play_grid

__all__ = ["Grid", "choose_axes", "find_failures", "load_grid", "play_grid", "write_page"]

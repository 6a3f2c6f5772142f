"""The weak error of the dual diffusion against the step size, and that of the equation of second order."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import rdasde as rs
from rdasde import _drawing
from rdasde._check import Floats
from rdasde._normal import Z95
from rdasde._studies._pieces import Pieces, Report, markdown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STEP_SIZES = (0.02, 0.01, 0.005, 0.0025, 0.00125)
LONGER = (0.05, 0.025, 0.0125, 0.00625)  # where an error of second order still stands out of the sampling
HORIZON, SEED = 1.0, 20  # nothing was picked
C, MU, NOISE = 0.3, 0.6, 0.5
COEF = (0.5, -0.4, 0.3, 0.0, 0.0, 0.0, 0.0, 0.0)
START = (0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0)  # coordinate 3 starts off its place at zero
FAR_COEF, FAR_START = (1.0, -1.0, 1.0, -1.0), (2.0, -0.5, 0.5, -2.0)  # every coordinate stays active
SPIKE, SPARSE = 1.0, (0.8, -0.5, 0.33166247903554, 0.0, 0.0, 0.0, 0.0, 0.0)
WIDTH = 0.3  # over which P(w_3 = 0) is smoothed


class Case(NamedTuple):
    """A panel: a problem, where it starts, and what is looked at."""

    title: str
    problem: rs.LinearRegression | rs.OnlinePCA
    start: tuple[float, ...]
    functions: dict[str, Callable[[Floats], Any]]
    orders: tuple[int, ...] = (1,)
    step_sizes: tuple[float, ...] = STEP_SIZES


def coordinate(j: int, power: int = 1) -> Callable[[Floats], Any]:
    return lambda w: w[..., j] ** power


def smoothed_zero(j: int) -> Callable[[Floats], Any]:
    return lambda w: np.exp(-0.5 * (w[..., j] / WIDTH) ** 2)


# names in kept pieces count coordinates from 1; what is shown counts them from 0
SHOWN = {
    "E w_1": r"$E\,w_0$",
    "E w_1^2": r"$E\,w_0^2$",
    "E w_4": r"$E\,w_3$",
    "E w_4^2": r"$E\,w_3^2$",
    "P(w_4 = 0), smoothed": "$P(w_3 = 0)$, smoothed",
    "E w'w": r"$E\,|w|^2$",
}
MARKERS = "os^Dv"


def squared_norm(w: Floats) -> Any:
    return (w**2).sum(axis=-1)


def cases() -> dict[str, Case]:
    coef = np.array(COEF)
    functions = {
        "E w_1": coordinate(0),
        "E w_1^2": coordinate(0, 2),
        "E w_4": coordinate(3),
        "E w_4^2": coordinate(3, 2),
        "P(w_4 = 0), smoothed": smoothed_zero(3),
    }
    direction = np.array([SPARSE])
    direction /= np.linalg.norm(direction)
    # in the growth out of the saddle; further on, from (.5, 1) say, the leading terms of the error cancel
    saddle = 0.1 * direction[0] + 0.3 * np.array(START)
    far = {"E w_1": coordinate(0), "E w_1^2": coordinate(0, 2), "E w'w": squared_norm}
    return {
        "identity": Case("identity design", rs.LinearRegression(coef, None, NOISE), START, functions),
        "ar1": Case("AR(.6) design", rs.LinearRegression(coef, rs.AR1(8, 0.6), NOISE), START, functions),
        "pca": Case("spiked PCA", rs.OnlinePCA.spiked([SPIKE], direction), tuple(saddle.tolist()), functions),
        "second-order": Case(
            "AR(.6) design, every coordinate active",
            rs.LinearRegression(np.array(FAR_COEF), rs.AR1(4, 0.6), NOISE),
            FAR_START,
            far,
            (1, 2),
            LONGER,
        ),
    }


def size(pieces: Pieces) -> int:
    """Runs, and paths, for each step size."""
    return 3000 if pieces.small else 100_000


def measured(pieces: Pieces, name: str, case: Case, order: int) -> dict[str, NDArray[Any]]:
    """`rs.weak_error` of one case, as arrays."""
    number = size(pieces)
    step_sizes = case.step_sizes[:3] if pieces.small else case.step_sizes
    settings = {
        "case": name,
        "problem": repr(case.problem),
        "coef": FAR_COEF if name == "second-order" else SPARSE if name == "pca" else COEF,
        "start": case.start,
        "functions": list(case.functions),
        "width": WIDTH,
        "step_sizes": step_sizes,
        "horizon": HORIZON,
        "c": C,
        "mu": MU,
        "equation_order": order,
        "replicates": number,
        "seed": SEED,
    }
    if order == 2:
        settings["equation"] = "drift and noise corrected"

    def compute() -> dict[str, Any]:
        result = rs.weak_error(
            case.problem,
            rs.RDA(step_sizes[0], rs.L1(), rs.PowerLaw(C, MU)),
            HORIZON,
            step_sizes=step_sizes,
            test_functions=case.functions,
            replicates=number,
            paths=number,
            start=case.start,
            seed=SEED,
            equation_order=order,
        )
        return {str(key): result[key].values for key in (*result.data_vars, "step_size")}

    return pieces("weak-error", settings, compute)


def local_orders(result: dict[str, NDArray[Any]], i: int) -> Floats:
    """Slopes between neighbouring step sizes; NaN where either error is below its floor."""
    error = np.where(np.abs(result["error"][i]) > result["floor"][i], np.abs(result["error"][i]), np.nan)
    slopes: Floats = np.diff(np.log(error)) / np.diff(np.log(result["step_size"]))
    return slopes


def study(pieces: Pieces) -> Report:
    """Three panels of |error| against the step size, and one of the two equations where nothing has a kink."""
    figure = _drawing.page(5.8)
    axes = figure.subplots(2, 2)
    columns: dict[str, list[str]] = {
        title: []
        for title in (
            "problem",
            "equation",
            "test function",
            "order",
            "95 % interval",
            "local orders",
            "error at least step",
            "standard error",
            "time-step bias / error",
            "variance gain",
        )
    }
    fitted = []
    for axis, (name, case) in zip(axes.flat, cases().items(), strict=True):
        for order in case.orders:
            result = measured(pieces, name, case, order)
            draw(axis, result, list(case.functions), order, len(case.orders) > 1)
            for i, function in enumerate(case.functions):
                share = np.abs(result["time_step_bias"][i] / result["error"][i])
                room = Z95 * np.abs(result["time_step_bias_error"][i] / result["error"][i])
                values = (
                    case.title,
                    "first" if order == 1 else "second",
                    SHOWN[function],
                    f"{result['order'][i]:.2f}",
                    f"[{result['order_lower'][i]:.2f}, {result['order_upper'][i]:.2f}]",
                    " ".join("-" if np.isnan(slope) else f"{slope:.2f}" for slope in local_orders(result, i)),
                    f"{result['error'][i, -1]:.2e}",
                    f"{result['standard_error'][i, -1]:.1e}",
                    f"{np.median(share):.3f} (noise {np.median(room):.3f})",
                    f"{result['gain'][i, -1]:.3g}",
                )
                for column, value in zip(columns.values(), values, strict=True):
                    column.append(value)
                if order == 1 and len(case.orders) == 1:
                    fitted.append([result[key][i] for key in ("order", "order_lower", "order_upper")])
        if name == "second-order":
            draw_exact(axis)
        finish(axis, case)
    _drawing.letters(axes.flat)
    orders = np.array(fitted)
    met = (orders[:, 0] > 0.85) & (orders[:, 0] < 1.4) & (orders[:, 2] - orders[:, 1] < 0.4)
    _drawing.caption(
        figure,
        rf"$|E\,\varphi(w_n) - E\,\varphi(W(t))|$ at $t = {HORIZON:g}$ between the algorithm and its dual diffusion, "
        rf"each "
        f"point from {size(pieces):,} runs and as many paths with a control variate; bars: 95 %, hollow: below the "
        f"sampling floor; in the legends the fitted order and its 95 % interval. Of the {len(orders)} test functions "
        f"in "
        f"**a** to **c** {int(met.sum())} have an order within .85 to 1.4 known to better than .2 either way (the "
        f"table "
        "has the local slopes, and the bias of the diffusion's time steps in units of each error). **d**: where every "
        "coordinate stays active, the second-order equation's error (dashed, open squares) falls like the square of "
        r"the step size; grey: plain SGD on that problem, exactly, by its moment equations ($E\,|w|^2$; last slope). "
        "Coordinates are counted from 0.",
    )
    return Report(figure, markdown(columns))


def draw(axis: Axes, result: dict[str, NDArray[Any]], names: list[str], order: int, several: bool) -> None:
    """|error| with bars; hollow below the floor."""
    gammas = result["step_size"]
    for i, (name, ink) in enumerate(zip(names, _drawing.inks(len(names)), strict=True)):
        size, bar = np.abs(result["error"][i]), result["floor"][i]
        known = size > bar
        text = f"{result['order'][i]:.2f} [{result['order_lower'][i]:.2f}, {result['order_upper'][i]:.2f}]"
        label = f"{SHOWN[name]}{f', order {order}' if several else ''}: {text}"
        lower = np.minimum(bar, 0.75 * size)  # a bar that reaches 0 is cut
        line, marker = ("-", MARKERS[i]) if order == 1 else ("--", "s")
        axis.errorbar(gammas, size, (lower, bar), fmt="none", ecolor=ink, elinewidth=0.7)
        axis.plot(gammas, size, line, color=ink, lw=0.8)
        axis.plot(gammas[known], size[known], line + marker, color=ink, ms=2.8, lw=0.8, label=label)
        axis.plot(gammas[~known], size[~known], marker, color=ink, ms=2.8, mfc="white")


def finish(axis: Axes, case: Case) -> None:
    """Logarithmic axes, a tick at every step size, the legend beside."""
    axis.set(title=case.title, xlabel=r"step size $\gamma$", ylabel="|weak error|", xscale="log", yscale="log")
    axis.set_xticks(case.step_sizes, [f"{gamma:g}" for gamma in case.step_sizes])
    axis.set_xticks([], minor=True)
    _drawing.bare(axis)
    axis.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.45, -0.22), ncols=2, columnspacing=0.8)


def draw_exact(axis: Axes) -> None:
    """Plain SGD on the problem of the last panel, without Monte Carlo."""
    case = cases()["second-order"]
    assert isinstance(case.problem, rs.LinearRegression)
    exact = rs.validate.exact_weak_error(case.problem, HORIZON, step_sizes=LONGER, start=case.start)
    for order, style in ((1, "-"), (2, "--")):
        size = np.abs(exact["squared_norm"].sel(equation=order).values)
        last = exact["local_order"].sel(equation=order).values[-2]
        axis.plot(LONGER, size, style, color="0.7", lw=2.0, zorder=0, label=f"SGD, exact, order {order}: {last:.2f}")

"""Bad input: one sentence each, pinned, before any work."""

import concurrent.futures
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rdasde as rs
from rdasde._compiled import jit as _jit

PROBLEM = rs.LinearRegression([0.5, 0.0, -0.2])
ALGORITHM = rs.RDA(0.1, rs.L1(), rs.PowerLaw(0.5, 0.6))
THEORY = rs.approximate(PROBLEM, ALGORITHM, 1.0, times=3)
TRIED = {
    "lr is no argument of RDA: the step size is step_size.": lambda: rs.RDA(lr=0.1),
    "average is no argument of RDA: the law of the running average is approximate(..., average=True), fit estimates it "
    "from rows.": lambda: rs.RDA(0.1, average=True),
    "regularise is no argument of RDA: did you mean regularizer?": lambda: rs.RDA(0.1, regularise=rs.L1()),
    "step_size is PowerLaw(c=0.5, mu=0.6), a schedule of thresholds, but must be a number > 0 or a function of the "
    "number of the step: pass for example rs.PowerStep(0.1, 0.5), or it as schedule=.": lambda: rs.RDA(
        rs.PowerLaw(0.5, 0.6)
    ),
} | {
    f"{word} is no argument of {name}.from_data: rows are drawn with replacement, or with replacement=False epoch by "
    "epoch.": lambda name=name, word=word: getattr(rs, name).from_data(**{word: True})
    for name in ("LinearModel", "LinearRegression", "LogisticRegression", "OnlinePCA", "SoftmaxRegression")
    for word in ("replace", "shuffle")
}
LARGE = {
    "LinearRegression": lambda X: rs.LinearRegression.from_data(X, [0.0, 1.0]),
    "LogisticRegression": lambda X: rs.LogisticRegression.from_data(X, [0, 1]),
    "LinearModel": lambda X: rs.LinearModel.from_data(rs.HuberLoss(), X, [0.0, 1.0]),
    "SoftmaxRegression": lambda X: rs.SoftmaxRegression.from_data(X, [0, 1]),
    "OnlinePCA": lambda X: rs.OnlinePCA.from_data(X),
}
FLAT = rs.LinearRegression([1.0, 0.5, -0.5], [1.0, 1.0, 0.0])


class Hidden:
    """Not shown."""

    def __repr__(self):
        raise RuntimeError("no")


INDEFINITE = np.array([[1.0, 2.0, 0.0], [2.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
ASYMMETRIC = np.array([[1.0, 0.5, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])


def simulate(*args, **options):
    return rs.simulate(PROBLEM, ALGORITHM, *(args or (1.0,)), **options)


def approximate(*args, **options):
    return rs.approximate(PROBLEM, ALGORITHM, *(args or (1.0,)), **options)


CASES = [
    (lambda: rs.RDA(0.0), "step_size is 0.0, but must be a finite number > 0: give for example step_size=1e-3."),
    (lambda: rs.RDA(-1e-3), "step_size is -0.001, but must be a finite number > 0: give for example step_size=1e-3."),
    (lambda: rs.RDA(np.nan), "step_size is nan, but must be a finite number > 0: give for example step_size=1e-3."),
    (
        lambda: rs.RDA("fast"),
        "step_size is 'fast' (str), but must be a finite number > 0: give for example step_size=1e-3.",
    ),
    (
        lambda: rs.RDA(0.1, rs.L1()),
        "schedule is None, but must be given, since L1() uses a threshold: "
        "pass for example schedule=rs.PowerLaw(c=0.5, mu=0.6).",
    ),
    (
        lambda: rs.RDA(0.1, "l1"),
        "regularizer is 'l1' (str), but must be a regularizer or None: pass for example rs.L1().",
    ),
    (
        lambda: rs.RDA(0.1, rs.L1(), 0.3),
        "schedule is 0.3 (float), but must be a function schedule(t, step_size): pass for example rs.PowerLaw(0.5, 0.6).",
    ),
    (
        lambda: rs.RDA(0.1, batch_size=0),
        "batch_size is 0, but must be a whole number >= 1: give the number of gradients averaged in a step.",
    ),
    (lambda: rs.PowerLaw(0.5, 0.0), "mu is 0.0, but must be a finite number > 0 and <= 1: give for example mu=0.6."),
    (lambda: rs.PowerLaw(0.5, 1.1), "mu is 1.1, but must be a finite number > 0 and <= 1: give for example mu=0.6."),
    (lambda: rs.PowerLaw(-0.5, 0.6), "c is -0.5, but must be a finite number >= 0: give for example c=0.5."),
    (lambda: rs.Linear(np.inf), "rate is inf, but must be a finite number >= 0: give for example rate=0.1."),
    (lambda: rs.Constant(-1), "value is -1, but must be a finite number >= 0: give for example value=0.01."),
    (
        lambda: rs.L1([1.0, -1.0]),
        "weights is -1 somewhere, but must be numbers >= 0: give 0 for an unpenalized coordinate.",
    ),
    (
        lambda: rs.simulate(PROBLEM, rs.RDA(0.1, rs.L1([1.0]), rs.PowerLaw(1, 0.6)), 1.0),
        "weights of L1 is of length 1, but must be of length 3, the problem's dimension: "
        "give one weight for each coordinate.",
    ),
    (
        lambda: rs.LinearRegression([0.5, np.nan]),
        "coef is an array with 1 NaN or infinite entries, but must be an array of shape (n,) of finite numbers: "
        "give one number for each coordinate.",
    ),
    (
        lambda: rs.LinearRegression([[0.5]]),
        "coef is an array of shape (1, 1), but must be an array of shape (n,) of finite numbers: "
        "give one number for each coordinate.",
    ),
    (
        lambda: rs.LinearRegression([[0.5], [1.0, 2.0]]),
        "coef is a ragged sequence, but must be an array of shape (n,) of finite numbers: "
        "give one number for each coordinate.",
    ),
    (
        lambda: rs.LinearRegression(["a"]),
        "coef is ['a'] (list), but must be an array of shape (n,) of finite numbers: give one number for each coordinate.",
    ),
    (
        lambda: rs.LinearRegression(np.zeros(3), INDEFINITE),
        "covariance is a matrix with the eigenvalue -1, but must be positive semi-definite: "
        "pass a covariance, for example np.cov(X.T).",
    ),
    (
        lambda: rs.LinearRegression(np.zeros(3), ASYMMETRIC),
        "covariance is a matrix that differs from its transpose by 0.5, but must be symmetric: "
        "pass (C + C.T) / 2 if rounding made the difference.",
    ),
    (
        lambda: rs.LinearRegression(np.zeros(3), [1.0, -1.0, 1.0]),
        "covariance is -1 somewhere, but must be variances >= 0: "
        "pass None, variances (3,), a matrix (3, 3), or rs.AR1(3, rho).",
    ),
    (
        lambda: rs.LinearRegression(np.zeros(3), np.eye(2)),
        "covariance is an array of shape (2, 2), but must be an array of shape (3, 3) of finite numbers: "
        "pass None, variances (3,), a matrix (3, 3), or rs.AR1(3, rho).",
    ),
    (
        lambda: rs.LinearRegression(np.zeros(3), rs.AR1(4, 0.5)),
        "covariance is AR1(4, 0.5) of dimension 4, but must be of dimension 3: "
        "pass None, variances (3,), a matrix (3, 3), or rs.AR1(3, rho).",
    ),
    (
        lambda: rs.LinearRegression(np.zeros(3), noise_std=-1.0),
        "noise_std is -1.0, but must be a finite number >= 0: give for example noise_std=1.0.",
    ),
    (lambda: rs.AR1(3, 1.0), "rho is 1.0, but must be a number > -1 and < 1: give a correlation such as 0.8."),
    (lambda: rs.AR1(0, 0.5), "d is 0, but must be a whole number >= 1: give the number of coordinates."),
    (
        lambda: rs.LinearRegression.from_data(np.zeros((4, 2)), np.zeros(3)),
        "y is an array of shape (3,), but must be an array of shape (4,) of finite numbers: "
        "give one response for each row of X.",
    ),
    (
        lambda: PROBLEM.mean_gradient([0.0]),
        "w is an array of shape (1,), but must be an array of shape (3,) of finite numbers: "
        "give one number for each coordinate.",
    ),
    (
        lambda: simulate(0.05),
        "horizon is 0.05, shorter than one step, but must be at least the step size 0.1: "
        "give a longer horizon, in units of t = n * step_size.",
    ),
    (
        lambda: simulate(-1.0),
        "horizon is -1.0, but must be a finite number > 0: give the time n * step_size to run to.",
    ),
    (
        lambda: simulate(times=[0.0, 0.5, 0.4]),
        "times is an array that does not increase, but must be strictly increasing: pass np.unique(times).",
    ),
    (
        lambda: simulate(times=[0.0, 1.5]),
        "times is an array from 0 to 1.5, but must be within [0, 1]: drop what lies outside, or give a longer horizon.",
    ),
    (
        lambda: approximate(times=[-0.1, 1.0]),
        "times is an array from -0.1 to 1, but must be within [0, 1]: drop what lies outside, or give a longer horizon.",
    ),
    (lambda: simulate(times=0), "times is 0, but must be a whole number >= 1: give a count or an array of times."),
    (
        lambda: simulate(replicates=0),
        "replicates is 0, but must be a whole number >= 1: give how many runs, or their numbers.",
    ),
    (
        lambda: simulate(replicates=[1, 1]),
        "replicates is [1, 1], but must be a count, or different whole numbers >= 0: "
        "give how many runs, or their numbers.",
    ),
    (
        lambda: simulate(start=[0.0]),
        "start is an array of shape (1,), but must be an array of shape (3,) of finite numbers: "
        "give the dual start v_0, 3 numbers.",
    ),
    (
        lambda: simulate(coordinates=[0, 3]),
        "coordinates is [0, 3], but must be different whole numbers within 0..2: coordinates count from 0.",
    ),
    (
        lambda: simulate(coordinates=[[0], [1, 2]]),
        "coordinates is a ragged sequence, but must be different whole numbers within 0..2: coordinates count from 0.",
    ),
    (
        lambda: simulate(coordinates=np.ma.masked_array([0, 1], [False, True])),
        "coordinates is an array with 1 masked entries, but must be different whole numbers within 0..2: coordinates count "
        "from 0.",
    ),
    (
        lambda: simulate(replicates=[[0], [1, 2]]),
        "replicates is a ragged sequence, but must be a count, or different whole numbers >= 0: give how many runs, or "
        "their numbers.",
    ),
    (
        lambda: simulate(times=[[0.0], [0.1, 0.2]]),
        "times is a ragged sequence, but must be an array of shape (n,) of finite numbers: give increasing times within "
        "[0, horizon].",
    ),
    (
        lambda: rs.L1([np.ma.masked_array([1.0, 2.0], [False, True]), np.ones(2)]),
        "weights is an array with 1 masked entries, but must be an array of shape (n,) of finite numbers: give one weight "
        ">= 0 for each coordinate.",
    ),
    (
        lambda: rs.L1([]),
        "weights is an array of shape (0,), but must be an array of shape (n,) of finite numbers: give at least one number.",
    ),
    (
        lambda: rs.RDA(10**400),
        "step_size is 100000000000000000000000000000000000000000000000000000000..., but must be a finite number > 0: give "
        "for example step_size=1e-3.",
    ),
    (
        lambda: rs.RDA(0.1, batch_size=10**30),
        "batch_size is 1000000000000000000000000000000, but must be a whole number >= 1 and < 2**63: give the number of "
        "gradients averaged in a step.",
    ),
    (
        lambda: simulate(1e300),
        "horizon is 1e+300, which takes 1e+301 steps, but must be one of at most 9e+15 steps: take a shorter one, or larger "
        "steps.",
    ),
    (
        lambda: simulate(keep=np.array(["paths", "summary"])),
        "keep is an array of shape (2,), but must be one of 'paths', 'summary': choose one of these.",
    ),
    (
        lambda: simulate(seed="9" * 5000),
        "seed is '99999999999999999999999999999999999999999999999999999999... (str), but must be a whole number >= 0: give a "
        "whole number, or None for a fresh one.",
    ),
    (
        lambda: approximate(equation_order=np.array([1, 2])),
        "equation_order is an array of shape (2,), but must be 1 or 2: choose one of these.",
    ),
    (
        lambda: rs.RDA(float),
        "step_size is the class float (type), but must be a number > 0 or a function of the number of the step: pass for "
        "example rs.PowerStep(0.1, 0.5).",
    ),
    (
        lambda: rs.RDA(0.1, rs.L1(), rs.PowerLaw),
        "schedule is the class PowerLaw (type), but must be a function schedule(t, step_size): pass for example "
        "rs.PowerLaw(0.5, 0.6).",
    ),
    (
        lambda: rs.CustomLoss(rs.HuberLoss),
        "derivative is the class HuberLoss (ABCMeta), but must be a function derivative(eta, y) that returns a number: pass "
        "one that numba can compile.",
    ),
    (
        lambda: rs.suggest(rs.LinearRegression([0.5, 0.1], np.zeros((2, 2))), 1.0),
        "problem is LinearRegression(<coef, d=2>, covariance=<dense, d=2>, noise_std=1), whose Hessian is zero, but must be "
        "one that pulls somewhere: give another design.",
    ),
    (lambda: rs.band(THEORY, 1), "level is 1, but must be a finite number > 0 and < 1: give for example level=0.95."),
    (lambda: simulate(keep="all"), "keep is 'all', but must be one of 'paths', 'summary': choose one of these."),
    (
        lambda: simulate(on_divergence="drop"),
        "on_divergence is 'drop', but must be one of 'raise', 'keep': choose one of these.",
    ),
    (
        lambda: simulate(seed=-1),
        "seed is -1, but must be a whole number >= 0: give a whole number, or None for a fresh one.",
    ),
    (
        lambda: simulate(seed=2**63),
        "seed is 9223372036854775808, but must be a whole number >= 0 and < 2**63: give a whole number, or None for a fresh "
        "one.",
    ),
    (
        lambda: simulate(executor=4),
        "executor is 4 (int), but must be None or a concurrent.futures.Executor: "
        "pass for example concurrent.futures.ProcessPoolExecutor(), or client.get_executor() of Dask.",
    ),
    (
        lambda: simulate(progress="yes"),
        "progress is 'yes' (str), but must be None, True or False: pass True to see a bar.",
    ),
    (lambda: simulate(store=3), "store is 3 (int), but must be a path or None: name a directory."),
    (
        lambda: simulate(statistics={"dual": np.sum}),
        "statistics is named 'dual', but must be named by other words than the results: rename it.",
    ),
    (
        lambda: simulate(statistics={"all": lambda w: w}),
        "statistics['all'] is a function that does not return one number, but must be a dict from name to a function "
        "of w: reduce over w.",
    ),
    (
        lambda: simulate(statistics={"s": lambda w: 0.0}, executor=concurrent.futures.ProcessPoolExecutor(1)),
        "statistics is functions that cannot be sent to another process, but must be functions defined at the top of "
        "a module: use threads (executor=None) for lambdas.",
    ),
    (
        lambda: rs.simulate(PROBLEM, rs.RDA(0.1, rs.L1(), lambda t, step: -t), 1.0),
        "schedule is -0.1 at t = 0.1, but must be finite and >= 0 at every step: "
        "mend the function schedule(t, step_size).",
    ),
    (
        lambda: rs.simulate(PROBLEM, rs.RDA(0.1, rs.L1(), lambda t, step: "x"), 1.0),
        "schedule is 'x' (str), but must be a function returning one number: return a float from schedule(t, step_size).",
    ),
    (
        lambda: rs.simulate("problem", ALGORITHM, 1.0),
        "problem is 'problem' (str), but must be a problem: pass for example rs.LinearRegression(coef).",
    ),
    (
        lambda: rs.simulate(PROBLEM, 0.1, 1.0),
        "algorithm is 0.1 (float), but must be an algorithm: pass for example rs.RDA(step_size=1e-3).",
    ),
    (
        lambda: approximate(method="euler"),
        "method is 'euler', but must be one of 'closure', 'limit', 'paths', 'sdeint': choose one of these.",
    ),
    (
        lambda: approximate(paths=0),
        "paths is 0, but must be a whole number >= 1: give the number of Monte Carlo paths.",
    ),
    (
        lambda: approximate(tolerance=0.5),
        "tolerance is 0.5, but must be a finite number > 0 and <= 0.1: give for example tolerance=1e-2.",
    ),
    (
        lambda: rs.approximate(PROBLEM, rs.RDA(0.1, rs.L1(), lambda t, step: 0.1 * t), 1.0, method="limit"),
        "method is 'limit' with a schedule of your own, but must be 'limit' only with PowerLaw, Linear or Constant, "
        "whose limit is known: use method='closure' or method='paths' instead.",
    ),
    (
        lambda: rs.band(3),
        "result is 3 (int), but must be what approximate or simulate returned: pass that Dataset.",
    ),
    (
        lambda: rs.band(THEORY.drop_vars("threshold")),
        "result is a Dataset without dual states, but must be what approximate or simulate returned: pass that Dataset.",
    ),
    (
        lambda: rs.band(THEORY, 1.0),
        "level is 1.0, but must be a finite number > 0 and < 1: give for example level=0.95.",
    ),
    (lambda: rs.band(THEORY, of="path"), "of is 'path', but must be one of 'iterate', 'mean': choose one of these."),
    (lambda: rs.band(THEORY, space="w"), "space is 'w', but must be one of 'primal', 'dual': choose one of these."),
    (
        lambda: rs.band(THEORY, simultaneous=True),
        "simultaneous is True for a result without paths, but must be False, or a result with paths: "
        "use approximate(..., method='paths') or simulate(..., keep='paths').",
    ),
    (
        lambda: rs.band(THEORY, simultaneous="time"),
        "simultaneous is 'time', but must be False, True, 'coordinate' or 'all': pass one of them.",
    ),
    (
        lambda: rs.band(THEORY, simultaneous=2),
        "simultaneous is 2 (int), but must be False, True, 'coordinate' or 'all': pass one of them.",
    ),
    (
        lambda: rs.band(THEORY, of="mean"),
        "replicates is None, but must be given, since the result is no Monte Carlo: "
        "pass replicates=n for the interval of the mean over n runs.",
    ),
    (
        lambda: rs.band(THEORY, replicates=3),
        "replicates is 3, but must be None for of='iterate': it is for of='mean' only.",
    ),
    (
        lambda: rs.band(THEORY.assign_attrs(regularizer="mine")),
        "result is a Dataset that does not say its mirror map, but must be one with it: "
        "pass regularizer=, for example rs.L1().",
    ),
    (
        lambda: rs.coverage(THEORY, rs.band(THEORY)),
        "runs is a Dataset without primal paths, but must be one with paths: use simulate(..., keep='paths').",
    ),
    (
        lambda: rs.coverage(THEORY, THEORY),
        "band is a Dataset without lower and upper, but must be what rs.band returned: pass that Dataset.",
    ),
    (
        lambda: rs.coverage(simulate(times=3), rs.band(THEORY, of="mean", replicates=2)),
        "band is that of a mean, but must be one of='iterate': "
        "runs scatter around their mean; use of='iterate' for where they lie.",
    ),
    (
        lambda: rs.coverage(simulate(times=5), rs.band(THEORY)),
        "band is given at 3 times that are not the 5 times of the runs, but must be on the same times: "
        "pass the same horizon, times and step size to simulate and approximate.",
    ),
    (
        lambda: rs.plot.calibration(THEORY),
        "result is a Dataset without coverage by method, but must be what rs.validate.calibration returned: "
        "pass that Dataset.",
    ),
    (
        lambda: rs.plot.calibration(3),
        "result is 3 (int), but must be what rs.validate.calibration returned: pass that Dataset.",
    ),
    (
        lambda: rs.plot.trajectories(THEORY, THEORY, [0]),
        "runs is a Dataset without dual paths, but must be simulate(..., keep='paths') and approximate(...): pass those.",
    ),
    (
        lambda: rs.plot.trajectories(simulate(times=3), THEORY, [3]),
        "coordinates is [3], but must be different whole numbers within 0..2: coordinates count from 0.",
    ),
    (
        lambda: rs.L1().prox("x", 0.1),
        "v is 'x' (str), but must be a number or an array of numbers: pass an array of floats.",
    ),
    (
        lambda: rs.L1([1.0, 1.0]).prox([1.0, 2.0, 3.0], 0.1),
        "v is an array of shape (3,), but must be one of shape (..., 2): give one number for each coordinate.",
    ),
    (
        lambda: rs.ElasticNet(1.0).prox([1.0, 2.0], [0.1, 0.2, 0.3]),
        "threshold is an array of shape (3,), but must be a number, or one for each state of v, of shape "
        "(2,): give for example threshold=0.1.",
    ),
    (
        lambda: rs.NonNegativeL1().prox(1j, 0.1),
        "v is 1j (complex), but must be a number or an array of numbers: pass an array of floats.",
    ),
    (
        lambda: rs.GroupLasso([0, 0, 1]).prox([1.0], 0.1),
        "v is an array of shape (1,), but must be one of shape (..., 3): give one number for each coordinate.",
    ),
    (
        lambda: rs.Box(0.0, 1.0).prox([None], 0.1),
        "v is [None] (list), but must be a number or an array of numbers: pass an array of floats.",
    ),
    (
        lambda: rs.GroupLasso([[0], [1, 2]]),
        "groups is a ragged sequence, but must be an array of shape (n,) of whole numbers: give the label of "
        "each coordinate's group.",
    ),
    (
        lambda: rs.Box([[0.0], [1.0, 2.0]], 3.0),
        "lower is a ragged sequence, but must be a number or an array of shape (d,), not NaN: give numbers, "
        "or inf for an open side.",
    ),
    (
        lambda: rs.HuberLoss().derivative("x", 0.0),
        "eta is 'x' (str), but must be a number or an array of numbers: pass an array of floats.",
    ),
    (
        lambda: rs.PowerLaw(0.5, 0.6)("x", 0.1),
        "t is 'x' (str), but must be a number or an array of numbers: pass an array of floats.",
    ),
    (
        lambda: rs.PowerStep(0.1, 0.5)([1, None]),
        "n is [1, None] (list), but must be a number or an array of numbers: pass an array of floats.",
    ),
    (
        lambda: rs.PowerLaw(0.5, 0.6)(1.0, {}),
        "step_size is {} (dict), but must be a number or an array of numbers: pass an array of floats.",
    ),
    (
        lambda: ALGORITHM.accumulated(np.ones((2, 2))),
        "sizes is an array of shape (2, 2), but must be one of shape (n,): give those of the steps.",
    ),
    (
        lambda: rs.PoissonLoss().mean_response("x"),
        "eta is 'x' (str), but must be a number or an array of numbers: pass an array of floats.",
    ),
    (
        lambda: ALGORITHM.thresholds(None),
        "times is None (NoneType), but must be a number or an array of numbers: pass an array of floats.",
    ),
    (
        lambda: rs.suggest(PROBLEM, 100.0, accuracy=1e-300),
        "accuracy is 1e-300, but must be a number > 1e-140 and < 1e+140: give a standard deviation, such as 0.05.",
    ),
    (
        lambda: rs.MLP(np.eye(3), [0, 1, 1], hidden=10**9),
        "hidden is 1000000000, which makes 6e+09 weights, but must be one that makes at most 1e+08: take fewer units.",
    ),
    (
        lambda: rs.MLP(np.eye(3), [0, 1, 1], hidden=2).layers([1.0, 2.0]),
        "w is [1.0, 2.0] (list), but must be an array of shape (14,): give one number for each weight.",
    ),
    (
        lambda: rs.MLP(np.eye(3), [0, 1, 1], hidden=2).layers(np.ones(3)),
        "w is an array of shape (3,), but must be an array of shape (14,): give one number for each weight.",
    ),
    (
        lambda: rs.LinearRegression([0.5, 1.0], [[1.0], [1.0, 2.0]]),
        "covariance is a ragged sequence, but must be an array of shape (2, 2) of finite numbers: pass None, "
        "variances (2,), a matrix (2, 2), or rs.AR1(2, rho).",
    ),
    (
        lambda: rs.OnlinePCA([[1.0], [1.0, 2.0]]),
        "covariance is a ragged sequence, but must be an array of shape (n, n) of finite numbers: pass "
        "variances (d,), a matrix (d, d), or rs.AR1(d, rho).",
    ),
    (
        lambda: approximate(check="x\ny"),
        "check is 'x\\ny', but must be 'auto', True or False: choose one of these.",
    ),
    (
        lambda: approximate(equation_order="x\n" * 100),
        "equation_order is 'x\\nx\\nx\\nx\\nx\\nx\\nx\\nx\\nx\\nx\\nx\\nx\\nx\\nx\\nx\\nx\\nx\\nx\\nx\\..., but must be 1 or 2: "
        "choose one of these.",
    ),
    (
        lambda: rs.load("a" * 5000),
        "path is 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa..., but must be that of a saved "
        "result: there is nothing here by this name.",
    ),
    (
        lambda: simulate(store="a" * 5000),
        "store is 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa..., which cannot be made "
        "(\"[Errno 36] File name too long: 'aaaaaaaaaaaaaaaaaaaaaaaa...), but must be a directory, or a path "
        "where one can be made: name another.",
    ),
    (
        lambda: rs.OnlineFit(rs.LinearRegression, None, 0.95),
        "algorithm is None (NoneType), but must be an algorithm: pass for example rs.RDA(step_size=1e-3).",
    ),
    (
        lambda: rs.OnlineFit(rs.LinearRegression, rs.RDA(0.1), 95),
        "level is 95, but must be a finite number > 0 and < 1: give for example level=0.95.",
    ),
    (
        lambda: rs.OnlineFit(rs.LinearRegression, rs.RDA(0.1), 0.95, names=3),
        "names is 3 (int), but must be a list of different strings: give one for each column.",
    ),
    (
        lambda: rs.OnlineFit(rs.LinearRegression, rs.RDA(0.1), 0.95, method="plug-in"),
        "method is 'plug-in' (str), but must be what fit makes of covariance and inference: use rs.fit.",
    ),
    (
        lambda: rs.fit(rs.LinearRegression, np.eye(3), [1.0, 2.0, 3.0], rs.RDA(0.1), names=np.array(0.5)),
        "names is array(0.5) (ndarray), but must be a list of different strings: give one for each column.",
    ),
    (
        lambda: rs.validate.coverage(PROBLEM, ALGORITHM, 1.0, levels=[[0.5], [0.5, 0.6]]),
        "levels is [[0.5], [0.5, 0.6]] (list), but must be a sequence of levels: give for example levels=(0.8, 0.95).",
    ),
    (
        lambda: rs.validate.table(
            rs.validate.coverage(PROBLEM, ALGORITHM, 1.0, levels=[0.5], method="closure", replicates=20, seed=0),
            times=[1.0],
        ),
        "times is [1.0], but must be None for coverage, which is over all times: leave it out.",
    ),
    (
        lambda: rs.validate.flat_directions(
            FLAT, ALGORITHM, 1.0, start=[1.0, 0.5, -0.5], strengths=[[0.1], [0.1, 0.2]]
        ),
        "strengths is a ragged sequence, but must be an array of shape (n,) of finite numbers: give numbers > 0.",
    ),
    (
        lambda: rs.RDA(Hidden()),
        "step_size is an object of Hidden (Hidden), but must be a finite number > 0: give for example step_size=1e-3.",
    ),
]


@pytest.mark.parametrize(("call", "message"), CASES, ids=[message[:50] for _, message in CASES])
def test_messages(call, message):
    with pytest.raises((ValueError, TypeError)) as caught:
        call()
    assert str(caught.value) == message
    assert len(message) <= 300
    # a wrong kind of object is shown with its type
    assert isinstance(caught.value, TypeError) == bool(re.search(r" \(\w+\), but must be", message))


@pytest.mark.parametrize(
    "call",
    [
        lambda: rs.simulate(PROBLEM, ALGORITHM, 1.0, replicas=3),
        lambda: rs.approximate(PROBLEM, ALGORITHM, 1.0, "paths"),
        lambda: rs.band(THEORY, 0.95, "mean"),
        lambda: rs.RDA(step=0.1),
    ],
)
def test_misspelled_or_misplaced_arguments_are_type_errors(call):
    with pytest.raises(TypeError):
        call()


def test_nothing_is_compiled_for_bad_input(monkeypatch):
    def forbidden(*_):
        raise AssertionError("compiled")

    monkeypatch.setattr(_jit.Kernel, "__call__", forbidden)
    for call in (
        lambda: simulate(times=[0.0, 2.0]),
        lambda: simulate(keep="everything"),
        lambda: simulate(executor=1),
        lambda: approximate(method="none"),
        lambda: rs.LinearRegression(np.zeros(3), rs.AR1(2, 0.5)),
    ):
        with pytest.raises((ValueError, TypeError)):
            call()


def test_a_step_size_past_stability_warns():
    with pytest.warns(rs.StabilityWarning, match="step_size 1 is past mean-square stability without a regularizer"):
        rs.simulate(PROBLEM, rs.RDA(1.0), 2.0, on_divergence="keep")


words = st.one_of(
    st.none(), st.text(max_size=5), st.floats(), st.integers(-(10**9), 10**9), st.lists(st.floats(), max_size=3)
)


@given(
    st.sampled_from(["replicates", "times", "start", "seed", "keep", "coordinates", "on_divergence", "progress"]), words
)
def test_whatever_is_passed_a_bad_argument_is_a_sentence(name, value):
    """Either a run, or one line that begins with the argument's name."""
    if name in ("replicates", "times") and isinstance(value, int) and value > 50:
        value = 50
    try:
        rs.simulate(PROBLEM, ALGORITHM, 0.5, **{name: value})
    except MemoryError:
        pass
    except (ValueError, TypeError) as error:
        assert str(error).startswith(name)
        assert "\n" not in str(error)
        assert len(str(error)) <= 300


@pytest.mark.parametrize("message", list(TRIED), ids=[message.split(",")[0][:60] for message in TRIED])
def test_words_that_people_try_say_what_there_is(message):
    with pytest.raises((TypeError, ValueError)) as caught:
        TRIED[message]()
    assert str(caught.value) == message


@pytest.mark.parametrize("name", list(LARGE))
def test_rows_whose_squares_overflow(name):
    argument = "Z" if name == "OnlinePCA" else "X"
    with pytest.raises(ValueError, match=f"^{argument} is an array with entries up to 1e\\+160, but must be one of nu"):
        LARGE[name](np.array([[1e160, 1.0], [0.0, 1.0]]))
    with pytest.raises(ValueError, match=r"whose squares are finite: change the units\.$"):
        rs.LinearRegression.from_data(np.eye(2), [1e160, 0.0])


def test_no_rows_are_nothing_to_go_on_with():
    X, y = np.eye(3), np.ones(3)
    fit = rs.fit(rs.LinearRegression, X, y, rs.RDA(0.1))
    before = fit.coef.copy()
    assert fit.update(X[:0], y[:0]).rows == 3
    np.testing.assert_array_equal(fit.coef, before)


@pytest.mark.parametrize(
    "call",
    [
        lambda: simulate(replicates=10**14, keep="summary"),
        lambda: simulate(times=10**14),
        lambda: simulate(1e13),
        lambda: rs.weak_error(
            PROBLEM,
            ALGORITHM,
            1.0,
            test_functions={"size": lambda w: (w**2).sum(axis=-1)},
            step_sizes=[0.1, 0.05],
            replicates=10**14,
            paths=100,
        ),
        lambda: rs.validate.calibration(PROBLEM, ALGORITHM, 1.0, replicates=10**14),
        lambda: approximate(
            method="paths", paths=4, tolerance=1e-300, equation_order=1
        ),  # of second, steps of the algorithm
        lambda: rs.testing.check_regularizer(rs.L1(), dimension=10**15),
    ],
)
def test_what_memory_cannot_hold_is_refused_before_the_start(call):
    with pytest.raises(rs.TooMuchMemoryError, match=r"would take .* GiB, but .* GiB of memory are free: "):
        call()


@pytest.mark.parametrize(
    ("base", "sentence"),
    [
        (rs.Loss, "Loss is what a loss derives from, and none itself: use for example rs.HuberLoss()."),
        (rs.Regularizer, "Regularizer is what a mirror map derives from, and none itself: use for example rs.L1()."),
    ],
)
def test_base_classes_are_no_objects_themselves(base, sentence):
    with pytest.raises(TypeError, match=f"^{re.escape(sentence)}$"):
        base()

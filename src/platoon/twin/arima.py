"""DTB-FL's own capacity forecast, an ARIMA per vehicle, by the library ``statsforecast`` (an extra of the package).

It is there to be compared: on synthetic load it is no better than the batched autoregression and costs some
hundred times as much. Coefficients are fitted on schedule; in between the library runs the fitted model over the
latest values. The library is imported when the first series is fitted, so that a twin without it stays light.
"""

from typing import Any

import numpy as np

from platoon.errors import UserError
from platoon.nouns import Floats, Ints

ORDER = (2, 1, 1)
"""p, d, q. The paper gives none."""
METHOD = "ML"
"""Maximum likelihood throughout: where conditional sums of squares start it, one series in thirty fails."""
NAMES = ("ar1", "ar2", "ma1")
FEWEST = 12
"""Values of a series before a model is fitted to it."""


def fit_series(series: Floats) -> Floats:
    """Coefficients (N, 3) for series (N, L), oldest first, NaN where empty; NaN rows where nothing can be fitted.

    Raises:
        UserError: the library is not installed.
    """
    model = find_model()
    found = np.full((len(series), len(NAMES)), np.nan)
    for row in range(len(series)):
        values = series[row][np.isfinite(series[row])]
        if len(values) >= FEWEST and np.ptp(values) > 0.0:
            fitted = model(order=ORDER, method=METHOD).fit(values).model_["coef"]
            found[row] = [float(fitted[name]) for name in NAMES]
    return found


def forecast_series(series: Floats, coefficients: Floats, steps: Ints) -> Floats:
    """(N,) expected values ``steps`` (N,) (>= 1) observations on; NaN where there are no coefficients."""
    model = find_model()
    expected = np.full(len(series), np.nan)
    for row in np.flatnonzero(np.isfinite(coefficients).all(axis=1)):
        values = series[row][np.isfinite(series[row])]
        fixed = dict(zip(NAMES, coefficients[row].tolist(), strict=True))
        expected[row] = (
            model(order=ORDER, method=METHOD, fixed=fixed).fit(values).predict(h=int(steps[row]))["mean"][-1]
        )
    return expected


def find_model() -> Any:
    """The library's ARIMA.

    Raises:
        UserError: it is not installed; the message names the extra.
    """
    try:
        from statsforecast.models import ARIMA  # noqa: PLC0415
    except ImportError as error:
        raise UserError(
            f"twin.compute_forecast = 'arima': statsforecast is not installed ({error}); "
            "try: pip install 'platoon[arima]'"
        ) from None
    return ARIMA

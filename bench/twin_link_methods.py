"""The link forecasts side by side: error ten seconds ahead, and the Brier score of finishing, of each method.

Rounds of 8.6 s at 5.9 GHz, as ``bench.twin_links`` plays them. The peer is "the link stays as it is".
"""

import time

import numpy as np

from bench.rows import Row
from bench.twin_links import CASES, play
from bench.twin_world import SEEDS, over_seeds
from platoon.twin import outlook

SECONDS = 560


def measure() -> list[Row]:
    """Rows ``link_mae_10s_<method>_db``, ``finish_brier_8_6s_<method>`` and ``play_cpu_s_<method>``."""
    carrier, round_s, _ = CASES[0]
    rows = []
    for method in outlook.FORECASTS:
        errors, stays, brier, spent = [], [], [], []
        for seed in SEEDS:
            begin = time.process_time()
            tally, card = play(seed, carrier, round_s, SECONDS, {"twin.link_forecast": method})
            spent.append(time.process_time() - begin)
            errors.append(float(card["link_mae_db"] or np.nan))
            stays.append(float(card["link_mae_persistence_db"] or np.nan))
            brier.append(float(np.mean(tally.brier)))
        rows.append(over_seeds(f"link_mae_10s_{method}_db", errors, "dB", "it stays", stays))
        rows.append(over_seeds(f"finish_brier_8_6s_{method}", brier, "score"))
        rows.append(over_seeds(f"play_cpu_s_{method}", spent, "CPU s"))
    return rows

"""``platoon market``: models on offer, judged, bought, rated. Tables for people, or ``--json``."""

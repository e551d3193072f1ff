"""The Vyper sources of a task chain and their compiled artefacts (``python -m platoon.contracts.build``)."""

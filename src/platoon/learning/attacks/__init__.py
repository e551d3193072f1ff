"""What malicious vehicles do to their data or to their updates (docs/attacks.md names every source).

A *data attack* changes the samples that a vehicle trains on; an *update attack* turns the clean updates of the
attackers of a round into the ones that they send. Both are plain functions and combine: the data are poisoned
first, and update attacks follow each other in the scenario's order. Copying (collusion, Sybils) comes last and is
arranged in ``platoon.fleet``. A plug-in is a ``DataRule`` or ``UpdateRule`` published as an entry point of the
group ``platoon.attacks``; ``platoon.testing.check_attack`` holds the laws that it has to keep.
"""

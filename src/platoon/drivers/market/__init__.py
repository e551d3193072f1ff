"""Whoever carries a market out on this machine: its folder, its keys, its models, and the deeds of everybody in
it."""

"""Auctions of models: who gets which, and what it costs."""

"""Opinions on sellers: other ways to make reputations of them, and raters who lie, to measure all by.

What a market uses and its contract computes is ``platoon.records.opinions``, below the ledger that audits it.
"""

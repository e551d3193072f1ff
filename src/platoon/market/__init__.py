"""The exchange: auctions, menus, opinions, search. It sees numbers and digests only, never a weight."""

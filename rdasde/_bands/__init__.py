"""Bands through the mirror map, and how often they hold: `band` and `coverage`."""

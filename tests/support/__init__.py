"""Doubles that stand where the network and the clock stand."""

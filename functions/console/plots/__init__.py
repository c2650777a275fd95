"""Plots and graphs as SVG."""

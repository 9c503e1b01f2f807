"""Runs beside one another: rows, cells, differences, what is mixed or missing."""

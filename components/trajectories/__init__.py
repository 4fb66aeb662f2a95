"""Trajectories: tasks solved by a teacher whose calls really run, verified, with branches that fail
and recover.
"""

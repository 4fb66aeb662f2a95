"""The catalog: what ran, when, in which attempts, and what it made. A view of the store.

Only flows write it (`record`), the dashboard and the command line read it (`queries`), and it can
be made again from the store (`rebuild`).
"""

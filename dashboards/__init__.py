"""What a user looks at: runs, curves, scores, lineage and trajectories; reads only, apart from
`actions`.
"""

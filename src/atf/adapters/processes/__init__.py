"""Child processes for what computes: started, limited, watched and killed with all that they start.

What a child imports must stay cheap: nothing here reaches for a database, settings or NumPy.
"""

"""The paper's other nine methods (Table II), each in one file behind one interface.

A method is fitted on training windows and scores windows: above .5 is its own alarm, higher is more
anomalous. `table` lists them all, `detector_scores` makes an artifact of one.
"""

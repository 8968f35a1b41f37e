"""What an evaluation comes to, as values that know no JSON keys and no page.

The pages show these values and stand below what computes them, so that a page can be drawn anew
from a file; hence this room lies below both. JSON is made of them, and they of JSON, in
`json_files` alone.
"""

MODEL = "LogLLM"  # as the reports call it, beside the other detectors

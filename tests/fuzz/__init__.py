"""Coverage-guided fuzzing of the reader and the parsers: ``python -m tests.fuzz.run TARGET --seconds 600``."""

"""Recording: nsys found and run, the export checked and sanitised, the folder of a run, the study over a matrix of runs."""

"""Many traces at once: ranks, nodes, runs. Read in parallel, merged, and searched for stragglers."""

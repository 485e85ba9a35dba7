"""A day of jobs on a twin: the program that it poses, the plan that solves it, and why each job is where it is."""

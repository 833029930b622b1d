"""System 2: plans, solves in several ways, verifies and writes up; runs jobs from the queue and commits their results."""

"""How good a run was, and how sure that is: metrics, intervals, tests, tearsheets."""

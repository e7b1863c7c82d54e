"""HTML reports and comparisons of evaluated runs."""

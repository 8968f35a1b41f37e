"""What is built, as views that DuckDB answers from."""

"""A data set's file, drafted from a log."""

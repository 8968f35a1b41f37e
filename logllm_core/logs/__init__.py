"""From raw log files to windows of message ids. Never imports torch."""

"""The browser that the report's page is opened in, for the pages of experiments."""

from tests.pages.conftest import browser, open_file

__all__ = ["browser", "open_file"]

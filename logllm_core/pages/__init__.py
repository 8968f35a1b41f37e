"""How answers are shown: pages, their pictures, and what is told in short."""

"""Building blocks of pages: numbers, tables, drawings, Markdown, the HTML shell."""

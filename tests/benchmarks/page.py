"""Pages of the documentation whose tables are made from figures."""


def fill(page, parts):
    """Return a page in which the text between `<!-- NAME -->` and `<!-- end -->` is replaced."""
    for name, text in parts.items():
        before, rest = page.split(f"<!-- {name} -->\n", 1)
        after = rest.split("<!-- end -->", 1)[1]
        page = f"{before}<!-- {name} -->\n{text}\n<!-- end -->{after}"
    return page

"""Where samples are looked at: at the reviewer's desk in JupyterLab, or on a page for a browser where no one looks on."""

import os

from retinal_lib import paths
from retinal_lib.display import FullTable, count
from retinal_lib.errors import UserError, unknown
from retinal_lib.review import sample_html as markup
from retinal_lib.review.review import Review

VIEWS = ("widgets", "sheet")


def show(review: Review, view: str | None = None, limit: int | None = None) -> object:
    """The reviewer's desk; where no one looks on (or `view` is sheet), a page of the samples in the run's folder instead,
    and what it holds as a table. UserError: no such view, or the desk's libraries are not installed."""
    if view not in (None, *VIEWS):
        raise unknown("view", view, VIEWS)
    if (view or ("sheet" if os.environ.get(paths.NON_INTERACTIVE) else "widgets")) == "sheet":
        file = review.runs[0].folder / markup.SHEET
        shown, whole = markup.sheet(review, file, limit)
        return FullTable(
            {"holds": [f"{count(shown, 'sample')} of {whole:,}, to look at in a browser"]}, index=[paths.display_path(file)]
        )
    try:
        from retinal_lib.review import reviewer
    except ImportError as error:
        raise UserError("the reviewer needs JupyterLab's widgets: pip install -e '.[lab]', or pass -p view sheet") from error
    return reviewer.show(review)

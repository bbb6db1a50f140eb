import pytest

from atf.telegram.paging import page_of
from atf.telegram.texts import bot_texts


@pytest.mark.parametrize(
    ("count", "number", "shown", "pages"),
    [(0, 1, [], 1), (10, 1, range(10), 1), (11, 2, [10], 2), (25, 99, range(20, 25), 3), (25, -1, range(10), 3)],
)
def test_a_page_is_a_part_of_a_list(count: int, number: int, shown: range | list[int], pages: int) -> None:
    page = page_of(range(count), number)
    assert (list(page.items), page.count) == (list(shown), pages)
    labels = [button.command for row in page.turning("list page", bot_texts("en")) for button in row]
    beside = [one for one in (page.number - 1, page.number + 1) if 1 <= one <= pages]
    assert labels == [f"list page {one}" for one in beside]

"""The page's comparisons, in a real browser: two settings side by side, and votes that are blind."""

from pathlib import Path

from retrieval.hpir import read_hpir
from tests.retrieval.page_client import Open, answered, ids, typed


def test_votes_are_blind_kept_and_exported(open_page: Open, address: str, page_folder: Path) -> None:
    page = open_page("/?q=trees")
    page.get_by_role("button", name="Compare").click()
    page.locator(".row .open").nth(12).wait_for()  # side by side: more than one row's worth
    assert "pictures, brightness +1" in page.locator("#taste").inner_text()
    page.get_by_role("button", name="Vote blind").click()
    page.locator(".question").first.wait_for()
    titles = page.locator(".row h2")
    assert titles.all_inner_texts() == ["Upper row", "Lower row"]
    assert not any(word in " ".join(page.locator(".row").all_inner_texts()) for word in ("brightness", "relevance"))
    upper = page.evaluate(
        "[...document.querySelectorAll('.row')[0].querySelectorAll('li')].map((one) => +one.dataset.id)"
    )
    page.get_by_label("Your name with the votes").fill("anna")
    page.get_by_label("Your name with the votes").press("Tab")
    page.get_by_role("group", name="Which row fits the words better?").get_by_role("button", name="Upper").click()
    page.get_by_text("1 vote kept").wait_for()
    page.locator("body").press("2")
    page.get_by_text("2 votes kept").wait_for()
    page.locator("body").press("3")
    page.get_by_role("table").wait_for()
    plain = ids(address, typed("trees"), k=5)
    order = "ab" if upper == plain else "ba"
    assert titles.all_inner_texts()[order.index("a")] == "A · pictures, relevance alone"
    assert titles.all_inner_texts()[order.index("b")] == "B · pictures, brightness +1"
    with page.expect_download() as download:
        page.get_by_text("Export votes").click()
    download.value.save_as(page_folder / "hpir.jsonl")
    item = read_hpir(page_folder / "hpir.jsonl")[-1]
    assert (item.query, item.voters, item.shown_order) == ("trees", ("anna",), (order,))
    assert item.votes == {"accuracy": (order[0],), "aesthetics": (order[1],), "diversity": ("same",)}
    shas = {one["id"]: one["sha256"] for one in answered(address, typed("trees"), k=100)}
    assert item.group_a == tuple(shas[one] for one in plain)
    page.locator("body").press("n")
    page.wait_for_function("() => document.querySelector('#words').value !== 'trees'")
    page.get_by_text("1 of 12").wait_for()


def test_two_indexes_are_compared_but_not_by_the_ids_of_one(open_page: Open, address: str) -> None:
    like = ids(address, typed("trees"))[0]
    page = open_page(f"/?q=trees&like={like}")
    page.get_by_role("button", name="Compare").click()
    sides = page.locator("fieldset.side")
    sides.nth(1).get_by_label("Index").select_option("again")
    page.get_by_text("drop its file instead").wait_for()
    page.get_by_role("button", name=f"Remove picture {like}").click()
    page.locator(".row").nth(1).locator(".open").nth(9).wait_for()
    page.get_by_role("button", name="Vote blind").click()  # the same folder twice, so the same pictures
    page.get_by_text("nothing to vote on").wait_for()

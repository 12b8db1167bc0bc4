"""The page of one experiment or several."""

import re
from html.parser import HTMLParser

import pytest
from cases.experiments import Toy, finished

from gatentk.papers.frame import page as pages


@pytest.fixture
def toy():
    return Toy()


class Page(HTMLParser):
    """Text and ids of a page, with every element closed as it was opened."""

    VOID = frozenset({"meta", "br", "path", "use"})

    def __init__(self, text):
        super().__init__()
        self.open, self.text, self.ids, self.links, self.tags = [], "", [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        self.ids += [value for name, value in attrs if name == "id"]
        self.links += [value for name, value in attrs if name == "href"]

    def handle_startendtag(self, tag, attrs):
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("style", "defs"):
            self.text += data


def test_the_page_says_what_was_claimed_and_what_came_out(toy):
    result = finished(toy)
    html = pages.html([result], toy.title)
    page = Page(html)
    assert len(set(page.ids)) == len(page.ids)
    text = re.sub(r"\s+", " ", page.text)
    assert toy.title in text  # and not as markup
    for claim in result.findings.claims:
        assert f"{claim.statement} {claim.source}" in text
        verdict = {True: "Agrees.", False: "Does not agree.", None: "Not decided here."}[claim.agrees]
        assert f"{verdict} {claim.outcome}" in text
    assert "Values <by> cell." in text
    assert "One <remark>." in text
    assert "text, with comma" in text
    assert "Long one" not in text  # 100 rows are for the CSV file
    assert "toy-long.csv" in text
    assert "gatentk paper toy --out DIR" in text
    assert "<y>" in text
    assert "http://" not in re.sub(r"http://www\.w3\.org/\S+", "", html)  # nothing is loaded


def test_one_page_for_several_has_an_index_and_no_clashing_ids(toy):
    results = [finished(toy), finished(Toy("second"))]
    page = Page(pages.html(results, "All"))
    assert len(set(page.ids)) == len(page.ids)
    assert {"#toy", "#second"} <= set(page.links)
    assert {"toy", "second"} <= set(page.ids)
    assert page.tags.count("section") == 2
    assert "#toy" not in Page(pages.html(results[:1], "One")).links


def test_references_inside_the_plots_lead_somewhere(toy):
    html = pages.html([finished(toy), finished(Toy("second"))], "All")
    ids = set(re.findall(r'id="([^"]+)"', html))
    assert set(re.findall(r'href="#([^"]+)"', html)) <= ids
    assert set(re.findall(r"url\(#([^)]+)\)", html)) <= ids

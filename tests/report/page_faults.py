"""What makes a page hard to use, found in the browser: it opens on something else, is cut, shows nothing."""

from playwright.sync_api import Page

# What is wider than what holds it, or stands beyond the window's edges. An enlarged figure scrolls, which is meant.
TOO_WIDE = """() => {
  const found = [], width = document.documentElement.clientWidth;
  const name = (element) => `${element.tagName.toLowerCase()} ${element.className} ${element.textContent.slice(0, 40)}`;
  if (document.documentElement.scrollWidth > width) found.push(`the page: ${document.documentElement.scrollWidth} px`);
  for (const element of document.querySelectorAll("body *")) {
    if (element.closest("[aria-expanded=true].figure") || !element.getClientRects().length) continue;
    const box = element.getBoundingClientRect(), style = getComputedStyle(element);
    if (box.left < -1 || box.right > width + 1) found.push("off the window: " + name(element));
    const content = element.clientWidth && element.tagName !== "INPUT";
    if (content && element.scrollWidth > element.clientWidth + 1) found.push("too wide: " + name(element));
    if (content && style.overflowY !== "visible" && element.scrollHeight > element.clientHeight + 1)
      found.push("cut below: " + name(element));
  }
  return found;
}"""

# Elements without text and image, images that are not there, headings with nothing below, columns of blanks.
EMPTY = """() => {
  const found = [], holds = (element) => element.textContent.trim() || element.querySelector("img, input");
  const boxes = "header, nav, section, article, figure, div, details, table, tbody, ul";
  for (const element of document.querySelectorAll(boxes + ", figcaption, li, p, h1, h2, h3, th"))
    if (element.getClientRects().length && !holds(element))
      found.push(`empty: ${element.tagName} ${element.className}`);
  for (const heading of document.querySelectorAll("h2, h3")) {
    const below = heading.nextElementSibling;
    if (!below || /^H[1-3]$/.test(below.tagName)) found.push("nothing below: " + heading.textContent);
  }
  for (const image of document.images)
    if (!image.complete || image.naturalWidth < 100) found.push("no image: " + image.alt);
  for (const table of document.querySelectorAll("table")) {
    const rows = [...table.tBodies].flatMap((body) => [...body.rows]).filter((row) => row.className !== "provenance");
    if (!rows.length) found.push("a table without rows");
    for (const [place, head] of [...(table.tHead?.rows[0].cells ?? [])].entries())
      if (rows.length && rows.every((row) => !row.cells[place].textContent.trim()))
        found.push("a column of blanks: " + head.textContent);
  }
  return found;
}"""

# Before anybody scrolls: a verdict on a claim, and an image most of which is in sight.
IN_SIGHT = """() => {
  const seen = (element) => {
    const box = element.getBoundingClientRect(), most = box.height * 0.6;
    return box.height > 0 && box.top >= 0 && box.left >= 0 && box.top + most <= innerHeight;
  };
  const any = (selector) => [...document.querySelectorAll(selector)].some(seen);
  return {verdict: any(".verdict"), claim: any("#claims article, #claims h2"), figure: any("#results img")};
}"""


def opening_faults(page: Page) -> list[str]:
    """What the results would show and the first screen does not."""
    return [f"opens without a {name}" for name, seen in page.evaluate(IN_SIGHT).items() if not seen]


def faults(page: Page) -> list[str]:
    """All that is wrong with a page that was just opened. What can be opened within it is opened."""
    opening = opening_faults(page)
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    return [*opening, *page.evaluate(TOO_WIDE), *page.evaluate(EMPTY)]

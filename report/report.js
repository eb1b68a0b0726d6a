const manifests = JSON.parse(document.getElementById("manifests").textContent);

function provenance(row) {
  const below = document.createElement("tr");
  below.className = "provenance";
  const cell = below.appendChild(document.createElement("td"));
  cell.colSpan = row.cells.length;
  for (const name of row.dataset.parents.split(" ")) {
    const details = cell.appendChild(document.createElement("details"));
    details.appendChild(document.createElement("summary")).textContent = name;
    const text = name in manifests ? JSON.stringify(manifests[name], null, 1) : `see results/${name}/manifest.json`;
    details.appendChild(document.createElement("pre")).textContent = text;
  }
  return below;
}

for (const button of document.querySelectorAll("button")) {
  button.addEventListener("click", () => {
    const row = button.closest("tr"), open = button.getAttribute("aria-expanded") === "true";
    if (row) { if (open) row.nextElementSibling.remove(); else row.after(provenance(row)); }
    button.setAttribute("aria-expanded", String(!open));
  });
}

document.getElementById("filter").addEventListener("input", (event) => {
  const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const row of document.querySelectorAll("tr.variant")) {
    row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word));
    if (row.nextElementSibling?.className === "provenance") row.nextElementSibling.hidden = row.hidden;
  }
});

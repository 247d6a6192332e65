// Small helpers. Everything that comes from the cluster goes in as text, never as markup.

export function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key === "class") node.className = value;
    else if (key in node && key !== "list" && typeof value !== "string") node[key] = value;
    else node.setAttribute(key, value === true ? "" : value);
  }
  for (const child of children.flat(Infinity)) {
    if (child === undefined || child === null || child === false) continue;
    node.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return node;
}

export const link = (href, ...children) => el("a", { href, "data-link": true }, ...children);
export const state = (status, text) => el("span", { class: `state ${status}` }, text || status);
export const empty = (...text) => el("div", { class: "empty" }, ...text);
export const worst = (checks) => ["critical", "warning"].find((s) => (checks || []).some((c) => c.Status === s)) || "passing";

// Fills a list in slices, so that a thousand rows do not hold the page up.
export function fill(list, rows, make) {
  list.replaceChildren();
  let at = 0;
  const run = (list.filling = {});
  const more = () => {
    if (list.filling !== run) return;
    list.append(...rows.slice(at, at + 150).map(make));
    at += 150;
    if (at < rows.length) requestAnimationFrame(more);
  };
  more();
}

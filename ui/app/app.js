// Routes, navigation, theme and token.

import { setToken, token } from "./api.js";
import { empty, link } from "./dom.js";
import * as pages from "./pages.js";

const base = new URL(document.baseURI).pathname;
const main = document.getElementById("main");
let running = new AbortController();

function parts() {
  const rest = location.pathname.slice(base.length);
  return rest.split("/").map(decodeURIComponent);
}

function show(focus) {
  running.abort();
  running = new AbortController();
  window.lictorDirty = false;
  const [section, ...rest] = parts();
  const page = { "": pages.services, services: rest[0] ? pages.service : pages.services, nodes: rest[0] ? pages.node : pages.nodes,
    kv: pages.kv, intentions: pages.intentions }[section];
  main.replaceChildren();
  for (const item of document.querySelectorAll("nav a")) {
    item.toggleAttribute("aria-current", item.getAttribute("href") === (section || "services"));
  }
  document.title = [...rest.filter(Boolean), section || "services", "lictor"].join(" · ");
  if (page) page(main, section === "kv" ? rest : rest, running.signal);
  else main.append(empty("There is no such page. ", link("services", "Show the services.")));
  if (focus) main.focus();
}

window.lictorGo = (href) => {
  if (window.lictorDirty && !confirm("Leave without saving?")) return;
  history.pushState(null, "", new URL(href, document.baseURI));
  show(true);
};

document.addEventListener("click", (event) => {
  const anchor = event.target.closest("a[data-link]");
  if (!anchor || event.metaKey || event.ctrlKey || event.shiftKey) return;
  event.preventDefault();
  window.lictorGo(anchor.getAttribute("href"));
});
addEventListener("popstate", () => show(true));
addEventListener("beforeunload", (event) => { if (window.lictorDirty) event.preventDefault(); });

const root = document.documentElement;
root.dataset.theme = localStorage.getItem("lictor-theme") || "";
document.getElementById("theme").addEventListener("click", () => {
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("lictor-theme", root.dataset.theme);
});
for (const id of ["token", "give-token"]) {
  document.getElementById(id).addEventListener("click", () => {
    const value = prompt("ACL token for this browser (empty for none)", token());
    if (value !== null) { setToken(value.trim()); show(false); }
  });
}

show(false);

// The pages. Each is `(main, parts, signal)`: it fills `main` and keeps it fresh until `signal` aborts.

import { call, deniesByDefault, follow, json } from "./api.js";
import { el, empty, fill, link, state, worst } from "./dom.js";

const enc = encodeURIComponent;
const path = (key) => key.split("/").map(enc).join("/");

function heading(title, ...more) { return [el("h1", {}, title), ...more]; }
function problem(main, error) {
  const text = error.status === 403 ? "This token may not see that. Set another one with “Token”." : error.message;
  main.append(el("p", { class: "note", role: "alert" }, text));
}
function tags(list) { return (list || []).map((tag) => el("span", { class: "tag" }, tag)); }

function checksOf(list) {
  if (!list || !list.length) return empty("No checks.");
  return el("ul", { class: "rows" }, list.map((check) => el("li", {},
    el("span", { class: "name" }, check.Name), state(check.Status),
    el("span", { class: "soft" }, check.Type || "", check.ServiceName ? ` on ${check.ServiceName}` : ""),
    check.Output ? el("pre", {}, check.Output) : null)));
}

// Where `ui_config.dashboard_url_templates` leads for a service; the agent lets only web addresses be templates.
function dashboardOf(template, name, datacenter) {
  const values = { "Service.Name": name, "Service.Namespace": "", "Service.Partition": "", Datacenter: datacenter };
  return template.replace(/\{\{\s*([A-Za-z.]+)\s*\}\}/g, (whole, key) => (key in values ? enc(values[key]) : whole));
}

export function services(main, parts, signal) {
  const search = el("input", { type: "search", placeholder: "Search by name or tag", "aria-label": "Search services" });
  const status = el("select", { "aria-label": "Filter by health" },
    ["any health", "critical", "warning", "passing"].map((name) => el("option", { value: name }, name)));
  const list = el("ul", { class: "rows", id: "services" });
  const holder = el("div", {}, list);
  main.append(...heading("Services"), el("div", { class: "filters" }, search, status), holder);
  let rows = [];
  const health = (row) => row.ChecksCritical ? "critical" : row.ChecksWarning ? "warning" : "passing";
  const draw = () => {
    const text = search.value.trim().toLowerCase();
    const shown = rows.filter((row) => row.Kind !== "connect-proxy")
      .filter((row) => !text || row.Name.toLowerCase().includes(text) || (row.Tags || []).some((t) => t.toLowerCase().includes(text)))
      .filter((row) => status.value === "any health" || health(row) === status.value);
    if (!shown.length) {
      holder.replaceChildren(empty(rows.length ? "No service matches." : "No services yet. Register one and it appears here."));
      return;
    }
    holder.replaceChildren(list);
    fill(list, shown, (row) => el("li", {},
      el("span", { class: "name" }, link(`services/${enc(row.Name)}`, row.Name)),
      state(health(row), `${row.ChecksPassing}/${row.ChecksPassing + row.ChecksWarning + row.ChecksCritical} checks`),
      el("span", { class: "soft" }, `${row.InstanceCount} instance${row.InstanceCount === 1 ? "" : "s"}`),
      row.ConnectedWithProxy ? el("span", { class: "tag" }, "in mesh") : null, tags(row.Tags)));
  };
  search.addEventListener("input", draw);
  status.addEventListener("change", draw);
  follow("/v1/internal/ui/services", signal, (value) => { if (value?.error) return problem(main, value.error); rows = value || []; draw(); });
}

export function service(main, [name], signal) {
  const instances = el("div"), intentions = el("div"), dashboard = el("p");
  main.append(el("p", { class: "trail" }, link("services", "Services"), " / ", name), ...heading(name), dashboard,
    el("h2", {}, "Instances"), instances, el("h2", {}, "Intentions"), intentions);
  json("GET", "/v1/agent/self", { signal }).then((agent) => {
    const template = agent.DebugConfig.UIConfig.DashboardURLTemplates?.service;
    if (template) dashboard.append(el("a", { href: dashboardOf(template, name, agent.Config.Datacenter), rel: "noreferrer" }, "Dashboard"));
  }).catch(() => {});
  follow(`/v1/health/service/${enc(name)}`, signal, (found) => {
    if (found?.error) return problem(main, found.error);
    if (!found || !found.length) return instances.replaceChildren(empty("No instance is registered (any more)."));
    instances.replaceChildren(...found.map((one) => el("section", {},
      el("ul", { class: "rows" }, el("li", {}, el("span", { class: "name" }, one.Service.ID), state(worst(one.Checks)),
        el("span", { class: "soft" }, `${one.Service.Address || one.Node.Address}:${one.Service.Port || 0} on `,
          link(`nodes/${enc(one.Node.Node)}`, one.Node.Node)), tags(one.Service.Tags),
        Object.keys(one.Service.Meta || {}).length ? el("dl", {}, Object.entries(one.Service.Meta).map(([key, value]) =>
          [el("dt", {}, key), el("dd", {}, value)])) : null)), checksOf(one.Checks), el("br"))));
  });
  follow("/v1/connect/intentions", signal, (found) => {
    const mine = (Array.isArray(found) ? found : []).filter((i) => i.DestinationName === name || i.SourceName === name);
    intentions.replaceChildren(mine.length ? intentionRows(mine) : empty("No intention names this service."));
  });
}

export function nodes(main, parts, signal) {
  const search = el("input", { type: "search", placeholder: "Search by name or address", "aria-label": "Search nodes" });
  const list = el("ul", { class: "rows" });
  main.append(...heading("Nodes"), el("div", { class: "filters" }, search), list);
  let rows = [];
  const draw = () => {
    const text = search.value.trim().toLowerCase();
    fill(list, rows.filter((r) => !text || r.Node.toLowerCase().includes(text) || r.Address.includes(text)), (row) => el("li", {},
      el("span", { class: "name" }, link(`nodes/${enc(row.Node)}`, row.Node)), state(worst(row.Checks)),
      el("span", { class: "soft" }, row.Address), el("span", { class: "soft" }, `${(row.Services || []).length} services`)));
  };
  search.addEventListener("input", draw);
  follow("/v1/internal/ui/nodes", signal, (value) => { if (value?.error) return problem(main, value.error); rows = value || []; draw(); });
}

export function node(main, [name], signal) {
  const body = el("div");
  main.append(el("p", { class: "trail" }, link("nodes", "Nodes"), " / ", name), ...heading(name), body);
  follow(`/v1/internal/ui/node/${enc(name)}`, signal, (found) => {
    if (found?.error) return problem(main, found.error);
    if (!found) return body.replaceChildren(empty("This node is not registered (any more)."));
    body.replaceChildren(el("dl", {}, el("dt", {}, "Address"), el("dd", {}, found.Address), el("dt", {}, "ID"), el("dd", {}, found.ID || "none")),
      el("h2", {}, "Services"), (found.Services || []).length ? el("ul", { class: "rows" }, found.Services.map((one) => el("li", {},
        el("span", { class: "name" }, link(`services/${enc(one.Service)}`, one.Service)), el("span", { class: "soft" }, `${one.ID} port ${one.Port || 0}`), tags(one.Tags)))) : empty("No services."),
      el("h2", {}, "Checks"), checksOf(found.Checks));
  });
}

export function kv(main, parts, signal) {
  const key = parts.join("/");
  const trail = el("p", { class: "trail" }, link("kv", "Key/Value"));
  parts.slice(0, -1).forEach((part, n) => trail.append(" / ", link(`kv/${path(parts.slice(0, n + 1).join("/"))}/`, part)));
  if (parts.at(-1)) trail.append(" / ", parts.at(-1));
  if (!key || key.endsWith("/")) return folder(main, key, trail, signal);
  return editor(main, key, trail, signal);
}

function folder(main, prefix, trail, signal) {
  const name = el("input", { required: true, placeholder: "name, or folder/name", "aria-label": "New key" });
  const form = el("form", { class: "filters", onsubmit: (event) => {
    event.preventDefault();
    window.lictorGo(`kv/${path(prefix + name.value.trim())}`);
  } }, name, el("button", { class: "main" }, "New key"));
  const list = el("ul", { class: "rows", id: "keys" }), holder = el("div", {}, list);
  main.append(trail, ...heading(prefix || "Key/Value"), form, holder);
  follow(`/v1/kv/${path(prefix)}?keys&separator=/`, signal, (found) => {
    if (found?.error) return problem(main, found.error);
    const keys = (found || []).filter((key) => key !== prefix);
    if (!keys.length) return holder.replaceChildren(empty("No keys here yet."));
    holder.replaceChildren(list);
    fill(list, keys, (key) => el("li", {}, el("span", { class: "name" }, link(`kv/${path(key)}`, key.slice(prefix.length)))));
  });
}

function decode(base64) {
  const bytes = Uint8Array.from(atob(base64 || ""), (c) => c.charCodeAt(0));
  try { return { text: new TextDecoder("utf-8", { fatal: true }).decode(bytes) }; } catch { return { size: bytes.length }; }
}

// While the reader types, nothing but their own saved text may change what the field holds or what a save is based on.
function editor(main, key, trail, signal) {
  const area = el("textarea", { "aria-label": "Value", spellcheck: false, disabled: true });
  const save = el("button", { class: "main", disabled: true }, "Save");
  const note = el("div", { role: "status" });
  const url = `/v1/kv/${path(key)}`;
  let held = null, dirty = false, sent;
  const edited = (state) => { dirty = window.lictorDirty = state; };
  area.addEventListener("input", () => edited(true));
  const say = (text, good) => note.replaceChildren(el("p", { class: good ? "note good" : "note" }, text));
  const show = (row) => {
    const { text, size } = decode(row?.Value), moved = row?.ModifyIndex !== held?.ModifyIndex;
    if (dirty && moved && (!row || text !== sent)) return say("This key was changed elsewhere while you edit it.", false);
    held = row;
    if (dirty) return;
    area.disabled = save.disabled = text === undefined;
    area.value = text ?? `(${size} bytes that are no text; not editable here)`;
  };
  const store = async (event) => {
    event.preventDefault();
    save.disabled = true;
    sent = area.value;
    try {
      const done = await json("PUT", `${url}?cas=${held ? held.ModifyIndex : 0}`, { body: sent });
      if (!done) return say("Somebody else changed this key meanwhile. Their value is shown when you reload the page.", false);
      edited(area.value !== sent);
      say("Saved.", true);
      // The next save is based on what this one wrote, which the following read may only bring later.
      show((await json("GET", url, { signal }))[0]);
    } catch (error) {
      if (!signal.aborted) say(error.message, false);
    } finally { save.disabled = area.disabled; }
  };
  const remove = async () => {
    if (!confirm(`Delete ${key}?`)) return;
    try { await call("DELETE", url); } catch (error) { return say(error.message, false); }
    edited(false);
    window.lictorGo(`kv/${path(key.slice(0, key.lastIndexOf("/") + 1))}`);
  };
  main.append(trail, ...heading(key), note, el("form", { class: "stack", onsubmit: store }, el("label", {}, "Value", area),
    el("div", { class: "actions" }, save, el("button", { type: "button", class: "danger", onclick: remove }, "Delete"))));
  follow(url, signal, (found) => {
    if (found?.error) return problem(main, found.error);
    show(found ? found[0] : null);
  });
}

function intentionRows(found, remove) {
  return el("ul", { class: "rows", id: "intentions" }, found.map((one) => el("li", {},
    el("span", { class: "name" }, one.SourceName, " → ", one.DestinationName),
    state(one.Action === "allow" ? "passing" : "critical", one.Action || "by request"),
    el("span", { class: "soft" }, `precedence ${one.Precedence}`),
    remove ? el("button", { class: "danger", onclick: () => remove(one), "aria-label": `Delete ${one.SourceName} to ${one.DestinationName}` }, "Delete") : null)));
}

export function intentions(main, parts, signal) {
  const source = el("input", { required: true, name: "source", placeholder: "service or *" });
  const destination = el("input", { required: true, name: "destination", placeholder: "service or *" });
  const action = el("select", { name: "action" }, el("option", { value: "allow" }, "allow"), el("option", { value: "deny" }, "deny"));
  const note = el("div", { role: "status" }), list = el("div");
  const query = (s, d) => `/v1/connect/intentions/exact?source=${enc(s)}&destination=${enc(d)}`;
  const fail = (error) => note.replaceChildren(el("p", { class: "note", role: "alert" }, error.message));
  const save = async (event) => {
    event.preventDefault();
    note.replaceChildren();
    await call("PUT", query(source.value.trim(), destination.value.trim()), { body: JSON.stringify({ Action: action.value }) })
      .then(() => { source.value = destination.value = ""; }).catch(fail);
  };
  const remove = (one) => call("DELETE", query(one.SourceName, one.DestinationName)).catch(fail);
  const rule = el("p", { class: "soft" });
  main.append(...heading("Intentions", rule),
    el("form", { class: "stack", onsubmit: save }, el("label", {}, "Source", source), el("label", {}, "Destination", destination),
      el("label", {}, "Action", action), el("div", { class: "actions" }, el("button", { class: "main" }, "Save intention"))), note, list);
  follow("/v1/connect/intentions", signal, (found) => {
    if (found?.error) return problem(main, found.error);
    const verdict = deniesByDefault() ? "denied" : "allowed";
    rule.textContent = `Who may call whom. The most exact intention decides; without one, calls are ${verdict}.`;
    list.replaceChildren((found || []).length ? intentionRows(found, remove) : empty(`No intentions yet: every call is ${verdict}.`));
  });
}

// Requests to the agent, and reads that stay fresh through blocking queries.

const TOKEN = "lictor-token";

export function token() { return localStorage.getItem(TOKEN) || ""; }
export function setToken(value) {
  if (value) localStorage.setItem(TOKEN, value); else localStorage.removeItem(TOKEN);
  asked = false;
}

export class ApiError extends Error {
  constructor(status, text) { super(text || `the agent answered ${status}`); this.status = status; }
}

// Whether the agent denies what no token and no intention allows; told by every answer.
let denies = false, asked = false;
export const deniesByDefault = () => denies;

async function heed(response) {
  denies = response.headers.get("X-Consul-Default-ACL-Policy") === "deny";
  const hint = document.getElementById("access");
  if (!denies || token()) { hint.hidden = true; return; }
  if (asked) return;
  asked = true;
  // The policy is told even while access control is off; then nothing is hidden, and this answers 401.
  const status = await fetch("/v1/acl/replication").then((answer) => answer.status, () => 0);
  hint.hidden = status === 401 || Boolean(token());
}

export async function call(method, path, { body, signal } = {}) {
  const headers = token() ? { "X-Consul-Token": token() } : {};
  const response = await fetch(path, { method, body, signal, headers });
  heed(response);
  if (!response.ok) throw new ApiError(response.status, await response.text());
  return response;
}

export const json = async (method, path, options) => (await call(method, path, options)).json();

const live = document.getElementById("live");
function show(state, text) { live.className = `live ${state}`; live.textContent = text; }

// Calls `render(value)` now and after every change until `signal` aborts. A 404 renders `null`.
export async function follow(path, signal, render) {
  let index = 0, pause = 500;
  while (!signal.aborted) {
    const join = path.includes("?") ? "&" : "?";
    try {
      const headers = token() ? { "X-Consul-Token": token() } : {};
      const response = await fetch(`${path}${join}index=${index}&wait=55s`, { signal, headers });
      heed(response);
      if (!response.ok && response.status !== 404) throw new ApiError(response.status, await response.text());
      const next = Number(response.headers.get("X-Consul-Index") || 0);
      const value = response.status === 404 ? null : await response.json();
      show("on", "live");
      pause = 500;
      if (next !== index || index === 0) render(value);
      index = next >= index ? next : 0;
      if (!next) await sleep(2000, signal);
    } catch (error) {
      if (signal.aborted) return;
      show("off", error instanceof ApiError ? `error ${error.status}` : "disconnected");
      if (error instanceof ApiError && error.status === 403) { render({ error }); }
      await sleep(pause, signal);
      pause = Math.min(pause * 2, 8000);
      index = 0;
    }
  }
}

function sleep(ms, signal) {
  return new Promise((done) => {
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", () => { clearTimeout(timer); done(); }, { once: true });
  });
}

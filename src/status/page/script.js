"use strict";
// The status page. Whatever comes from the daemon is put into the document as text (textContent), never as markup: names
// come from files and from the wire.

const SHORTEST_WAIT = 2000;
const MOST_EVENTS = 100;
const MOST_CARDS = 300;
let token = sessionStorage.getItem("token");
let last = null;

function at(id) { return document.getElementById(id); }

/** An element with a class and text or children. */
function make(tag, name, ...children) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  for (const child of children) if (child !== null && child !== undefined) element.append(child);
  return element;
}

function ago(ms) {
  if (ms === null || ms === undefined) return "";
  const s = Math.floor(ms / 1000);
  if (s < 120) return `${s} s`;
  if (s < 7200) return `${Math.floor(s / 60)} min`;
  if (s < 172800) return `${Math.floor(s / 3600)} h`;
  return `${Math.floor(s / 86400)} days`;
}

function quantity(n, gap = "") {
  for (const unit of ["", "k", "M", "G", "T"]) {
    if (n < 1000) return `${n < 10 && unit ? n.toFixed(1) : Math.round(n)}${gap}${unit}`;
    n /= 1000;
  }
  return `${Math.round(n)}${gap}P`;
}

const KINDS = { MASTER: "good", BACKUP: "calm", FAULT: "bad", UP: "good", DOWN: "bad" };
function kindOf(state) { return KINDS[state] || "wait"; }

async function fetchJson(path) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const answer = await fetch(path, { headers, cache: "no-store" });
  if (answer.status === 401) throw new Error("token");
  if (!answer.ok) throw new Error((await answer.text()).trim() || `status ${answer.status}`);
  return answer.json();
}

function instanceCard(i) {
  const card = make("article", `card ${kindOf(i.state)}`);
  card.append(make("div", "head", make("h3", "", i.name), make("span", `badge ${kindOf(i.state)}`, i.state)));
  const cause = i.cause && i.cause.text ? i.cause.text : "";
  const since = i.for_ms === null || i.for_ms === undefined ? "" : `for ${ago(i.for_ms)}`;
  card.append(make("p", "why", [since, cause].filter(Boolean).join(": ")));
  if (i.dual_master) {
    const d = i.dual_master;
    card.classList.add("bad");
    card.append(make("p", "why", make("span", "badge bad", "TWO MASTERS"), ` for ${ago(d.for_ms)}${d.peer ? `, the other is ${d.peer}` : ""}: ${d.reason}`));
  }
  if (i.handing_over) card.append(make("p", "why", "handing over: addresses stay until the successor has them"));
  const list = make("ul", "addresses");
  for (const a of i.addresses.slice(0, 12)) {
    list.append(make("li", "", `${a.address}${a.interface ? ` on ${a.interface}` : ""}${a.excluded ? ", excluded" : ""}`));
  }
  if (i.addresses.length > 12) list.append(make("li", "dim", `and ${i.addresses.length - 12} more`));
  card.append(list);
  const p = i.priority;
  const reasons = p.trackers.filter((t) => t.adds || t.fault)
    .map((t) => `${t.tracker} ${t.status}${t.fault ? " (fault)" : ` ${t.adds > 0 ? "+" : "−"}${Math.abs(t.adds)}`}`);
  card.append(make("p", "meta", `priority ${p.effective}` + (reasons.length || p.effective !== p.base
    ? ` = ${[p.base, ...reasons].join(", ")}` : "")));
  if (i.master) card.append(make("p", "meta", `master: ${i.master.address}, priority ${i.master.priority}`));
  for (const peer of i.peers.slice(0, 8)) {
    const heard = peer.last_heard_ms === null || peer.last_heard_ms === undefined ? "" : `, heard ${ago(peer.last_heard_ms)} ago`;
    const refused = peer.refused ? `, refused: ${peer.refused}` : "";
    card.append(make("p", "meta", `peer ${peer.address}${peer.priority === null || peer.priority === undefined ? "" : `, priority ${peer.priority}`}${heard}${refused}`));
  }
  const where = [`VRID ${i.vrid}`, `VRRPv${i.version}`, i.family, i.interface, i.sync_group && `group ${i.sync_group}`];
  card.append(make("p", "meta", where.filter(Boolean).join(" · ")));
  return card;
}

function rate(now, before, seconds) {
  return before === undefined || now < before || seconds <= 0 ? null : (now - before) / seconds;
}

function serviceCard(v, earlier, seconds) {
  const fit = v.real_servers.filter((r) => r.up).length;
  // As `holdfast status` judges: one that nobody carries is down whatever its quorum.
  const down = v.active !== false && (v.has_quorum === false || v.able === false);
  const state = down ? "DOWN" : v.has_quorum ? "UP" : "UNKNOWN";
  const card = make("article", `card ${kindOf(state)}`);
  card.append(make("div", "head", make("h3", "", v.label || v.id), make("span", `badge ${kindOf(state)}`, state)));
  const about = [v.label && v.id, v.scheduler, v.method, v.carrier, v.follows && `with ${v.follows}`,
    v.active === false && "not active here", v.checks_paused && "checks rest", v.panicking && "panicking", v.refused,
    v.sorry_server_serves && `sorry server ${v.sorry_server} serves`];
  card.append(make("p", "meta", about.filter(Boolean).join(" · ")));
  card.append(make("p", "", `${fit} of ${v.real_servers.length} real servers up, live weight ${v.live_weight ?? "?"}, quorum ${v.quorum}`));
  if (v.traffic) {
    const t = v.traffic, e = earlier && earlier.traffic;
    const parts = [`${quantity(t.active)} connections now`, `${quantity(t.connections)} in all`];
    const inRate = e && rate(t.in_bytes, e.in_bytes, seconds), outRate = e && rate(t.out_bytes, e.out_bytes, seconds);
    if (inRate !== null && inRate !== undefined) parts.push(`in ${quantity(inRate, " ")}B/s`, `out ${quantity(outRate ?? 0, " ")}B/s`);
    card.append(make("p", "meta", parts.join(", ")));
  }
  const table = make("table", "");
  table.append(make("thead", "", make("tr", "", make("th", "", "Real server"), make("th", "", "Health"),
    make("th", "number", "Weight"), make("th", "number", "Now"), make("th", "number", "All"))));
  const body = make("tbody", "");
  for (const r of v.real_servers) {
    const health = r.admin && r.admin !== "up" ? r.admin : r.up === true ? "up" : r.up === false ? "down" : "?";
    const kind = health === "up" ? "good" : health === "down" ? "bad" : "wait";
    const row = make("tr", "");
    row.append(make("td", "", r.label ? `${r.label} ${r.address}` : r.address));
    row.append(make("td", "", make("span", `dot ${kind}`), health));
    row.append(make("td", "number", String(r.table_weight ?? r.weight ?? r.configured_weight)));
    row.append(make("td", "number", r.traffic ? quantity(r.traffic.active) : ""));
    row.append(make("td", "number", r.traffic ? quantity(r.traffic.connections) : ""));
    body.append(row);
    for (const check of r.checks.filter((c) => !c.up)) {
      const cell = make("td", "reason", `${check.kind}: ${check.reason || "fails"}`);
      cell.colSpan = 5;
      body.append(make("tr", "", cell));
    }
  }
  table.append(body);
  card.append(make("div", "scroll", table));
  return card;
}

function showEvents(events) {
  const all = at("all-events").checked;
  const changes = ["state_changed", "group_changed", "real_server", "quorum", "sorry_server", "dual_master", "maintenance", "reload", "child_died", "started"];
  const shown = events.filter((e) => all || changes.includes(e.kind)).slice(-MOST_EVENTS).reverse();
  const items = shown.map((e) => {
    const time = make("time", "", new Date(e.at).toLocaleString(undefined, { hour12: false }));
    time.dateTime = e.at;
    const text = make("span", "");
    if (e.to) text.append(make("span", `badge ${kindOf(e.to)}`, e.to), " ");
    text.append(e.text);
    return make("li", "", time, text);
  });
  if (!items.length) items.push(make("li", "dim", "nothing yet"));
  at("events").replaceChildren(...items);
}

function show(status, events) {
  document.title = `${status.node} · Holdfast`;
  at("node").textContent = status.node;
  const d = status.daemon;
  const about = [status.router_id && `router ${status.router_id}`, `Holdfast ${d.version}`, `up ${ago(d.uptime_ms)}`];
  const down = d.processes.filter((p) => p.state !== "running").map((p) => `${p.name} is ${p.state}`);
  at("about").textContent = about.filter(Boolean).join(" · ");
  const remarks = [...status.remarks, ...down];
  if (status.maintenance.on) {
    const m = status.maintenance;
    remarks.unshift(["Maintenance: this node takes no part in elections", m.reason, m.until && `until ${new Date(m.until).toLocaleString()}`].filter(Boolean).join(", "));
  }
  at("remarks").replaceChildren(...remarks.map((text) => make("li", "", text)));
  at("remarks").hidden = !remarks.length;
  const order = { FAULT: 0, UNKNOWN: 1, INIT: 2, MASTER: 3, BACKUP: 4 };
  const instances = [...status.instances].sort((a, b) => (order[a.state] ?? 9) - (order[b.state] ?? 9));
  at("instances-count").textContent = instances.length ? `${instances.filter((i) => i.state === "MASTER").length} of ${instances.length} master here` : "none";
  at("instances").replaceChildren(...instances.slice(0, MOST_CARDS).map(instanceCard));
  const seconds = last ? (Date.parse(status.at) - Date.parse(last.at)) / 1000 : 0;
  const earlier = new Map((last ? last.virtual_servers : []).map((v) => [`${v.id} ${v.protocol}`, v]));
  const services = status.virtual_servers;
  at("services-section").hidden = !services.length;
  at("services-count").textContent = `${services.filter((v) => v.has_quorum).length} of ${services.length} up`;
  at("services").replaceChildren(...services.slice(0, MOST_CARDS).map((v) => serviceCard(v, earlier.get(`${v.id} ${v.protocol}`), seconds)));
  at("trackers-section").hidden = !status.trackers.length;
  at("trackers").replaceChildren(...status.trackers.map((t) => {
    const kind = t.status === "up" ? "good" : t.status === "down" ? "bad" : /^-?\d+$/.test(t.status) ? "calm" : "wait";
    return make("li", "", make("span", `badge ${kind}`, `${t.kind} ${t.name}: ${t.status}`));
  }));
  showEvents(events);
  at("content").hidden = false;
  at("login").hidden = true;
  last = status;
}

function live(kind, text) {
  document.querySelector("#live .dot").className = `dot ${kind}`;
  at("live-text").textContent = text;
}

let events = [];
let timer = null;

async function turn() {
  clearTimeout(timer);
  const began = performance.now();
  try {
    if (!document.hidden || !last) {
      const status = await fetchJson("status.json");
      if (!last || status.daemon.last_event !== last.daemon.last_event || !events.length) events = await fetchJson("events.json");
      show(status, events);
      live("good", `live, ${new Date(status.at).toLocaleTimeString(undefined, { hour12: false })}`);
    }
  } catch (error) {
    if (error.message === "token") {
      at("login").hidden = false;
      at("content").hidden = true;
      at("login-error").textContent = token ? "This is not the token." : "";
      live("wait", "token required");
      return;
    }
    live("bad", `no answer: ${error.message}`);
  }
  // A page with a thousand instances costs the daemon work: it is asked less often.
  timer = setTimeout(turn, Math.max(SHORTEST_WAIT, 10 * (performance.now() - began)));
}

function login() {
  token = at("token").value.trim();
  sessionStorage.setItem("token", token);
  turn();
}

at("show").addEventListener("click", login);
at("token").addEventListener("keydown", (event) => { if (event.key === "Enter") login(); });
at("all-events").addEventListener("change", () => showEvents(events));
document.addEventListener("visibilitychange", () => { if (!document.hidden && at("login").hidden) turn(); });
turn();

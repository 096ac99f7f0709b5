"use strict";
// The reading tools that this server shows, and the changing ones that it allows.
const TOOLS = [/* tools */];

// --- The page. All data becomes text, never HTML. ---

const $ = (id) => document.getElementById(id);

function put(node, content) {
  for (const item of [content].flat(9)) {
    if (item !== null && item !== undefined && item !== false && item !== "") {
      node.append(item instanceof Node ? item : String(item));
    }
  }
  return node;
}

function make(tag, props, ...content) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props || {})) {
    if (name === "onclick") node.addEventListener("click", value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  return put(node, content);
}

// Facts in one line, without those that are missing.
const dotted = (facts) => facts.filter(Boolean).flatMap((fact, at) => (at ? [" · ", fact] : [fact]));

// Text from elsewhere: short, on one line, and without influence on the direction of what surrounds it.
function foreign(text, most = 120) {
  const inline = String(text ?? "").replace(/[\p{Cc}\p{Bidi_C}\u2028\u2029]/gu, " ");
  return inline.length > most ? make("bdi", { title: inline.slice(0, 1000) }, inline.slice(0, most) + "…") : make("bdi", {}, inline);
}

// --- Values ---

const number = (value) => (value === null || value === undefined || value === "" || isNaN(value) ? null : Number(value));
const count = (value, most = 1) => new Intl.NumberFormat(host.locale, { maximumFractionDigits: most }).format(value);
const plural = (value, noun) => count(value) + " " + noun + (value === 1 ? "" : "s");

function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let at = 0;
  while (Math.abs(value) >= 1024 && at < units.length - 1) { value /= 1024; at += 1; }
  return count(value, value < 100 ? 1 : 0) + " " + units[at];
}

const percent = (share) => count(share * 100, share < 0.1 ? 1 : 0) + "%";

// The two largest units: 5d 21h.
function duration(seconds) {
  const units = [["d", 86400], ["h", 3600], ["m", 60], ["s", 1]];
  const first = units.findIndex(([, size]) => seconds >= size);
  const shown = units.slice(first < 0 ? 3 : first).slice(0, 2);
  return shown.map(([unit, size], at) => Math.floor((at ? seconds % shown[0][1] : seconds) / size) + unit).join(" ");
}

function clock(seconds, parts) {
  const options = parts || { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };
  return new Intl.DateTimeFormat(host.locale, { timeZone: host.timeZone, ...options }).format(seconds * 1000);
}

const level = (share) => (share >= 0.9 ? "red" : share >= 0.8 ? "amber" : "");

// A bar with its share in words for screen readers.
function meter(share, label) {
  const shown = Math.min(Math.max(share, 0), 1);
  const fill = make("i");
  fill.style.width = (shown * 100).toFixed(1) + "%";
  return make("span", { class: "meter " + level(share), role: "img", "aria-label": label }, fill);
}

// --- The client, over postMessage: JSON-RPC as MCP Apps (2026-01-26) has it ---

const host = {};
let abilities = {};
const waiting = new Map();
let lastId = 0;

const post = (message) => parent.postMessage({ jsonrpc: "2.0", ...message }, "*");

function request(method, params) {
  return new Promise((resolve, reject) => {
    const id = ++lastId;
    const timer = setTimeout(() => { waiting.delete(id); reject({ message: "The client did not answer." }); }, 90000);
    waiting.set(id, { resolve, reject, timer });
    post({ id, method, params });
  });
}

const handlers = {
  "ui/notifications/host-context-changed": adopt,
  "ui/notifications/tool-input": (params) => view.input(params.arguments || {}),
  "ui/notifications/tool-result": (params) => view.result(params),
  "ui/notifications/tool-cancelled": () => notice("The call was cancelled."),
};

addEventListener("message", (event) => {
  const message = event.data;
  if (event.source !== parent || !message || message.jsonrpc !== "2.0") return;
  if (message.method === undefined) {
    const open = waiting.get(message.id);
    if (!open) return;
    waiting.delete(message.id);
    clearTimeout(open.timer);
    if (message.error) open.reject(message.error);
    else open.resolve(message.result || {});
  } else if (message.id !== undefined) {
    if (message.method === "ui/resource-teardown" || message.method === "ping") {
      if (message.method !== "ping") view.stop?.();
      post({ id: message.id, result: {} });
    } else {
      post({ id: message.id, error: { code: -32601, message: "Method not found" } });
    }
  } else {
    handlers[message.method]?.(message.params || {});
  }
});

// Takes over theme, sizes and language.
function adopt(context) {
  Object.assign(host, context);
  try {
    new Intl.DateTimeFormat(host.locale, { timeZone: host.timeZone });
  } catch {
    host.locale = host.timeZone = undefined;
  }
  const root = document.documentElement;
  if (context.theme) root.style.colorScheme = context.theme;
  for (const [name, value] of Object.entries(context.styles?.variables || {})) {
    if (name.startsWith("--") && value) root.style.setProperty(name, value);
  }
  const inset = context.safeAreaInsets;
  if (inset) document.body.style.padding = ["top", "right", "bottom", "left"].map((side) => inset[side] + 16 + "px").join(" ");
  const wide = $("wide");
  if (wide) wide.hidden = !host.availableDisplayModes?.includes("fullscreen");
  if (wide) wide.textContent = host.displayMode === "fullscreen" ? "Close" : "Full screen";
}

// Whether `name` can be called from here, or asked for.
const offers = (name) => TOOLS.includes(name);
const canRead = (name) => offers(name) && Boolean(abilities.serverTools);

// The data of a reading tool, or an error with a message for people.
async function read(name, args) {
  const result = await request("tools/call", { name, arguments: args });
  if (result.isError || !result.structuredContent) throw { message: textOf(result) || "The tool answered without data." };
  return result.structuredContent;
}

const textOf = (result) => (result.content || []).filter((part) => part.type === "text").map((part) => part.text).join("\n");

// Puts a sentence into the conversation. Nothing is done from here: model, settings and user decide. What it
// contains are numbers and checked identifiers, since names may have been chosen to mislead a model.
async function say(text) {
  const send = async (content) => {
    const result = await request("ui/message", { role: "user", content });
    if (result.isError) throw {};
  };
  const content = { type: "text", text };
  try {
    try {
      await send([content]);
    } catch (error) {
      // The text of the extension has one block where its SDK has a list.
      if (error.code !== -32602 && error.code !== -32603) throw error;
      await send(content);
    }
    notice("Asked in the conversation: " + text);
  } catch {
    notice("The client took no message. To ask, write: " + text);
  }
}

const asks = (label, text) => make("button", { title: "Writes into the conversation: " + text, onclick: () => say(text) }, label);

// Identifiers as Proxmox forms them; anything else does not get into a sentence.
const isNode = (text) => /^[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?$/.test(text);
const isStorage = (text) => /^[a-zA-Z][a-zA-Z0-9._-]{0,62}$/.test(text);
const isVmid = (value) => Number.isInteger(Number(value)) && Number(value) >= 100 && Number(value) < 1e9;

function notice(text) {
  $("notice").hidden = !text;
  $("notice").textContent = text;
}

// Shows an answer that the view has no form for, such as an error.
function showText(result) {
  $("summary").textContent = "";
  $("notice").className = "text";
  notice(textOf(result) || "The tool answered without data.");
  reportSize();
}

function reportSize() {
  const root = document.documentElement;
  const before = root.style.height;
  root.style.height = "max-content";
  const size = { width: Math.ceil(innerWidth), height: Math.ceil(root.getBoundingClientRect().height) };
  root.style.height = before;
  if (size.width !== reportSize.width || size.height !== reportSize.height) {
    Object.assign(reportSize, size);
    post({ method: "ui/notifications/size-changed", params: size });
  }
}

async function connect() {
  $("wide")?.addEventListener("click", async () => {
    const mode = host.displayMode === "fullscreen" ? "inline" : "fullscreen";
    try { adopt({ displayMode: (await request("ui/request-display-mode", { mode })).mode }); } catch { $("wide").hidden = true; }
  });
  const answer = await request("ui/initialize", {
    appInfo: { name: "proxmox-mcp " + document.title, version: "1" },
    appCapabilities: { availableDisplayModes: ["inline", "fullscreen"] },
    protocolVersion: "2026-01-26",
  });
  abilities = answer.hostCapabilities || {};
  adopt(answer.hostContext || {});
  post({ method: "ui/notifications/initialized", params: {} });
  let due = 0;
  const observer = new ResizeObserver(() => { cancelAnimationFrame(due); due = requestAnimationFrame(reportSize); });
  observer.observe(document.documentElement);
  observer.observe(document.body);
  reportSize();
}

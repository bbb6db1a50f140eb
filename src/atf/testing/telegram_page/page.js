// Shows the chats of the local Telegram and sends what is done here. All text is set as text, never as HTML.
"use strict";

const STYLES = {
  bold: "b", italic: "i", underline: "u", strikethrough: "s", code: "code", pre: "pre",
  blockquote: "blockquote", expandable_blockquote: "blockquote",
};
const byId = (id) => document.getElementById(id);
let state = { chats: [], refused: [], notice: null };
let openChatId = null;
let seenNotice = 0;
let isLoading = false;
let isStale = false;

function element(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

async function send(path, body) {
  const isForm = body instanceof FormData;
  const response = await fetch(path, {
    method: "POST",
    headers: isForm ? { "X-ATF-Page": "1" } : { "X-ATF-Page": "1", "Content-Type": "application/json" },
    body: isForm ? body : JSON.stringify(body),
  });
  if (!response.ok) notify(await response.text());
}

function notify(text) {
  byId("notice").textContent = text;
  byId("notice").hidden = !text;
}

// --- showing ---

function styled(segment) {
  let node = document.createTextNode(segment.text);
  for (const style of [...segment.styles].reverse()) {
    const wrap = element(STYLES[style.type] || (style.url ? "a" : "span"), style.type);
    if (style.url) {
      wrap.href = style.url;
      wrap.rel = "noreferrer noopener";
      wrap.target = "_blank";
    }
    if (style.type === "bot_command") {
      wrap.style.cursor = "pointer";
      wrap.addEventListener("click", () => say(segment.text));
    }
    wrap.append(node);
    node = wrap;
  }
  return node;
}

function buttonOf(message, button) {
  if (button.url) {
    const link = element("a", "", button.label);
    link.href = button.url;
    link.rel = "noreferrer noopener";
    link.target = "_blank";
    return link;
  }
  const made = element("button", "", button.label);
  made.type = "button";
  made.addEventListener("click", () => button.data === null
    ? say(button.label)
    : send("/page/press", { chat_id: openChatId, message_id: message.id, data: button.data }));
  return made;
}

function shown(message) {
  const item = element("li", "message");
  item.classList.toggle("mine", message.is_mine);
  item.classList.toggle("deleted", message.is_deleted);
  if (message.reply_to) item.append(element("div", "reply", message.reply_to));
  if (message.photo) {
    const picture = element("img");
    picture.src = message.photo;
    picture.alt = "picture";
    item.append(picture);
  }
  if (message.document) {
    const link = element("a", "", `${message.document.name} (${message.document.bytes} bytes)`);
    link.href = message.document.url;
    item.append(link);
  }
  item.append(element("div", "text", ...message.segments.map(styled)));
  const meta = [message.author, message.at];
  if (message.edits) meta.push(`edited ${message.edits}×`);
  if (message.is_silent) meta.push("without sound");
  item.append(element("div", "meta", meta.join(" · ")));
  for (const row of message.rows) item.append(element("div", "row", ...row.map((one) => buttonOf(message, one))));
  return item;
}

function show() {
  const chat = state.chats.find((one) => one.id === openChatId) || state.chats[0];
  if (!chat) return;
  openChatId = chat.id;
  byId("chats").replaceChildren(...state.chats.map((one) => {
    const opener = element("button", "", one.title);
    opener.type = "button";
    opener.setAttribute("aria-current", String(one.id === openChatId));
    opener.addEventListener("click", () => { openChatId = one.id; show(); });
    return element("li", "", opener);
  }));
  byId("title").textContent = `${chat.title} and ${state.bot}`;
  byId("block").textContent = chat.is_group
    ? (chat.is_blocked ? "Let the bot in" : "Put the bot out")
    : (chat.is_blocked ? "Unblock the bot" : "Block the bot");
  byId("typing").textContent = chat.action ? `${state.bot}: ${chat.action}` : "";
  const list = byId("messages");
  const wasAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 80;
  list.replaceChildren(...chat.messages.map(shown));
  if (wasAtEnd) list.scrollTop = list.scrollHeight;
  byId("keyboard").replaceChildren(...chat.keyboard.map((row) => element("div", "row",
    ...row.map((label) => buttonOf(null, { label, data: null, url: null })))));
  byId("commands").replaceChildren(...chat.commands.map((one) => {
    const made = element("button", "", `/${one.command}`);
    made.type = "button";
    made.title = one.description;
    made.addEventListener("click", () => say(`/${one.command}`));
    return made;
  }));
  byId("refused-count").textContent = state.refused_count;
  byId("refused").replaceChildren(...state.refused.map((one) => element("li", "", one)));
  if (state.notice && state.notice.number !== seenNotice) {
    seenNotice = state.notice.number;
    notify(state.notice.text);
  }
}

async function load() {
  if (isLoading) { isStale = true; return; }
  isLoading = true;
  do {
    isStale = false;
    state = await (await fetch("/page/state")).json();
    show();
  } while (isStale);
  isLoading = false;
}

// --- doing ---

function say(text) {
  notify("");
  return send("/page/say", { chat_id: openChatId, text });
}

byId("say").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = byId("text").value;
  const file = byId("file").files[0];
  if (file) {
    const form = new FormData();
    form.append("chat_id", openChatId);
    form.append("caption", text);
    form.append("file", file);
    await send("/page/upload", form);
  } else if (text.trim()) {
    await say(text);
  }
  event.target.reset();
});

byId("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey) {
    event.preventDefault();
    byId("say").requestSubmit();
  }
});

byId("block").addEventListener("click", () => send("/page/block", { chat_id: openChatId }));

byId("new-chat").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = new FormData(event.target);
  await send("/page/open", {
    name: form.get("name"), language: form.get("language"), kind: event.submitter.value,
  });
  event.target.reset();
});

const events = new EventSource("/page/events");
events.onmessage = load;
events.onopen = load;
events.onerror = () => notify("The local Telegram does not answer.");

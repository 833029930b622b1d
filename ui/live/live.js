// Shows what happens in one thread between two runs of the script. Text is only ever set as text.
//
// `parentElement` outlives a run of the script, so the state hangs there: a rerun calls the default export again with fresh data, and only the
// removal of the component calls the function that it returned.

const KINDS = ["message.created", "turn.started", "turn.decided", "text.delta", "turn.completed", "turn.failed", "turn.cancelled", "job.updated", "stream.reset"];
const ENDED = new Set(["completed", "failed", "cancelled", "incomplete"]);
const STEP_ICONS = { pending: "radio_button_unchecked", running: "progress_activity", done: "check_circle", failed: "error", skipped: "do_not_disturb_on" };
const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 8000;

export default function ({ parentElement, data, setTriggerValue }) {
  const live = (parentElement.tandemLive ??= new Live(parentElement.querySelector("#live")));
  live.render(data, (value) => setTriggerValue("news", value));
  return () => {
    live.close();
    delete parentElement.tandemLive;
  };
}

class Live {
  constructor(root) {
    this.turns = new Map();
    this.cards = new Map();
    this.told = new Set();
    this.last = null;
    this.retryMs = FIRST_RETRY_MS;
    this.turnBox = node("div", "turns");
    this.cardBox = node("div", "cards");
    this.offline = node("div", "offline");
    this.status = node("div", "sr-only");
    this.status.setAttribute("role", "status");
    root.replaceChildren(this.turnBox, this.cardBox, this.offline, this.status);
    this.clock = setInterval(() => this.tick(), 1000);
  }

  render(data, tell) {
    this.data = data;
    this.words = data.words;
    this.tell = tell;
    document.documentElement.lang = data.language; // Streamlit's page always says "en"
    data.drawn.forEach((id) => this.told.add(id));
    for (const id of data.answered) this.dropTurn(id);
    for (const [id, turn] of this.turns) if (turn.isOver && !turn.isKept) this.dropTurn(id);
    data.jobs.forEach((job) => this.updateJob(job));
    const running = new Set(data.jobs.map((job) => job.job_id));
    for (const id of [...this.cards.keys()]) if (!running.has(id)) this.dropCard(id);
    if (this.last === null) this.last = data.after;
    if (!this.source) this.connect();
  }

  connect() {
    clearTimeout(this.retry);
    const query = new URLSearchParams({ thread: this.data.thread, after: String(this.last) });
    this.source = new EventSource(`/ui/events?${query}`);
    this.source.onopen = () => {
      this.retryMs = FIRST_RETRY_MS;
      this.showOffline(false);
    };
    this.source.onerror = () => this.reconnect();
    for (const kind of KINDS) this.source.addEventListener(kind, (frame) => this.take(JSON.parse(frame.data)));
  }

  // The browser retries a broken stream by itself, but gives up for good on an answer that is no stream (a gateway that is away).
  reconnect() {
    this.source.close();
    this.retry = setTimeout(() => {
      this.showOffline(this.retryMs > FIRST_RETRY_MS * 2);
      this.connect();
    }, this.retryMs);
    this.retryMs = Math.min(this.retryMs * 2, LONGEST_RETRY_MS);
  }

  close() {
    clearInterval(this.clock);
    clearTimeout(this.retry);
    this.source?.close();
  }

  take(event) {
    if (event.type === "stream.reset") return this.restart(event.sequence_number);
    if (event.sequence_number <= this.last) return; // two connections may overlap for a moment
    this.last = event.sequence_number;
    const body = event.data;
    switch (event.type) {
      case "message.created":
        return this.news(body.id);
      case "turn.started":
        this.announce("answering");
        return void this.turn(body.turn_id);
      case "turn.decided":
        return this.turn(body.turn_id)?.decide(body.lane, this.words);
      case "text.delta":
        return this.turn(body.turn_id)?.append(body.delta);
      case "turn.completed":
        this.announce(body.job_id ? "job_started" : "answered");
        return this.turns.get(body.turn_id)?.end();
      case "turn.failed":
        return this.turns.get(body.turn_id)?.end();
      case "turn.cancelled":
        return this.turns.get(body.turn_id)?.stop(this.words.stopped);
      case "job.updated":
        return this.updateJob(body);
    }
  }

  // The log no longer holds what this page has missed: the script draws the conversation anew, and the stream goes on from its present end.
  restart(last) {
    this.last = last;
    for (const id of [...this.turns.keys()]) this.dropTurn(id);
    this.news(`reset:${last}`);
  }

  // The script draws messages natively; each one that it has not drawn makes it run once.
  news(messageId) {
    if (this.told.has(messageId)) return;
    this.told.add(messageId);
    clearTimeout(this.telling);
    this.telling = setTimeout(() => this.tell(messageId), 20);
  }

  turn(id) {
    if (this.data.answered.includes(id)) return null;
    let turn = this.turns.get(id);
    if (!turn) {
      turn = new Turn(this.words, () => post(`/ui/threads/${encodeURIComponent(this.data.thread)}/turns/${encodeURIComponent(id)}/cancel`));
      this.turns.set(id, turn);
      this.turnBox.append(turn.element);
    }
    return turn;
  }

  dropTurn(id) {
    this.turns.get(id)?.element.remove();
    this.turns.delete(id);
  }

  updateJob(job) {
    let card = this.cards.get(job.job_id);
    if (!card) {
      if (ENDED.has(job.status)) return;
      card = new Card(job.job_id, this.words, (answer) => this.cancelled(answer));
      this.cards.set(job.job_id, card);
      this.cardBox.append(card.element);
    }
    if (card.show(job) && ENDED.has(job.status)) {
      this.announce("job_ended");
      this.news(`${job.job_id}:${job.status}`); // a cancelled job brings no message, yet the script must look again
    }
  }

  cancelled(job) {
    this.updateJob({ job_id: job.id, status: job.status, view: job.view, last_seq: job.last_seq });
  }

  dropCard(id) {
    this.cards.get(id)?.element.remove();
    this.cards.delete(id);
  }

  tick() {
    if (document.visibilityState === "visible") this.cards.forEach((card) => card.showAge());
  }

  announce(key) {
    this.status.textContent = this.words[key];
  }

  showOffline(isOffline) {
    this.offline.textContent = isOffline ? this.words.reconnecting : "";
  }
}

class Turn {
  constructor(words, cancel) {
    this.isOver = false;
    this.isKept = false;
    this.element = node("article", "turn");
    this.element.setAttribute("aria-busy", "true");
    this.avatar = icon("bolt", "avatar");
    this.text = document.createTextNode("");
    this.body = node("div", "text");
    this.wait = node("span", "thinking", words.thinking);
    this.body.append(this.wait, this.text);
    this.chip = node("span", "chip");
    this.chip.hidden = true;
    this.button = node("button", "quiet", words.stop);
    this.button.type = "button";
    this.button.onclick = async () => {
      this.button.disabled = true;
      try {
        await cancel();
      } catch {
        this.button.disabled = false;
      }
    };
    const foot = node("div", "foot");
    foot.append(this.chip, this.button);
    const column = node("div", "column");
    column.append(this.body, foot);
    this.element.append(this.avatar, column);
  }

  decide(lane, words) {
    this.avatar.textContent = lane === "slow" ? "psychology" : "bolt";
    this.chip.className = `chip ${lane}`;
    this.chip.replaceChildren(icon(lane === "slow" ? "psychology" : "bolt", "small"), document.createTextNode(words[lane]));
    this.chip.hidden = false;
  }

  append(delta) {
    if (this.isOver) return;
    this.wait.remove();
    this.text.appendData(delta);
  }

  end() {
    this.isOver = true;
    this.element.setAttribute("aria-busy", "false");
    this.wait.remove();
    this.button.remove();
  }

  stop(word) {
    this.end();
    this.isKept = this.text.data !== "";
    this.body.append(node("span", "note", ` ${word}`));
  }
}

class Card {
  constructor(id, words, onCancelled) {
    this.id = id;
    this.words = words;
    this.onCancelled = onCancelled;
    this.seq = -1;
    this.status = "";
    this.element = node("article", "card");
    this.element.dataset.job = id;
    this.title = node("div", "title");
    this.state = node("span", "state");
    this.steps = node("ol", "steps");
    this.event = node("div", "event");
    this.meta = node("div", "meta");
    this.button = node("button", "quiet", words.cancel);
    this.button.type = "button";
    this.button.onclick = () => this.cancel();
    const details = node("a", "quiet", words.details);
    details.href = `/jobs?job=${encodeURIComponent(id)}`;
    const head = node("header", "head");
    head.append(icon("psychology", "mark"), this.title, this.state);
    const foot = node("footer", "foot");
    foot.append(this.meta, details, this.button);
    this.element.append(head, this.steps, this.event, foot);
  }

  // Returns whether this was newer than what is shown.
  show(job) {
    if (job.last_seq < this.seq || (job.last_seq === this.seq && job.status === this.status)) return false;
    this.seq = job.last_seq;
    this.status = job.status;
    const view = job.view;
    this.element.dataset.status = job.status;
    this.title.textContent = view.title || this.words.job;
    this.state.textContent = this.words[`status.${job.status}`] ?? job.status;
    this.steps.replaceChildren(...view.plan.map((step) => this.step(step)));
    this.steps.hidden = view.plan.length === 0;
    this.lastEvent = view.last_event;
    this.meta.textContent = this.costs(view);
    this.button.hidden = ENDED.has(job.status) || job.status === "cancelling";
    this.showAge();
    return true;
  }

  step(step) {
    const item = node("li", `step ${step.state}`);
    const mark = icon(STEP_ICONS[step.state] ?? STEP_ICONS.pending, "small");
    item.append(mark, node("span", "", step.title), node("span", "sr-only", ` (${this.words[`step.${step.state}`] ?? step.state})`));
    return item;
  }

  costs(view) {
    const { calls, input_tokens, output_tokens, cost_usd } = view.usage;
    const parts = [];
    if (view.attempts.length) parts.push(`${this.words.attempts} ${view.attempts.length}`);
    if (calls) parts.push(`${this.words.calls} ${calls}`);
    if (input_tokens + output_tokens) parts.push(`${this.words.tokens} ${input_tokens + output_tokens}`);
    if (cost_usd) parts.push(`$${cost_usd.toFixed(4)}`);
    return parts.join(" · ");
  }

  showAge() {
    this.event.hidden = !this.lastEvent;
    if (this.lastEvent) this.event.textContent = `${this.lastEvent.text} · ${age(this.lastEvent.at, this.words)}`;
  }

  async cancel() {
    this.button.disabled = true;
    this.state.textContent = this.words["status.cancelling"];
    try {
      this.onCancelled(await post(`/ui/jobs/${encodeURIComponent(this.id)}/cancel`));
    } catch {
      this.state.textContent = this.words.cancel_failed;
      this.button.disabled = false;
    }
  }
}

function age(at, words) {
  const seconds = Math.max(0, (Date.now() - Date.parse(at)) / 1000);
  const [key, n] = seconds < 5 ? ["now", 0] : seconds < 60 ? ["seconds", seconds] : seconds < 3600 ? ["minutes", seconds / 60] : ["hours", seconds / 3600];
  return words[`age.${key}`].replace("{n}", String(Math.floor(n)));
}

async function post(path) {
  const answer = await fetch(path, { method: "POST" });
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  return answer.json();
}

function node(tag, className, text = "") {
  const element = document.createElement(tag);
  element.className = className;
  if (text) element.textContent = text;
  return element;
}

function icon(name, className) {
  const element = node("span", `icon ${className}`, name);
  element.setAttribute("aria-hidden", "true");
  return element;
}

// The front end of captum insights: plain DOM, nothing from elsewhere, no request of its own.
//
// mount(root, send) draws it; send(message, progress, signal) is how it reaches its host, and there
// are three: render() for a notebook (anywidget), connect() for a server, recorded() for a file.
// Whatever comes from the host becomes text, never markup.

// --- small tools ---------------------------------------------------------------------------------

function h(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name.startsWith("--")) node.style.setProperty(name, value);
    else if (name === "value" || name === "checked") node[name] = value;
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children.flat(2).filter((child) => child != null && child !== false));
  return node;
}

const sorted = (fields) => Object.fromEntries(Object.entries(fields).sort());
const same = (a, b) => JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));
const isPicture = (value) => typeof value === "string" && value.startsWith("data:image/");
const signed = (value) => (value > 0 ? "+" : "") + Number(value).toPrecision(3);
const largest = (scores) => Math.max(...scores.map((score) => Math.abs(score)), 0) || 1;
const option = (value, text, chosen) => h("option", { value, selected: value === chosen }, text);

function download(name, text, type) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

// --- how attributions look, by their feature's type ----------------------------------------------

const draw = {
  image(feature, explained) {
    if (!isPicture(feature.base)) return draw.other(feature, explained);
    const picture = h("img", { src: feature.base, alt: feature.name, class: "base" });
    const heat = explained && isPicture(feature.modified);
    const alt = `attributions of ${feature.name}`;
    const map = heat && h("img", { src: feature.modified, alt, class: "heat" });
    return h("div", { class: heat ? "picture explained" : "picture" }, picture, map);
  },

  text({ base, modified }, explained) {
    if (!explained) return h("p", { class: "words" }, base.map((word) => h("span", {}, word)));
    const most = largest(modified);
    const words = base.map((word, i) => {
      const share = modified[i] / most;
      const side = share < 0 ? "against" : "for";
      const props = { class: side, title: signed(modified[i]), "--strength": Math.abs(share) };
      return h("span", props, word);
    });
    const rows = base.map((word, i) =>
      h("tr", {}, h("th", { scope: "row" }, word), h("td", {}, signed(modified[i]))),
    );
    const table = h("details", {}, h("summary", {}, "Scores"), h("table", {}, rows));
    return h("div", {}, h("p", { class: "words" }, words), table);
  },

  general({ base, modified }, explained) {
    const most = largest(modified);
    const bar = (score) =>
      h("span", {
        class: `bar ${score < 0 ? "against" : "for"}`,
        "--strength": Math.abs(score / most),
      });
    const rows = base.map((line, i) => {
      const name = h("th", { scope: "row" }, line);
      if (!explained) return h("tr", {}, name);
      const track = h("td", { class: "track" }, bar(modified[i]));
      return h("tr", {}, name, track, h("td", { class: "number" }, signed(modified[i])));
    });
    return h("div", { class: "scroll" }, h("table", { class: "numbers" }, rows));
  },

  empty: () => h("p", { class: "quiet" }, "not shown"),

  other({ base, modified }, explained) {
    const value = explained ? modified : base;
    if (isPicture(value)) return h("div", { class: "picture" }, h("img", { src: value, alt: "" }));
    const text = typeof value === "string" ? value : JSON.stringify(value, null, 1);
    return h("pre", { class: "scroll" }, text ?? "");
  },
};

function featureView(feature, explained, several) {
  const view = Object.hasOwn(draw, feature.type) ? draw[feature.type] : draw.other;
  const percent = `${(100 * feature.contribution).toFixed(0)} %`;
  const meter = h("span", { class: "share", "--share": feature.contribution }, percent);
  const title = `${feature.name} carries ${percent} of the attributions`;
  const share = explained && h("span", { title, class: "meter" }, meter);
  const name = several && h("div", { class: "feature-name" }, h("span", {}, feature.name), share);
  return h("div", { class: "feature" }, name, view(feature, explained));
}

// --- the application -----------------------------------------------------------------------------

let instances = 0;

class Insights {
  constructor(root, send) {
    Object.assign(this, { root, send, prefix: `ci${(instances += 1)}`, counter: 0 });
    this.columns = [];
    this.answers = new Map();
    this.targets = new Map();
    this.cells = new Map();
    this.queue = [];
    this.pages = [0];
    this.filter = { answers: "all", by: "either", classes: [], model: 0 };
    this.count = 4;
    this.stopper = new AbortController();
  }

  async open() {
    this.root.classList.add("captum-insights");
    this.root.replaceChildren(h("p", { class: "quiet", role: "status" }, "Loading …"));
    try {
      this.config = await this.send({ kind: "start" });
    } catch (error) {
      this.root.replaceChildren(this.errorView(error));
      return;
    }
    this.models = new Set(this.config.models.keys());
    const given = this.config.columns ?? [{ method: this.config.method, fields: {} }];
    this.columns = given.map(({ method, fields }) => this.newColumn(method, fields));
    this.layout();
    await this.load();
  }

  newColumn(name, given = {}) {
    const method = this.config.methods.find((each) => each.name === name);
    const defaults = Object.fromEntries(method.fields.map((f) => [f.name, f.default]));
    const id = (this.counter += 1);
    return { id, method, values: { ...defaults, ...given }, errors: {}, shown: true };
  }

  // The frame: what is drawn once.

  layout() {
    const { config } = this;
    this.status = h("span", { role: "status", "aria-live": "polite" });
    this.bar = h("progress", { max: 1, value: 0, "aria-label": "progress", hidden: true });
    this.stopButton = h("button", { type: "button", hidden: true, onclick: () => this.stop() }, "Stop");
    this.methodList = h("div", { class: "methods" });
    this.cards = h("div", { class: "cards" });
    this.pager = h("nav", { class: "pager", "aria-label": "pages" });
    const notes = config.notes.map((note) => h("p", { class: "note" }, note));
    const head = h(
      "header",
      {},
      h("h1", {}, "Why this answer?"),
      h("span", { class: "legend" }, "against", h("span", { class: "scale" }), "for"),
    );
    const working = h("div", { class: "working" }, this.status, this.bar, this.stopButton);
    const results = h("section", { "aria-label": "examples" }, working, this.cards, this.pager);
    const frame = h("div", { class: "frame" }, this.controls(), results);
    this.root.replaceChildren(h("div", { class: "page" }, head, notes, frame));
    this.drawColumns();
  }

  controls() {
    const submit = (event) => {
      event.preventDefault();
      this.explain();
    };
    const live = !this.config.recorded;
    return h(
      "form",
      { class: "controls", onsubmit: submit, novalidate: true, "aria-label": "settings" },
      this.modelChoice(),
      h("fieldset", {}, h("legend", {}, "Methods"), this.methodList, live && this.adder()),
      live && h("button", { type: "submit", class: "primary" }, "Explain"),
      live && this.eagerness(),
      this.filters(),
      this.display(),
      this.exports(),
    );
  }

  modelChoice() {
    const { models } = this.config;
    if (models.length < 2) return null;
    const boxes = models.map((name, i) => {
      const toggle = (event) => {
        if (event.target.checked) this.models.add(i);
        else this.models.delete(i);
        this.drawCards();
      };
      const box = h("input", { type: "checkbox", checked: true, onchange: toggle });
      return h("label", { class: "check" }, box, name);
    });
    return h("fieldset", {}, h("legend", {}, "Models"), boxes);
  }

  adder() {
    const options = this.config.methods.map(({ name, title }) => option(name, title));
    const first = option("", "Add a method to compare …");
    const add = (event) => {
      if (!event.target.value) return;
      this.columns.push(this.newColumn(event.target.value));
      event.target.value = "";
      this.drawColumns();
      this.drawCards();
    };
    const props = { "aria-label": "add a method", onchange: add, class: "adder" };
    return h("select", props, first, options);
  }

  eagerness() {
    const choose = ({ target }) => {
      this.eager = target.checked;
      if (this.eager) this.explain();
    };
    const box = h("input", { type: "checkbox", onchange: choose });
    return h("label", { class: "check" }, box, "every page as it opens");
  }

  filters() {
    const { config, filter } = this;
    const change = (name, read) => (event) => {
      filter[name] = read(event.target);
      this.pages = [0];
      this.load();
    };
    const select = (label, name, options, read = (node) => node.value) =>
      h("label", {}, label, h("select", { onchange: change(name, read) }, options));
    const several = config.models.length > 1;
    const which = [["all", "all answers"]];
    if (config.labelled) which.push(["right", "right answers"], ["wrong", "wrong answers"]);
    if (several) which.push(["disagree", "answers that differ"]);
    const ask = which.length > 1 && which.map(([value, text]) => option(value, text));
    const by = [["either", "label or answer"], ["label", "label"], ["prediction", "answer"]];
    const ofModel = config.models.map((name, i) => option(String(i), name));
    return h(
      "fieldset",
      {},
      h("legend", {}, "Examples"),
      ask && select("Show", "answers", ask),
      several && select("of", "model", ofModel, (node) => Number(node.value)),
      this.classChoice(change),
      config.labelled && select("by", "by", by.map((pair) => option(...pair))),
      this.pageSize(),
    );
  }

  classChoice(change) {
    const { classes } = this.config;
    if (!classes.length) return null;
    const boxes = classes.map((name, i) => {
      const pick = ({ checked }) =>
        checked ? [...this.filter.classes, i] : this.filter.classes.filter((each) => each !== i);
      const box = h("input", { type: "checkbox", value: i, onchange: change("classes", pick) });
      return h("label", { class: "check" }, box, name);
    });
    const find = ({ target }) =>
      boxes.forEach((box, i) => {
        box.hidden = !classes[i].toLowerCase().includes(target.value.toLowerCase());
      });
    const props = { type: "search", placeholder: "find a class", oninput: find };
    const search = classes.length > 12 && h("input", { ...props, "aria-label": "find a class" });
    const list = h("div", { class: "classes", role: "group", "aria-label": "classes" }, boxes);
    return h("details", { open: classes.length <= 12 }, h("summary", {}, "Classes"), search, list);
  }

  pageSize() {
    const sizes = [1, 2, 4, 8, 16].map((n) => option(String(n), String(n), String(this.count)));
    const resize = ({ target }) => {
      this.count = Number(target.value);
      this.pages = [0];
      this.load();
    };
    return h("label", {}, "On a page", h("select", { onchange: resize }, sizes));
  }

  display() {
    if (!this.config.features.some(({ type }) => type === "image")) return null;
    const fade = ({ target }) => this.root.style.setProperty("--heat", target.value / 100);
    const range = h("input", { type: "range", min: 0, max: 100, value: 85, oninput: fade });
    return h("fieldset", {}, h("legend", {}, "Display"), h("label", {}, "Heat map", range));
  }

  exports() {
    const button = (text, onclick) => h("button", { type: "button", onclick }, text);
    const page = !this.config.recorded && button("Save page", () => this.exportPage());
    const data = button("Save numbers", () => this.exportData());
    return h("div", { class: "exports" }, page, data);
  }

  // Methods and their parameters.

  drawColumns() {
    this.methodList.replaceChildren(...this.columns.map((column) => this.methodView(column)));
  }

  methodView(column) {
    const { title, about, fields } = column.method;
    const remove = () => {
      this.columns = this.columns.filter((each) => each !== column);
      this.drawColumns();
      this.drawCards();
    };
    const toggle = ({ target }) => {
      column.shown = target.checked;
      this.drawCards();
    };
    const box = h("input", { type: "checkbox", checked: column.shown, onchange: toggle });
    const props = { type: "button", class: "remove", onclick: remove };
    const close = h("button", { ...props, "aria-label": `remove ${title}` }, "×");
    const name = h("label", { class: "check" }, box, h("strong", {}, title));
    const head = h("div", { class: "method-head" }, name, !this.config.recorded && close);
    const groups = [...new Set(fields.map(({ group }) => group))].map((group) => {
      const views = fields.filter((f) => f.group === group).map((f) => this.fieldView(column, f));
      if (!group) return views;
      const open = column.values.nt_type !== "off";
      return h("details", { open }, h("summary", {}, group), views);
    });
    return h("div", { class: "method" }, head, h("p", { class: "quiet" }, about), groups);
  }

  fieldView(column, field) {
    const id = `${this.prefix}-${column.id}-${field.name}`;
    const value = column.values[field.name];
    const common = { id, "aria-describedby": `${id}-about ${id}-error` };
    common.disabled = Boolean(this.config.recorded);
    const change = (read) => (event) => this.change(column, field.name, read(event.target));
    const number = (node) => (node.value.trim() === "" ? null : Number(node.value));
    const step = field.kind === "int" ? 1 : "any";
    const kinds = {
      bool: () => ({ type: "checkbox", checked: value, onchange: change((node) => node.checked) }),
      number: () => ({ type: "number", value, step, onchange: change(number) }),
    };
    const choices = field.choices.map((choice) => option(choice, choice, value));
    const input =
      field.kind === "choice"
        ? h("select", { ...common, onchange: change((node) => node.value) }, choices)
        : h("input", { ...common, ...(kinds[field.kind] ?? kinds.number)() });
    const label = h("label", { for: id, title: field.about }, field.name);
    const about = h("span", { id: `${id}-about`, class: "about" }, field.about);
    const error = h("span", { id: `${id}-error`, class: "error", role: "alert" });
    return h("div", { class: `field ${field.kind}` }, label, input, about, error);
  }

  async change(column, name, value) {
    column.values[name] = value;
    this.drawCards();
    try {
      await this.send({ kind: "check", method: column.method.name, fields: column.values });
      this.showErrors(column, {});
    } catch (error) {
      this.showErrors(column, error.fields ?? { [name]: error.message });
    }
    this.drawCards();
  }

  showErrors(column, errors) {
    column.errors = errors;
    for (const { name } of column.method.fields) {
      const id = `${this.prefix}-${column.id}-${name}`;
      const input = this.root.querySelector(`#${id}`);
      if (!input) continue;
      this.root.querySelector(`#${id}-error`).textContent = errors[name] ?? "";
      if (errors[name]) input.setAttribute("aria-invalid", "true");
      else input.removeAttribute("aria-invalid");
      const group = input.closest("details");
      if (errors[name] && group) group.open = true;
    }
  }

  // Examples.

  async load() {
    this.stop();
    const ticket = (this.ticket = (this.ticket ?? 0) + 1);
    this.status.textContent = "Looking for examples …";
    const said = ({ looked }) => {
      this.status.textContent = `Looked through ${looked} examples …`;
    };
    const message = { kind: "examples", start: this.pages.at(-1), count: this.count };
    try {
      const found = await this.send({ ...message, filter: this.filter }, said);
      if (ticket !== this.ticket) return;
      this.examples = found.examples;
      this.next = found.next;
      this.status.textContent = "";
      this.drawCards();
    } catch (error) {
      if (ticket !== this.ticket) return;
      this.status.textContent = "";
      this.cards.replaceChildren(this.errorView(error));
    }
    this.drawPager();
    if (this.config.recorded || this.eager) this.explain();
  }

  drawPager() {
    const turn = (change) => async () => {
      change();
      await this.load();
      this.root.querySelector(".cards").scrollIntoView({ block: "nearest" });
    };
    const back = turn(() => this.pages.pop());
    const on = turn(() => this.pages.push(this.next));
    const props = { type: "button" };
    const first = this.pages.length === 1;
    this.pager.replaceChildren(
      h("button", { ...props, onclick: back, disabled: first }, "← Previous"),
      h("span", {}, `Page ${this.pages.length}`),
      h("button", { ...props, onclick: on, disabled: this.next == null }, "Next →"),
    );
  }

  drawCards() {
    if (!this.examples) return;
    this.cells.clear();
    const none = h("p", { class: "quiet" }, "No example passes the filter here.");
    const cards = this.examples.map((example) => this.card(example));
    this.cards.replaceChildren(...(cards.length ? cards : [none]));
  }

  card(example) {
    const { config } = this;
    const shown = [...this.models].sort();
    const label = example.label && h("span", { class: "label" }, `label ${example.label.label}`);
    const name = `Example ${example.id + 1}`;
    const head = h("div", { class: "card-head" }, h("h2", {}, name), label);
    const said = shown.map((i) => this.prediction(example, i));
    const several = config.features.length > 1;
    const inputs = example.features.map((feature) => featureView(feature, false, several));
    const cells = this.pairs().map(([column, i]) => this.cell(example, column, i));
    const input = h("div", { class: "cell" }, h("div", { class: "cell-head" }, "Input"), inputs);
    const grid = h("div", { class: "cells", "--rows": config.features.length + 2 }, input, cells);
    return h("article", { class: "card", "aria-label": name }, head, said, grid);
  }

  pairs() {
    const shown = this.columns.filter(({ shown }) => shown);
    const fits = ({ method }, model) => !method.models || method.models.includes(model);
    const all = shown.flatMap((column) => [...this.models].sort().map((model) => [column, model]));
    return all.filter((pair) => fits(...pair));
  }

  prediction(example, model) {
    const { config } = this;
    const { scores, right } = example.models[model];
    const mark =
      right != null &&
      h("span", { class: right ? "mark right" : "mark wrong" }, right ? "✓ right" : "✗ wrong");
    const name = config.models.length > 1 && h("span", { class: "model" }, config.models[model]);
    const chips = scores.map((score) => this.chip(example, model, score, scores.length > 1));
    const { label } = example;
    const missing = label?.index != null && !scores.some(({ index }) => index === label.index);
    if (missing && scores.length > 1) chips.push(this.chip(example, model, label, true));
    return h("div", { class: "said" }, name, mark, h("div", { class: "chips" }, chips));
  }

  chip(example, model, { score, index, label }, clickable) {
    const text = score == null ? "" : this.config.percent ? `${(100 * score).toFixed(1)} %` : signed(score);
    const children = [h("span", {}, label), h("span", { class: "number" }, text)];
    const props = { class: "chip", "--share": this.config.percent ? score ?? 0 : 0 };
    if (!clickable) return h("span", props, children);
    const choose = () => {
      this.targets.set(example.id, index);
      this.redraw(example);
      const focus = `[data-chip="${model}-${index}"]`;
      this.cards.querySelector(`[data-example="${example.id}"] ${focus}`)?.focus();
    };
    const pressed = String(this.target(example, model) === index);
    const title = `explain “${label}”`;
    const own = { type: "button", title, onclick: choose, "data-chip": `${model}-${index}` };
    return h("button", { ...props, ...own, "aria-pressed": pressed }, children);
  }

  redraw(example) {
    const at = this.examples.indexOf(example);
    const card = this.card(example);
    card.dataset.example = example.id;
    this.cards.children[at].replaceWith(card);
    if (this.config.recorded || this.touched) this.explain([example]);
  }

  target(example, model) {
    const { scores } = example.models[model];
    if (scores.length === 1) return null;
    if (this.targets.has(example.id)) return this.targets.get(example.id);
    const labelled = this.config.explains === "label" && example.label?.index != null;
    return labelled ? example.label.index : scores[0].index;
  }

  // Attributions: asked for one by one, kept by what was asked.

  question(example, column, model) {
    const target = this.target(example, model);
    const method = column.method.name;
    return { example: example.id, model, method, fields: sorted(column.values), target };
  }

  cell(example, column, model) {
    const question = this.question(example, column, model);
    const { config } = this;
    const { target } = question;
    const why = target == null ? "" : `for “${config.classes[target] ?? target}”`;
    const of = config.models.length > 1 ? config.models[model] : "";
    const about = [of, why].filter(Boolean).join(" ");
    const head = [h("strong", {}, column.method.title), h("span", { class: "quiet" }, about)];
    const body = this.cellBody(question, example, column, model);
    const cell = h("div", { class: "cell" }, h("div", { class: "cell-head" }, head), body);
    const key = JSON.stringify(question);
    this.cells.set(`${example.id}-${column.id}-${model}`, cell);
    cell.dataset.state = this.answers.has(key) ? "done" : "open";
    return cell;
  }

  cellBody(question, example, column, model) {
    const known = this.answers.get(JSON.stringify(question));
    if (known?.waiting) {
      return h("p", { class: "wait", "data-wait": true }, known.text ?? "waiting …");
    }
    if (known?.error) return this.errorView(known.error);
    if (known) return this.answerView(known.ok);
    if (Object.keys(column.errors).length) {
      return h("p", { class: "error" }, "Its parameters need a look first.");
    }
    const run = () => this.run([[example, column, model]]);
    const label = `explain example ${example.id + 1} with ${column.method.title}`;
    return h("button", { type: "button", class: "ask", onclick: run, "aria-label": label }, "Explain");
  }

  answerView({ features, total, notes }) {
    const several = features.length > 1;
    const views = features.map((feature) => featureView(feature, true, several));
    const text = total != null && `scores sum to ${signed(total)}`;
    const sum = text && h("div", { class: "quiet" }, text);
    const warned = notes.map((note) => h("p", { class: "note" }, note));
    return [...views, h("div", { class: "foot" }, sum, warned)];
  }

  errorView({ message, detail }) {
    const more = detail && h("details", {}, h("summary", {}, "Where"), h("pre", {}, detail));
    return h("div", { class: "failure", role: "alert" }, h("pre", {}, message), more);
  }

  explain(examples = this.examples ?? []) {
    this.touched = true;
    const pairs = this.pairs().filter(([column]) => !Object.keys(column.errors).length);
    return this.run(examples.flatMap((example) => pairs.map((pair) => [example, ...pair])));
  }

  async run(wanted) {
    const open = wanted.filter((cell) => !this.answers.has(JSON.stringify(this.question(...cell))));
    this.queue.push(...open.map((cell) => ({ cell, question: this.question(...cell) })));
    for (const { question, cell } of this.queue) this.answer(question, cell, { waiting: true });
    if (this.running) return;
    this.running = true;
    let done = 0;
    while (this.queue.length) {
      this.progress(done, done + this.queue.length);
      const { cell, question } = this.queue.shift();
      await this.ask(question, cell);
      done += 1;
    }
    this.running = false;
    this.progress(0, 0);
  }

  async ask(question, cell) {
    const { signal } = this.stopper;
    const tell = ({ rows }) => {
      const text = `${rows.toLocaleString("en")} rows through the model …`;
      this.answer(question, cell, { waiting: true, text });
    };
    try {
      this.answer(question, cell, { waiting: true, text: "calculating …" });
      const ok = await this.send({ kind: "attribute", ...question }, tell, signal);
      this.answer(question, cell, { ok });
    } catch (error) {
      if (signal.aborted) this.answer(question, cell, null);
      else if (error.fields) {
        this.answer(question, cell, null, error.fields);
      } else this.answer(question, cell, { error });
    }
  }

  answer(question, [example, column, model], known, errors) {
    const key = JSON.stringify(question);
    if (known) this.answers.set(key, known);
    else this.answers.delete(key);
    if (errors) this.showErrors(column, errors);
    const cell = this.cells.get(`${example.id}-${column.id}-${model}`);
    const now = JSON.stringify(this.question(example, column, model));
    if (cell && now === key) cell.replaceWith(this.cell(example, column, model));
  }

  progress(done, total) {
    this.bar.hidden = this.stopButton.hidden = total === 0;
    this.bar.max = total || 1;
    this.bar.value = done;
    this.root.setAttribute("aria-busy", String(total > 0));
    this.status.textContent = total ? `Explaining ${done + 1} of ${total} …` : "";
  }

  stop() {
    for (const { question, cell } of this.queue.splice(0)) this.answer(question, cell, null);
    this.stopper.abort();
    this.stopper = new AbortController();
  }

  // Export.

  asked() {
    const cells = (this.examples ?? []).flatMap((example) =>
      this.pairs().map((pair) => this.question(example, ...pair)),
    );
    return cells.filter((question) => this.answers.get(JSON.stringify(question))?.ok);
  }

  async exportPage() {
    const examples = (this.examples ?? []).map(({ id }) => id);
    const said = ({ done, total }) => this.progress(done, total);
    try {
      const message = { kind: "export", examples, questions: this.asked() };
      const { name, html } = await this.send(message, said);
      download(name, html, "text/html");
    } catch (error) {
      this.cards.prepend(this.errorView(error));
    }
    this.progress(0, 0);
  }

  exportData() {
    const answers = this.asked().map((question) => {
      const { ok } = this.answers.get(JSON.stringify(question));
      return { ...question, answer: ok };
    });
    const data = { models: this.config.models, examples: this.examples, answers };
    download("insights.json", JSON.stringify(data, null, 1), "application/json");
  }
}

export function mount(root, send) {
  const app = new Insights(root, send);
  app.open();
  return () => app.stop();
}

// --- hosts ---------------------------------------------------------------------------------------

// A notebook: custom messages of an anywidget.
function render({ model, el }) {
  const mine = Math.random().toString(36).slice(2); // several views share the widget's messages
  const waiting = new Map();
  const receive = (said) => {
    const asked = waiting.get(said.id);
    if (!asked) return;
    if (said.progress) return asked.progress?.(said.progress);
    waiting.delete(said.id);
    if (said.error) asked.reject(said.error);
    else asked.resolve(said.ok);
  };
  let last = 0;
  const send = (message, progress) =>
    new Promise((resolve, reject) => {
      const id = `${mine}-${(last += 1)}`;
      waiting.set(id, { resolve, reject, progress });
      model.send({ ...message, id });
    });
  model.on("msg:custom", receive);
  const stop = mount(el, send);
  return () => {
    model.off("msg:custom", receive);
    stop();
  };
}

// A server: each message is a request, and its answer a line of JSON for each thing said.
export function connect(path) {
  const token = location.hash.slice(1);
  const headers = { "Content-Type": "application/json", "X-Captum-Token": token };
  return async (message, progress, signal) => {
    const body = JSON.stringify({ ...message, id: 0 });
    const response = await fetch(path, { method: "POST", headers, body, signal }).catch((error) => {
      throw { message: `Python does not answer any more: ${error.message}` };
    });
    if (!response.ok) throw { message: await response.text() };
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let text = ""; ; ) {
      const { value, done } = await reader.read();
      const lines = (text + (value ?? "")).split("\n");
      text = lines.pop();
      for (const said of lines.map((line) => JSON.parse(line))) {
        if (said.error) throw said.error;
        if ("ok" in said) return said.ok;
        progress?.(said.progress);
      }
      if (done) throw { message: "Python ended before it had answered." };
    }
  };
}

// A file: what was calculated when it was saved.
export function recorded(data) {
  const fits = ({ answers, by, classes, model }) => (example) => {
    const best = example.models.map(({ scores }) => scores[0].index);
    const { right } = example.models[model];
    const of = { label: [example.label?.index], prediction: [best[model]] };
    const mine = of[by] ?? [...of.label, ...of.prediction];
    const kind = { right: right === true, wrong: right === false, disagree: new Set(best).size > 1 };
    return (kind[answers] ?? true) && (!classes.length || mine.some((i) => classes.includes(i)));
  };
  const reply = {
    start: () => ({ ...data.start, columns: data.columns, recorded: true }),
    check: () => ({}),
    examples({ filter, start, count }) {
      const found = data.examples.filter(fits(filter));
      const next = start + count < found.length ? start + count : null;
      return { examples: found.slice(start, start + count), next };
    },
    attribute({ example, model, method, fields, target }) {
      const found = data.answers.find(
        (each) =>
          each.example === example &&
          each.model === model &&
          each.method === method &&
          each.answer.target === target &&
          same(each.fields, fields),
      );
      if (found) return found.answer;
      throw { message: "This was not calculated when the file was saved." };
    },
  };
  return async (message) => reply[message.kind](message);
}

export default { render };

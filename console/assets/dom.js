// Elements, texts and times. What strangers wrote reaches the page as text nodes only: nothing here
// reads HTML.

const SVG = 'http://www.w3.org/2000/svg';

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === 'function') element.addEventListener(name.slice(2), value);
    else if (name === 'value' || name === 'checked' || name === 'selected') element[name] = value;
    else element.setAttribute(name, value === true ? '' : value);
  }
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return element;
}

export const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
export const svg = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

// In the visitor's zone; the title has UTC.
export function time(iso) {
  if (!iso) return '';
  const at = new Date(iso);
  return h('time', { datetime: iso, title: `${at.toISOString().replace('T', ' ').replace('Z', '')} UTC` },
    at.toLocaleString(undefined, { dateStyle: 'short', timeStyle: 'medium' }));
}

export function span(seconds) {
  if (seconds === null || seconds === undefined) return '';
  for (const [unit, size] of [['d', 86400], ['h', 3600], ['min', 60]])
    if (seconds >= 2 * size) return `${Math.floor(seconds / size)} ${unit}`;
  return `${Math.round(seconds)} s`;
}

export const number = (n) => (n === null || n === undefined ? '' : Number(n).toLocaleString());
export const badge = (word, kind) => h('span', { class: `badge ${kind ?? word}` }, word);

// Said to who sees the page and to who hears it.
export function say(text) {
  const said = document.getElementById('said');
  said.textContent = text;
  said.classList.add('shown');
  clearTimeout(say.timer);
  say.timer = setTimeout(() => said.classList.remove('shown'), 6000);
}

// rows: lists of cells. A row of the head is text or a node.
export function table(caption, head, rows, empty) {
  if (!rows.length && empty) return h('p', { class: 'empty' }, empty);
  return h('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': caption },
    h('table', null, h('caption', { class: 'hidden' }, caption),
      h('thead', null, h('tr', null, head.map((cell) => h('th', { scope: 'col' }, cell)))),
      h('tbody', null, rows.map((row) => h('tr', null, row.map((cell, i) => h('td', { 'data-label': head[i].textContent ?? head[i] }, cell)))))));
}

export const facts = (pairs) => h('dl', { class: 'facts' },
  pairs.filter(([, value]) => value !== null && value !== undefined && value !== '').map(([name, value]) => h('div', null, h('dt', null, name), h('dd', null, value))));

export const section = (title, ...children) => h('section', null, h('h2', null, title), children);

export const button = (text, onclick, attributes) => h('button', { type: 'button', onclick, ...attributes }, text);

// Something that takes a moment: the button waits, and what goes wrong is said beside it.
export function action(text, run, attributes) {
  const place = h('span', { class: 'beside' });
  const it = button(text, async () => {
    it.disabled = true;
    place.replaceChildren();
    try {
      await run();
    } catch (error) {
      place.replaceChildren(problem(error));
    } finally {
      it.disabled = false;
    }
  }, attributes);
  return h('span', { class: 'action' }, it, place);
}

export const problem = (error) => h('div', { class: 'problem', role: 'alert' }, h('strong', null, error.message),
  error.detail && h('span', null, ` ${error.detail}`), error.hint && h('span', { class: 'hint' }, ` ${error.hint}`));

// Asks before something that cannot be taken back. Resolves to true or false.
export function confirm(title, text, yes) {
  return new Promise((resolve) => {
    const dialog = h('dialog', { 'aria-labelledby': 'asked' }, h('form', { method: 'dialog' },
      h('h2', { id: 'asked' }, title), h('p', null, text),
      h('p', { class: 'buttons' }, h('button', { value: 'no', autofocus: true }, 'Cancel'), h('button', { value: 'yes', class: 'danger' }, yes))));
    dialog.addEventListener('close', () => {
      dialog.remove();
      resolve(dialog.returnValue === 'yes');
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

// A secret that is shown once.
export const shownOnce = (what, value) => h('div', { class: 'once', role: 'status' }, h('p', null, h('strong', null, what), ' It is not shown again: copy it now.'),
  h('code', null, value), ' ', button('Copy', () => navigator.clipboard.writeText(value).then(() => say('Copied.'))));

// A label, its control, and a place for what is wrong with it.
export function field(label, control, hint) {
  const id = `f-${control.name || label}`.replace(/\W+/g, '-');
  control.id = id;
  control.setAttribute('aria-describedby', `${id}-more`);
  return h('div', { class: `field ${control.type === 'checkbox' ? 'check' : ''}` }, h('label', { for: id }, label), control,
    h('div', { id: `${id}-more`, class: 'more' }, hint && h('span', { class: 'hint' }, hint)));
}

// Puts a problem at the field that it is about, else at the top of the form.
export function showProblem(form, error) {
  for (const old of form.querySelectorAll('.problem')) old.remove();
  for (const old of form.querySelectorAll('[aria-invalid]')) old.removeAttribute('aria-invalid');
  if (!error) return;
  const control = error.field && form.elements[error.field];
  if (control) {
    control.setAttribute('aria-invalid', 'true');
    form.querySelector(`#${control.id}-more`).append(problem(error));
    control.focus();
  } else {
    form.prepend(problem(error));
    form.firstChild.scrollIntoView({ block: 'center' });
  }
}

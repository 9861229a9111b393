// Parts that several pages have: notices, words for states, tables, blocks to copy, dialogs.

import { fill, h, newId, svg } from './dom.js';
import { Problem } from './api.js';
import { pretty } from './format.js';

/** A box with something to know. kind: good, bad, warn, info. */
export function notice(kind, title, ...children) {
  return h('div', { class: `notice ${kind}`, role: kind === 'bad' ? 'alert' : 'status' }, h('strong', null, title), children);
}

/** An error in the server's own words. */
export function problem(error) {
  if (!(error instanceof Problem)) return notice('bad', 'This page has failed', h('p', null, String(error?.message ?? error)));
  const intro = error.status === 403 ? 'Your role may not do this: ' : '';
  return notice(
    'bad',
    intro + error.message,
    error.detail && h('p', null, error.detail),
    error.hint && h('p', { class: 'hint' }, error.hint),
    error.reference && h('p', { class: 'hint' }, 'Reference: ', h('code', null, error.reference)),
  );
}

const kinds = {
  active: 'good',
  running: 'good',
  delivered: 'good',
  skipped: 'quiet',
  catching_up: 'info',
  starting: 'info',
  pending: 'warn',
  retry: 'warn',
  blocked: 'warn',
  deferred: 'quiet',
  requested: 'info',
  in_flight: 'info',
  paused: 'warn',
  inactive: 'quiet',
  not_matched: 'quiet',
  not_found: 'quiet',
  not_read: 'warn',
  closed: 'good',
  'half-open': 'warn',
};

export const words = (word) => String(word).replaceAll('_', ' ');

/** A word with its colour; unknown ones are trouble. */
export function badge(word, kind) {
  return h('span', { class: `badge ${kind ?? kinds[word] ?? 'bad'}` }, words(word));
}

/** What a state means, in a sentence or two. */
export function explainState(status) {
  const because = status.reason ? ` Reason: ${status.reason}.` : '';
  const sentences = {
    active: 'It receives its events as they are committed.',
    catching_up: 'It is sent what has collected for it, in order; new events come after that.',
    paused: `Nothing is sent. Its events are kept, and are delivered in order when it is resumed.${because}`,
    disabled: `The worker has stopped sending. Its events are kept, and are delivered in order when it is resumed.${because}`,
    inactive: `It is switched off: events meanwhile are not for it, and will not be sent later.${because}`,
  };
  const breaker = {
    open: ' Ten attempts in a row have failed, so its deliveries are kept, and one is tried now and then until the endpoint answers.',
    'half-open': ' Its endpoint is being tried by one delivery; if that is answered, the others follow.',
  };
  return (sentences[status.state] ?? `Its state is ${words(status.state)}.${because}`) + (breaker[status.breaker] ?? '');
}

/** What to say where a list is empty. */
export function empty(title, ...children) {
  return h('div', { class: 'empty' }, h('p', { class: 'empty-title' }, title), children.length > 0 && h('p', null, children));
}

/**
 * A table. columns: [{ label, cell: (row) => what is in it, class, sort, hide: true }]. On a narrow
 * screen each row becomes a block in which a cell is preceded by its label.
 */
export function table(columns, rows, { caption, sorted, onsort, key } = {}) {
  const used = columns.filter((c) => c && !c.hide);
  const head = used.map((c) => {
    const direction = sorted?.by === c.label ? (sorted.down ? 'descending' : 'ascending') : null;
    const button = () => h('button', { type: 'button', class: 'sort', onclick: () => onsort(c.label) }, c.label);
    return h('th', { scope: 'col', class: c.class, 'aria-sort': direction }, c.sort && onsort ? button() : c.label);
  });
  const cells = (row) =>
    used.map((c, i) => h(i === 0 ? 'th' : 'td', { scope: i === 0 ? 'row' : null, class: c.class, 'data-label': c.label }, h('div', null, c.cell(row))));
  return h(
    'table',
    { class: 'rows' },
    caption && h('caption', { class: 'hidden' }, caption),
    h('thead', null, h('tr', null, head)),
    h('tbody', null, rows.map((row) => h('tr', { 'data-key': key?.(row) }, cells(row)))),
  );
}

export function copyButton(text, label = 'Copy') {
  const said = h('span', { class: 'said', role: 'status' });
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text());
      fill(said, 'copied');
    } catch {
      fill(said, 'The browser does not let a page copy here: select the text.');
    }
  };
  return h('span', { class: 'copy' }, h('button', { type: 'button', class: 'small', onclick: copy }, label), said);
}

/** A block of text as it is, that can be scrolled and copied. */
export function block(text, label, { copy = true, lay = false } = {}) {
  const shown = lay ? pretty(text) : text;
  return h(
    'div',
    { class: 'block' },
    h('pre', { tabindex: '0', role: 'region', 'aria-label': label }, shown),
    copy && copyButton(() => shown, `Copy ${label.toLowerCase()}`),
  );
}

/** A secret that is shown this once. */
export function shownOnce(label, text) {
  return h(
    'div',
    { class: 'once' },
    h('p', null, h('strong', null, `${label}: `), 'shown this once. Give it to the receiver now; it cannot be shown again.'),
    h('code', { class: 'secret' }, text),
    copyButton(() => text, 'Copy'),
  );
}

/** Ask before something is done. The answer is true only by the button. */
export function confirm({ title, text, action, danger = false, content = null }) {
  const id = newId();
  return new Promise((resolve) => {
    const dialog = h(
      'dialog',
      { 'aria-labelledby': id },
      h('h2', { id }, title),
      text && h('p', null, text),
      content,
      h(
        'div',
        { class: 'actions' },
        h('button', { type: 'button', class: danger ? 'danger' : 'primary', onclick: () => close(true) }, action),
        h('button', { type: 'button', autofocus: danger, onclick: () => close(false) }, 'Cancel'),
      ),
    );
    const before = document.activeElement;
    const close = (answer) => {
      dialog.remove();
      if (before instanceof HTMLElement && before.isConnected) before.focus();
      resolve(answer);
    };
    dialog.addEventListener('cancel', () => close(false));
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** A button that does something once at a time, and tells what went wrong in `where`. */
export function actionButton(label, act, { where, kind, title } = {}) {
  const button = h('button', { type: 'button', class: kind, title }, label);
  button.addEventListener('click', async () => {
    button.disabled = true;
    try {
      if (where) fill(where);
      await act(button);
    } catch (error) {
      if (error.name === 'AbortError') return;
      if (where) fill(where, problem(error));
      else throw error;
    } finally {
      button.disabled = false;
    }
  });
  return button;
}

/** Name and value in lines. */
export function facts(pairs, className = 'facts') {
  return h(
    'dl',
    { class: className },
    pairs.filter(Boolean).map(([name, ...value]) => h('div', null, h('dt', null, name), h('dd', null, value))),
  );
}

/** A mark before a step: true, false or not known. */
export function mark(ok) {
  const shape = { true: 'M3 8.5 6.5 12 13 4.5', false: 'M4 4l8 8m0-8-8 8', null: 'M3.5 8h9' }[String(ok)];
  const said = { true: 'yes', false: 'no', null: 'not known' }[String(ok)];
  return svg('svg', { class: `mark ${{ true: 'good', false: 'bad', null: 'quiet' }[String(ok)]}`, viewBox: '0 0 16 16', role: 'img', 'aria-label': said },
    svg('path', { d: shape, fill: 'none', stroke: 'currentColor', 'stroke-width': '2' }));
}

/** The title line of a page, with what can be done on its right. */
export function heading(title, ...actions) {
  return h('div', { class: 'heading' }, h('h1', { tabindex: '-1' }, title), h('div', { class: 'actions' }, actions));
}

export function section(title, ...children) {
  const id = newId();
  return h('section', { 'aria-labelledby': id }, h('h2', { id }, title), children);
}

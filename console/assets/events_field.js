// Which events a subscription gets: entity types by actions, as boxes; further patterns as text; and,
// of updates, which columns must have changed. Tables are watched and unwatched from here, too.

import { get } from './api.js';
import { fill, h } from './dom.js';
import { area, checkbox, group, radio, readList } from './form.js';
import { actionButton } from './widgets.js';
import { unwatch, watchDialog } from './watching.js';

const ACTIONS = ['new', 'update', 'delete', 'truncate'];

function parse(patterns, types) {
  const boxes = new Set();
  const others = [];
  for (const pattern of patterns ?? []) {
    const at = pattern.lastIndexOf('.');
    const [type, action] = [pattern.slice(0, at), pattern.slice(at + 1)];
    if (types.has(type) && (action === '*' || ACTIONS.includes(action))) {
      for (const a of ACTIONS) if (action === '*' || a === action) boxes.add(`${type}.${a}`);
    } else others.push(pattern);
  }
  return { boxes, others };
}

export function eventsField(s, firstSources, firstTables, context) {
  let sources = firstSources;
  let tables = firstTables;
  let changed = () => {};
  const told = h('div', null);
  const matrix = h('div', null);
  const columnsBox = h('div', null);
  const which = {
    all: radio('All events', { name: 'which_events', value: 'all', checked: !s.events }),
    some: radio('These', { name: 'which_events', value: 'some', checked: Boolean(s.events) }),
  };
  const others = area({ name: 'other_events', rows: '1', 'aria-label': 'Further patterns, such as user.*', placeholder: 'further patterns, such as order.*' });
  const isAll = () => which.all.querySelector('input').checked;
  const types = () => [...new Set(sources.map((x) => x.entity_type))].sort();
  const { boxes, others: further } = parse(s.events, new Set(types()));
  others.value = further.join(', ');
  const columns = new Set(s.changed_columns ?? []);

  function toggle(key, on) {
    if (on) boxes.add(key);
    else boxes.delete(key);
    changed();
  }

  function row(type) {
    const own = sources.filter((x) => x.entity_type === type);
    const made = new Set(own.flatMap((x) => x.action_types ?? []));
    const cell = (a) => h('td', null, h('input', {
      type: 'checkbox', name: `event ${type}.${a}`, checked: boxes.has(`${type}.${a}`), disabled: isAll(), 'aria-label': `${type}.${a}`,
      title: made.has(a) ? null : `no source of ${type} captures ${a}`, class: made.has(a) ? null : 'unmade', onchange: (event) => toggle(`${type}.${a}`, event.target.checked),
    }));
    const stop = own.length === 1 && context.rights.watcher && actionButton('Unwatch', async () => {
      if (await unwatch(own[0])) await look();
    }, { where: told, kind: 'small', title: `Stop watching ${own[0].source}` });
    return h('tr', null, h('th', { scope: 'row' }, type, h('div', { class: 'under' }, own.map((x) => x.source).join(', '))), ACTIONS.map(cell), h('td', null, stop));
  }

  function draw() {
    const list = types();
    fill(matrix, list.length > 0
      ? h('table', { class: 'matrix' }, h('thead', null, h('tr', null, h('th', { scope: 'col' }, 'Entity type'), ACTIONS.map((a) => h('th', { scope: 'col' }, a)), h('td', null))), h('tbody', null, list.map(row)))
      : h('p', { class: 'muted' }, 'No table is watched yet.'));
    others.disabled = isAll();
    drawColumns();
  }

  function drawColumns() {
    const wanted = new Set(isAll() ? types() : types().filter((t) => boxes.has(`${t}.update`)));
    const names = sources.filter((x) => wanted.has(x.entity_type)).map((x) => x.source);
    const known = new Set(tables.filter((t) => names.includes(t.source)).flatMap((t) => t.columns ?? []).map((c) => c.name));
    for (const c of columns) known.add(c);
    const held = columnsBox.querySelector('details')?.open;
    fill(columnsBox, known.size > 0 && h('details', { open: held ?? columns.size > 0 },
      h('summary', null, columns.size > 0 ? `Updates only if one of ${columns.size} columns has changed` : 'Updates of any column'),
      h('div', { class: 'checks' }, [...known].sort().map((name) => checkbox(h('code', null, name), {
        value: name, checked: columns.has(name),
        onchange: (event) => {
          if (event.target.checked) columns.add(name);
          else columns.delete(name);
          fill(columnsBox.querySelector('summary'), columns.size > 0 ? `Updates only if one of ${columns.size} columns has changed` : 'Updates of any column');
          changed();
        },
      })))));
  }

  async function look() {
    [{ items: sources }, { items: tables }] = await Promise.all([get('/api/sources'), get('/api/tables')]);
    draw();
    changed();
  }

  for (const r of Object.values(which)) {
    r.addEventListener('change', () => {
      draw();
      changed();
    });
  }
  others.addEventListener('input', () => changed());
  draw();

  const watch = context.rights.watcher && actionButton('Watch a table…', async () => {
    if (await watchDialog()) await look();
  }, { where: told, kind: 'small' });
  const element = group('Events', 'events', {}, h('div', { class: 'checks' }, which.all, which.some, watch), told, matrix, h('div', { class: 'field wide' }, others),
    h('div', { 'data-field': 'changed_columns' }, columnsBox, h('div', { class: 'error' })));

  // a type whose boxes are all set is written as a whole, as it was
  function patterns() {
    const made = types().flatMap((t) => {
      const set = ACTIONS.filter((a) => boxes.has(`${t}.${a}`));
      return set.length === ACTIONS.length ? [`${t}.*`] : set.map((a) => `${t}.${a}`);
    });
    const list = [...made, ...(readList(others.value) ?? [])];
    const before = s.events ?? [];
    // the order in which they were written means nothing: keep it where nothing was changed
    return list.length === before.length && list.every((p) => before.includes(p)) ? before : list;
  }

  function changedColumns() {
    if (columns.size === 0) return null;
    const before = s.changed_columns ?? [];
    return columns.size === before.length && before.every((c) => columns.has(c)) ? before : [...columns].sort();
  }

  return {
    element,
    values: () => ({ events: isAll() ? null : patterns(), changed_columns: changedColumns() }),
    onchange: (f) => {
      changed = () => {
        drawColumns();
        f();
      };
    },
  };
}

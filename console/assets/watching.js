// Watching a table, and ending that: used by the sources and by the editor.

import { get, path, post, remove } from './api.js';
import { fill, h } from './dom.js';
import { checkbox, clearErrors, field, group, radio, select, showError, text } from './form.js';
import { count } from './format.js';
import { confirm, notice } from './widgets.js';

/** A guess at what one row of a table is: public.companies is company. */
export function entityTypeOf(source) {
  const name = source.replace(/^.*\./, '').replaceAll('"', '');
  if (/[^aeiou]ies$/.test(name)) return `${name.slice(0, -3)}y`;
  if (/(ss|sh|ch|x)es$/.test(name)) return name.slice(0, -2);
  return /[^s]s$/.test(name) ? name.slice(0, -1) : name;
}

/** A form to watch one of these tables; done is called with the source. */
export function watchForm(tables, done) {
  const free = tables.filter((t) => !t.watched);
  const table = select({ name: 'source' }, free.map((t) => [t.source, t.may_watch ? t.source : `${t.source} (your role may not)`]));
  const type = text({ name: 'entity_type' });
  const actions = ['new', 'update', 'delete'].map((a) => checkbox(a, { value: a, checked: true }));
  const truncate = checkbox('truncate', { value: 'truncate' });
  const columns = h('div', { class: 'checks' });
  const previous = checkbox('Keep the previous row, for filters and receivers that compare', { name: 'keep_previous' });
  const which = { all: radio('All columns', { name: 'which', value: 'all', checked: true }), some: radio('Some', { name: 'which', value: 'some' }) };
  const told = h('div', null);
  const note = h('span', { class: 'muted' });
  const button = h('button', { type: 'submit', class: 'primary' }, 'Watch');

  function chosen() {
    const t = free.find((f) => f.source === table.value);
    type.value = t ? entityTypeOf(t.source) : '';
    fill(note, t && ` ${t.kind}${t.rows === null ? '' : `, about ${count(t.rows)} rows`}`);
    fill(columns, t?.columns?.map((c) => checkbox([h('code', null, c.name), h('span', { class: 'muted' }, ` ${c.type}${c.key ? ', key' : ''}`)], { value: c.name, checked: true, disabled: c.key })));
    show();
  }
  const checked = (box) => box.querySelector('input').checked;
  const show = () => (columns.hidden = checked(which.all));
  table.addEventListener('change', chosen);
  for (const r of Object.values(which)) r.addEventListener('change', show);

  const form = h('form', { class: 'stack' },
    h('div', { class: 'row' }, field('Table', table, { after: note }), field('Entity type', type, { hint: 'what receivers call one row' })),
    group('Actions', 'action_types', {}, h('div', { class: 'checks' }, actions, truncate)),
    group('Columns', 'columns', { hint: 'Those left out are never sent. A change of them alone makes no event.' }, h('div', { class: 'checks' }, which.all, which.some), columns),
    previous, told, h('div', { class: 'actions' }, button));
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    event.stopPropagation();
    clearErrors(form);
    fill(told);
    const some = [...columns.querySelectorAll('input')].filter((i) => i.checked).map((i) => i.value);
    const acts = [...actions, truncate].filter(checked).map((box) => box.querySelector('input').value);
    button.disabled = true;
    try {
      const made = await post('/api/sources', { source: table.value, entity_type: type.value, action_types: acts, columns: checked(which.some) ? some : undefined, keep_previous: checked(previous) });
      await done(made);
    } catch (error) {
      showError(form, error, told);
    } finally {
      button.disabled = false;
    }
  });
  if (free.length === 0) return notice('info', 'Every table that your role can see is watched already.');
  chosen();
  return form;
}

/** Ask, and stop watching; true: it was done. */
export async function unwatch(source) {
  const yes = await confirm({
    title: `Stop watching ${source.source}?`,
    text: `Changes of it make no more events of type ${source.entity_type}. What was captured is still delivered.`,
    action: 'Unwatch',
    danger: true,
  });
  if (yes) await remove(path`/api/sources/${source.source}`);
  return yes;
}

/** A dialog with the form; true: a table is watched since. */
export async function watchDialog() {
  const { items } = await get('/api/tables');
  return new Promise((resolve) => {
    let watched = false;
    const dialog = h('dialog', { class: 'big', 'aria-label': 'Watch a table' },
      h('h2', null, 'Watch a table'),
      watchForm(items, () => {
        watched = true;
        dialog.close();
      }),
      h('div', { class: 'actions' }, h('button', { type: 'button', onclick: () => dialog.close() }, 'Close')));
    dialog.addEventListener('close', () => {
      dialog.remove();
      resolve(watched);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

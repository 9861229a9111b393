// Tables: which are watched, whether their triggers fire, and watching more of them.
import { ask, get, part } from './api.js';
import { action, badge, confirm, field, h, say, section, showProblem, table } from './dom.js';


export function watchForm(tables, done) {
  const free = tables.filter((t) => t.may_watch && !t.watched);
  if (!free.length) return h('p', { class: 'empty' }, 'There is no other table that you may watch: its owner can, or who has the privilege TRIGGER on it.');
  const columns = h('div', { class: 'field' });
  const source = h('select', { name: 'source', onchange: choose }, free.map((t) => h('option', null, t.source)));
  const actions = ['new', 'update', 'delete'].map((name) => h('input', { type: 'checkbox', name: `action_${name}`, checked: true }));
  const form = h('form', { onsubmit: submit }, field('Table', source),
    field('Entity type', h('input', { name: 'entity_type' }), 'What receivers see. Left empty: made of the name of the table.'),
    h('fieldset', null, h('legend', null, 'Triggers'), actions.map((box) => field(box.name.slice(7), box))),
    h('fieldset', null, h('legend', null, 'Columns that are sent'), columns),
    field('Tenant', h('input', { name: 'tenant' }), 'A column that tells whose row it is, if webhooks are to get only their own.'),
    field('Keep what was before', h('input', { type: 'checkbox', name: 'keep_previous' }), 'Updates then have the old values as well.'),
    h('p', null, h('button', { class: 'main' }, 'Watch')));
  function choose() {
    const chosen = free.find((t) => t.source === source.value);
    columns.replaceChildren(...chosen.columns.map((c) => field(`${c.name}${c.key ? ' (key)' : ''}`, h('input', { type: 'checkbox', name: `column ${c.name}`, checked: true, disabled: c.key }), c.type)));
  }
  async function submit(event) {
    event.preventDefault();
    showProblem(form);
    const boxes = [...columns.querySelectorAll('input')];
    const body = { source: source.value };
    const without = boxes.filter((box) => !box.checked).map((box) => box.name.slice(7));
    if (without.length) body.exclude_columns = without;
    const on = actions.filter((box) => box.checked).map((box) => box.name.slice(7));
    if (on.length < 3) body.action_types = on;
    for (const name of ['entity_type', 'tenant']) if (form.elements[name].value.trim()) body[name] = form.elements[name].value.trim();
    if (form.elements.keep_previous.checked) body.keep_previous = true;
    try {
      await ask('POST', '/api/sources', body);
      say(`${body.source} is watched.`);
      await done();
    } catch (error) {
      showProblem(form, error);
    }
  }
  choose();
  return form;
}

export async function sourcesPage({ may, go }) {
  const { items } = await get('/api/sources');
  const again = () => go('/sources', true);
  const more = h('div');
  if (may('watcher')) get('/api/tables').then((t) => more.replaceChildren(section('Watch a table', watchForm(t.items, again)))).catch(() => {});
  const unwatch = async (source) => {
    if (!(await confirm(`Stop watching ${source}?`, 'Its changes make no events any more. Events that there are already are still sent.', 'Stop watching'))) return;
    await ask('DELETE', `/api/sources/${part(source)}`);
    say(`${source} is not watched any more.`);
    await again();
  };
  return [h('h1', null, 'Tables'), table('Watched tables', ['Table', 'Entity type', 'Triggers', 'Fires', 'Columns', ''], items.map((s) => [
    s.source, h('code', null, s.entity_type), (s.action_types ?? ['new', 'update', 'delete']).join(', '),
    s.problem ? [badge('problem', 'bad'), ` ${s.problem}`] : badge(s.fires, s.fires === 'disabled' ? 'bad' : 'good'),
    s.exclude_columns?.length ? `all except ${s.exclude_columns.join(', ')}` : s.columns?.length ? s.columns.join(', ') : 'all',
    may('watcher') && !s.parent && action('Unwatch', () => unwatch(s.source), { 'aria-label': `Unwatch ${s.source}` })]),
  'No table is watched yet. Watch one, and each change of its rows becomes an event.'), more];
}


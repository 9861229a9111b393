// The watched tables: whether they fire, and why not; watched and unwatched from here.

import { get, withQuery } from './api.js';
import { fill, h } from './dom.js';
import { link } from './router.js';
import { actionButton, badge, empty, heading, section, table } from './widgets.js';
import { unwatch, watchForm } from './watching.js';

const firing = {
  origin: ['fires', 'good', 'for changes that are made here, not for those that replication applies'],
  always: ['fires always', 'good', 'also for changes that replication applies'],
  replica: ['only replicated', 'warn', 'only for changes that replication applies'],
  disabled: ['disabled', 'bad', 'its trigger is disabled: ALTER TABLE ... ENABLE TRIGGER'],
};

export const sourcesPage = {
  title: 'Sources',
  async show(context) {
    const mayNot = (error) => (error.status === 403 ? { items: [] } : Promise.reject(error));
    const [sources, tables] = await context.load(get('/api/sources', context.signal), get('/api/tables', context.signal).catch(mayNot));
    const may = context.rights.watcher;
    const told = h('div', null);
    const place = h('div', null);

    const columns = [
      { label: 'Table', cell: (s) => [s.source, s.parent && h('div', { class: 'under' }, `partition of ${s.parent}`)] },
      { label: 'Entity type', cell: (s) => link(withQuery('/log', { entity_type: s.entity_type }), null, s.entity_type) },
      { label: 'Actions', cell: (s) => (s.action_types ?? []).join(', ') },
      { label: 'Key', cell: (s) => (s.id_columns ? s.id_columns.join(', ') : '–') },
      {
        label: 'Columns',
        cell: (s) => [s.columns ? s.columns.join(', ') : s.exclude_columns ? `all except ${s.exclude_columns.join(', ')}` : 'all', s.keep_previous && h('div', { class: 'under' }, 'with the previous row'), s.tenant && h('div', { class: 'under' }, `tenant: ${s.tenant}`)],
      },
      {
        label: 'Fires',
        class: 'grow',
        cell: (s) => {
          const [text, kind, title] = firing[s.fires] ?? [s.fires ?? 'not', 'bad', ''];
          return s.problem ? [badge('problem', 'bad'), h('div', null, s.problem)] : h('span', { title }, badge(text, kind));
        },
      },
      { label: 'Do', hide: !may, cell: (s) => !s.parent && actionButton('Unwatch', () => stop(s), { where: told, kind: 'small danger', title: `Stop watching ${s.source}` }) },
    ];

    async function stop(s) {
      if (await unwatch(s)) await context.again();
    }

    fill(place, sources.items.length > 0
      ? table(columns, sources.items, { caption: 'Watched tables' })
      : empty('No table is watched.', may ? 'Choose one below: from then on its committed changes are events.' : 'A watcher, or the owner of a table, can watch it.'));
    return h('div', null, heading('Sources'), h('p', { class: 'muted' }, 'Tables whose committed changes become events.'), told, place,
      may && section('Watch another table', watchForm(tables.items, async (made) => {
        await context.again();
        context.say(`${made.source} is watched.`);
      })));
  },
};

// Everything that was sent about one row.

import { get, path, withQuery } from './api.js';
import { attemptsTable } from './attempts.js';
import { h } from './dom.js';
import { field, text } from './form.js';
import { count } from './format.js';
import { go, link } from './router.js';
import { empty, heading } from './widgets.js';

function chooser(params) {
  const type = text({ name: 'type', value: params.type ?? '', required: true, placeholder: 'user', autofocus: !params.type });
  const id = text({ name: 'id', value: params.id ?? '', required: true, placeholder: '42' });
  const form = h('form', { class: 'filter' }, field('Entity type', type), field('Entity id', id), h('div', { class: 'actions' }, h('button', { type: 'submit', class: 'primary' }, 'Show')));
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    go(path`/entity/${type.value.trim()}/${id.value.trim()}`);
  });
  return form;
}

export const entityPage = {
  title: 'Entity',
  async show(context) {
    const { type, id } = context.params;
    if (!type) {
      await context.load();
      return h('div', null, heading('Entity'), chooser({}), empty('Which one?', 'All deliveries about one row: its entity type, as in the list of ', link('/sources', null, 'sources'), ', and its key.'));
    }
    const { cursor } = context.query;
    const [log] = await context.load(get(withQuery('/api/log', { entity_type: type, entity_id: id, limit: 100, cursor }), context.signal));
    context.title = `${type} ${id}`;
    const events = new Set(log.items.map((a) => a.event_id)).size;
    const to = new Set(log.items.map((a) => a.subscription)).size;
    return h('div', null,
      heading([type, ' ', h('span', { class: 'id' }, id)]), chooser(context.params),
      log.items.length > 0
        ? [h('p', { class: 'muted' }, `${count(log.items.length)} attempts of ${count(events)} events, to ${count(to)} subscriptions, newest first.`), attemptsTable(log.items, { caption: `Attempts about ${type} ${id}`, hide: ['entity'] })]
        : empty('Nothing about it is in the log.', 'Either no event of it was sent while the log is kept, or it has another type or id. ', link(withQuery('/log', { entity_type: type }), null, `All of type ${type}`), '.'),
      log.next && h('div', { class: 'pager' }, link(withQuery(path`/entity/${type}/${id}`, { cursor: log.next }), { class: 'button' }, 'Older')));
  },
};

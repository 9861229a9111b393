// The dead letters of a subscription: listed, and redelivered or purged after their number was
// confirmed. The server is told that number: if there are more by then, it does nothing.

import { get, path, post, withQuery } from './api.js';
import { deliveryLink, entityLink } from './attempts.js';
import { fill, h } from './dom.js';
import { count, plural, time } from './format.js';
import { actionButton, confirm, notice, problem, table, words } from './widgets.js';

/** first: its first page, if that is known already; changed is called after something was done. */
export function deadLetters(name, context, { first = null, changed }) {
  const address = path`/api/subscriptions/${name}/dead_letters`;
  const told = h('div', null);
  const place = h('div', null);
  const box = h('div', null, told, place);

  async function load() {
    draw(await get(withQuery(address, { limit: 20 }), context.signal), []);
  }

  async function all(kind, list) {
    const many = plural(list.count, 'dead letter');
    const text = {
      redeliver: `They are sent again, oldest first, to ${name}. Those that fail again become dead letters again.`,
      purge: 'The events are deleted and cannot be sent any more.',
    }[kind];
    const yes = await confirm({ title: `${kind === 'purge' ? 'Purge' : 'Redeliver'} ${many}?`, text, action: `${kind === 'purge' ? 'Purge' : 'Redeliver'} ${count(list.count)}`, danger: kind === 'purge' });
    if (!yes) return;
    const done = await post(`${address}/${kind}`, { expected: list.count });
    await load();
    fill(told, notice('good', kind === 'purge' ? `${plural(done.purged, 'dead letter')} purged` : `${plural(done.queued, 'dead letter')} queued`));
    changed?.();
  }

  function draw(list, before) {
    const items = [...before, ...list.items];
    const more = list.next && actionButton('More', async () => draw(await get(withQuery(address, { limit: 50, cursor: list.next }), context.signal), items), { where: told });
    if (items.length === 0) {
      fill(place, h('p', { class: 'muted' }, 'None.'));
      return;
    }
    fill(place,
      context.rights.operator && h('div', { class: 'bar' },
        actionButton(`Redeliver all ${count(list.count)}…`, () => all('redeliver', list), { where: told }),
        actionButton(`Purge all ${count(list.count)}…`, () => all('purge', list), { where: told, kind: 'danger' })),
      table([
        { label: 'Given up', cell: (d) => time(d.given_up_at) },
        { label: 'Event', class: 'tight', cell: (d) => deliveryLink(d.event_id, name) },
        { label: 'Entity', cell: (d) => entityLink(d.entity_type, d.entity_id) },
        { label: 'Action', cell: (d) => words(d.action_type) },
        { label: 'Tries', class: 'number', cell: (d) => count(d.attempts) },
        { label: 'Reason', class: 'grow', cell: (d) => h('span', { class: 'clip', title: d.reason }, d.reason) },
      ], items, { caption: `Dead letters of ${name}` }),
      more && h('div', { class: 'pager' }, more));
  }

  if (first) draw(first, []);
  else load().catch((error) => error.name === 'AbortError' || fill(told, problem(error)));
  return box;
}

// Dead letters of all subscriptions.

import { get, path } from './api.js';
import { deadLetters } from './deadletters.js';
import { h } from './dom.js';
import { count, plural, time } from './format.js';
import { link } from './router.js';
import { empty, heading } from './widgets.js';

export const deadPage = {
  title: 'Dead letters',
  async show(context) {
    const [{ items }] = await context.load(get('/api/subscriptions', context.signal));
    const having = items.filter((s) => s.dead_letters > 0).sort((a, b) => b.dead_letters - a.dead_letters);
    const total = having.reduce((n, s) => n + s.dead_letters, 0);
    const part = (s) => {
      const details = h('details', { class: 'section' },
        h('summary', null, h('h2', null, s.name), h('span', { class: 'muted' }, ` ${count(s.dead_letters)}, last failure `, time(s.last_failure_at, { ago: true }))));
      details.addEventListener('toggle', () => {
        if (details.open && !details.querySelector('.letters')) details.append(h('div', { class: 'letters' }, h('p', null, link(path`/subscriptions/${s.name}`, null, 'Its page')), deadLetters(s.name, context, {})));
      });
      if (having.length === 1) details.open = true;
      return details;
    };
    return h('div', null, heading('Dead letters'),
      having.length > 0
        ? [h('p', { class: 'muted' }, `${plural(total, 'event')} of ${plural(having.length, 'subscription')} could not be delivered. They are kept until they are sent again or purged.`), having.map(part)]
        : empty('There are no dead letters.', 'An event that an endpoint refuses for good, or for too long, would be kept here.'));
  },
};

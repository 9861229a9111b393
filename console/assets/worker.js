// The worker: whether it runs, and how far it is.

import { get } from './api.js';
import { fill, h } from './dom.js';
import { count, span, time } from './format.js';
import { badge, empty, facts, heading, words } from './widgets.js';

const sentences = {
  running: 'Events are read as they are committed, and sent.',
  starting: 'It has begun, and will read in a moment.',
};

const bytes = (n) => (n === null ? '–' : n < 1024 * 1024 ? `${Math.round(n / 1024)} kB` : `${(n / 1024 / 1024).toFixed(1)} MB`);

export const workerPage = {
  title: 'Worker',
  async show(context) {
    const [first] = await context.load(get('/api/worker', context.signal));
    const place = h('div', null);
    function draw(w) {
      if (!w) {
        fill(place, empty('Nothing is known of the worker.', 'The library is not preloaded, or this role may not see it.'));
        return;
      }
      fill(place,
        h('p', { class: 'lead' }, badge(w.state), ' ', sentences[w.state] ?? `Nothing is sent: the worker is ${words(w.state)}.`, w.reason && ` ${w.reason}.`),
        facts([
          ['Not read yet', count(w.unread_events), w.oldest_unread_seconds !== null && h('span', { class: 'muted' }, `, the oldest for ${span(w.oldest_unread_seconds)}`)],
          ['Queued', count(w.queued)],
          ['In flight', count(w.in_flight)],
          ['Events read', count(w.events_read)],
          ['Outbox', bytes(w.outbox_size)],
          ['Started', time(w.started_at)],
          ['Last read', time(w.last_read_at)],
          ['Last settled', time(w.last_settled_at)],
          ['Process', w.pid === null ? '–' : String(w.pid)],
        ]));
    }
    draw(first);
    context.every(3000, async () => draw(await get('/api/worker', context.signal)));
    return h('div', null, heading('Worker'), place);
  },
};

// All subscriptions, a row each: how they are and what waits for them.

import { get, path, withQuery } from './api.js';
import { fill, h } from './dom.js';
import { select } from './form.js';
import { count, span, time } from './format.js';
import { go, link, note } from './router.js';
import { badge, empty, explainState, heading, notice, table, words } from './widgets.js';

const EVERY = 3000;

// How many attempts a minute, from what the worker has counted between two looks.
class Rates {
  constructor() {
    this.before = new Map();
    this.rates = new Map();
  }

  look(items, at = performance.now()) {
    for (const s of items) {
      const old = this.before.get(s.name);
      const made = s.delivered + s.failed;
      // the counts begin again with the worker
      if (old && made >= old.made && at > old.at) {
        const minutes = (at - old.at) / 60_000;
        this.rates.set(s.name, { all: (made - old.made) / minutes, failed: (s.failed - old.failed) / minutes });
      }
      this.before.set(s.name, { made, failed: s.failed, at });
    }
  }

  cell(name) {
    const rate = this.rates.get(name);
    if (!rate) return h('span', { class: 'muted', title: 'known after the next look, in a few seconds' }, '…');
    const failed = rate.failed > 0 ? h('span', { class: 'bad', title: 'failed attempts per minute' }, ` (${count(Math.round(rate.failed))} failed)`) : null;
    return h('span', null, `${count(Math.round(rate.all))}/min`, failed);
  }
}

const trouble = (s) =>
  (s.state === 'disabled' ? 8 : 0) + (s.breaker !== 'closed' ? 4 : 0) + (s.dead_letters > 0 ? 2 : 0) + (s.oldest_pending_seconds > 900 ? 1 : 0);

function columns(rates) {
  const number = (n) => (n ? count(n) : h('span', { class: 'muted' }, '0'));
  return [
    {
      label: 'Name',
      sort: (s) => s.name.toLowerCase(),
      cell: (s) => [link(path`/subscriptions/${s.name}`, { class: 'name' }, s.name), s.url && h('div', { class: 'under', title: s.url }, s.url)],
    },
    {
      label: 'State',
      sort: (s) => -trouble(s),
      cell: (s) => [
        h('span', { title: explainState(s) }, badge(s.state)),
        s.breaker !== 'closed' && h('span', { title: explainState(s) }, ' ', badge(`breaker ${s.breaker}`, 'bad')),
        s.reason && h('div', { class: 'under' }, s.reason),
      ],
    },
    { label: 'Rate', class: 'number', sort: (s) => -(rates.rates.get(s.name)?.all ?? 0), cell: (s) => rates.cell(s.name) },
    { label: 'In flight', class: 'number', sort: (s) => -(s.queued + s.in_flight), cell: (s) => h('span', { title: `${s.in_flight} requests in flight, ${s.queued} queued in the worker` }, number(s.queued + s.in_flight)) },
    { label: 'Pending', class: 'number', sort: (s) => -s.pending, cell: (s) => number(s.pending) },
    { label: 'Deferred', class: 'number', sort: (s) => -(s.deferred ?? 0), cell: (s) => (s.deferred === null ? '–' : number(s.deferred)) },
    { label: 'Oldest', class: 'number', sort: (s) => -(s.oldest_pending_seconds ?? 0), cell: (s) => span(s.oldest_pending_seconds) },
    {
      label: 'Dead',
      class: 'number',
      sort: (s) => -s.dead_letters,
      cell: (s) => (s.dead_letters ? link(`${path`/subscriptions/${s.name}`}#dead`, { class: 'bad', 'aria-label': `${s.dead_letters} dead letters of ${s.name}` }, count(s.dead_letters)) : number(0)),
    },
    {
      label: 'Last failure',
      sort: (s) => -new Date(s.last_failure_at ?? 0),
      cell: (s) =>
        s.last_error
          ? [link(withQuery('/log', { subscription: s.name, outcome: 'failed' }), { class: 'bad' }, words(s.last_error)), ' ', h('span', { class: 'muted' }, time(s.last_failure_at, { ago: true }))]
          : h('span', { class: 'muted' }, 'none'),
    },
    { label: 'Last delivery', sort: (s) => -new Date(s.last_success_at ?? 0), cell: (s) => time(s.last_success_at, { ago: true }) },
  ];
}

const fits = {
  all: () => true,
  trouble: (s) => trouble(s) > 0,
  active: (s) => s.state === 'active' || s.state === 'catching_up',
  paused: (s) => s.state === 'paused',
  disabled: (s) => s.state === 'disabled',
  inactive: (s) => s.state === 'inactive',
};

/** The worker, where something is to be said of it. */
export function workerNotice(worker) {
  if (!worker) return notice('warn', 'Nothing is known of the worker');
  if (worker.state === 'running' || worker.state === 'starting') return null;
  return notice('warn', `The worker is ${words(worker.state)}: nothing is being sent.`, h('p', null, worker.reason, ' ', link('/worker', null, 'More')));
}

export const listPage = {
  title: 'Subscriptions',
  async show(context) {
    const [first] = await context.load(get('/api/subscriptions', context.signal));
    let data = first;
    const rates = new Rates();
    const all = columns(rates);
    const view = { q: context.query.q ?? '', state: context.query.state ?? 'all', sort: context.query.sort ?? 'Name', down: context.query.down === '1' };
    rates.look(data.items);

    const place = h('div', null);
    const told = h('div', null);
    const total = h('span', { class: 'muted', role: 'status' });
    const search = h('input', { type: 'search', 'aria-label': 'Filter by name, URL or error', placeholder: 'Filter by name, URL, error', value: view.q });
    const states = select({ 'aria-label': 'State', value: view.state }, [
      ['all', 'all states'], ['trouble', 'in trouble'], 'active', 'paused', 'disabled', 'inactive',
    ]);

    function shown() {
      const needle = view.q.toLowerCase();
      const column = all.find((c) => c.label === view.sort) ?? all[0];
      const rows = data.items
        .filter(fits[view.state] ?? fits.all)
        .filter((s) => !needle || [s.name, s.url, s.last_error, s.reason].some((text) => text?.toLowerCase().includes(needle)));
      rows.sort((a, b) => {
        const [x, y] = [column.sort(a), column.sort(b)];
        const order = x < y ? -1 : x > y ? 1 : 0;
        return view.down ? -order : order;
      });
      return rows;
    }

    function draw() {
      fill(told, workerNotice(data.worker));
      const focused = place.contains(document.activeElement) ? document.activeElement.textContent : null;
      const rows = shown();
      fill(total, rows.length === data.items.length ? `${rows.length}` : `${rows.length} of ${data.items.length}`);
      if (data.items.length === 0) fill(place, nothing());
      else if (rows.length === 0) fill(place, empty('None of the subscriptions fits this filter.'));
      else fill(place, table(all, rows, { caption: 'Subscriptions', sorted: { by: view.sort, down: view.down }, onsort: sortBy, key: (s) => s.name }));
      if (focused) [...place.querySelectorAll('a, button')].find((e) => e.textContent === focused)?.focus({ preventScroll: true });
    }

    function nothing() {
      if (!context.rights.operator) return empty('There is no subscription yet.', 'An operator creates them.');
      return empty('There is no subscription yet.', 'A subscription is a URL that receives changes of watched tables. ', link('/new', null, 'Create the first one'),
        '; tables can be watched on the way.');
    }

    function remember() {
      note(withQuery('/', { q: view.q, state: view.state === 'all' ? '' : view.state, sort: view.sort === 'Name' ? '' : view.sort, down: view.down ? '1' : '' }));
      draw();
    }

    function sortBy(label) {
      view.down = view.sort === label ? !view.down : false;
      view.sort = label;
      remember();
    }

    search.addEventListener('input', () => {
      view.q = search.value;
      remember();
    });
    states.addEventListener('change', () => {
      view.state = states.value;
      remember();
    });
    context.every(EVERY, async () => {
      data = await get('/api/subscriptions', context.signal);
      rates.look(data.items);
      draw();
    });
    if (!context.rights.viewer && !context.rights.operator && context.rights.watcher) go('/sources', { replace: true });
    draw();
    return h('div', null,
      heading('Subscriptions', context.rights.operator && link('/new', { class: 'button primary' }, 'New webhook')),
      told,
      h('div', { class: 'bar', hidden: data.items.length === 0 }, search, states, total),
      place);
  },
};

// All webhooks, a row each: how they stand.
import { get, part } from './api.js';
import { h, badge, number, span, table, time } from './dom.js';

const SORTS = {
  Name: (s) => s.name,
  State: (s) => s.state,
  Waiting: (s) => -(s.pending + s.queued),
  Dead: (s) => -s.dead_letters,
  Oldest: (s) => -(s.oldest_pending_seconds ?? -1),
  Failed: (s) => -s.failed,
};

export const workerNotice = (worker) => worker.state !== 'running' && h('p', { class: 'notice' }, badge(worker.state, 'bad'), ' ',
  `Nothing is delivered at the moment${worker.reason ? `: ${worker.reason}` : '.'} Events are kept. `, h('a', { href: '/worker' }, 'Worker'));

export async function listPage({ query, every, may }) {
  let { worker, items } = await get('/api/subscriptions');
  const keep = { text: query.get('text') ?? '', state: query.get('state') ?? '', sort: query.get('sort') ?? 'Name' };
  const place = h('div');
  const notice = h('div', null, workerNotice(worker));
  const change = (more) => {
    Object.assign(keep, more);
    const given = new URLSearchParams(Object.entries(keep).filter(([name, value]) => value && !(name === 'sort' && value === 'Name')));
    history.replaceState(null, '', given.size ? `?${given}` : location.pathname);
    draw();
  };
  function draw() {
    const key = SORTS[keep.sort] ?? SORTS.Name;
    const rows = items
      .filter((s) => !keep.text || `${s.name} ${s.url ?? ''} ${s.last_error ?? ''}`.toLowerCase().includes(keep.text.toLowerCase()))
      .filter((s) => !keep.state || s.state === keep.state || s.breaker === keep.state)
      .sort((a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : a.name < b.name ? -1 : 1));
    const head = ['Name', 'State', 'Waiting', 'Dead', 'Oldest', 'Failed'].map((name) => h('button', {
      type: 'button', class: 'sort', 'aria-pressed': keep.sort === name ? 'true' : 'false', onclick: () => change({ sort: name }) }, name));
    place.replaceChildren(table('Webhooks', [...head, 'Delivered', 'Last error'], rows.map((s) => [
      [h('a', { href: `/subscriptions/${part(s.name)}` }, s.name), h('div', { class: 'sub' }, s.url ?? '')],
      [badge(s.state), ' ', s.breaker !== 'closed' && badge(`breaker ${s.breaker}`, 'bad')],
      number(s.pending + s.queued + s.in_flight), s.dead_letters > 0 ? h('strong', { class: 'bad' }, number(s.dead_letters)) : '0',
      span(s.oldest_pending_seconds), number(s.failed), number(s.delivered),
      s.last_error && h('span', { class: 'cut', title: s.last_error }, s.last_error, ' ', time(s.last_failure_at))]),
    items.length ? 'No webhook is like this.' : ['There is no webhook yet. ', may('operator') ? h('a', { href: '/new' }, 'Make the first one.') : 'An operator makes them.']));
  }
  draw();
  every(5, async () => {
    ({ worker, items } = await get('/api/subscriptions'));
    notice.replaceChildren(...[workerNotice(worker)].filter(Boolean));
    if (!place.contains(document.activeElement)) draw();
  });
  return [h('div', { class: 'head' }, h('h1', null, 'Webhooks'), may('operator') && h('a', { class: 'button main', href: '/new' }, 'New webhook')), notice,
    h('div', { class: 'filters' }, h('label', null, 'Find ', h('input', { type: 'search', value: keep.text, oninput: (e) => change({ text: e.target.value }) })),
      h('label', null, 'State ', h('select', { onchange: (e) => change({ state: e.target.value }) },
        ['', 'active', 'catching_up', 'paused', 'disabled', 'inactive', 'open'].map((state) => h('option', { value: state, selected: keep.state === state }, state === 'open' ? 'breaker open' : state || 'all'))))), place];
}

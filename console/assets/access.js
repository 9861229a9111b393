// Tokens of programs, the account of changes, and the worker.
import { ask, get, part, query as made } from './api.js';
import { action, badge, confirm, facts, field, h, number, say, section, shownOnce, showProblem, span, table, time } from './dom.js';

export async function tokensPage({ go }) {
  const { items } = await get('/api/tokens');
  const once = h('div');
  const form = h('form', { onsubmit: async (event) => {
    event.preventDefault();
    showProblem(form);
    const { name, role, days } = form.elements;
    try {
      const expires = days.value ? new Date(Date.now() + days.value * 86400000).toISOString() : null;
      const answer = await ask('POST', '/api/tokens', { name: name.value.trim(), role: role.value.trim(), ...(expires && { expires_at: expires }) });
      once.replaceChildren(shownOnce(`The token ${answer.name}.`, answer.token));
      name.value = '';
    } catch (error) {
      showProblem(form, error);
    }
  } }, field('Name', h('input', { name: 'name', required: true }), 'The program that uses it.'), field('Role', h('input', { name: 'role', required: true }), 'Your own, or one that you are a member of: the token has its rights.'),
  field('Days', h('input', { name: 'days', type: 'number', min: 1, max: 3650, value: 365 })), h('p', null, h('button', { class: 'main' }, 'Make a token')));
  const revoke = async (name) => {
    if (!(await confirm(`Revoke ${name}?`, 'Programs that use it are refused at once.', 'Revoke'))) return;
    await ask('DELETE', `/api/tokens/${part(name)}`);
    say(`${name} is revoked.`);
    await go('/tokens', true);
  };
  return [h('h1', null, 'Tokens'), table('Tokens', ['Name', 'Role', 'Made', 'Expires', 'Last used', ''], items.map((t) => [
    t.name, t.role, [time(t.created_at), ` by ${t.created_by}`], time(t.expires_at), t.last_used_at ? time(t.last_used_at) : 'never', action('Revoke', () => revoke(t.name), { 'aria-label': `Revoke ${t.name}` })]),
  'Programs call the API with a token. There is none yet.'), once, section('New token', form)];
}

export async function auditPage({ query }) {
  const cursor = query.get('cursor');
  const { items, next } = await get(`/api/audit${made({ cursor })}`);
  return [h('h1', null, 'Changes'), h('p', { class: 'sub' }, 'What was changed by this console and its API, newest first.'),
    table('Changes', ['When', 'Who', 'What', 'Of', 'Fields', 'By'], items.map((c) => [time(c.at), c.role, c.action, c.object, c.details, c.via]), 'Nothing was changed here yet.'),
    next && h('p', null, h('a', { class: 'button', href: `/audit${made({ cursor: next })}` }, 'Older'))];
}

export async function workerPage({ every }) {
  const place = h('div');
  const draw = async () => {
    const w = await get('/api/worker');
    place.replaceChildren(facts([['State', badge(w.state, w.state === 'running' ? 'good' : 'bad')], ['Why', w.reason], ['Started', time(w.started_at)],
      ['Unread events', number(w.unread_events)], ['Oldest unread', span(w.oldest_unread_seconds)], ['Queued', number(w.queued)], ['In flight', number(w.in_flight)],
      ['Events read', number(w.events_read)], ['Last read', time(w.last_read_at)], ['Last settled', time(w.last_settled_at)],
      ['Outbox', w.outbox_size !== null && `${number(Math.round(w.outbox_size / 1048576))} MB`], ['Process', w.pid]]));
  };
  await draw();
  every(3, draw);
  return [h('h1', null, 'Worker'), h('p', null, 'It reads the events of this database and sends them.'), place];
}

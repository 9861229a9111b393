// One subscription: how it is, what was sent last, what waits, and everything that can be done with it.

import { get, path, post, remove, withQuery } from './api.js';
import { attemptsTable, deliveryLink, entityLink } from './attempts.js';
import { codeSection } from './code.js';
import { configuration } from './configuration.js';
import { deadLetters } from './deadletters.js';
import { fill, h } from './dom.js';
import { count, plural, span, time } from './format.js';
import { durationPicture, ratesPicture } from './picture.js';
import { replaySection } from './replay.js';
import { go, link } from './router.js';
import { secretsSection } from './secrets.js';
import { testSection } from './test.js';
import { actionButton, badge, confirm, empty, explainState, facts, heading, section, table, words } from './widgets.js';

const EVERY = 3000;
const MINUTES = 60;

function stateActions(s, context, told) {
  const to = (verb) => async () => {
    await post(`${path`/api/subscriptions/${s.name}`}/${verb}`);
    await context.again();
    context.say(`${s.name}: ${verb}`);
  };
  const deactivate = async () => {
    const yes = await confirm({ title: `Deactivate ${s.name}?`, text: 'Events from now on are not for it, and will not be sent later. To keep them, pause it instead.', action: 'Deactivate', danger: true });
    if (yes) await to('deactivate')();
  };
  const drop = async () => {
    const kept = s.status.pending + s.status.dead_letters;
    const yes = await confirm({
      title: `Delete ${s.name}?`,
      text: `Its URL, secrets and settings are deleted${kept > 0 ? `, and ${plural(s.status.pending, 'delivery', 'deliveries')} that wait${s.status.pending === 1 ? 's' : ''} will not be sent` : ''}. The log is kept.`,
      action: 'Delete',
      danger: true,
    });
    if (!yes) return;
    await remove(path`/api/subscriptions/${s.name}`);
    go('/');
  };
  const running = s.state === 'active';
  return [
    link(`${path`/subscriptions/${s.name}`}/edit`, { class: 'button primary' }, 'Edit'),
    running ? actionButton('Pause', to('pause'), { where: told, title: 'keep its events and send them later' }) : actionButton(s.state === 'inactive' ? 'Activate' : 'Resume', to('resume'), { where: told }),
    s.state !== 'inactive' && actionButton('Deactivate…', deactivate, { where: told }),
    actionButton('Delete…', drop, { where: told, kind: 'danger' }),
  ];
}

function figures(t) {
  return facts([
    ['In flight', count(t.in_flight), t.queued > 0 && h('span', { class: 'muted' }, `, ${count(t.queued)} queued`)],
    ['Pending', count(t.pending), t.pending > 0 && h('span', { class: 'muted' }, `, oldest ${span(t.oldest_pending_seconds)}`)],
    ['Next attempt', time(t.next_attempt_at, { ago: true })],
    ['Dead letters', t.dead_letters > 0 ? h('a', { href: '#dead', class: 'bad' }, count(t.dead_letters)) : '0'],
    ['Delivered', h('span', { title: 'since the worker started' }, count(t.delivered))],
    ['Failed attempts', h('span', { title: 'since the worker started' }, count(t.failed))],
    ['Last delivery', time(t.last_success_at, { ago: true })],
    ['Last failure', t.last_error ? [h('span', { class: 'bad' }, words(t.last_error)), ' ', time(t.last_failure_at, { ago: true })] : 'none'],
  ], 'figures');
}

function pendingTable(list, name, context, told) {
  if (list.items.length === 0) return h('p', { class: 'muted' }, 'Nothing waits.');
  const now = (p) => async () => {
    await post(`${path`/api/deliveries/${p.event_id}/${name}`}/redeliver`);
    context.say('It is tried now.');
  };
  return table([
    { label: 'Since', cell: (p) => time(p.pending_since, { ago: true }) },
    { label: 'Event', class: 'tight', cell: (p) => deliveryLink(p.event_id, name) },
    { label: 'Entity', cell: (p) => entityLink(p.entity_type, p.entity_id) },
    { label: 'State', cell: (p) => badge(p.state) },
    { label: 'Tries', class: 'number', cell: (p) => count(p.attempts) },
    { label: 'Next', cell: (p) => time(p.next_attempt_at, { ago: true }) },
    { label: 'Last error', class: 'grow', cell: (p) => h('span', { class: 'clip', title: p.last_error }, p.last_error ?? '–') },
    { label: 'Do', cell: (p) => p.state !== 'in_flight' && actionButton('Try now', now(p), { where: told, kind: 'small', title: `Try ${p.event_id} now` }) },
  ], list.items, { caption: `What waits for ${name}` });
}

/** The pictures, the last requests and what waits; looked at again and again. */
function liveParts(name, context, operator, told) {
  const base = path`/api/subscriptions/${name}`;
  const places = { pictures: h('div', { class: 'pictures' }), last: h('div', null), pending: h('div', null) };
  const asked = () => [
    get(withQuery(`${base}/rates`, { minutes: MINUTES }), context.signal),
    get(withQuery('/api/log', { subscription: name, limit: 10 }), context.signal),
    operator() ? get(withQuery(`${base}/pending`, { limit: 10 }), context.signal).catch((error) => (error.status === 403 ? null : Promise.reject(error))) : null,
  ];
  const drawn = {};
  const once = (key, value, draw) => {
    const text = JSON.stringify(value);
    if (drawn[key] === text) return;
    drawn[key] = text;
    const held = places[key].contains(document.activeElement) ? document.activeElement.getAttribute('href') : null;
    fill(places[key], draw(value));
    if (held) places[key].querySelector(`a[href="${CSS.escape(held)}"]`)?.focus({ preventScroll: true });
  };
  const draw = ([rates, log, pending]) => {
    once('pictures', { ...rates, since: null, until: rates.until.slice(0, 16) }, () => [ratesPicture(rates, MINUTES), durationPicture(rates)]);
    once('last', log.items, (items) =>
      items.length > 0
        ? attemptsTable(items, { caption: `Last requests to ${name}`, hide: ['subscription'] })
        : empty('Nothing was sent yet.', 'Press Test below, or change a row that it subscribes to.'));
    if (pending) once('pending', pending, (list) => pendingTable(list, name, context, told));
  };
  return { places, asked, draw };
}

// A viewer may not read webhook.subscription: what there is of it is in the list.
async function ofList(name) {
  const { items } = await get('/api/subscriptions');
  const status = items.find((s) => s.name === name);
  return status ? { name, state: status.state, status } : null;
}

export const subscriptionPage = {
  title: 'Subscription',
  async show(context) {
    const { name } = context.params;
    context.title = name;
    const base = path`/api/subscriptions/${name}`;
    const told = h('div', null);
    const operator = () => !context.session || context.rights.operator;
    const live = liveParts(name, context, operator, told);
    const whole = get(base, context.signal).catch((error) => (error.status === 403 ? ofList(name) : Promise.reject(error)));
    const letters = get(withQuery(`${base}/dead_letters`, { limit: 20 }), context.signal).catch((error) => (error.status === 403 ? null : Promise.reject(error)));
    const [first, dead, ...rest] = await context.load(whole, letters, ...live.asked());
    if (!first) return h('div', null, heading(name), empty('There is no such subscription.', link('/', null, 'All subscriptions')));
    const may = context.rights.operator && first.url;
    const top = h('div', null);

    const drawTop = (s) => fill(top,
      h('p', { class: 'lead' }, badge(s.status.state), s.status.breaker !== 'closed' && [' ', badge(`breaker ${s.status.breaker}`, 'bad')], ' ', explainState(s.status)),
      s.url && h('p', { class: 'url' }, h('code', null, s.url)),
      figures(s.status));
    drawTop(first);
    live.draw(rest);
    context.every(EVERY, async () => {
      const [s, ...parts] = await Promise.all([may ? get(base, context.signal) : ofList(name), ...live.asked()]);
      if (s) drawTop(s);
      live.draw(parts);
    });

    return h('div', null,
      heading(name, may && stateActions(first, context, told)), told, top, live.places.pictures,
      section('Last requests', live.places.last, h('p', null, link(withQuery('/log', { subscription: name }), null, 'All in the log'))),
      may && testSection(first, context),
      operator() && section('Pending', live.places.pending),
      dead && h('div', { id: 'dead', tabindex: '-1' }, section('Dead letters', deadLetters(name, context, { first: dead }))),
      may && replaySection(name, context),
      may && secretsSection(first),
      may && codeSection(first, context),
      may && section('Configuration', configuration(first)));
  },
};

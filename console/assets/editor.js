// A new webhook, or a change of one. What it would send and what would match is shown before it is saved.
import { ask, get, part } from './api.js';
import { action, badge, field, h, number, say, section, shownOnce, showProblem, table, time } from './dom.js';

const ACTIONS = ['new', 'update', 'delete'];
const lines = (text) => (text.trim() ? text.split('\n').map((line) => line.trim()).filter(Boolean) : null);
const words = (text) => (text.trim() ? text.split(/[\s,]+/).filter(Boolean) : null);
const join = (list, by) => (list ?? []).join(by);

// name, label, how it is shown, how it is read, hint
const TEXTS = [
  ['tenant', 'Tenant', 'Only events of this tenant. Empty: of all.'],
  ['give_up_after', 'Give up after', 'For example 3 days.'],
  ['timeout', 'Timeout', 'Of one request, for example 10 s.'],
  ['transform', 'Transform', 'schema.function that makes the body.'],
  ['owner', 'Owner', 'A role; its members see the webhook where operators are kept apart.'],
];
const NUMBERS = [['max_in_flight', 'Requests at once'], ['rate_limit', 'Requests a second'], ['batch_size', 'Events in a request']];

function jsonOf(form, name) {
  const text = form.elements[name].value.trim();
  try {
    return text ? JSON.parse(text) : {};
  } catch {
    throw Object.assign(new Error('This is not JSON.'), { field: name, hint: 'For example {"X-Team": "billing"}.' });
  }
}

export async function editorPage({ names: [name], go, may }) {
  const path = name && `/api/subscriptions/${part(name)}`;
  const [old, profiles, sources] = await Promise.all([name ? get(path) : {}, get('/api/profiles'), get('/api/sources')]);
  const events = h('textarea', { name: 'events', rows: 3, value: join(old.events, '\n'), oninput: () => ticks() });
  const choices = h('div', { class: 'choices' });
  const described = h('p', { class: 'hint' });
  const profile = h('select', { name: 'profile', onchange: describe }, profiles.items.map((p) => h('option', { value: p.name, selected: p.name === (old.profile ?? 'entity') }, p.name)));
  const once = h('div');
  const form = h('form', { onsubmit: save }, once,
    field('Name', h('input', { name: 'name', value: old.name ?? '', required: true, maxlength: 200 })),
    !name && field('Is active', h('input', { type: 'checkbox', name: 'active', checked: true }), 'Otherwise it is paused: its events are kept.'),
    field('URL', h('input', { name: 'url', type: 'url', value: old.url ?? '', required: true, placeholder: 'https://' })),
    h('fieldset', null, h('legend', null, 'Events'), choices, field('Patterns', events, 'One a line, such as user.* or order.update. None: all events.'), watchMore()),
    field('Profile', profile), described,
    field('Filter', h('input', { name: 'filter', value: old.filter ?? '' }), 'A jsonpath, such as $.result.plan == "pro". Empty: none.'),
    h('details', { open: Boolean(name) }, h('summary', null, 'More'),
      field('Only if one of these columns changed', h('input', { name: 'changed_columns', value: join(old.changed_columns, ', ') })),
      field('Not from these origins', h('input', { name: 'exclude_origins', value: join(old.exclude_origins, ', ') })),
      TEXTS.map(([key, label, hint]) => field(label, h('input', { name: key, value: old[key] ?? '' }), hint)),
      NUMBERS.map(([key, label]) => field(label, h('input', { name: key, type: 'number', min: 1, value: old[key] ?? '' }))),
      field('Order', h('select', { name: 'ordering' }, ['entity', 'none', 'strict'].map((o) => h('option', { selected: o === (old.ordering ?? 'entity') }, o)))),
      field('Retry schedule', h('input', { name: 'retry_schedule', value: join(old.retry_schedule, ', ') }), 'Intervals between attempts, such as 5 s, 1 min, 1 h.'),
      field('Headers', h('textarea', { name: 'headers', rows: 2, value: old.headers && Object.keys(old.headers).length ? JSON.stringify(old.headers) : '' }), 'JSON. Credentials belong under Secrets, where nobody can read them.'),
      field('Params of the profile', h('textarea', { name: 'params', rows: 2, value: old.params && Object.keys(old.params).length ? JSON.stringify(old.params) : '' }), 'JSON.')),
    h('p', { class: 'buttons' }, h('button', { class: 'main' }, name ? 'Save' : 'Create'), h('a', { class: 'button', href: path ? `/subscriptions/${part(name)}` : '/' }, 'Cancel')));

  function describe() {
    described.textContent = profiles.items.find((p) => p.name === profile.value)?.description ?? '';
  }

  // a box for each kind of event of what is watched; the patterns are what counts
  function ticks() {
    const chosen = lines(events.value) ?? [];
    const types = [...new Set(sources.items.map((s) => s.entity_type))].sort();
    choices.replaceChildren(...types.map((type) => h('div', { role: 'group', 'aria-label': type }, h('strong', null, type), ACTIONS.map((what) => {
      const box = h('input', { type: 'checkbox', checked: chosen.includes(`${type}.${what}`) || chosen.includes(`${type}.*`), onchange: () => tick(type, what, box.checked) });
      return h('label', null, box, ` ${what}`);
    }))));
    if (!types.length) choices.replaceChildren(h('p', { class: 'empty' }, 'No table is watched yet.'));
  }
  function tick(type, what, on) {
    let list = lines(events.value) ?? [];
    if (list.includes(`${type}.*`)) list = [...list.filter((p) => p !== `${type}.*`), ...ACTIONS.map((a) => `${type}.${a}`)];
    list = on ? [...list, `${type}.${what}`] : list.filter((p) => p !== `${type}.${what}`);
    if (ACTIONS.every((a) => list.includes(`${type}.${a}`))) list = [...list.filter((p) => !ACTIONS.some((a) => p === `${type}.${a}`)), `${type}.*`];
    events.value = list.join('\n');
  }
  function watchMore() {
    if (!may('watcher')) return null;
    const place = h('div');
    return h('details', { ontoggle: async (event) => {
      if (!event.target.open || place.firstChild) return;
      const { items } = await get('/api/tables');
      place.append(h('p', null, h('a', { href: '/sources' }, 'Watch another table'), ` (${number(items.filter((t) => t.may_watch && !t.watched).length)} that you may watch)`));
    } }, h('summary', null, 'Is a table missing?'), place);
  }

  function values() {
    const e = form.elements;
    const all = {
      name: e.name.value.trim(), url: e.url.value.trim(), events: lines(events.value), profile: profile.value, filter: e.filter.value.trim() || null,
      changed_columns: words(e.changed_columns.value), exclude_origins: words(e.exclude_origins.value), ordering: e.ordering.value,
      headers: jsonOf(form, 'headers'), params: jsonOf(form, 'params'),
    };
    for (const [key] of TEXTS) all[key] = e[key].value.trim() || null;
    for (const [key] of NUMBERS) all[key] = e[key].value ? Number(e[key].value) : null;
    if (e.retry_schedule.value.trim()) all.retry_schedule = e.retry_schedule.value.split(',').map((i) => i.trim()).filter(Boolean);
    return all;
  }
  // only what differs from what it was: a field that is not sent keeps its value or has its default
  const before = name ? values() : null;
  function changes() {
    const now = values();
    return Object.fromEntries(Object.entries(now).filter(([key, value]) => (before ? JSON.stringify(value) !== JSON.stringify(before[key]) : value !== null && JSON.stringify(value) !== '{}')));
  }

  async function save(event) {
    event.preventDefault();
    showProblem(form);
    try {
      if (name) {
        const saved = await ask('PATCH', path, changes(), { 'If-Match': old.version });
        say('Saved.');
        return await go(`/subscriptions/${part(saved.name)}`);
      }
      const answer = await ask('POST', '/api/subscriptions', { ...changes(), ...(!form.elements.active.checked && { state: 'paused' }) });
      form.replaceChildren(h('p', null, badge('created', 'good'), ` ${answer.name} is there.`), answer.secret && shownOnce('Its secret, with which receivers check signatures.', answer.secret),
        h('p', null, h('a', { class: 'button main', href: `/subscriptions/${part(answer.name)}` }, 'To the webhook, to test it')));
      preview.remove();
    } catch (error) {
      showProblem(form, error);
    }
  }

  const matching = h('div');
  const request = h('div');
  const type = h('select', { name: 'preview_type' }, h('option', { value: '' }, 'made up'), [...new Set(sources.items.map((s) => s.entity_type))].map((t, i) => h('option', { selected: i === 0 }, t)));
  const rowId = h('input', { placeholder: 'the newest row' });
  const preview = h('div', { id: 'preview' },
    section('Which events match', h('p', null, 'Tried on the newest 100 events, before anything is saved.'), action('Try', async () => {
      showProblem(form);
      const { events: patterns, tenant, filter, changed_columns, exclude_origins } = values();
      const m = await ask('POST', '/api/match', { events: patterns, tenant, filter, changed_columns, exclude_origins });
      matching.replaceChildren(h('p', { role: 'status' }, h('strong', null, `It matches ${m.matched} of the last ${m.tried}.`), m.unmatchable ? ` Of ${m.unmatchable} it is unknown.` : ''),
        table('Events that match', ['Event', 'About', 'When'], m.items.map((e) => [h('span', { class: 'id' }, e.event_id), [`${e.entity_type} ${e.entity_id ?? ''} ${e.action_type}`, e.matched === null && ' (unknown)'], time(e.created_at)]), 'None of them.'));
    }), matching),
    section('What is sent', h('p', { class: 'filters' }, h('label', null, 'A row of ', type), h('label', null, 'with the id ', rowId), action('Show the request', async () => {
      showProblem(form);
      const now = values();
      const r = await ask('POST', '/api/preview', { profile: now.profile, ...(now.url && { url: now.url }), headers: now.headers, params: now.params, ...(now.transform && { transform: now.transform }),
        ...(type.value && { entity_type: type.value }), ...(rowId.value.trim() && { entity_id: rowId.value.trim() }) });
      request.replaceChildren(h('pre', { tabindex: 0 }, `${r.method} ${r.url ?? ''}\n${r.headers.map(([header, value]) => `${header}: ${value}`).join('\n')}\n\n${r.body}`), h('ul', null, r.notes.map((note) => h('li', null, note))));
    })), request));
  describe();
  ticks();
  return [h('h1', null, name ? `Edit ${name}` : 'New webhook'), form, preview];
}


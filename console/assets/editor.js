// The form of a subscription: new, or as it is.
//
// A change sends only the fields that differ, with the version that was looked at: whoever changed
// it meanwhile is not overwritten unseen.

import { get, patch, path, post } from './api.js';
import { fill, h } from './dom.js';
import { eventsField } from './events_field.js';
import { filterField } from './filter_field.js';
import { area, checkbox, clearErrors, field, later, readHeaders, readList, readNumber, readObject, select, showError, text, writeHeaders, writeList, writeObject } from './form.js';
import { previewPane } from './preview_pane.js';
import { beforeLeaving, go, link } from './router.js';
import { actionButton, heading, notice, shownOnce, words } from './widgets.js';

const ORDERINGS = [['entity', 'entity: changes of one row in order'], ['none', 'none: as fast as possible'], ['strict', 'strict: one at a time, all in order']];
const same = (a, b) => JSON.stringify(a ?? null) === JSON.stringify(b ?? null);

/** The controls of all fields but the events and the filter, and how each is read. */
function controls(s, profiles) {
  const listed = (name, value, attributes) => [text({ name, value: writeList(value), ...attributes }), (v) => readList(v)];
  const number = (name, value) => [h('input', { name, inputmode: 'numeric', autocomplete: 'off', value: value ?? '' }), (v) => readNumber(v, name)];
  const plain = (name, value, attributes) => [text({ name, value: value ?? '', ...attributes }), (v) => v.trim() || null];
  return {
    name: plain('name', s.name, { required: true, maxlength: '200', autofocus: true, placeholder: 'the service that is coupled' }),
    url: plain('url', s.url, { required: true, inputmode: 'url', placeholder: 'https://…' }),
    profile: [select({ name: 'profile', value: s.profile ?? 'entity' }, profiles.map((p) => p.name)), (v) => v],
    tenant: plain('tenant', s.tenant),
    params: [area({ name: 'params', value: writeObject(s.params) }), (v) => readObject(v, 'params')],
    headers: [area({ name: 'headers', value: writeHeaders(s.headers), placeholder: 'X-Team: billing' }), (v) => readHeaders(v, 'headers')],
    retry_schedule: listed('retry_schedule', s.retry_schedule, { placeholder: 'that of the profile' }),
    give_up_after: plain('give_up_after', s.give_up_after, { placeholder: 'that of the profile' }),
    timeout: plain('timeout', s.timeout),
    max_in_flight: number('max_in_flight', s.max_in_flight),
    rate_limit: number('rate_limit', s.rate_limit),
    batch_size: number('batch_size', s.batch_size),
    ordering: [select({ name: 'ordering', value: s.ordering ?? 'entity' }, ORDERINGS), (v) => v],
    exclude_origins: listed('exclude_origins', s.exclude_origins),
    transform: plain('transform', s.transform, { placeholder: 'schema.function' }),
    ...(s.owner ? { owner: plain('owner', s.owner) } : {}),
  };
}

const nullable = ['tenant', 'rate_limit', 'exclude_origins', 'transform', 'events', 'changed_columns', 'filter'];

function layout(c, parts, profileNote) {
  const f = (name, label, hint, wide) => c[name] && field(label, c[name][0], { hint, wide });
  return [
    h('div', { class: 'row' }, f('name', 'Name'), h('div', { class: 'field' }, h('span', { class: 'label' }, 'State'), parts.state)),
    f('url', 'URL', null, true),
    parts.events,
    parts.filter,
    h('div', { class: 'row' }, field('Profile', c.profile[0], { after: profileNote })),
    f('params', 'Params of the profile', 'A JSON object', true),
    h('details', { class: 'section' }, h('summary', null, h('h2', null, 'Delivery')),
      h('div', { class: 'grid' },
        f('retry_schedule', 'Retries after', 'intervals, separated by commas; the last one repeats'), f('give_up_after', 'Gives up after'), f('timeout', 'Timeout of a request'),
        f('max_in_flight', 'In flight at most'), f('rate_limit', 'Requests per second at most', 'empty: no limit'), f('batch_size', 'Events in one request'), f('ordering', 'Ordering'))),
    h('details', { class: 'section' }, h('summary', null, h('h2', null, 'More')),
      h('div', { class: 'grid' },
        f('headers', 'Further headers', 'one a line'), f('tenant', 'Tenant', 'only events of this one'), f('exclude_origins', 'Not of these origins', 'so that a receiver is not sent its own changes'),
        f('transform', 'Transform', 'a function that makes the body'), f('owner', 'Owner'))),
  ];
}

function stateControl(s) {
  if (!s.version) {
    const active = checkbox('Is active', { name: 'state', checked: true });
    return { element: active, read: () => (active.querySelector('input').checked ? 'active' : 'inactive') };
  }
  const states = s.state === 'disabled' ? ['disabled', 'active', 'paused', 'inactive'] : ['active', 'paused', 'inactive'];
  const control = select({ name: 'state', 'aria-label': 'State', value: s.state }, states);
  return { element: control, read: () => control.value };
}

/** What differs between two versions, in words. */
function differences(mine, theirs) {
  const names = Object.keys(theirs).filter((k) => !['version', 'status', 'state_reason'].includes(k) && !same(mine[k], theirs[k]));
  return h('ul', null, names.map((k) => h('li', null, h('strong', null, words(k)), ': now ', h('code', null, JSON.stringify(theirs[k])), ', was ', h('code', null, JSON.stringify(mine[k])))));
}

async function editor(context, s, { sources, tables, profiles }) {
  let base = s;
  const isNew = !s.version;
  const c = controls(s, profiles);
  const told = h('div', { class: 'told' });
  const profileNote = h('div', { class: 'hint' });
  const state = stateControl(s);
  const events = eventsField(s, sources, tables, context);
  const current = () => ({ profile: c.profile[0].value, url: c.url[0].value.trim(), headers: c.headers[0].value, params: c.params[0].value, transform: c.transform[0].value.trim() });
  const filter = filterField(s, () => ({ ...events.values(), tenant: c.tenant[0].value.trim() || null, exclude_origins: readList(c.exclude_origins[0].value) }), context);
  const preview = previewPane(current, s.events, sources, context);
  const form = h('form', { class: 'editor-form', novalidate: true }, told, layout(c, { state: state.element, events: events.element, filter: filter.element }, profileNote));

  function explainProfile() {
    const p = profiles.find((x) => x.name === c.profile[0].value);
    const rules = Object.entries(p?.params ?? {});
    fill(profileNote, p?.description, rules.length > 0 && [' Params: ', rules.map(([name, r], i) => [i > 0 && ', ', h('code', null, name), ` (${words(r.type)}${r.required ? ', required' : ''}${r.values ? `: ${r.values.join(', ')}` : ''})`])]);
    c.params[0].closest('.field').hidden = rules.length === 0 && c.params[0].value === '';
  }

  function read() {
    const values = { ...events.values(), filter: filter.value(), state: state.read() };
    for (const [name, [control, parse]] of Object.entries(c)) values[name] = parse(control.value);
    return values;
  }

  /** The fields to be sent: all that are given, or those that were changed. */
  function changes() {
    const values = read();
    if (isNew) return Object.fromEntries(Object.entries(values).filter(([, v]) => v !== null && !(typeof v === 'object' && Object.keys(v).length === 0)));
    return Object.fromEntries(Object.entries(values).filter(([k, v]) => !same(v, base[k]) && (v !== null || nullable.includes(k))));
  }

  function conflict(theirs) {
    fill(told, notice('warn', `${base.name} was changed by somebody else while you were editing.`,
      h('p', null, 'Nothing was saved. What differs from when you began:'), differences(base, theirs),
      h('div', { class: 'actions' },
        actionButton('Save mine over it', () => {
          base = { ...base, version: theirs.version };
          return save();
        }, { where: told }),
        h('button', { type: 'button', onclick: () => { beforeLeaving(null); context.again(); } }, 'Discard mine, show theirs'))));
    told.scrollIntoView({ block: 'start' });
    told.querySelector('button').focus();
  }

  function created(made) {
    beforeLeaving(null);
    const to = path`/subscriptions/${made.name}`;
    fill(page, heading(`${made.name} is there`), shownOnce('Its secret', made.secret),
      h('p', null, 'The receiver verifies with it that requests are yours. Next, ', link(to, null, 'send a test, or copy a receiver'), '.'));
    page.querySelector('h1').focus();
  }

  async function save() {
    clearErrors(form);
    fill(told);
    try {
      const sent = changes();
      if (isNew) {
        const made = await post('/api/subscriptions', sent);
        created(made);
        return;
      }
      if (Object.keys(sent).length > 0) await patch(path`/api/subscriptions/${base.name}`, sent, base.version);
      beforeLeaving(null);
      go(path`/subscriptions/${sent.name ?? base.name}`);
    } catch (error) {
      if (error.status === 412) conflict(await get(path`/api/subscriptions/${base.name}`));
      else showError(form, error, told);
    }
  }

  const submit = h('button', { type: 'submit', class: 'primary' }, isNew ? 'Create' : 'Save');
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    submit.disabled = true;
    await save().finally(() => (submit.disabled = false));
  });
  form.append(h('div', { class: 'actions sticky' }, submit, link(isNew ? '/' : path`/subscriptions/${s.name}`, { class: 'button' }, 'Cancel')));
  const soon = later(500, () => preview.draw());
  for (const name of ['profile', 'url', 'headers', 'params', 'transform']) c[name][0].addEventListener('input', soon);
  c.profile[0].addEventListener('change', explainProfile);
  events.onchange(() => filter.soon());
  explainProfile();
  const began = JSON.stringify([...form.elements].map((e) => [e.value, e.checked]));
  const touched = () => JSON.stringify([...form.elements].map((e) => [e.value, e.checked])) !== began;
  // eslint-disable-next-line no-alert -- the browser's own question: the page is about to be left
  beforeLeaving((unloading) => !touched() || (unloading ? false : window.confirm('Leave without saving?')));
  preview.draw();
  filter.soon();
  const page = h('div', null, heading(isNew ? 'New webhook' : `Edit ${s.name}`), h('div', { class: 'editor' }, form, preview.element));
  return page;
}

const catalogue = (context) => {
  const mayNot = (error) => (error.status === 403 ? { items: [] } : Promise.reject(error));
  return [get('/api/profiles', context.signal), get('/api/sources', context.signal).catch(mayNot), get('/api/tables', context.signal).catch(mayNot)];
};

export const newPage = {
  title: 'New webhook',
  async show(context) {
    const [profiles, sources, tables] = await context.load(...catalogue(context));
    return editor(context, {}, { profiles: profiles.items, sources: sources.items, tables: tables.items });
  },
};

export const editPage = {
  title: 'Edit',
  async show(context) {
    const { name } = context.params;
    context.title = `Edit ${name}`;
    const [s, profiles, sources, tables] = await context.load(get(path`/api/subscriptions/${name}`, context.signal), ...catalogue(context));
    return editor(context, s, { profiles: profiles.items, sources: sources.items, tables: tables.items });
  },
};

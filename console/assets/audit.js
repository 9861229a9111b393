// Who changed what, and when.

import { get, path, withQuery } from './api.js';
import { h } from './dom.js';
import { field, text } from './form.js';
import { time } from './format.js';
import { go, link } from './router.js';
import { empty, heading, table } from './widgets.js';

export const auditPage = {
  title: 'Audit',
  async show(context) {
    const { subscription, cursor } = context.query;
    const [list] = await context.load(get(withQuery('/api/audit', { subscription, cursor }), context.signal));
    const of = text({ name: 'subscription', value: subscription ?? '' });
    const form = h('form', { class: 'filter' }, field('Subscription, source or token', of),
      h('div', { class: 'actions' }, h('button', { type: 'submit', class: 'primary' }, 'Filter'), link('/audit', { class: 'button' }, 'Clear')));
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      go(withQuery('/audit', { subscription: of.value.trim() }));
    });
    const object = (c) => (c.object && /subscription|secret|credential|test|dead letter|replay|event/.test(c.action) ? link(path`/subscriptions/${c.object}`, null, c.object) : (c.object ?? '–'));
    return h('div', null, heading('Audit'), h('p', { class: 'muted' }, 'Each change that was made here or by the API: who, what, when, and which fields. Changes made in SQL are not in it.'), form,
      list.items.length > 0
        ? table([
          { label: 'Time', cell: (c) => time(c.at) },
          { label: 'Role', cell: (c) => [c.role, c.login && c.login !== c.role && h('span', { class: 'muted' }, ` by ${c.login}`)] },
          { label: 'Action', cell: (c) => c.action },
          { label: 'Of', cell: object },
          { label: 'Fields', class: 'grow', cell: (c) => c.details ?? '–' },
          { label: 'Via', cell: (c) => c.via },
        ], list.items, { caption: 'Changes, newest first' })
        : empty('Nothing was changed yet.', 'Whatever is changed on these pages, or by a token, is noted here.'),
      h('div', { class: 'pager' }, cursor && link(withQuery('/audit', { subscription }), { class: 'button' }, 'Newest'), list.next && link(withQuery('/audit', { subscription, cursor: list.next }), { class: 'button' }, 'Older')));
  },
};

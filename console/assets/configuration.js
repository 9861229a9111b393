// What a subscription is set to, to be read.

import { h } from './dom.js';
import { time } from './format.js';
import { facts } from './widgets.js';

export function configuration(s) {
  const list = (values, none) => (values ? values.map((v, i) => [i > 0 && ', ', h('code', null, v)]) : none);
  const object = (value) => (Object.keys(value ?? {}).length > 0 ? h('code', null, JSON.stringify(value)) : 'none');
  return facts([
    ['Events', list(s.events, 'all')],
    ['Filter', s.filter ? h('code', null, s.filter) : 'none'],
    ['Changed columns', list(s.changed_columns, 'any')],
    ['Tenant', s.tenant ?? 'all'],
    ['Not of origins', list(s.exclude_origins, 'none')],
    ['Profile', h('code', null, s.profile)],
    ['Params', object(s.params)],
    ['Headers', object(s.headers)],
    ['Transform', s.transform ? [h('code', null, s.transform), s.transform_owner && ` as ${s.transform_owner}`] : 'none'],
    ['Ordering', s.ordering],
    ['Batch size', String(s.batch_size)],
    ['Timeout', s.timeout],
    ['In flight at most', String(s.max_in_flight)],
    ['Rate limit', s.rate_limit === null ? 'none' : `${s.rate_limit}/s`],
    ['Retries after', s.retry_schedule.join(', ')],
    ['Gives up after', s.give_up_after],
    ['Owner', s.owner],
    ['Created', time(s.created_at)],
  ]);
}

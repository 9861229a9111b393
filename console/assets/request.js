// A request, as the server says that it would be sent.

import { h } from './dom.js';
import { block } from './widgets.js';

export function requestBlock(made) {
  const lines = [`POST ${made.url ?? '/'}`, ...(made.headers ?? []).map(([name, value]) => `${name}: ${value}`)];
  return h('div', { class: 'request' },
    block(lines.join('\n'), 'Headers'),
    block(made.body ?? '', 'Body', { lay: true }),
    h('ul', { class: 'notes' },
      h('li', null, made.made_of === 'row' ? 'Made of a real row.' : 'Made of a made-up row: none of this kind is watched, or the table is empty.'),
      made.notes.map((n) => h('li', null, n))));
}

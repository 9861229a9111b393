// Small pictures, as SVG: deliveries and failures per minute, and how long requests take.

import { h, svg } from './dom.js';
import { count, milliseconds, timeText, utcText } from './format.js';

const MINUTE = 60_000;
const HEIGHT = 64;

/** Bars, a minute each; what failed stands on what was delivered. */
export function ratesPicture(rates, minutes) {
  const until = Math.floor(new Date(rates.until).getTime() / MINUTE) * MINUTE;
  const by = new Map(rates.items.map((i) => [new Date(i.minute).getTime(), i]));
  const most = Math.max(1, ...rates.items.map((i) => i.delivered + i.failed));
  const bars = [];
  for (let i = 0; i < minutes; i += 1) {
    const at = until - (minutes - 1 - i) * MINUTE;
    const { delivered = 0, failed = 0 } = by.get(at) ?? {};
    if (delivered + failed === 0) continue;
    const up = Math.max((delivered / most) * HEIGHT, delivered ? 1.5 : 0);
    const bad = Math.max((failed / most) * HEIGHT, failed ? 1.5 : 0);
    const said = `${timeText(at)} (${utcText(at)}): ${delivered} delivered, ${failed} failed`;
    bars.push(svg('g', null,
      svg('title', null, said),
      svg('rect', { x: i * 6, y: 0, width: 6, height: HEIGHT, fill: 'transparent' }),
      delivered && svg('rect', { class: 'fill-good', x: i * 6 + 0.5, y: HEIGHT - up, width: 5, height: up }),
      failed && svg('rect', { class: 'fill-bad', x: i * 6 + 0.5, y: HEIGHT - up - bad, width: 5, height: bad })));
  }
  const delivered = rates.items.reduce((n, i) => n + i.delivered, 0);
  const failed = rates.items.reduce((n, i) => n + i.failed, 0);
  const label = `Of the last ${minutes} minutes: ${delivered} delivered, ${failed} failed, at most ${most} in a minute`;
  return h('figure', { class: 'picture' },
    h('figcaption', null, h('span', null, 'Per minute, last hour'), h('span', { class: 'muted' }, h('span', { class: 'dot good' }), ` ${count(delivered)} delivered `,
      h('span', { class: 'dot bad' }), ` ${count(failed)} failed`)),
    svg('svg', { viewBox: `0 0 ${minutes * 6} ${HEIGHT + 2}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': label },
      svg('line', { class: 'axis', x1: 0, x2: minutes * 6, y1: HEIGHT + 1, y2: HEIGHT + 1 }), bars),
    h('div', { class: 'scale muted' }, h('span', null, `${minutes} min ago`), h('span', null, `most: ${count(most)}`), h('span', null, 'now')));
}

/** How long requests take: the half, 95 and 99 of a hundred. */
export function durationPicture(rates) {
  const rows = [['50 %', rates.p50_ms], ['95 %', rates.p95_ms], ['99 %', rates.p99_ms]];
  const most = Math.max(...rows.map(([, ms]) => ms ?? 0)) || 1;
  const label = rates.requests ? `Requests took: ${rows.map(([what, ms]) => `${what} at most ${milliseconds(ms)}`).join(', ')}` : 'No request in this time';
  return h('figure', { class: 'picture' },
    h('figcaption', null, h('span', null, 'Duration of requests'), h('span', { class: 'muted' }, `of ${count(rates.requests)}${rates.capped ? ', the newest' : ''}`)),
    svg('svg', { viewBox: '0 0 300 66', role: 'img', 'aria-label': label },
      rows.map(([what, ms], i) => [
        svg('text', { class: 'small-text', x: 0, y: i * 23 + 14 }, what),
        svg('rect', { class: 'fill-quiet', x: 40, y: i * 23 + 4, width: 180, height: 13, rx: 2 }),
        ms !== null && svg('rect', { class: 'fill-accent', x: 40, y: i * 23 + 4, width: Math.max((ms / most) * 180, 2), height: 13, rx: 2 }),
        svg('text', { class: 'small-text', x: 228, y: i * 23 + 14 }, milliseconds(ms)),
      ])));
}

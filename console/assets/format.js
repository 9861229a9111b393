// How times, spans, numbers and JSON are written. Times are those of the visitor's zone; what they
// are in UTC is in the title.

import { h } from './dom.js';

const pad = (n, width = 2) => String(n).padStart(width, '0');
const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** 14:03:22 today, else 30 Nov 14:03:22, else 30 Nov 2025 14:03:22. */
export function timeText(iso, now = new Date()) {
  const t = new Date(iso);
  if (Number.isNaN(t.getTime())) return String(iso);
  const clock = `${pad(t.getHours())}:${pad(t.getMinutes())}:${pad(t.getSeconds())}`;
  if (t.toDateString() === now.toDateString()) return clock;
  const day = `${t.getDate()} ${months[t.getMonth()]}`;
  return t.getFullYear() === now.getFullYear() ? `${day} ${clock}` : `${day} ${t.getFullYear()} ${clock}`;
}

export function utcText(iso) {
  const t = new Date(iso);
  return Number.isNaN(t.getTime()) ? String(iso) : t.toISOString().replace('T', ' ').replace('Z', ' UTC');
}

/** An element with a time; `ago` adds how long that is past, or ahead. */
export function time(iso, { ago = false } = {}) {
  if (!iso) return h('span', { class: 'muted' }, '–');
  const text = ago ? relative((Date.now() - new Date(iso)) / 1000) : timeText(iso);
  const title = ago ? `${timeText(iso)}, ${utcText(iso)}` : utcText(iso);
  return h('time', { datetime: iso, title }, text);
}

/** A sentence of the server's, in which times are those of the visitor. */
export function sentence(text) {
  const parts = String(text ?? '').split(/(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?[+-]\d\d(?::?\d\d)?)/);
  return parts.map((part, i) => (i % 2 ? time(part.replace(' ', 'T').replace(/([+-]\d\d)$/, '$1:00')) : part));
}

/** 45 s, 3 min, 2 h 10 min, 5 d 3 h. */
export function span(seconds) {
  if (seconds === null || seconds === undefined) return '–';
  const s = Math.round(seconds);
  if (s < 1) return seconds > 0 ? '< 1 s' : '0 s';
  if (s < 120) return `${s} s`;
  const m = Math.floor(s / 60);
  if (m < 60) return `${m} min`;
  const hours = Math.floor(m / 60);
  if (hours < 48) return m % 60 ? `${hours} h ${m % 60} min` : `${hours} h`;
  return hours % 24 ? `${Math.floor(hours / 24)} d ${hours % 24} h` : `${hours / 24} d`;
}

export function relative(seconds) {
  if (Math.abs(seconds) < 2) return 'now';
  return seconds > 0 ? `${span(seconds)} ago` : `in ${span(-seconds)}`;
}

export function milliseconds(ms) {
  if (ms === null || ms === undefined) return '–';
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  return ms < 10_000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

export const count = (n) => (n === null || n === undefined ? '–' : Number(n).toLocaleString('en-GB').replaceAll(',', '\u202f'));
export const plural = (n, one, many = `${one}s`) => `${count(n)} ${Number(n) === 1 ? one : many}`;

/** JSON laid out, if it is some; else the text as it is. Numbers keep their digits. */
export function pretty(text) {
  if (typeof text !== 'string') return JSON.stringify(text, null, 2);
  try {
    JSON.parse(text);
  } catch {
    return text;
  }
  return layOut(text);
}

// Digits of big numbers and doubled keys are shown as they were sent: so the text is laid out, not the value.
function layOut(text) {
  let out = '';
  let depth = 0;
  const line = () => `\n${'  '.repeat(depth)}`;
  for (const [token] of text.matchAll(/"(?:\\.|[^"\\])*"|[{}[\],:]|[^\s{}[\],:"]+/g)) {
    if (token === '{' || token === '[') {
      depth += 1;
      out += token + line();
    } else if (token === '}' || token === ']') {
      depth -= 1;
      const bare = out.trimEnd();
      out = /[{[]$/.test(bare) ? bare + token : out + line() + token;
    } else if (token === ',') out += token + line();
    else out += token === ':' ? ': ' : token;
  }
  return out;
}

/** A time for <input type="datetime-local">, and back. */
export function toLocalInput(iso) {
  if (!iso) return '';
  const t = new Date(iso);
  if (Number.isNaN(t.getTime())) return '';
  return `${t.getFullYear()}-${pad(t.getMonth() + 1)}-${pad(t.getDate())}T${pad(t.getHours())}:${pad(t.getMinutes())}:${pad(t.getSeconds())}`;
}

export function fromLocalInput(text) {
  const t = new Date(text);
  return text && !Number.isNaN(t.getTime()) ? t.toISOString() : '';
}

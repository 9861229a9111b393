// Forms: fields with a label, a hint and the error that is about them; and what is written in them
// as the API wants it.

import { fill, h, newId } from './dom.js';
import { problem } from './widgets.js';

/** A field. `input` is the control; its name is the key of the body that errors are about. */
export function field(label, input, { hint, wide, after } = {}) {
  input.id ||= newId();
  const notes = h('div', { class: 'error', id: newId() });
  const about = [notes.id];
  const hintElement = hint ? h('div', { class: 'hint', id: newId() }, hint) : null;
  if (hintElement) about.push(hintElement.id);
  input.setAttribute('aria-describedby', about.join(' '));
  return h('div', { class: wide ? 'field wide' : 'field', 'data-field': input.name || null },
    h('label', { for: input.id }, label), input, after, notes, hintElement);
}

/** The same for a group of controls. */
export function group(label, name, { hint } = {}, ...children) {
  const notes = h('div', { class: 'error', id: newId() });
  return h('fieldset', { 'data-field': name, 'aria-describedby': notes.id, tabindex: '-1' },
    h('legend', null, label), hint && h('div', { class: 'hint' }, hint), children, notes);
}

export function checkbox(label, attributes) {
  return h('label', { class: 'check' }, h('input', { ...attributes, type: 'checkbox' }), h('span', null, label));
}

export function radio(label, attributes) {
  return h('label', { class: 'check' }, h('input', { ...attributes, type: 'radio' }), h('span', null, label));
}

/** options: texts, or [value, text]. */
export function select(attributes, options) {
  return h('select', attributes, options.map((o) => (Array.isArray(o) ? h('option', { value: o[0] }, o[1]) : h('option', { value: o }, o))));
}

export const text = (attributes) => h('input', { type: 'text', autocomplete: 'off', spellcheck: 'false', ...attributes });
export const area = (attributes) => h('textarea', { spellcheck: 'false', rows: '3', ...attributes });

export function clearErrors(form) {
  for (const e of form.querySelectorAll('.error')) fill(e);
  for (const e of form.querySelectorAll('[aria-invalid]')) e.removeAttribute('aria-invalid');
}

/** Put an error at the field that it is about, and go there; at `elsewhere` if it is about none. */
export function showError(form, error, elsewhere) {
  const place = error.field ? form.querySelector(`[data-field="${CSS.escape(error.field)}"]`) : null;
  if (!place) {
    fill(elsewhere, problem(error));
    elsewhere.scrollIntoView({ block: 'nearest' });
    return;
  }
  const control = place.matches('fieldset') ? place : place.querySelector('input, select, textarea');
  fill(place.querySelector(':scope > .error'), h('strong', null, error.message), error.detail && ` ${error.detail}`, error.hint && ` ${error.hint}`);
  control.setAttribute('aria-invalid', 'true');
  for (let d = place.closest('details'); d; d = d.parentElement.closest('details')) d.open = true;
  control.focus();
}

/** A mistake that is found before anything is sent. */
export class Mistake extends Error {
  constructor(fieldName, message, hint) {
    super(message);
    this.field = fieldName;
    this.detail = null;
    this.hint = hint ?? null;
  }
}

/** Things in a list, separated by commas or lines; null: none. */
export function readList(value) {
  const all = value.split(/[,\n]/).map((s) => s.trim()).filter(Boolean);
  return all.length > 0 ? all : null;
}

export const writeList = (list) => (list ?? []).join(', ');

/** Headers, one a line: `Name: value`. */
export function readHeaders(value, name) {
  const headers = {};
  for (const line of value.split('\n').map((l) => l.trim()).filter(Boolean)) {
    const at = line.indexOf(':');
    if (at < 1) throw new Mistake(name, 'A header is written Name: value.', `This line is not: ${line}`);
    headers[line.slice(0, at).trim()] = line.slice(at + 1).trim();
  }
  return headers;
}

export const writeHeaders = (headers) => Object.entries(headers ?? {}).map(([k, v]) => `${k}: ${v}`).join('\n');

export function readObject(value, name) {
  if (value.trim() === '') return {};
  let made;
  try {
    made = JSON.parse(value);
  } catch (error) {
    throw new Mistake(name, 'This is not JSON.', error.message);
  }
  if (made === null || typeof made !== 'object' || Array.isArray(made)) throw new Mistake(name, 'This must be a JSON object, such as {"project_id": "..."}.');
  return made;
}

export const writeObject = (object) => (object && Object.keys(object).length > 0 ? JSON.stringify(object, null, 2) : '');

export function readNumber(value, name) {
  if (value.trim() === '') return null;
  const n = Number(value);
  if (!Number.isInteger(n)) throw new Mistake(name, 'This must be a whole number.');
  return n;
}

/** Call f some time after the last of several calls. */
export function later(milliseconds, f) {
  let timer = null;
  return (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => f(...args), milliseconds);
  };
}

// A receiver to copy, for the profile of a subscription.

import { get } from './api.js';
import { fill, h } from './dom.js';
import { languages, receiverCode } from './receiver_code.js';
import { block, notice, problem } from './widgets.js';

function choice(profile) {
  const place = h('div', null);
  const buttons = languages.map(([key, label]) => h('button', { type: 'button', class: 'small', onclick: () => show(key) }, label));
  function show(key) {
    languages.forEach(([k], i) => buttons[i].setAttribute('aria-pressed', String(k === key)));
    const [, label, file] = languages.find(([k]) => k === key);
    fill(place, h('p', { class: 'muted' }, 'Needs nothing but ', label, '. Save it as ', h('code', null, file), '.'), block(receiverCode(profile, key), 'Program'));
  }
  show('node');
  return [h('div', { class: 'bar', role: 'group', 'aria-label': 'Language' }, buttons), place];
}

export function codeSection(s, context) {
  const place = h('div', null);
  const details = h('details', { class: 'section' }, h('summary', null, h('h2', null, 'Receiver')), place);
  details.addEventListener('toggle', async () => {
    if (!details.open || place.childElementCount > 0) return;
    try {
      const { items } = await get('/api/profiles', context.signal);
      const profile = items.find((p) => p.name === s.profile);
      const known = profile && receiverCode(profile, 'node') !== null;
      fill(place, h('p', { class: 'muted' }, `A program that receives requests of the profile ${s.profile} and verifies them.`),
        known ? choice(profile) : notice('info', 'This profile signs in a way that these programs do not know.', h('p', null, 'docs/profiles.md says what is signed, and how.')));
    } catch (error) {
      if (error.name !== 'AbortError') fill(place, problem(error));
    }
  });
  return details;
}

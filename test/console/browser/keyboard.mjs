// The steps that four systems' pages promise, by keyboard alone: nothing here clicks.

import { check, given, play, requests, sql, until } from './person.mjs';

const { receiver } = given;

await play(async ({ person }) => {
  const p = await person();
  const { page } = p;
  const main = page.locator('main');
  const field = (label) => main.getByLabel(label, { exact: true });
  const nav = (name) => page.getByRole('navigation').getByRole('link', { name, exact: true });
  const arrived = (path) => until(`a request at ${path}`, async () => {
    const all = await requests(path);
    return all.length > 0 && all;
  });

  // EventInsight
  await check('EventInsight: log in', async () => {
    await page.goto(`${given.url}/`);
    await p.write(page.getByLabel('PostgreSQL role'), 'op');
    await p.write(page.getByLabel('Password'), given.password);
    await page.keyboard.press('Enter');
    await p.sees(/There is no subscription yet/);
  });
  await check('... press New webhook', async () => {
    await p.press(main.getByRole('link', { name: 'New webhook' }), 'Enter');
    await p.sees(/New webhook/);
  });
  await check('... type a name, which is in focus already; the skip link leads past the navigation', async () => {
    const focused = await field('Name').evaluate((e) => e === document.activeElement);
    await page.keyboard.insertText('event insight');
    return focused;
  });
  await check('... set Is active off and on again', async () => {
    await p.press(main.getByLabel('Is active'), 'Space');
    const off = await main.getByLabel('Is active').isChecked();
    await page.keyboard.press('Space');
    return off === false && (await main.getByLabel('Is active').isChecked());
  });
  await check('... type the URL', () => p.write(field('URL'), `${receiver}/ok/insight`));
  await check('... switch the triggers on that one wants', async () => {
    await p.press(main.getByRole('radio', { name: 'All events' }), 'ArrowRight');
    for (const event of ['company.new', 'company.update', 'user.new', 'user.update', 'user.delete']) await p.press(main.getByLabel(event, { exact: true }), 'Space');
  });
  await check('... choose the conferences whose events are sent', async () => {
    await p.write(field('Filter'), '$.entity_type == "user" || $.result.conference == "Berlin"');
    await p.press(main.getByText('More', { exact: true }), 'Enter');
    await field('Tenant').waitFor();
  });
  await check('... save: it is there, active, with what was chosen', async () => {
    await p.press(p.button('Create'), 'Enter');
    await p.sees(/event insight is there[^]*whsec_/);
    const made = await sql("SELECT events, state FROM webhook.subscription WHERE name = 'event insight'");
    return made === '{company.new,company.update,user.new,user.update,user.delete}|active' || made;
  });
  await check('... it receives those events, and no other conference’s', async () => {
    await sql("INSERT INTO companies VALUES (1, 'Paris', 'A'), (2, 'Berlin', 'B'); INSERT INTO users VALUES (42, 'pro'); DELETE FROM users WHERE id = 42; INSERT INTO users VALUES (42, 'free')");
    await until('four events', async () => (await requests('/ok/insight')).length >= 4);
    const bodies = (await requests('/ok/insight')).map((r) => JSON.parse(r.body)).map((b) => `${b.entity_type} ${b.entity_id} ${b.action_type}`).sort();
    return bodies.join() === 'company 2 new,user 42 delete,user 42 new,user 42 new' || bodies;
  });
  await check('... the test button sends one’s own account with action_type test', async () => {
    await p.press(main.getByRole('link', { name: 'send a test' }), 'Enter');
    const test = p.section('Test');
    await test.getByRole('option', { name: 'user' }).waitFor({ state: 'attached' });
    await p.choose(test.getByLabel('Row of'), 'user');
    await p.write(test.getByLabel('Key'), '42');
    await page.keyboard.press('Enter');
    await p.sees(/Delivered\./);
    const { body } = (await requests('/ok/insight')).at(-1);
    return body === '{"entity_id":"42","entity_type":"user","action_type":"test","result":{"id":42,"plan":"free"}}' || body;
  });
  await check('... the last 10 requests are in the overview', async () => {
    await sql("UPDATE users SET plan = 'p' || i FROM generate_series(1, 1) i WHERE id = 42; INSERT INTO users SELECT i, 'x' FROM generate_series(50, 60) i");
    const last = p.section('Last requests').locator('tbody tr');
    await until('ten of them', async () => (await last.count()) === 10 && (await last.allInnerTexts()).every((t) => /delivered/.test(t)));
  });

  // Website Toolbox
  await check('Website Toolbox: give the URL in the settings', async () => {
    await p.press(nav('Subscriptions'), 'Enter');
    await p.press(main.getByRole('link', { name: 'New webhook' }), 'Enter');
    await p.sees(/New webhook/);
    await page.keyboard.insertText('forum');
    await p.write(field('URL'), `${receiver}/status/500/forum`);
    await p.choose(field('Profile'), 'website_toolbox');
    await p.sees(/"object": "event"[^]*"mode": "live"/, 'aside');
    await p.press(p.button('Create'), 'Enter');
    await p.sees(/forum is there/);
    const kept = await sql("SELECT retry_schedule, give_up_after FROM webhook.subscription WHERE name = 'forum'");
    return kept === '{01:00:00}|3 days' || kept;
  });
  await check('... see the events that were sent, and what was answered', async () => {
    await sql("INSERT INTO users VALUES (7, 'pro')");
    const [{ body }] = await arrived('/status/500/forum');
    await p.press(nav('Log'), 'Enter');
    await p.sees(/server error/);
    await p.press(main.locator('tbody').getByRole('row', { name: /forum/ }).first().locator('a.id').first(), 'Enter');
    await p.sees(/status 500[^]*It is tried again in (1 h|\d\d min)/);
    return JSON.parse(body).type === 'user.created' || body;
  });

  // Xsolla
  const project = '0b7c5a5e-1f1d-4c53-9a53-6c1f7a3e0001';
  await check('Xsolla: a webhook is added on the page, with the project and its events', async () => {
    await p.press(nav('Subscriptions'), 'Enter');
    await p.press(main.getByRole('link', { name: 'New webhook' }), 'Enter');
    await p.sees(/New webhook/);
    await page.keyboard.insertText('login');
    await p.write(field('URL'), `${receiver}/ok/xsolla`);
    await p.press(main.getByRole('radio', { name: 'All events' }), 'ArrowRight');
    await p.press(main.getByLabel('user.new', { exact: true }), 'Space');
    await p.choose(field('Profile'), 'xsolla');
    await p.press(p.button('Create'), 'Enter');
    await p.sees(/project_id/, '[data-field=params] .error');
    await page.keyboard.insertText(`{"project_id": "${project}", "event_types": {"user.new": "registration"}}`);
    await p.press(p.button('Create'), 'Enter');
    await p.sees(/login is there/);
    await sql("INSERT INTO users VALUES (8, 'pro')");
    const [{ body, headers }] = await arrived('/ok/xsolla');
    const event = JSON.parse(body);
    return (event.event_type === 'registration' && event.project_id === project && /^Signature [0-9a-f]{40}$/.test(headers.authorization)) || body;
  });
  await check('... and by its API, with a token that was made on the page: 200, 200 again, 404, 422, 401', async () => {
    await p.press(nav('Tokens'), 'Enter');
    await p.write(field('Name'), 'server');
    await page.keyboard.press('Enter');
    const token = await page.locator('.secret').innerText();
    const add = async (url, { id = project, as = token } = {}) =>
      (await fetch(`${given.url}/projects/${id}/events/registration/webhooks`, { method: 'POST', headers: { Authorization: `Bearer ${as}`, 'Content-Type': 'application/json' }, body: JSON.stringify({ url }) })).status;
    const url = `${receiver}/ok/by_api`;
    const got = [await add(url), await add(url), await add(url, { id: '0b7c5a5e-1f1d-4c53-9a53-6c1f7a3e0009' }), await add(`https://example.com/${'x'.repeat(500)}`), await add(url, { as: 'whk_wrong' })];
    return got.join() === '200,200,404,422,401' || got;
  });

  // Aghanim
  await check('Aghanim: a new webhook for player updates', async () => {
    await p.press(nav('Subscriptions'), 'Enter');
    await p.press(main.getByRole('link', { name: 'New webhook' }), 'Enter');
    await p.sees(/New webhook/);
    await page.keyboard.insertText('game hub');
    await p.write(field('URL'), `${receiver}/ok/game`);
    await p.press(main.getByRole('radio', { name: 'All events' }), 'ArrowRight');
    await p.press(main.getByLabel('player.update', { exact: true }), 'Space');
    await p.choose(field('Profile'), 'aghanim');
    await p.write(field('Params of the profile'), '{"game_id": "gm_exTAyxPsVwh"}');
    await p.sees(/X-Aghanim-Signature: [0-9a-f]{64}[^]*"event_type": "player.update"/, 'aside');
    await p.press(p.button('Create'), 'Enter');
    await p.sees(/game hub is there/);
    await sql("UPDATE players SET email = 'one@aghanim.example'");
    const [{ body, headers }] = await arrived('/ok/game');
    const event = JSON.parse(body);
    return (event.event_type === 'player.update' && event.event_data.player_id === '2D2R-OP3C' && event.game_id === 'gm_exTAyxPsVwh' && /^[0-9a-f]{64}$/.test(headers['x-aghanim-signature'])) || body;
  });
  await check('a dialog takes the focus, Escape leaves it, and the focus is where it was', async () => {
    await p.press(main.getByRole('link', { name: 'Copy' }).or(nav('Subscriptions')), 'Enter');
    await p.press(main.getByRole('link', { name: 'game hub' }), 'Enter');
    await p.press(p.button('Delete'), 'Enter');
    await page.getByRole('dialog').waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    return p.button('Delete').evaluate((e) => e === document.activeElement);
  });
  await check('nobody had to leave the keyboard, and no script failed', () => p.wrong.length === 0 || p.wrong);
});

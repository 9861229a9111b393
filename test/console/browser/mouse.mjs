// Each thing that people can do with the pages, by mouse.

import { check, given, play, sql, until } from './person.mjs';

const { receiver } = given;

await play(async ({ person }) => {
  const p = await person();
  const { page } = p;
  const main = page.locator('main');
  const dialog = page.getByRole('dialog');
  const field = (label) => main.getByLabel(label, { exact: true });
  const row = (name) => main.getByRole('row', { name: new RegExp(name) });

  await check('a wrong password is told in words, and the right one opens the list', async () => {
    await page.goto(`${given.url}/`);
    await page.getByLabel('PostgreSQL role').fill('op');
    await page.getByLabel('Password').fill('wrong');
    await p.button('Log in').click();
    await p.sees(/wrong role, password or database/, 'dialog');
    await page.getByLabel('Password').fill(given.password);
    await p.button('Log in').click();
    await p.sees(/Subscriptions/);
  });

  await check('the list: state, rate, pending, deferred, oldest, dead and last failure of each on one row', async () => {
    const heads = await main.getByRole('columnheader').allInnerTexts();
    const billing = await row('billing').innerText();
    const search = await row('search').innerText();
    const want = ['Name', 'State', 'Rate', 'In flight', 'Pending', 'Deferred', 'Oldest', 'Dead', 'Last failure', 'Last delivery'];
    const ok = want.every((w, i) => heads[i].startsWith(w)) && /active/.test(billing) && /unavailable/.test(billing) && /payload too large/.test(search) && /\b12\b/.test(search);
    return ok || [heads, billing, search];
  });
  await check('... a rate is counted while one looks', async () => {
    await sql("INSERT INTO users VALUES (100, 'free')");
    await until('the rate', async () => /\d+\/min/.test(await row('crm').innerText()));
  });
  await check('... filtered and sorted, both in the address', async () => {
    await page.getByRole('searchbox').fill('search');
    await until('one row', async () => (await main.locator('tbody tr').count()) === 1);
    await page.getByRole('searchbox').fill('');
    await p.button('Dead').click();
    await until('most dead letters first', async () => /search/.test(await main.locator('tbody tr').first().innerText()));
    return /sort=Dead/.test(page.url()) || page.url();
  });

  await main.getByRole('link', { name: 'New webhook' }).click();
  await check('a mistake is told at its field: URL', async () => {
    await field('Name').fill('shop');
    await field('URL').fill('ftp://example.com/');
    await p.button('Create').click();
    await p.sees(/./, '[data-field=url] .error');
    return (await field('URL').getAttribute('aria-invalid')) === 'true' && (await field('URL').evaluate((e) => e === document.activeElement));
  });
  await check('... a name that is taken', async () => {
    await field('URL').fill(`${receiver}/ok/shop`);
    await field('Name').fill('crm');
    await p.button('Create').click();
    await p.sees(/already exists/, '[data-field=name] .error');
    await field('Name').fill('shop');
  });
  await check('... a filter that is none, while it is written', async () => {
    await field('Filter').fill('$.(');
    await p.sees(/jsonpath|syntax/, '[data-field=filter] .error');
  });
  await check('... and one in a part that is folded', async () => {
    await field('Filter').fill('');
    await main.getByText('Delivery', { exact: true }).click();
    await field('Events in one request').fill('0');
    await main.getByText('Delivery', { exact: true }).click();
    await p.button('Create').click();
    await p.sees(/batch_size/, '[data-field=batch_size] .error');
    await field('Events in one request').fill('');
  });

  await check('a table is watched from the page, with some of its columns', async () => {
    await p.button('Watch a table').click();
    await dialog.getByLabel('Table', { exact: true }).selectOption('public.companies');
    const type = await dialog.getByLabel('Entity type').inputValue();
    await dialog.getByLabel('Some').check();
    await dialog.getByRole('checkbox', { name: 'secret' }).uncheck();
    await p.button('Watch', dialog).click();
    await p.sees(/public\.companies/);
    const columns = await sql("SELECT columns FROM webhook.source WHERE source = 'companies'::regclass");
    return (type === 'company' && columns === '{id,name}') || [type, columns];
  });
  await check('triggers are chosen: tables by actions, and columns', async () => {
    await main.getByRole('radio', { name: 'These' }).check();
    await main.getByLabel('user.update').check();
    await main.getByLabel('user.new').check();
    await main.getByLabel('company.new').check();
    await main.getByText('Updates of any column').click();
    await main.getByRole('checkbox', { name: 'plan' }).check();
    await p.sees(/Updates only if one of 1 columns has changed/);
  });
  await check('a filter is tried on the newest events before it is saved: how many, and which', async () => {
    await field('Filter').fill('$.result.plan == "pro"');
    await p.sees(/matches 4 of the last 13 events/);
    await main.getByText('matches 4 of').click();
    const shown = await main.locator('.matches tbody tr').allInnerTexts();
    return (shown.length === 4 && /user\s+12/.test(shown[0])) || shown;
  });
  await check('the preview shows exact headers and body, of a real row that is chosen', async () => {
    const preview = page.getByRole('complementary', { name: 'Preview' });
    await preview.getByLabel('Row of').selectOption('user');
    await preview.getByLabel('Key').fill('3');
    await p.sees(/"entity_id": "3"[^]*"plan": "pro"/, 'aside');
    await field('Profile').selectOption('stripe');
    await p.sees(/Stripe-Signature: t=\d+,v1=[0-9a-f]{64}/, 'aside');
    await p.sees(/"type": "user.updated"[^]*"id": 3/, 'aside');
    await main.getByText('More', { exact: true }).click();
    await field('Further headers').fill('X-Team: billing');
    await p.sees(/X-Team: billing/, 'aside');
    await field('Profile').selectOption('xsolla');
    await p.sees(/project_id \(uuid, required\)/);
    await field('Profile').selectOption('standard');
    await p.sees(/webhook-signature: v1,[^]*"type": "user/, 'aside');
  });
  let secret;
  await check('it is created as chosen, and its secret is shown once', async () => {
    await p.button('Create').click();
    await p.sees(/shop is there/);
    secret = await page.locator('.secret').innerText();
    const made = await sql("SELECT events, changed_columns, filter, profile, headers, state FROM webhook.subscription WHERE name = 'shop'");
    return (/^whsec_/.test(secret) && made === '{company.new,user.new,user.update}|{plan}|($."result"."plan" == "pro")|standard|{"X-Team": "billing"}|active') || [secret, made];
  });

  await main.getByRole('link', { name: 'send a test' }).click();
  await check('the secret is nowhere afterwards', async () => {
    await p.sees(/Configuration/);
    return !(await page.content()).includes(secret.slice(6));
  });
  await check('a test with a chosen row: the answer, its duration, the verdict by the profile', async () => {
    const test = p.section('Test');
    await test.getByLabel('Row of').selectOption('user');
    await test.getByLabel('Key').fill('3');
    await p.button('Send a test', test).click();
    await p.sees(/Delivered\.[^]*counts as success by the profile standard[^]*200[^]*ms[^]*ok/);
    const got = await sql("SELECT action_type, entity_id FROM webhook.log WHERE subscription = 'shop'");
    return got === 'test|3' || got;
  });
  await check('... of an endpoint that fails, too', async () => {
    await page.goto(`${given.url}/subscriptions/billing`);
    await p.button('Send a test').click();
    await p.sees(/Not delivered\.[^]*503[^]*failure/);
  });
  await check('the receiver’s code for this profile, in three languages, to copy', async () => {
    await p.open('/subscriptions/shop');
    await main.getByText('Receiver', { exact: true }).click();
    await p.sees(/createServer[^]*process\.env\.WEBHOOK_SECRET/);
    await p.button('Python').click();
    await p.sees(/ThreadingHTTPServer/);
    await p.button('Go').click();
    await p.sees(/func verify/);
    await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
    await p.button('Copy program').click();
    await p.sees(/copied/);
    return /^\/\/ Receives[^]*package main/.test(await page.evaluate(() => navigator.clipboard.readText()));
  });

  await check('pictures: deliveries and failures per minute, and percentiles', async () => {
    await p.open('/subscriptions/crm');
    const labels = await main.getByRole('img').evaluateAll((all) => all.map((e) => e.getAttribute('aria-label')));
    const n = await sql("SELECT count(*) FROM webhook.log WHERE subscription = 'crm'");
    return (labels[0].includes(`${n} delivered, 0 failed`) && /50 % at most .* 99 % at most/.test(labels[1])) || labels;
  });
  await check('the last ten requests, with their answers', async () => {
    const last = p.section('Last requests');
    return (await last.locator('tbody tr').count()) === 10 && /delivered 200/.test(await last.innerText());
  });

  await check('the log, filtered by all that there is; the filter is in the address', async () => {
    await page.getByRole('navigation').getByRole('link', { name: 'Log' }).click();
    await field('Subscription').fill('search');
    await field('Entity type').fill('user');
    await field('Entity id').fill('7');
    await field('Outcome').selectOption('failed');
    await field('Status').fill('4xx');
    await field('From').fill('2020-01-01T00:00:01');
    await p.button('Filter').click();
    await until('one row', async () => (await main.locator('tbody tr').count()) === 1);
    const url = new URL(page.url());
    await page.reload();
    await until('the same row', async () => (await main.locator('tbody tr').count()) === 1);
    return ['subscription=search', 'entity_id=7', 'outcome=failed', 'status=4xx', 'since=2019-12-31T23'].every((s) => url.search.includes(s)) || url.search;
  });
  await check('... in pages, by cursor', async () => {
    await sql("INSERT INTO users SELECT i, 'free' FROM generate_series(1001, 1060) i");
    await until('all are delivered', async () => (await sql("SELECT count(*) FROM webhook.log WHERE subscription = 'crm' AND entity_id::int > 1000")) === '60');
    await p.open('/log?subscription=crm');
    const first = await main.locator('tbody tr').evaluateAll((all) => all.map((e) => e.dataset.key));
    await main.getByRole('link', { name: 'Older' }).click();
    await p.sees(/an older page/);
    const second = await main.locator('tbody tr').evaluateAll((all) => all.map((e) => e.dataset.key));
    return (first.length === 50 && second.length > 10 && !second.some((k) => first.includes(k)) && /cursor=/.test(page.url())) || [first.length, second.length];
  });
  await check('... live while it is looked at', async () => {
    await p.open('/log?subscription=crm');
    await sql("INSERT INTO users VALUES (2000, 'free')");
    await p.sees(/user 2000/);
  });

  await check('a delivery: every attempt, what came back, why it is tried again and when', async () => {
    await p.open('/log?subscription=billing&entity_id=5');
    await main.locator('tbody a.id').first().click();
    await p.sees(/Attempt 1[^]*unavailable\s+503[^]*status 503[^]*Next\s+retry[^]*tried again in \d+ h.*because the last attempt failed/);
    await main.getByText('Request', { exact: true }).click();
    await p.sees(/Made now, of the row as it is now[^]*POST .*billing[^]*"entity_id": "5"/);
  });
  await check('... tried now', async () => {
    await p.button('Try now').click();
    await until('two attempts', async () => (await main.locator('.timeline > li.bad').count()) === 2);
  });
  await check('... and one that was delivered is redelivered', async () => {
    await p.open('/log?subscription=crm&entity_id=5');
    await main.locator('tbody a.id').first().click();
    await p.button('Redeliver').click();
    await until('two attempts', async () => (await main.locator('.timeline > li.good').count()) === 2);
    const n = await sql("SELECT count(*) FROM webhook.log WHERE subscription = 'crm' AND entity_id = '5'");
    return n === '2' || n;
  });

  await check('dead letters: the count is shown; a cancelled purge does nothing', async () => {
    await p.open('/dead');
    const n = await sql("SELECT count(*) FROM webhook.dead_letter d JOIN webhook.subscription s ON s.id = d.subscription_id WHERE s.name = 'search'");
    await p.button(`Purge all ${n}`).click();
    await p.sees(new RegExp(`Purge ${n} dead letters\\?`), 'dialog');
    await p.button('Cancel', dialog).click();
    return (await sql('SELECT count(*) FROM webhook.dead_letter')) === n;
  });
  await check('... more than were confirmed are not touched, and that is said', async () => {
    const n = await sql('SELECT count(*) FROM webhook.dead_letter');
    await p.button('Redeliver all').click();
    await p.sees(/Redeliver/, 'dialog');
    await sql("INSERT INTO users VALUES (3000, 'free')");
    await until('one more is dead', async () => (await sql('SELECT count(*) FROM webhook.dead_letter')) === String(Number(n) + 1));
    await p.button(/^Redeliver \d/, dialog).click();
    await main.locator('.notice.bad').waitFor();
  });
  await check('... and those that are counted are redelivered, and purged', async () => {
    await sql(`UPDATE webhook.subscription SET url = '${receiver}/ok/search' WHERE name = 'search'`);
    await p.open('/subscriptions/search');
    await p.button('Redeliver all').click();
    await p.button(/^Redeliver \d/, dialog).click();
    await p.sees(/dead letters queued/);
    await until('they are delivered', async () => (await sql("SELECT count(*) FROM webhook.log WHERE subscription = 'search' AND outcome = 'delivered' AND entity_id::int BETWEEN 1 AND 12")) === '12');
    await sql(`UPDATE webhook.subscription SET url = '${receiver}/status/413/search' WHERE name = 'search'; INSERT INTO users VALUES (3001, 'free')`);
    await until('one is dead', async () => (await sql('SELECT count(*) FROM webhook.dead_letter')) === '1');
    await p.open('/subscriptions/search');
    await p.button('Purge all 1').click();
    await p.button('Purge 1', dialog).click();
    await p.sees(/1 dead letter purged/);
    return (await sql('SELECT count(*) FROM webhook.dead_letter')) === '0';
  });
  await check('a range is replayed after its count was confirmed', async () => {
    await p.open('/subscriptions/crm');
    const before = await sql("SELECT count(*) FROM webhook.log WHERE subscription = 'crm'");
    const events = await sql("SELECT count(*) FROM webhook.outbox WHERE action_type <> 'test'");
    await p.button('Count…').click();
    await p.sees(new RegExp(`Replay ${events} events\\?`), 'dialog');
    await p.button(`Replay ${events}`, dialog).click();
    await p.sees(new RegExp(`${events} events queued`));
    await until('they are sent again', async () => Number(await sql("SELECT count(*) FROM webhook.log WHERE subscription = 'crm'")) === Number(before) + Number(events));
  });

  await check('why did X not get event Y: which clause did not match', async () => {
    const event = await sql("SELECT event_id FROM webhook.log WHERE subscription = 'crm' AND entity_id = '2000' LIMIT 1");
    await page.getByRole('navigation').getByRole('link', { name: 'Why?' }).click();
    await field('Event id').fill(event);
    await field('Subscription').fill('shop');
    await p.button('Ask').click();
    await p.sees(/not matched\s+It was not for it\.\s+Excluded by its filter/);
    const marks = await main.locator('.steps svg').evaluateAll((all) => all.map((e) => e.getAttribute('aria-label')));
    return marks.includes('no') && marks.includes('yes');
  });
  await check('from an entity, all deliveries about it', async () => {
    await page.getByRole('navigation').getByRole('link', { name: 'Entity' }).click();
    await field('Entity type').fill('user');
    await field('Entity id').fill('5');
    await p.button('Show').click();
    await p.sees(/to 3 subscriptions/);
    const n = await sql("SELECT count(*) FROM webhook.log WHERE entity_type = 'user' AND entity_id = '5'");
    return (await main.locator('tbody tr').count()) === Number(n);
  });

  await check('secrets: rotated with overlap, shown once, and gone with the page', async () => {
    await p.open('/subscriptions/shop');
    await main.getByLabel('The old one signs for').fill('2 hours');
    await p.button('Rotate the secret').click();
    await p.button('Rotate', dialog).click();
    const now = await page.locator('.secret').innerText();
    await page.reload();
    await p.sees(/Configuration/);
    const two = await sql("SELECT count(*), max(expires_at) BETWEEN now() + '119 min' AND now() + '121 min' FROM webhook.secret x JOIN webhook.subscription s ON s.id = x.subscription_id WHERE s.name = 'shop'");
    return (now !== secret && two === '2|t' && !(await page.content()).includes(now)) || two;
  });
  await check('credentials are written, and never read', async () => {
    await main.getByText('Credentials that requests carry').click();
    await main.getByLabel('Credential', { exact: true }).selectOption('header');
    await main.getByLabel('Header', { exact: true }).fill('X-Key');
    await main.getByLabel('Value').fill('topsecret');
    await p.button('Set').click();
    await p.sees(/header:X-Key is set/);
    await page.reload();
    await p.sees(/Configuration/);
    const kind = await sql('SELECT kind FROM webhook.credential');
    return (kind.toLowerCase() === 'header:x-key' && !(await page.content()).includes('topsecret')) || kind;
  });

  await check('sources: a trigger that does not fire is told, with the reason', async () => {
    await sql('ALTER TABLE users DISABLE TRIGGER ALL');
    await p.open('/sources');
    const problem = await sql("SELECT problem FROM webhook.source WHERE source = 'users'::regclass");
    const told = await row('public.users').innerText();
    await sql('ALTER TABLE users ENABLE TRIGGER ALL');
    return told.includes(problem) || [told, problem];
  });
  await check('... unwatched, and watched again', async () => {
    await p.button('Unwatch', row('public.companies')).click();
    await p.button('Unwatch', dialog).click();
    await until('it is unwatched', async () => (await main.getByRole('row', { name: /public\.companies/ }).count()) === 0);
    await main.getByLabel('Table', { exact: true }).selectOption('public.companies');
    await p.button('Watch', p.section('Watch another table')).click();
    await row('public.companies').waitFor();
  });

  await check('paused, resumed, deactivated, activated and deleted, each state explained', async () => {
    const state = () => sql("SELECT state FROM webhook.subscription WHERE name = 'shop'");
    const seen = [];
    await p.open('/subscriptions/shop');
    await p.button('Pause').click();
    await p.sees(/paused[^]*Its events are kept/);
    seen.push(await state());
    await p.button('Resume').click();
    await p.sees(/receives its events/);
    seen.push(await state());
    await p.button('Deactivate').click();
    await p.button('Deactivate', dialog).click();
    await p.sees(/switched off/);
    seen.push(await state());
    await p.button('Activate').click();
    await p.sees(/receives its events/);
    await p.button('Delete').click();
    await p.button('Delete', dialog).click();
    await p.sees(/Subscriptions/);
    seen.push(await state());
    return seen.join() === 'paused,active,inactive,' || seen;
  });
  await check('tokens: made, shown once, revoked', async () => {
    await page.getByRole('navigation').getByRole('link', { name: 'Tokens' }).click();
    await field('Name').fill('deploy');
    await p.button('Make a token').click();
    const token = await page.locator('.secret').innerText();
    const answer = await fetch(`${given.url}/api/subscriptions`, { headers: { Authorization: `Bearer ${token}` } });
    await p.button('Revoke').click();
    await p.button('Revoke', dialog).click();
    await p.sees(/No token that you may see/);
    const then = await fetch(`${given.url}/api/subscriptions`, { headers: { Authorization: `Bearer ${token}` } });
    return (answer.status === 200 && then.status === 401) || [answer.status, then.status];
  });
  await check('the audit has all of it, and the worker is told', async () => {
    await page.getByRole('navigation').getByRole('link', { name: 'Audit' }).click();
    await p.sees(/revoke a token[^]*remove a subscription[^]*replay a range/);
    await page.getByRole('navigation').getByRole('link', { name: 'Worker' }).click();
    await p.sees(/running[^]*Events read/);
  });
  await check('times are those of the visitor’s zone, with UTC on hover', async () => {
    await p.open('/log?subscription=crm');
    const t = main.locator('tbody time').first();
    const [iso, shown, title] = [await t.getAttribute('datetime'), await t.innerText(), await t.getAttribute('title')];
    const berlin = new Date(iso).toLocaleTimeString('en-GB', { timeZone: 'Europe/Berlin' });
    return (shown.endsWith(berlin) && title.endsWith('UTC') && title.includes(new Date(iso).toISOString().slice(11, 19))) || [iso, shown, title];
  });
  await check('no script failed, and nothing was blocked', () => p.wrong.length === 0 || p.wrong);
});

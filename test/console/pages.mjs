// The pages in a browser, as people use them: run by test/long/pages.pl, which makes the data. Speaks TAP.
//
//   CONSOLE_URL=http://127.0.0.1:PORT CONSOLE_FACTS='{"user": ..., "password": ..., ...}' node pages.mjs
//
// SHOTS=DIRECTORY keeps pictures.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';

const require = createRequire(import.meta.url);
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const base = process.env.CONSOLE_URL;
const facts = JSON.parse(process.env.CONSOLE_FACTS);
const shots = process.env.SHOTS;
let n = 0;

function ok(is, what, more) {
  console.log(`${is ? 'ok' : 'not ok'} ${++n} - ${what}`);
  if (!is && more !== undefined) console.log(String(more).replace(/^/gm, '# '));
}
const is = (got, expected, what) => ok(JSON.stringify(got) === JSON.stringify(expected), what, `got ${JSON.stringify(got)}, expected ${JSON.stringify(expected)}`);
const like = (got, pattern, what) => ok(pattern.test(got), what, `got: ${got}`);

const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run'] });
const wrong = []; // what the browser complains of: scripts that are refused, errors of ours

async function visitor(options) {
  const context = await browser.newContext({ viewport: { width: 1200, height: 800 }, locale: 'en-GB', timezoneId: 'Europe/Berlin', ...options });
  // read by the browser itself, so that the page's policy does not hold it up
  const page = await context.newPage();
  page.setDefaultTimeout(20000);
  page.on('pageerror', (error) => wrong.push(`${page.url()}: ${error.message}`));
  page.on('console', (said) => {
    // a browser says of each answer that is not 2xx that it is not; others are ours to explain
    if (said.type() === 'error' && !/Failed to load resource/.test(said.text())) wrong.push(`${page.url()}: ${said.text()}`);
  });
  return page;
}

async function logIn(page, user = facts.user) {
  await page.goto(base);
  await page.getByLabel('Role').fill(user);
  await page.getByLabel('Password').fill(facts.password);
  await page.getByRole('button', { name: 'Log in' }).click();
  await page.getByRole('heading', { name: 'Webhooks' }).waitFor();
}

const settled = (page) => page.waitForFunction(() => !document.querySelector('main[aria-busy]') && !/\bLoading\b/.test(document.querySelector('main').textContent));
async function at(page, path) {
  await page.goto(base + path);
  await page.locator('h1').waitFor();
  await settled(page);
}
const shot = async (page, name) => shots && page.screenshot({ path: `${shots}/${name}.png` });
const text = (page) => page.locator('main').innerText();

async function accessible(page, what) {
  const found = await page.evaluate(`${axe}; axe.run({ resultTypes: ['violations'] }).then((r) => r.violations.filter((v) => ['serious', 'critical'].includes(v.impact)).map((v) => v.id + ': ' + v.nodes.map((x) => x.target).join(', ')))`);
  is(found, [], `${what}: nothing serious for who cannot see or use a mouse`);
}

const PATHS = () => ['/', '/new', `/subscriptions/${encodeURIComponent(facts.name)}`, `/subscriptions/${encodeURIComponent(facts.name)}/edit`, '/log', `/deliveries/${facts.event}/${encodeURIComponent(facts.name)}`,
  `/entity/${facts.entity_type}/${encodeURIComponent(facts.entity_id)}`, `/why?event=${facts.event}&subscription=${encodeURIComponent(facts.name)}`, '/sources', '/tokens', '/audit', '/worker'];

try {
  let page = await visitor();
  await page.goto(base);
  await page.getByLabel('Role').fill(facts.user);
  await page.getByLabel('Password').fill('wrong');
  await page.getByRole('button', { name: 'Log in' }).click();
  like(await page.locator('.problem').innerText(), /wrong role, password or database/, 'a wrong password is told');
  await accessible(page, 'logging in');
  await logIn(page);
  like(await text(page), new RegExp(facts.name), 'the list has the webhook');

  // every page, in both colours and on a telephone
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme });
    for (const path of PATHS()) {
      await at(page, path);
      await accessible(page, `${path}, ${colorScheme}`);
    }
  }
  await page.emulateMedia({ colorScheme: 'light' });
  await page.setViewportSize({ width: 360, height: 740 });
  for (const path of PATHS()) {
    await at(page, path);
    is(await page.evaluate(() => document.documentElement.scrollWidth <= 360), true, `${path}: 360 pixels are enough`);
    if (path === '/') await shot(page, 'console-telephone');
  }
  await page.setViewportSize({ width: 1200, height: 800 });
  await at(page, '/');
  await shot(page, 'console-list');

  // a new webhook, by the keyboard alone
  await page.getByRole('link', { name: 'New webhook' }).focus();
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'New webhook' }).waitFor();
  await settled(page);
  await page.getByLabel('Name').focus();
  await page.keyboard.type('made here');
  await page.keyboard.press('Tab');
  is(await page.evaluate(() => document.activeElement.name), 'active', 'Tab leads to the switch "Is active"');
  await page.keyboard.press('Tab');
  await page.keyboard.type('http://127.0.0.1/not-https');
  await page.getByRole('button', { name: 'Create' }).focus();
  await page.keyboard.press('Enter');
  await page.locator('.problem').waitFor();
  like(await page.locator('#f-url-more .problem').innerText(), /https/, 'what is wrong with the URL is said at the URL');
  is(await page.evaluate(() => document.activeElement.name), 'url', 'and one is there');
  await page.keyboard.press('Control+A');
  await page.keyboard.type(facts.endpoint);
  await page.getByRole('group', { name: facts.entity_type }).getByLabel('update').focus();
  await page.keyboard.press('Space');
  is(await page.getByLabel('Patterns').inputValue(), `${facts.entity_type}.update`, 'a box of a trigger is a pattern');
  await page.getByRole('group', { name: facts.entity_type }).getByLabel('new').check();
  await page.getByRole('group', { name: facts.entity_type }).getByLabel('delete').check();
  is(await page.getByLabel('Patterns').inputValue(), `${facts.entity_type}.*`, 'all three are one');
  await page.getByRole('button', { name: 'Try' }).click();
  like(await page.getByText(/It matches \d+ of the last \d+/).innerText(), /matches [1-9]/, 'which events match is seen before it is saved');
  await page.getByRole('button', { name: 'Show the request' }).click();
  await page.locator('#preview pre').waitFor();
  like(await page.locator('#preview pre').innerText(), /webhook-signature: v1,[\s\S]*"entity_type": ?"/i, 'and so is the request');
  await page.locator('#preview pre').scrollIntoViewIfNeeded();
  await shot(page, 'console-editor');
  await page.getByRole('button', { name: 'Create' }).click();
  like(await page.locator('.once code').innerText(), /^whsec_/, 'the secret is shown, once');
  await page.getByRole('link', { name: 'To the webhook, to test it' }).click();
  await page.getByRole('heading', { name: 'made here' }).waitFor();
  await settled(page);
  await page.getByRole('button', { name: 'Send a test' }).click();
  await page.getByText('The endpoint took it.').waitFor();
  ok(true, 'a test is sent, and answered');
  await page.getByRole('button', { name: 'Pause' }).click();
  await page.getByText('Its events are kept until it is resumed.').waitFor();
  await page.getByRole('button', { name: 'Resume' }).click();
  await page.getByRole('button', { name: 'Pause' }).waitFor();
  ok(true, 'it is paused, and resumed');

  // two people change the same
  await at(page, '/subscriptions/made%20here/edit');
  const other = await visitor();
  await logIn(other);
  await at(other, '/subscriptions/made%20here/edit');
  await other.getByLabel('Requests at once').fill('3');
  await other.getByRole('button', { name: 'Save' }).click();
  await other.getByRole('heading', { name: 'made here', exact: true }).waitFor();
  await page.getByLabel('Requests at once').fill('4');
  await page.getByRole('button', { name: 'Save' }).click();
  like(await page.locator('.problem').innerText(), /was changed meanwhile/, 'who comes second is told, and nothing is overwritten');
  await other.context().close();

  // secrets
  await at(page, '/subscriptions/made%20here');
  await page.getByRole('button', { name: 'New secret' }).click();
  await page.getByRole('button', { name: 'Make it' }).click();
  like(await page.locator('.once code').innerText(), /^whsec_/, 'a new secret is shown, once');
  await page.getByLabel('Value').fill('of-a-credential');
  await page.getByRole('button', { name: 'Set', exact: true }).click();
  await page.getByText('It is kept.').waitFor();
  await at(page, '/subscriptions/made%20here');
  ok(!(await page.content()).includes('of-a-credential'), 'a credential is not shown again');
  await page.getByText('Python').click();
  like(await text(page), /hmac\.new\(key/, 'there is code for the receiver');

  // what failed
  await at(page, `/log?outcome=failed&subscription=${encodeURIComponent(facts.name)}`);
  await shot(page, 'console-log');
  is(await page.getByLabel('Outcome (failed: all failures)').inputValue(), 'failed', 'the filter is in the address');
  ok((await page.locator('tbody tr').count()) > 0, 'failures are found');
  await page.locator('tbody a[href^="/deliveries/"]').first().click();
  await page.getByRole('heading', { name: 'Delivery' }).waitFor();
  await settled(page);
  like(await text(page), /Attempt 1/, 'a delivery has its attempts');
  await page.getByText('Headers of the answer').first().click();
  like(await text(page), /x-request-id: r-1/i, 'with the headers of the answer');
  await shot(page, 'console-delivery');
  await page.getByRole('link', { name: 'Why?' }).click();
  await page.getByRole('heading', { name: 'Why did a webhook' }).waitFor();
  await settled(page);
  ok((await page.locator('.steps li').count()) > 5, 'why: each question has its answer');
  await shot(page, 'console-why');

  // dead letters, all at once
  await at(page, `/subscriptions/${encodeURIComponent(facts.dead)}`);
  await page.getByRole('button', { name: /^Send all \d+ again/ }).click();
  like(await page.getByRole('dialog').innerText(), /Send \d+ again\?/, 'the number is asked for first');
  await page.getByRole('button', { name: 'Cancel' }).click();
  await page.getByRole('button', { name: /^Send all \d+ again/ }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Send again' }).click();
  await page.getByText(/are sent again/).waitFor();
  ok(true, 'and then they are sent again');
  await page.getByLabel('Since').fill('2020-01-01T00:00:00');
  await page.getByRole('button', { name: 'Count and replay' }).click();
  like(await page.getByRole('dialog').innerText(), /So many events of this time match/, 'a replay is counted before it is made');
  await page.getByRole('dialog').getByRole('button', { name: 'Replay' }).click();
  await page.getByText(/are queued/).waitFor();
  ok(true, 'and made');

  // what strangers wrote is text
  for (const path of ['/', '/log', `/subscriptions/${encodeURIComponent(facts.hostile)}`, `/log?subscription=${encodeURIComponent(facts.hostile)}`]) {
    await at(page, path);
    like(await page.content(), /&lt;(script|img)/, `${path}: what a stranger wrote is there, as text`);
  }
  await page.locator('tbody a[href^="/deliveries/"]').first().click();
  await page.getByRole('heading', { name: 'Delivery' }).waitFor();
  await settled(page);
  is(await page.evaluate(() => window.ran ?? null), null, 'no script of a stranger ran');
  ok(!/ran/.test(await page.title()), '... nor changed the title');

  // tables and tokens
  const watcher = await visitor();
  await logIn(watcher, 'watcher');
  await at(watcher, '/sources');
  await watcher.getByLabel('Table', { exact: true }).selectOption(facts.table);
  await watcher.getByRole('button', { name: 'Watch', exact: true }).click();
  await watcher.getByRole('button', { name: `Unwatch ${facts.table}` }).click();
  await watcher.getByRole('dialog').getByRole('button', { name: 'Stop watching' }).click();
  await watcher.getByText(`${facts.table} is not watched any more.`).waitFor();
  ok(true, 'a table is watched, and unwatched, by its owner');
  await watcher.context().close();
  await at(page, '/tokens');
  await page.getByLabel('Name').fill('shop');
  await page.getByLabel('Role').fill(facts.user);
  await page.getByRole('button', { name: 'Make a token' }).click();
  like(await page.locator('.once code').innerText(), /^whk_/, 'a token is shown, once');
  await at(page, '/audit');
  like(await text(page), /create|make/i, 'changes have an account');

  // a viewer sees, and may not
  const viewer = await visitor();
  await logIn(viewer, 'viewer');
  is(await viewer.getByRole('link', { name: 'New webhook' }).count(), 0, 'a viewer is not offered what it may not');
  await at(viewer, `/subscriptions/${encodeURIComponent(facts.name)}`);
  is(await viewer.getByRole('button', { name: 'Pause' }).count(), 0, '... on no page');
  await at(viewer, '/tokens');
  like(await text(viewer), /may not see this/, '... and is told in words');
  await viewer.context().close();

  await at(page, '/');
  await page.getByRole('button', { name: 'Log out' }).click();
  await page.getByRole('button', { name: 'Log in' }).waitFor();
  ok(true, 'logged out');
  is(wrong, [], 'the browser had nothing to complain of, all the time');
} catch (error) {
  ok(false, 'it went on to the end', error.stack);
} finally {
  await browser.close();
}
console.log(`1..${n}`);

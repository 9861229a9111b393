// The table of a benchmark run: report.mjs WORK OUT
//
// Reads from WORK figures.tsv (key, text, unit, target), samples.tsv (key,
// value), notes.txt and about.txt; prints the table to the terminal and writes
// it to OUT as Markdown. A target is met when the median meets it.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const [work, out] = process.argv.slice(2);
const read = (name) => {
  try {
    return readFileSync(join(work, name), 'utf8').trim().split('\n').filter(Boolean);
  } catch {
    return [];
  }
};

const samples = new Map();
for (const line of read('samples.tsv')) {
  const [key, value] = line.split('\t');
  if (!Number.isFinite(Number(value)) || value === '') throw new Error(`"${value}" was measured as ${key}`);
  samples.set(key, [...(samples.get(key) ?? []), Number(value)]);
}

const shown = (x) => {
  const digits = Math.abs(x) >= 100 ? 0 : Math.abs(x) >= 10 ? 1 : 2;
  return x.toFixed(digits).replace(/\B(?=(\d{3})+(?!\d))/g, ',').replace(/(\.\d*),/g, '$1');
};
const meets = {
  '<': (x, limit) => x < limit,
  '<=': (x, limit) => x <= limit,
  '>=': (x, limit) => x >= limit,
};

const rows = [['Figure', 'Unit', 'n', 'min', 'median', 'max', 'Target', 'Met']];
for (const line of read('figures.tsv')) {
  const [key, text, unit, target] = line.split('\t');
  const values = (samples.get(key) ?? []).sort((a, b) => a - b);
  if (values.length === 0) continue;
  const middle = values.length / 2;
  const median = values.length % 2 ? values[Math.floor(middle)] : (values[middle - 1] + values[middle]) / 2;
  const [sign, limit] = (target ?? '').split(' ');
  const met = target ? (meets[sign](median, Number(limit)) ? 'yes' : '**no**') : '';
  rows.push([text, unit, String(values.length), shown(values[0]), shown(median), shown(values.at(-1)), target ?? '', met]);
}

const about = read('about.txt').join(' ');
const notes = read('notes.txt');
const markdown = [
  about, '',
  `| ${rows[0].join(' | ')} |`,
  `|${rows[0].map((_, i) => (i < 2 || i > 5 ? '---' : '--:')).join('|')}|`,
  ...rows.slice(1).map((row) => `| ${row.join(' | ')} |`),
  ...notes.flatMap((note) => ['', note]),
];
writeFileSync(out, `${markdown.join('\n')}\n`);

const width = rows[0].map((_, i) => Math.max(...rows.map((row) => row[i].replaceAll('*', '').length)));
console.log(about);
for (const row of rows) {
  console.log(row.map((cell, i) => {
    const text = cell.replaceAll('*', '');
    return i < 2 || i > 5 ? text.padEnd(width[i]) : text.padStart(width[i]);
  }).join('  ').trimEnd());
}
for (const note of notes) console.log(note);

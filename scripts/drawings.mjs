// Makes docs/images/*.svg of docs/drawings/*.txt: `make drawings`. With --check
// it writes nothing and names each picture that is not what its source makes.
//
// A source is a drawing that can be read as it is: its first line is the title,
// then comes the picture, of box-drawing characters, arrow heads and text, then,
// after a line "---", the texts that stand out ("good: kept; delivered"). One
// character is one cell of a grid, so nothing is laid out and no tool's version
// or font changes a picture: the same source makes the same bytes everywhere.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const [from, to] = [join(root, 'docs/drawings'), join(root, 'docs/images')];

const W = 8; // a cell
const H = 18;
const PAD = 10;

// which sides of its cell a line reaches: up, right, down, left
const LINES = {
  '─': '.r.l', '│': 'u.d.', '┌': '.rd.', '┐': '..dl', '└': 'ur..', '┘': 'u..l', '├': 'urd.', '┤': 'u.dl', '┬': '.rdl',
  '┴': 'ur.l', '┼': 'urdl', '╭': '.rd.', '╮': '..dl', '╰': 'ur..', '╯': 'u..l',
};
const HEADS = { '▶': [1, 0], '◀': [-1, 0], '▲': [0, -1], '▼': [0, 1] };

// Transparent; the colours are GitHub's, at least 4.5 : 1 on white and on #0d1117.
const STYLE = `
text{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;fill:#1f2328;white-space:pre}
.line{fill:none;stroke:#59636e;stroke-width:1.25}.head{fill:#59636e}.box{fill:#818b98;fill-opacity:.1}
.strong{font-weight:bold}.good{fill:#1a7f37}.bad{fill:#cf222e}.so{fill:#9a6700}.dim{fill:#59636e}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.line{stroke:#9198a1}.head{fill:#9198a1}
.good{fill:#3fb950}.bad{fill:#f85149}.so{fill:#d29922}.dim{fill:#9198a1}}
`;

const escape = (s) => s.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
const x = (column) => PAD + column * W;
const y = (row) => PAD + row * H;

function draw(source, name) {
  const [picture, words = ''] = source.split(/^---\n/m);
  const [title, ...rows] = picture.replace(/\s+$/, '').split('\n');
  while (rows.length && rows[0].trim() === '') rows.shift();
  const grid = rows.map((row) => [...row]);
  const at = (r, c) => grid[r]?.[c] ?? ' ';
  const width = Math.max(...grid.map((row) => row.length));

  const classes = new Map();
  for (const [, kind, list] of words.matchAll(/^(\w+): (.*)$/gm))
    for (const word of list.split('; ')) classes.set(word, kind);
  const unused = new Set(classes.keys());

  const out = [];
  // boxes: from each upper left corner along its sides, as far as they go round
  const joins = (char, side) => LINES[char]?.includes(side);
  for (let r = 0; r < grid.length; r++)
    for (let c = 0; c < grid[r].length; c++) {
      if (!'┌╭'.includes(at(r, c))) continue;
      let right = c + 1;
      while (joins(at(r, right), 'l') && !'┐╮'.includes(at(r, right))) right++;
      let down = r + 1;
      while (joins(at(down, c), 'u') && !'└╰'.includes(at(down, c))) down++;
      if (!'┐╮'.includes(at(r, right)) || !'└╰'.includes(at(down, c)) || !'┘╯'.includes(at(down, right))) continue;
      out.push(`<rect class="box" x="${x(c) + W / 2}" y="${y(r) + H / 2}" width="${(right - c) * W}" height="${(down - r) * H}" rx="4"/>`);
    }

  // lines: along rows, along columns, and what round corners have between
  const path = [];
  const rounded = { '╭': [1, 1], '╮': [-1, 1], '╰': [1, -1], '╯': [-1, -1] };
  const run = (long, wide, get, before, after, point) => {
    for (let i = 0; i < long; i++)
      for (let j = 0; j < wide; j++) {
        const start = j;
        const open = get(i, j);
        if (!joins(open, after) && !joins(open, before)) continue;
        while (joins(get(i, j), after) && joins(get(i, j + 1), before)) j++;
        // a line that ends beside another one, such as the side of a box, reaches it
        const first = open in rounded ? 1 : !joins(open, before) ? 0.5 : get(i, start - 1) in LINES ? -0.5 : 0;
        const last = get(i, j) in rounded ? 0 : !joins(get(i, j), after) ? 0.5 : get(i, j + 1) in LINES ? 1.5 : 1;
        if (j + last > start + first) path.push(`M${point(i, start + first)}L${point(i, j + last)}`);
      }
  };
  run(grid.length, width, (i, j) => at(i, j), 'l', 'r', (i, j) => `${x(j)} ${y(i) + H / 2}`);
  run(width, grid.length, (i, j) => at(j, i), 'u', 'd', (i, j) => `${x(i) + W / 2} ${y(j)}`);
  for (let r = 0; r < grid.length; r++)
    for (let c = 0; c < grid[r].length; c++) {
      const [mx, my] = [x(c) + W / 2, y(r) + H / 2];
      const turn = rounded[at(r, c)];
      if (turn) path.push(`M${mx} ${my + (turn[1] * H) / 2}Q${mx} ${my} ${mx + (turn[0] * W) / 2} ${my}`);
      const head = HEADS[at(r, c)];
      if (!head) continue;
      const [dx, dy] = head;
      const reach = at(r + dy, c + dx) in LINES ? 0.93 : 0.5; // to the line it points at
      const [tx, ty] = [mx + dx * W * reach, my + dy * H * reach];
      const [bx, by] = [tx - dx * 9, ty - dy * 9];
      const tail = at(r - dy, c - dx) in LINES ? 1 : 0.5;
      path.push(`M${mx - dx * W * tail} ${my - dy * H * tail}L${bx} ${by}`);
      out.push(`<path class="head" d="M${tx} ${ty}L${bx + dy * 4} ${by + dx * 4}L${bx - dy * 4} ${by - dx * 4}Z"/>`);
    }
  out.push(`<path class="line" d="${path.join('')}"/>`);

  // texts: what stands together with single blanks
  grid.forEach((row, r) => {
    const line = row.map((char) => (char in LINES || char in HEADS ? '\u0000' : char)).join('');
    for (const match of line.matchAll(/[^\s\u0000]+(?: [^\s\u0000]+)*/g)) {
      const kind = classes.get(match[0]);
      unused.delete(match[0]);
      out.push(
        `<text${kind ? ` class="${kind}"` : ''} x="${x(match.index)}" y="${y(r) + 13.5}" textLength="${match[0].length * W}">${escape(match[0])}</text>`,
      );
    }
  });
  if (unused.size) throw new Error(`${name}: not in the picture: ${[...unused].join(', ')}`);

  const size = [width * W + 2 * PAD, grid.length * H + 2 * PAD];
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${size[0]}" height="${size[1]}" viewBox="0 0 ${size.join(' ')}" role="img">
<title>${escape(title)}</title>
<style>${STYLE}</style>
${out.join('\n')}
</svg>
`;
}

const check = process.argv[2] === '--check';
const names = readdirSync(from).filter((file) => file.endsWith('.txt')).map((file) => file.slice(0, -4)).sort();
if (!check) mkdirSync(to, { recursive: true });
for (const name of names) {
  const svg = draw(readFileSync(join(from, `${name}.txt`), 'utf8'), name);
  const path = join(to, `${name}.svg`);
  if (!check) {
    writeFileSync(path, svg);
    continue;
  }
  let there = '';
  try {
    there = readFileSync(path, 'utf8');
  } catch {}
  if (there !== svg) console.log(`docs/images/${name}.svg is not what docs/drawings/${name}.txt makes: make drawings`);
}
if (check)
  for (const file of readdirSync(to))
    if (file.endsWith('.svg') && !names.includes(file.slice(0, -4))) console.log(`docs/images/${file}: no source in docs/drawings`);

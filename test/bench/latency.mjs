// Joins commit times ("id milliseconds" lines on stdin) with the receiver's
// arrivals (requests.jsonl) and prints one line: the distribution of the time
// from commit to receipt. Called by run.sh.
import { readFileSync } from 'node:fs';

const [spacing, requests] = process.argv.slice(2);
const arrivals = new Map();
for (const line of readFileSync(requests, 'utf8').trim().split('\n')) {
  const request = JSON.parse(line);
  const id = JSON.parse(request.body).entity_id;
  if (!arrivals.has(id)) arrivals.set(id, request.at);
}
const times = readFileSync(0, 'utf8').trim().split('\n').map((line) => {
  const [id, committed] = line.split(' ');
  return arrivals.get(id) - Number(committed);
}).sort((a, b) => a - b);
if (times.some(Number.isNaN)) throw new Error('an event that was committed has not arrived');
const at = (share) => times[Math.min(times.length - 1, Math.ceil(times.length * share) - 1)].toFixed(2);
console.log(`    every ${spacing} ms: n ${times.length}, min ${at(0.001)}, median ${at(0.5)}, p99 ${at(0.99)}, max ${at(1)}`);

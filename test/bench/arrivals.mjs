// Joins commit times ("id milliseconds" lines on stdin) with the receiver's
// arrivals at a path (requests.jsonl) and prints the milliseconds from commit to
// receipt, one line per event.
import { readFileSync } from 'node:fs';

const [path, requests] = process.argv.slice(2);
const arrivals = new Map();
for (const line of readFileSync(requests, 'utf8').trim().split('\n')) {
  const request = JSON.parse(line);
  if (request.path !== path) continue;
  const id = String(JSON.parse(request.body).entity_id);
  if (!arrivals.has(id)) arrivals.set(id, request.at);
}
for (const line of readFileSync(0, 'utf8').trim().split('\n')) {
  const [id, committed] = line.split(' ');
  if (!arrivals.has(id)) throw new Error(`event ${id}, which was committed, has not arrived`);
  console.log((arrivals.get(id) - Number(committed)).toFixed(3));
}

// What Centrifugo answers and what a stack answers, beside each other: `node oracle.mjs DIFFERENCES [--write] [PART OF A NAME]`.
//
// Every case of `oracle_cases.mjs` runs against both. Where they differ, the file of differences has the step, both answers and
// the reason; a difference that is not there fails, and so does one that is there no more. With `--write` the file is written
// anew, and each new difference waits for its reason. Where the servers are is in the variables CENTRIFUGO and TIDINGS:
// `{"socket":…,"api":…,"secret":…,"key":…}`.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { cases } from './oracle_cases.mjs';
import { Server } from './oracle_server.mjs';

const [file, ...rest] = process.argv.slice(2);
const write = rest.includes('--write');
const part = rest.find((argument) => argument !== '--write') ?? '';
const servers = { centrifugo: JSON.parse(process.env.CENTRIFUGO), tidings: JSON.parse(process.env.TIDINGS) };
const chosen = Object.entries(cases).filter(([name]) => name.includes(part));

/** What one server says in all cases: for each case its steps, by name. */
async function observed(name) {
  const said = {};
  for (const [index, [title, run]] of chosen.entries()) {
    const server = new Server(servers[name], index);
    try {
      await run(server);
    } catch (error) {
      server.steps['the case'] = `ends early: ${error.message}`;
    }
    server.end();
    said[title] = server.steps;
  }
  return said;
}

function differencesOf(centrifugo, tidings) {
  const found = [];
  for (const [title] of chosen) {
    for (const step of new Set([...Object.keys(centrifugo[title]), ...Object.keys(tidings[title])])) {
      const [theirs, ours] = [centrifugo[title][step] ?? 'no such step', tidings[title][step] ?? 'no such step'];
      try {
        assert.deepEqual(ours, theirs);
      } catch {
        found.push({ case: title, step, centrifugo: theirs, tidings: ours });
      }
    }
  }
  return found;
}

const key = (difference) => `${difference.case}: ${difference.step}`;
const known = JSON.parse(readFileSync(file, 'utf8'));
const [centrifugo, tidings] = await Promise.all([observed('centrifugo'), observed('tidings')]);
const found = differencesOf(centrifugo, tidings);
const steps = Object.values(centrifugo).reduce((sum, of) => sum + Object.keys(of).length, 0);

if (write) {
  const reasons = new Map(known.map((difference) => [key(difference), difference.why]));
  const all = found.map((difference) => ({ ...difference, why: reasons.get(key(difference)) ?? '' }));
  writeFileSync(file, `${JSON.stringify(all, null, 2)}\n`);
}
const wrong = [];
const expected = new Map(known.filter((one) => one.case.includes(part)).map((one) => [key(one), one]));
for (const difference of found) {
  const listed = expected.get(key(difference));
  expected.delete(key(difference));
  const { why, ...values } = listed ?? {};
  try {
    assert.deepEqual(values, difference);
    if (!why) wrong.push(`without a reason: ${key(difference)}`);
  } catch {
    wrong.push(`${listed ? 'another' : 'a new'} difference: ${JSON.stringify(difference, null, 2)}`);
  }
}
for (const gone of expected.keys()) wrong.push(`no difference any more: ${gone}`);
console.log(`${chosen.length} cases, ${steps} steps: ${steps - found.length} the same, ${found.length} different`);
for (const line of wrong) console.log(line);
process.exit(wrong.length === 0 || write ? 0 : 1);

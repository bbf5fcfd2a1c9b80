// Series, latency bins, ledgers, the table's order and the address of the page.
import assert from 'node:assert/strict';
import test from 'node:test';
import { COLUMNS, matches, rows as order } from '../columns.js';
import { binOf, rows } from '../bins.js';
import { counters, edgeCounts, sums } from '../ledger.js';
import { complete, decades, growth, positive, withGaps } from '../series.js';
import { fromState } from '../model.js';
import { parse, query } from '../view.js';

test('a gap breaks the line, and silence at the end is a gap', () => {
  const [t, values] = withGaps({ step: 1, t: [10, 11, 12, 20], in: [1, 2, 3, 4] }, ['in'], 10, 30);
  assert.deepEqual(t, [10, 11, 12, 13, 20, 21]);
  assert.deepEqual(values, [1, 2, 3, null, 4, null]);
});

test('slots between the reports of a slow node are no gap, silence of 2.5 periods is', () => {
  const series = { step: 1, t: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10], in: [1, null, 2, null, 3, null, null, null, null, null, 4] };
  const [, values] = withGaps(series, ['in'], 0, 10, 2);
  assert.deepEqual(values, [1, undefined, 2, undefined, 3, null, null, null, null, null, 4]);
});

test('without any figure there is a line of nothing', () => {
  assert.deepEqual(withGaps({ step: 1, t: [] }, ['in'], 5, 9), [[5, 9], [null, null]]);
});

test('there is no zero on a logarithmic scale', () => {
  assert.deepEqual(positive([0, 1, null, undefined]), [null, 1, null, undefined]);
  assert.deepEqual(decades(3e-5, 0.02), [1e-5, 0.1]);
  assert.deepEqual(decades(1e-3, 1e-3), [1e-3, 1e-2]);
  assert.deepEqual(decades(null, null), [1e-6, 1]);
});

test('the newest second is not whole yet', () => {
  assert.deepEqual(complete([1, null, 2, undefined, null]), [1, null, null, undefined, null]);
  assert.deepEqual(complete([null]), [null]);
});

test('a counter grows per second and begins anew after a restart', () => {
  assert.deepEqual(growth([0, 1, 2, 3, 5], [7, 7, 9, null, 2]), [0, 0, 2, null, 2 / 3]);
});

test('bins are those of 2016, in percent of two places', () => {
  const all = rows([{ le: 1e-4, count: 2449 }, { le: 0.0010000000000000002, count: 227 }]);
  assert.equal(all.length, 9);
  assert.deepEqual(all.filter((row) => row.count).map((row) => [row.label, row.percent, row.cumulative]), [['< 100 us', 91.52, 91.52], ['< 1 ms', 8.48, 100]]);
  assert.equal(binOf(50, all), '< 100 us');
  assert.equal(binOf(99, all), '< 1 ms');
});

test('what is below the first bound or above the last has its place', () => {
  const all = rows([{ le: 1e-9, count: 1 }, { le: 100, count: 2 }, { le: null, count: 3 }]);
  assert.deepEqual([all[0].count, all[8].count], [1, 5]);
  assert.equal(all[8].label, '> 10 s');
  assert.equal(binOf(99.9, rows([])), null);
  assert.equal(binOf(99.9, rows([{ le: 1, count: 1 }])), '< 1 s');
});

test('a queue keeps its sum, and what is missing is named', () => {
  const ledger = { accepted: 10, ready: 1, leased: 2, done: 6, dead: 0, discarded: 0, popped: 0 };
  assert.equal(sums('queue', ledger)[0].rest, 1);
  assert.equal(sums('queue', { ...ledger, done: 7 })[0].rest, 0);
  assert.deepEqual(sums('sink', ledger), []);
  assert.deepEqual(sums('queue', undefined), []);
});

test('counters that count come first', () => {
  assert.deepEqual(counters({ b: 0, a: 0, z: 3 }).map(([name]) => name), ['z', 'a', 'b']);
});

test('an edge tells its two counts by its direction', () => {
  assert.deepEqual(edgeCounts({ dir: 'in', taken: 5, finished: 3, under_way: 2 }).second, ['finished', 3]);
  assert.deepEqual(edgeCounts({ dir: 'out', sent: 5 }).second, ['confirmed', null]);
});

const model = fromState({ now: 10, nodes: [{ id: 'N10', kind: 'queue', state: 'live', in: 3 }, { id: 'N2', kind: 'worker', func: 'Reverse', state: 'live', in: null }, { id: 'N1', kind: 'sink', state: 'silent', last_seen: 1, in: 9 }] });
const ids = (sort, down, filter = '') => order(model, { sort, down, filter }).map((node) => node.id);

test('rows are in order, the unknown last both ways, names by their numbers', () => {
  assert.deepEqual(ids('id', false), ['N1', 'N2', 'N10']);
  assert.deepEqual(ids('in', true), ['N1', 'N10', 'N2']);
  assert.deepEqual(ids('in', false), ['N10', 'N1', 'N2']);
  assert.deepEqual(ids('state', false)[0], 'N1');
  assert.deepEqual(ids('no such column', false), ['N1', 'N2', 'N10']);
});

test('every word of the filter has to be there', () => {
  assert.deepEqual(ids('id', false, 'worker REV'), ['N2']);
  assert.deepEqual(ids('id', false, 'silent'), ['N1']);
  assert.equal(matches(model.nodes.get('N2'), model, 'worker queue'), false);
});

test('each column writes each node, however little of it is known', () => {
  for (const column of COLUMNS) for (const node of model.nodes.values()) assert.equal(typeof column.text(node, model), 'string', column.id);
});

test('the view goes into the address and comes back', () => {
  const view = { node: '<script>&?=', window: '1h', tab: 'bins', filter: 'a b', sort: 'p99', down: true };
  assert.deepEqual(parse(query(view)), view);
  assert.equal(query(parse('')), '');
  assert.deepEqual(parse('?window=9y&tab=x&sort=<b>'), parse(''));
});

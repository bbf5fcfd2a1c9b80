// What the page knows, from a state and its ticks.
import assert from 'node:assert/strict';
import test from 'node:test';
import { calling, counter, dropped, empty, fromState, losing, newest, standing, suggested, told, withDetails, withTick } from '../model.js';

const state = { now: 10, version: '1', started: 1, health: { state: 'healthy', unaccounted: 0, bottleneck: null },
  nodes: [{ id: 'A', kind: 'queue', ours: true, in: 1, out: 2 }, { id: 'B', kind: 'sink', ours: false }], edges: [{ id: 'A>0', from: 'A', to: 'B', rate: 1 }], events: [{ n: 1 }] };

test('a tick changes what it names and leaves the rest', () => {
  const model = withTick(fromState(state), { now: 11, nodes: [{ id: 'A', in: 5 }], edges: [{ id: 'A>0', rate: 9 }], events: [{ n: 2 }] });
  assert.equal(model.now, 11);
  assert.deepEqual(model.nodes.get('A'), { id: 'A', kind: 'queue', ours: true, in: 5, out: 2 });
  assert.deepEqual(model.edges.get('A>0'), { id: 'A>0', from: 'A', to: 'B', rate: 9 });
  assert.deepEqual(model.events, [{ n: 2 }, { n: 1 }]);
  assert.equal(model.health.state, 'healthy');
});

test('what is gone goes, and what is new comes', () => {
  const model = withTick(fromState(state), { nodes: [{ id: 'C', kind: 'worker' }], nodes_gone: ['B'], edges_gone: ['A>0'] });
  assert.deepEqual([...model.nodes.keys()], ['A', 'C']);
  assert.equal(model.edges.size, 0);
});

test('a new state keeps nothing of the old one', () => {
  assert.deepEqual(fromState({}), empty());
});

test('an event is there once, the newest first, and not without end', () => {
  assert.deepEqual(newest([{ n: 3 }], [{ n: 3 }, { n: 5 }]).map((event) => event.n), [5, 3]);
  assert.equal(newest([], Array.from({ length: 1000 }, (_, n) => ({ n }))).length, 300);
});

test('ledgers are asked for when the stream leaves them out, and only known nodes take them', () => {
  const model = fromState(state);
  assert.equal(model.slim, true);
  const more = withDetails(model, [{ id: 'A', in: 99, ledger: { dead: 2 } }, { id: 'Z', ledger: {} }]);
  assert.equal(counter(more.nodes.get('A'), 'dead'), 2);
  assert.equal(more.nodes.get('A').in, 1);
  assert.equal(more.nodes.has('Z'), false);
  assert.equal(fromState({ nodes: [{ id: 'A', ours: true, ledger: {} }] }).slim, false);
});

test('a counter that is not named is zero, one of 2016 is unknown', () => {
  assert.equal(counter({ ours: true, ledger: {} }, 'dead'), 0);
  assert.equal(counter({ ours: false }, 'dead'), null);
});

test('the worst that is so gives the standing', () => {
  const held = { bottleneck: { node: 'W' } };
  assert.equal(standing({ id: 'W', state: 'silent', unaccounted: 4 }, held), 'silent');
  assert.equal(standing({ id: 'W', state: 'live', unaccounted: 4 }, held), 'harm');
  assert.equal(standing({ id: 'W', state: 'live', rising: ['x'] }, held), 'bottleneck');
  assert.equal(standing({ id: 'V', state: 'live', rising: ['x'] }, held), 'drops');
  assert.equal(standing({ id: 'V', state: 'live', share: { blocked: 0.2 } }, held), 'waits');
  assert.equal(standing({ id: 'V', state: 'live' }, null), 'live');
});

test('what is refused is not lost', () => {
  const node = { id: 'Q', ours: true, state: 'live', drops: { kernel_drops: 2, refused_full: 5 }, rising: ['refused_full'] };
  assert.equal(dropped(node), 2);
  assert.equal(dropped({ ours: false, drops: {} }), null);
  assert.equal(told(node, {}), '‖ refused_full');
  assert.deepEqual(losing({ rising: ['refused_full', 'kernel_drops'] }), ['kernel_drops']);
});

test('standings are told in words', () => {
  assert.equal(told({ id: 'V', state: 'silent', last_seen: 3 }, { now: 10.5 }), '◌ last seen 7 s ago');
  assert.equal(told({ id: 'V', state: 'live', rising: ['kernel_drops'] }, {}), '▼ kernel_drops');
  assert.equal(told({ id: 'V', state: 'live' }, {}), '● live');
});

test('a kind is called once', () => {
  assert.equal(calling({ kind: 'queue', func: 'Messagequeue' }), 'queue');
  assert.equal(calling({ kind: 'worker', func: 'Marketspread' }), 'worker · Marketspread');
  assert.equal(calling({ kind: 'unknown', func: null }), 'unknown');
});

test('where it hurts is shown first, else the end', () => {
  assert.equal(suggested(fromState(state)), 'B');
  assert.equal(suggested(fromState({ ...state, health: { bottleneck: { node: 'A' } } })), 'A');
  assert.equal(suggested(empty()), null);
});

// Which boxes and links the topology has.
import assert from 'node:assert/strict';
import test from 'node:test';
import { ends, level, linkFigures, path, scaleFor, shape } from '../graph.js';

const nodesOf = (...list) => new Map(list.map(([id, kind, func = null]) => [id, { id, kind, func }]));
const edgesOf = (...list) => new Map(list.map(([from, to, more], n) => [String(n), { id: String(n), from, to, peer: 'p:1', dir: 'out', ...more }]));

test('few nodes are a box each, edges of one pair share a link', () => {
  const is = shape(nodesOf(['F', 'feeder'], ['Q', 'queue'], ['W', 'worker']), edgesOf(['F', 'Q'], ['F', 'Q'], ['Q', 'W', { dir: 'in' }]));
  assert.deepEqual(is.boxes.map((box) => box.ids), [['F'], ['Q'], ['W']]);
  assert.deepEqual(is.links.map((link) => [link.from, link.to, link.edges.length]), [['node F', 'node Q', 2], ['node Q', 'node W', 1]]);
  assert.equal(is.grouped, 0);
});

test('a peer that does not report is a box of its own, on the side it is at', () => {
  const nodes = nodesOf(['W', 'worker']);
  assert.deepEqual(ends({ from: 'W', to: null, peer: 'a:1', dir: 'out' }, nodes), { from: 'W', to: '@a:1' });
  assert.deepEqual(ends({ from: null, to: 'W', peer: 'a:1', dir: 'in' }, nodes), { from: '@a:1', to: 'W' });
  assert.deepEqual(ends({ from: 'W', to: null, peer: 'a:1', dir: 'in' }, nodes), { from: '@a:1', to: 'W' });
  assert.equal(shape(nodes, edgesOf(['W', null])).boxes.find((box) => box.ghost !== null).ghost, 'p:1');
});

const pool = (workers) => {
  const ids = Array.from({ length: workers }, (_, n) => `W${n}`);
  return [nodesOf(['Q', 'queue'], ['S', 'sink'], ...ids.map((id) => [id, 'worker', 'X'])), edgesOf(...ids.flatMap((id) => [['Q', id, { dir: 'in' }], [id, 'S']]))];
};

test('many that stand alike share a box', () => {
  const is = shape(...pool(64));
  assert.deepEqual(is.boxes.map((box) => box.ids.length).sort((a, b) => a - b), [1, 1, 64]);
  assert.equal(is.links.length, 2);
  assert.equal(is.links[0].edges.length, 64);
});

test('equal pipelines fold into one', () => {
  const lines = Array.from({ length: 50 }, (_, n) => n);
  const is = shape(nodesOf(...lines.flatMap((n) => [[`F${n}`, 'feeder'], [`Q${n}`, 'queue'], [`W${n}`, 'worker'], [`S${n}`, 'sink']])),
    edgesOf(...lines.flatMap((n) => [[`F${n}`, `Q${n}`], [`Q${n}`, `W${n}`, { dir: 'in' }], [`W${n}`, `S${n}`]])));
  assert.deepEqual(is.boxes.map((box) => box.ids.length), [50, 50, 50, 50]);
});

test('an opened group shows its nodes', () => {
  const [nodes, edges] = pool(30);
  assert.equal(shape(nodes, edges, new Set([...nodes.keys()].filter((id) => id.startsWith('W')))).boxes.length, 32);
});

test('figures leave the key alone, a new node or edge changes it', () => {
  const [nodes, edges] = pool(5);
  const before = shape(nodes, edges).key;
  edges.set('0', { ...edges.get('0'), rate: 77, waits: true });
  assert.equal(shape(nodes, edges).key, before);
  edges.set('new', { id: 'new', from: 'S', to: 'Q', dir: 'out' });
  assert.notEqual(shape(nodes, edges).key, before);
});

test('how full a queue is stands at what leads into it', () => {
  const edges = edgesOf(['F', 'Q', { fill: 0.5, rate: 2 }], ['Q', 'W', { dir: 'in', fill: 0.5, rate: 1, waits: true }]);
  const [into, outOf] = shape(nodesOf(['F', 'feeder'], ['Q', 'queue'], ['W', 'worker']), edges).links.map((link) => linkFigures(link, edges));
  assert.equal(into.fill, 0.5);
  assert.equal(outOf.fill, null);
  assert.equal(outOf.waits, 1);
  const alone = edgesOf(['Q', 'W', { dir: 'in', fill: 0.7 }]);
  assert.equal(linkFigures(shape(nodesOf(['Q', 'queue'], ['W', 'worker']), alone).links[0], alone).fill, 0.7);
});

test('levels: green up to 60 %, yellow up to 85 %, then red', () => {
  assert.deepEqual([0, 0.6, 0.61, 0.85, 0.86, 1].map(level), ['ok', 'ok', 'warn', 'warn', 'bad', 'bad']);
});

test('letters stay readable, and few boxes are not blown up', () => {
  assert.equal(scaleFor(5000, 700), 0.7);
  assert.equal(scaleFor(100, 700), 1.15);
  assert.equal(scaleFor(700, 700), 1);
});

test('a path goes from the first point to the last', () => {
  assert.match(path([{ x: 0, y: 0 }, { x: 5, y: 5 }, { x: 10, y: 0 }]), /^M0\.0 0\.0.*L10\.0 0\.0$/);
  assert.equal(path([{ x: 0, y: 0 }, { x: 1, y: 1 }]), 'M0.0 0.0L1.0 1.0');
});

// Numbers as people read them.
import assert from 'node:assert/strict';
import test from 'node:test';
import { age, clip, count, latency, percent, rate, short, when } from '../format.js';

test('rates keep three figures that count', () => {
  const written = [0, 0.4, 1.5, 12, 12.34, 100, 999.4, 999.6, 1530, 34_500, 1_200_000, -2500].map(short);
  assert.deepEqual(written, ['0', '0.4', '1.5', '12', '12.3', '100', '999', '1k', '1.53k', '34.5k', '1.2M', '-2.5k']);
  assert.equal(rate(100), '100/s');
});

test('counts show every digit', () => {
  assert.deepEqual([0, 999, 1000, 1_234_567].map(count), ['0', '999', '1,000', '1,234,567']);
});

test('latencies have the unit that fits', () => {
  const written = [0, 2.5e-7, 4.12e-4, 3.4e-3, 0.9996, 1.2, 75, 150].map(latency);
  assert.deepEqual(written, ['0 s', '250 ns', '412 us', '3.4 ms', '1 s', '1.2 s', '75 s', '2 min 30 s']);
});

test('stretches of time name their two largest units', () => {
  assert.deepEqual([0, 7.9, 60, 185, 7800, 349_200, -3].map((seconds) => age(seconds)), ['0 s', '7 s', '1 min', '3 min 5 s', '2 h 10 min', '4 d 1 h', '0 s']);
});

test('what is unknown is a dash', () => {
  for (const write of [short, rate, count, latency, age, percent, when]) {
    for (const nothing of [null, undefined, NaN, Infinity, '7']) assert.equal(write(nothing), '–');
  }
});

test('long names are cut between letters', () => {
  assert.equal(clip('abc', 3), 'abc');
  assert.equal(clip('abcd', 3), 'ab…');
  assert.equal(clip('🚀🚀🚀', 2), '🚀…');
});

test('another day than today is named', () => {
  const now = new Date(2026, 10, 22, 12, 0, 0).getTime() / 1000;
  assert.equal(when(now - 60, now), '11:59:00');
  assert.equal(when(now - 86_400, now), '2026-11-21 12:00:00');
});

test('or only the largest', () => {
  assert.equal(age(282, 1), '4 min');
});

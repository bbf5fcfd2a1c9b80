// The columns of the table of nodes: what each says, and by what it sorts; the filter. Pure.

import { MARKS, WORST, calling, counter, dropped, gauge, standing, told } from './model.js';
import { NONE, age, count, latency, short } from './format.js';

const shares = (share) => (share ? [share.busy, share.blocked, share.idle].map((one) => Math.round((one ?? 0) * 100)).join('/') : NONE);
const duplicates = (node) => {
  const [one, other] = [counter(node, 'duplicates'), counter(node, 'duplicate_ids')];
  return one === null && other === null ? null : (one ?? 0) + (other ?? 0);
};

/** Each: `id` in the address of the page, `name`, `about`, `value(node, model)` to sort by, `text`, `harm` if over 0 is bad. */
export const COLUMNS = [
  { id: 'state', name: 'State', about: 'what the node is doing', words: true, value: (node, model) => WORST.indexOf(standing(node, model.health)),
    text: told },
  { id: 'id', name: 'Node', about: 'its VUID', words: true, value: (node) => node.id, text: (node) => node.id },
  { id: 'kind', name: 'Kind', about: 'its kind and function', words: true, value: (node) => `${node.kind} ${node.func ?? ''}`,
    text: calling },
  { id: 'in', name: 'In/s', about: 'messages in per second', value: (node) => node.in, text: (node) => short(node.in) },
  { id: 'out', name: 'Out/s', about: 'messages out per second', value: (node) => node.out, text: (node) => short(node.out) },
  { id: 'p50', name: 'p50', about: 'median latency', value: (node) => node.latency?.p50, text: (node) => latency(node.latency?.p50) },
  { id: 'p99', name: 'p99', about: 'latency of 99 %', value: (node) => node.latency?.p99, text: (node) => latency(node.latency?.p99) },
  { id: 'p999', name: 'p99.9', about: 'latency of 99.9 %', value: (node) => node.latency?.p999, text: (node) => latency(node.latency?.p999) },
  { id: 'busy', name: 'Busy/blocked/idle', about: 'shares of its time: busy, blocked by what comes after it, idle', value: (node) => node.share?.busy, text: (node) => shares(node.share), bar: (node) => node.share },
  { id: 'depth', name: 'Depth', about: 'messages that wait in it', value: (node) => gauge(node, 'depth'), text: (node) => count(gauge(node, 'depth')) },
  { id: 'age', name: 'Age', about: 'age of the oldest that waits', value: (node) => gauge(node, 'oldest_age_s'), text: (node) => latency(gauge(node, 'oldest_age_s')) },
  { id: 'unaccounted', name: 'Unacc.', about: 'messages that no counter explains', value: (node) => node.unaccounted, text: (node) => count(node.unaccounted), harm: true },
  { id: 'drops', name: 'Drops', about: 'messages and datagrams thrown away, by every reason', value: dropped, text: (node) => count(dropped(node)), harm: true },
  { id: 'dup', name: 'Dup.', about: 'duplicates dropped', value: duplicates, text: (node) => count(duplicates(node)) },
  { id: 'redelivered', name: 'Redel.', about: 'handed out again', value: (node) => counter(node, 'redelivered'), text: (node) => count(counter(node, 'redelivered')) },
  { id: 'dead', name: 'Dead', about: 'dead letters', value: (node) => counter(node, 'dead'), text: (node) => count(counter(node, 'dead')), harm: true },
  { id: 'uptime', name: 'Uptime', about: 'how long it runs', value: (node) => node.uptime_s, text: (node) => age(node.uptime_s) },
  { id: 'version', name: 'Version', about: 'its version', words: true, value: (node) => node.version, text: (node) => node.version ?? (node.ours ? NONE : '2016') },
];

/** Whether every word of the filter is in what names the node. */
export function matches(node, model, filter) {
  const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length) return true;
  const all = [node.id, node.kind, node.func, node.address, node.version, node.state, MARKS[standing(node, model.health)][1]]
    .filter(Boolean).join(' ').toLowerCase();
  return words.every((word) => all.includes(word));
}

const names = new Intl.Collator(undefined, { numeric: true });
const compare = (a, b) => (typeof a === 'number' && typeof b === 'number' ? a - b : names.compare(String(a), String(b)));

/** The nodes that match, in order. What is unknown comes last, whichever way it is sorted; equal ones by name. */
export function rows(model, { filter, sort, down }) {
  const column = COLUMNS.find((one) => one.id === sort) ?? COLUMNS[1];
  return [...model.nodes.values()].filter((node) => matches(node, model, filter))
    .map((node) => ({ node, by: column.value(node, model) ?? null }))
    .sort((a, b) => {
      if ((a.by === null) !== (b.by === null)) return a.by === null ? 1 : -1;
      const first = a.by === null ? 0 : compare(a.by, b.by);
      return (down ? -first : first) || names.compare(a.node.id, b.node.id);
    }).map(({ node }) => node);
}

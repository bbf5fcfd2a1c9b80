// The sums that a ledger has to keep: each says where every message is, and what is left over is named. Pure.

/** By what counts as taken in: the places a message can be in. Names as in docs/operating.md, "What becomes of a message". */
const SUMS = {
  queue: [['accepted', ['ready', 'leased', 'done', 'dead', 'discarded', 'popped']]],
  worker: [['received', ['processed', 'function_errors', 'function_panics']]],
  feeder: [['read', ['blank', 'too_long', 'bad_rows', 'resumed', 'sent', 'waiting']],
    ['sent', ['confirmed', 'refused_full', 'unconfirmed', 'under_way']]],
};

/** The sums of a node: `whole`, its places, and `rest`, which is what they do not explain. */
export function sums(kind, ledger) {
  if (!ledger) return [];
  return (SUMS[kind] ?? []).filter(([whole]) => whole in ledger).map(([whole, places]) => {
    const parts = places.filter((name) => name in ledger).map((name) => [name, ledger[name]]);
    return { whole, value: ledger[whole], parts, rest: ledger[whole] - parts.reduce((total, [, value]) => total + value, 0) };
  });
}

/** All counters of a ledger: those that count something first, then by name. */
export function counters(ledger) {
  return Object.entries(ledger ?? {}).sort(([a, x], [b, y]) => (x > 0 ? 0 : 1) - (y > 0 ? 0 : 1) || a.localeCompare(b));
}

/** The two counts of an edge, and what of it is neither confirmed nor lost: under way. */
export function edgeCounts(edge) {
  const [name, more] = edge.dir === 'in' ? ['taken', 'finished'] : ['sent', 'confirmed'];
  return { first: [name, edge[name] ?? null], second: [more, edge[more] ?? null], underWay: edge.under_way ?? null, unaccounted: edge.unaccounted ?? 0 };
}

// What the page knows: the whole state from the stream, then kept up to date by its ticks. Pure.

import { age } from './format.js';

const EVENTS_KEPT = 300;

/** Before anything was heard. */
export const empty = () => ({ now: null, version: null, started: null, slim: false, health: null, hub: null,
  nodes: new Map(), edges: new Map(), events: [] });

const keyed = (list) => new Map((list ?? []).map((one) => [one.id, one]));

/** A whole state replaces all that was known: after a restart of the hub nothing old stays. */
export function fromState(state) {
  return { ...empty(), now: state.now ?? null, version: state.version ?? null, started: state.started ?? null,
    // Whether the ledgers have to be asked for: the stream may leave them out.
    slim: (state.nodes ?? []).some((node) => node.ours && !node.ledger), health: state.health ?? null, hub: state.hub ?? null, nodes: keyed(state.nodes), edges: keyed(state.edges),
    events: newest([], state.events) };
}

/** Events by falling number, each once, the newest of them. */
export function newest(known, more) {
  const all = new Map(known.map((event) => [event.n, event]));
  for (const event of more ?? []) all.set(event.n, event);
  return [...all.values()].sort((a, b) => b.n - a.n).slice(0, EVENTS_KEPT);
}

function merged(known, changes, gone) {
  if (!changes?.length && !gone?.length) return known;
  const after = new Map(known);
  for (const change of changes ?? []) after.set(change.id, { ...after.get(change.id), ...change });
  for (const id of gone ?? []) after.delete(id);
  return after;
}

/** A tick changes the fields it names and leaves the others as they are. */
export function withTick(model, tick) {
  const came = (tick.nodes ?? []).some((node) => node.ours && !node.ledger && !model.nodes.has(node.id));
  return { ...model, now: tick.now ?? model.now,
    slim: model.slim || came, health: tick.health ? { ...model.health, ...tick.health } : model.health,
    hub: tick.hub ? { ...model.hub, ...tick.hub } : model.hub,
    nodes: merged(model.nodes, tick.nodes, tick.nodes_gone), edges: merged(model.edges, tick.edges, tick.edges_gone),
    events: tick.events?.length ? newest(model.events, tick.events) : model.events };
}

/** The ledgers, which the stream leaves out, taken from the list of nodes. */
export function withDetails(model, nodes) {
  const known = (nodes ?? []).filter((node) => model.nodes.has(node.id));
  return { ...model, nodes: merged(model.nodes, known.map(({ id, ledger }) => ({ id, ledger }))) };
}

/** A gauge of a node, or null: an absent one is not zero. */
export const gauge = (node, name) => node?.gauges?.[name] ?? null;

/** A counter of a node's ledger. One that ours does not name never counted anything. */
export const counter = (node, name) => node?.ledger?.[name] ?? (node?.ours && node.ledger ? 0 : null);

export const sum = (counts) => Object.values(counts ?? {}).reduce((total, value) => total + value, 0);

/** The function of a node, when it says more than the kind does: every queue is a Messagequeue, every sink a Sink. */
export const ofItsOwn = (node) => (node.func && !['messagequeue', 'sink', node.kind].includes(node.func.toLowerCase()) ? node.func : null);

/** Kind and function of a node in words. */
export const calling = (node) => [node.kind === 'unknown' ? null : node.kind, ofItsOwn(node)].filter(Boolean).join(' · ') || 'unknown';

/** Counters of what was refused: whoever sent it keeps it and sends it again, so nothing is lost by them. */
const REFUSALS = new Set(['batches_held_back_full', 'fenced', 'held_dropped', 'leases_lost', 'not_allowed', 'refused_bytes_max',
  'refused_full', 'refused_ids', 'refused_messages_max', 'refused_parked', 'refused_producers', 'stray']);
const isLoss = (name) => !REFUSALS.has(name);

/** What a node threw away, by every reason; null for a node that does not tell. */
export const dropped = (node) => (node.ours ? sum(Object.fromEntries(Object.entries(node.drops ?? {}).filter(([name]) => isLoss(name)))) : null);

/** The counters of loss, and of refusals, that rise now. */
export const losing = (node) => (node?.rising ?? []).filter(isLoss);
const refusing = (node) => (node?.rising ?? []).filter((name) => !isLoss(name));

/** The id of the node that holds the others back, or null. */
export const bottleneck = (health) => health?.bottleneck?.node ?? null;

/** How a node stands, for its mark: the first of these that is so. */
export function standing(node, health) {
  if (node.state === 'silent') return 'silent';
  if ((node.unaccounted ?? 0) > 0) return 'harm';
  if (bottleneck(health) === node.id) return 'bottleneck';
  if (losing(node).length) return 'drops';
  if (refusing(node).length || (node.share?.blocked ?? 0) > 0.1) return 'waits';
  return 'live';
}

/** Each standing's mark and word, so that none is told by colour alone. */
export const MARKS = {
  live: ['●', 'live'], waits: ['‖', 'waits'], bottleneck: ['▲', 'bottleneck'], silent: ['◌', 'silent'], drops: ['▼', 'drops'], harm: ['✖', 'unaccounted'],
};

/** Standings from the worst to the best. */
export const WORST = ['harm', 'bottleneck', 'silent', 'drops', 'waits', 'live'];

/** How a node stands, in words. */
export function told(node, model) {
  const is = standing(node, model.health);
  const [mark, word] = MARKS[is];
  if (is === 'silent') return `${mark} last seen ${age((model.now ?? 0) - (node.last_seen ?? 0), 1)} ago`;
  if (is === 'drops') return `${mark} ${losing(node).join(', ')}`;
  if (is === 'waits' && refusing(node).length) return `${mark} ${refusing(node).join(', ')}`;
  return `${mark} ${word}`;
}

/** The node that is shown when none was chosen: where it hurts, else the end of the pipeline. */
export function suggested(model) {
  const nodes = [...model.nodes.values()];
  const byKind = (kind) => nodes.find((node) => node.kind === kind);
  if (model.nodes.has(bottleneck(model.health))) return bottleneck(model.health);
  return (nodes.find((node) => standing(node, model.health) === 'harm')
    ?? byKind('sink') ?? byKind('worker') ?? nodes[0])?.id ?? null;
}

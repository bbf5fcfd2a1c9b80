// Which boxes and which lines the topology has. Pure: no drawing here.
// Few nodes are a box each. Of many, those that stand alike (same kind, same function, neighbours that stand alike) share
// one, so that 64 workers between one queue and one sink, or 50 equal pipelines, are still a picture.

const GROUPED_ABOVE = 24; // nodes; fewer are all drawn
const GROUP_OF = 3; // alike nodes that are worth a group

/** The two ends of an edge: ids of nodes, or `@address` for a peer that does not report. */
export function ends(edge, nodes) {
  const place = (id) => (id !== null && id !== undefined && nodes.has(id) ? id : null);
  const peer = `@${edge.peer ?? '?'}`;
  let from = place(edge.from);
  let to = place(edge.to);
  // An input edge is told by its taker: when the giver is unknown, the one known end is where the messages go.
  if (edge.dir === 'in' && from !== null && to === null) [from, to] = [null, from];
  return { from: from ?? peer, to: to ?? peer };
}

/** The class of each node in the coarsest grouping that is stable: equal classes have neighbours of equal classes. */
export function classes(nodes, lines, apart = new Set()) {
  let of = new Map();
  for (const node of nodes.values()) {
    of.set(node.id, apart.has(node.id) ? `one ${node.id}` : `${node.kind} ${node.func ?? ''}`);
  }
  for (let number = new Set(of.values()).size; ;) {
    const around = new Map([...of.keys()].map((id) => [id, [new Set(), new Set()]]));
    for (const { from, to } of lines) {
      around.get(from)?.[1].add(of.get(to) ?? to);
      around.get(to)?.[0].add(of.get(from) ?? from);
    }
    const numbers = new Map();
    const next = new Map();
    for (const [id, [before, after]] of around) {
      const signature = JSON.stringify([of.get(id), [...before].sort(), [...after].sort()]);
      if (!numbers.has(signature)) numbers.set(signature, numbers.size);
      next.set(id, numbers.get(signature));
    }
    of = next;
    if (numbers.size === number) return of;
    number = numbers.size;
  }
}

/**
 * The boxes and links to draw, and a `key` that changes exactly when the picture has to be laid out anew.
 * `open` holds the ids of nodes that are shown one by one though they are alike.
 */
export function shape(nodes, edges, open = new Set()) {
  const lines = [...edges.values()].map((edge) => ({ edge, ...ends(edge, nodes) }));
  const boxOf = new Map();
  const boxes = new Map();
  const put = (key, box) => { if (!boxes.has(key)) boxes.set(key, { key, ids: [], ghost: null, ...box }); return boxes.get(key); };
  if (nodes.size > GROUPED_ABOVE) {
    const members = new Map();
    for (const [id, name] of classes(nodes, lines, open)) members.set(name, [...(members.get(name) ?? []), id]);
    for (const ids of members.values()) {
      if (ids.length < GROUP_OF) continue;
      ids.sort();
      const box = put(`group ${ids[0]}`, {});
      box.ids = ids;
      for (const id of ids) boxOf.set(id, box.key);
    }
  }
  for (const id of [...nodes.keys()].sort()) {
    if (boxOf.has(id)) continue;
    boxOf.set(id, `node ${id}`);
    put(`node ${id}`, {}).ids = [id];
  }
  const links = new Map();
  for (const { edge, from, to } of lines) {
    for (const end of [from, to]) {
      if (!nodes.has(end) && !boxOf.has(end)) {
        boxOf.set(end, `ghost ${end}`);
        put(`ghost ${end}`, { ghost: end.slice(1) });
      }
    }
    const [a, b] = [boxOf.get(from), boxOf.get(to)];
    const key = JSON.stringify([a, b]);
    if (!links.has(key)) links.set(key, { key, from: a, to: b, edges: [] });
    links.get(key).edges.push(edge.id);
  }
  // How full a queue is stands at what leads into it; where nothing is known to, at what leads out of it.
  const fed = new Set(lines.filter(({ edge }) => edge.dir !== 'in').map(({ to }) => to));
  for (const link of links.values()) {
    link.filled = link.edges.filter((id) => { const edge = edges.get(id); return edge.dir !== 'in' || !fed.has(ends(edge, nodes).from); });
  }
  const grouped = [...boxes.values()].filter((box) => box.ids.length > 1).length;
  const key = JSON.stringify([[...boxes.values()].map((box) => [box.key, box.ids.length]), [...links.keys()].sort()]);
  return { boxes: [...boxes.values()], links: [...links.values()], key, grouped };
}

/** What a link shows: its edges' figures put together. */
export function linkFigures(link, edges) {
  const known = link.edges.map((id) => edges.get(id)).filter(Boolean);
  const add = (name) => known.reduce((total, edge) => total + (edge[name] ?? 0), 0);
  const fills = link.filled.map((id) => edges.get(id)?.fill).filter((fill) => typeof fill === 'number');
  return { rate: add('rate'), unaccounted: add('unaccounted'), underWay: add('under_way'),
    fill: fills.length ? Math.max(...fills) : null, waits: known.filter((edge) => edge.waits).length, edges: known.length,
    guarantee: known.find((edge) => edge.guarantee)?.guarantee ?? null };
}

/** How full a queue is, as a level: green up to 60 %, yellow up to 85 %, then red. */
export const level = (fill) => (fill <= 0.6 ? 'ok' : fill <= 0.85 ? 'warn' : 'bad');

/** A smooth path through a link's points. */
export function path(points) {
  const at = ({ x, y }) => `${x.toFixed(1)} ${y.toFixed(1)}`;
  const middle = (a, b) => ({ x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 });
  if (points.length < 3) return `M${at(points[0])}L${at(points.at(-1))}`;
  let written = `M${at(points[0])}L${at(middle(points[0], points[1]))}`;
  for (let i = 1; i < points.length - 1; i += 1) written += `Q${at(points[i])} ${at(middle(points[i], points[i + 1]))}`;
  return `${written}L${at(points.at(-1))}`;
}

/** How large the picture is drawn: it fills the panel, but letters stay readable, and what does not fit scrolls. */
export function scaleFor(width, room) {
  return Math.max(0.7, Math.min(1.15, room / width));
}

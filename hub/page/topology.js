// The drawn topology: boxes and lines laid out by dagre, as SVG. It is laid out anew only when its shape changes;
// a tick changes words, arcs and bars in place.

import { attribute, h, s, text } from './dom.js';
import { linkFigures, level, path, scaleFor, shape } from './graph.js';
import { MARKS, WORST, calling, dropped, gauge, losing, ofItsOwn, standing } from './model.js';
import { NONE, age, clip, count, latency, percent, rate, short } from './format.js';

const BOX = { width: 168, height: 64 };
const SMALL = { width: 132, height: 40 };
const SMALL_ABOVE = 30; // boxes; then they are small
const RING = 12; // radius
const TURN = 2 * Math.PI * RING;
const LABEL = { width: 62, height: 46 };

const most = (values) => { const known = values.filter((value) => typeof value === 'number'); return known.length ? Math.max(...known) : null; };

/** What a box says: of one node, or of a group the sum of rates and the worst of the rest. */
function boxFigures(box, model) {
  const nodes = box.ids.map((id) => model.nodes.get(id)).filter(Boolean);
  const standings = nodes.map((node) => standing(node, model.health));
  const first = nodes[0];
  const silent = standings.filter((one) => one === 'silent').length;
  const drops = nodes.reduce((total, node) => total + (dropped(node) ?? 0), 0);
  const flow = nodes.reduce((total, node) => total + Math.max(node.in ?? 0, node.out ?? 0), 0);
  const harm = WORST.find((one) => standings.includes(one)) ?? 'live';
  return { nodes, first, silent, drops, flow, p99: most(nodes.map((node) => node.latency?.p99)),
    busy: most(nodes.map((node) => node.share?.busy)), blocked: most(nodes.map((node) => node.share?.blocked)),
    seen: most(nodes.map((node) => node.last_seen)), depth: most(nodes.map((node) => gauge(node, 'depth'))),
    standing: harm, worst: nodes[standings.indexOf(harm)] };
}

/** Writes words that must not be wider than `room`; letters differ, so what was written is measured. */
function fit(element, words, room) {
  if (element.dataset.whole === words) return;
  element.dataset.whole = words;
  text(element, words);
  const wide = element.getComputedTextLength();
  if (wide <= room) return;
  let letters = Math.ceil((Array.from(words).length * room) / wide) + 2;
  do {
    letters -= 1;
    text(element, clip(words, letters));
  } while (letters > 2 && element.getComputedTextLength() > room);
}

/** The first counter of loss that rises at what a link leads to, or null. */
function rising(link, model) {
  const takers = link.edges.map((id) => model.nodes.get(model.edges.get(id)?.to));
  return takers.flatMap(losing)[0] ?? null;
}

/** A topology in `place`; `choose(id)` when a node's box is chosen, `note(text, grouped, opened)` tells what is drawn. */
export function topology(place, { choose, note }) {
  const opened = new Set();
  let drawn = null; // { key, compact, boxes, links }
  let last = null;

  function draw(model, selected) {
    last = [model, selected];
    const picture = shape(model.nodes, model.edges, opened);
    const upright = place.clientWidth < 560;
    const key = picture.key + upright;
    if (drawn?.key !== key) layOut(picture, key, upright, model);
    for (const one of drawn.boxes) one.update(model, selected);
    for (const one of drawn.links) one.update(model);
    note(picture, opened.size);
  }

  function layOut(picture, key, upright, model) {
    const small = picture.boxes.length > SMALL_ABOVE;
    const size = small ? SMALL : BOX;
    const graph = new window.dagre.graphlib.Graph();
    graph.setGraph({ rankdir: upright ? 'TB' : 'LR', nodesep: small ? 10 : 22, ranksep: small ? 34 : 16, marginx: 6, marginy: 8, edgesep: 8 });
    graph.setDefaultEdgeLabel(() => ({}));
    for (const box of picture.boxes) graph.setNode(box.key, { ...size });
    for (const link of picture.links) graph.setEdge(link.from, link.to, small ? { width: 46, height: 12, labelpos: 'c' } : { ...LABEL, labelpos: upright ? 'r' : 'c' });
    window.dagre.layout(graph);
    const { width, height } = picture.boxes.length ? graph.graph() : { width: 1, height: 1 };
    const scale = scaleFor(width, place.clientWidth - 4);
    const svg = s('svg', { viewBox: `0 0 ${width} ${height}`, width: Math.floor(width * scale), height: Math.ceil(height * scale), role: 'group', 'aria-label': 'Who feeds whom' },
      s('defs', {},
        s('pattern', { id: 'hatch', width: 7, height: 7, patternUnits: 'userSpaceOnUse', patternTransform: 'rotate(45)' }, s('line', { x1: 0, y1: 0, x2: 0, y2: 7, class: 'hatch' })),
        s('marker', { id: 'arrow', viewBox: '0 0 8 8', refX: 7, refY: 4, markerWidth: 9, markerHeight: 9, markerUnits: 'userSpaceOnUse', orient: 'auto' }, s('path', { d: 'M0 0L8 4L0 8z', class: 'arrow' }))));
    const links = picture.links.map((link) => linkOf(link, graph.edge(link.from, link.to), small, upright));
    const boxes = picture.boxes.map((box) => boxOf(box, graph.node(box.key), size, small));
    svg.append(...links.map((one) => one.element), ...boxes.map((one) => one.element), ...links.map((one) => one.label));
    const focused = place.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    place.replaceChildren(picture.boxes.length ? svg : h('p', { class: 'empty' }, 'No node has reported yet. A metrics-receiver that posts here brings its nodes.'));
    if (focused) [...place.querySelectorAll('[data-key]')].find((one) => one.dataset.key === focused)?.focus();
    drawn = { key, boxes, links };
  }

  function boxOf(box, at, size, small) {
    const [left, top] = [at.x - size.width / 2, at.y - size.height / 2];
    const group = box.ids.length > 1;
    const title = s('title');
    const frame = s('rect', { class: 'frame', width: size.width, height: size.height, rx: 7 });
    const name = s('text', { class: 'name', x: 10, y: small ? 16 : 20 });
    const kind = s('text', { class: 'kind', x: 10, y: 36 });
    const figures = s('text', { class: 'figures', x: 10, y: small ? 32 : 53 });
    const element = s('g', { class: `box${box.ghost === null ? '' : ' ghost'}`, transform: `translate(${left.toFixed(1)} ${top.toFixed(1)})`, 'data-key': box.key }, title);
    if (group) element.append(s('rect', { class: 'frame behind', x: 4, y: 4, width: size.width, height: size.height, rx: 7 }));
    element.append(frame, s('rect', { class: 'shade', width: size.width, height: size.height, rx: 7 }), name, ...(small ? [] : [kind]), figures);
    if (box.ghost !== null) {
      text(name, clip(box.ghost, 22));
      text(kind, 'does not report');
      text(title, `${box.ghost} does not report to this hub`);
      return { element, update() {} };
    }
    const [cx, cy] = [size.width - 19, size.height - (small ? 20 : 21)];
    const busy = s('circle', { class: 'arc busy', cx, cy, r: RING, transform: `rotate(-90 ${cx} ${cy})` });
    const blocked = s('circle', { class: 'arc blocked', cx, cy, r: RING, transform: `rotate(-90 ${cx} ${cy})` });
    const inside = s('text', { class: 'inside', x: cx, y: cy + 3.5 });
    const ring = s('g', { class: 'ring', 'aria-hidden': 'true' }, s('circle', { class: 'track', cx, cy, r: RING }), busy, blocked, inside);
    element.append(ring);
    const act = () => {
      if (!group) return choose(box.ids[0]);
      for (const id of box.ids) opened.add(id);
      return draw(...last);
    };
    attribute(element, 'tabindex', 0);
    attribute(element, 'role', 'button');
    element.addEventListener('click', act);
    element.addEventListener('keydown', (event) => { if (event.key === 'Enter' || event.key === ' ') { event.preventDefault(); act(); } });
    return { element, update(model, selected) {
      const is = boxFigures(box, model);
      if (!is.first) return;
      const [mark, word] = MARKS[is.standing];
      attribute(element, 'data-standing', is.standing);
      attribute(element, 'aria-pressed', group ? null : String(box.ids[0] === selected));
      const called = group ? `${box.ids.length}× ${ofItsOwn(is.first) ?? is.first.kind}` : is.first.id;
      fit(name, `${mark} ${called}`, size.width - (small ? 42 : 18));
      const worstOf = group && is.standing !== 'live' ? `${word}: ${is.worst.id}` : null;
      if (!small) fit(kind, group ? (is.silent ? `${is.silent} silent` : worstOf ?? is.first.kind) : calling(is.first), size.width - 44);
      const silent = is.standing === 'silent' && !group;
      const seen = `last seen ${age((model.now ?? 0) - (is.seen ?? 0), 1)} ago`;
      text(figures, silent ? seen : [rate(is.flow), small || is.p99 === null ? null : `p99 ${latency(is.p99)}`].filter(Boolean).join(' · '));
      const shared = is.busy !== null || is.blocked !== null;
      attribute(ring, 'visibility', shared && !silent ? null : 'hidden');
      attribute(busy, 'stroke-dasharray', `${((is.busy ?? 0) * TURN).toFixed(1)} ${TURN.toFixed(1)}`);
      attribute(blocked, 'stroke-dasharray', `${(Math.min(is.blocked ?? 0, 1 - (is.busy ?? 0)) * TURN).toFixed(1)} ${TURN.toFixed(1)}`);
      attribute(blocked, 'stroke-dashoffset', (-(is.busy ?? 0) * TURN).toFixed(1));
      text(inside, is.busy === null ? '' : Math.round(is.busy * 100));
      const words = [`${called}, ${is.first.kind}: ${word}`, silent ? seen : null, `in and out ${rate(is.flow)}`, `p99 ${latency(is.p99)}`,
        `busy ${percent(is.busy)}, blocked ${percent(is.blocked)}`, is.depth === null ? null : `depth ${count(is.depth)}`, `drops ${count(is.drops)}`,
        group ? 'Enter shows them one by one' : null].filter(Boolean).join('; ');
      text(title, words);
      // What is seen first, then the rest of it: who speaks to the page says what is written there.
      const seenText = [name, ...(small ? [] : [kind]), figures].map((one) => one.textContent).join(' ');
      attribute(element, 'aria-label', `${seenText}; ${words}`);
    } };
  }

  function linkOf(link, at, small, upright) {
    const element = s('path', { class: 'link', d: path(at.points), 'marker-end': 'url(#arrow)' });
    const line = s('text', { class: 'rate', x: 0, y: small ? 4 : -7 });
    const bar = s('rect', { class: 'level', x: -26, y: 3, height: 6, rx: 3, width: 0 });
    const full = s('text', { class: 'full', x: 6, y: 10 });
    const fill = s('g', { class: 'fill' }, s('rect', { class: 'track', x: -26, y: 3, width: 28, height: 6, rx: 3 }), bar, full);
    const waits = s('text', { class: 'marks', x: 0, y: 23, 'data-level': 'warn' });
    const harm = s('text', { class: 'marks', x: 0, y: 36, 'data-level': 'bad' });
    const title = s('title');
    const label = s('g', { class: 'label', transform: `translate(${at.x.toFixed(1)} ${(at.y - (upright ? 11 : 0)).toFixed(1)})` }, title, line, ...(small ? [] : [fill, waits, harm]));
    return { element, label, update(model) {
      const is = linkFigures(link, model.edges);
      const dropping = rising(link, model);
      text(line, small ? `${is.unaccounted ? '✖ ' : dropping ? '▼ ' : is.waits ? '‖ ' : ''}${rate(is.rate)}` : rate(is.rate));
      attribute(fill, 'visibility', is.fill === null ? 'hidden' : null);
      if (is.fill !== null) {
        attribute(fill, 'data-level', level(is.fill));
        attribute(bar, 'width', (28 * Math.min(1, Math.max(0, is.fill))).toFixed(1));
        text(full, percent(is.fill));
      }
      text(waits, is.waits ? '‖ waits' : '');
      text(harm, is.unaccounted ? `✖ ${short(is.unaccounted)} lost` : dropping ? '▼ drops' : '');
      attribute(line, 'data-level', small && (is.unaccounted || dropping) ? 'bad' : null);
      attribute(element, 'data-waits', is.waits ? '' : null);
      attribute(element, 'data-idle', is.rate > 0 ? null : '');
      text(title, [`${is.edges === 1 ? 'one edge' : `${is.edges} edges`}${is.guarantee ? `, ${is.guarantee}` : ''}`, `rate ${rate(is.rate)}`, `under way ${count(is.underWay)}`,
        `queue ${is.fill === null ? NONE : `${percent(is.fill)} full`}`, `unaccounted ${count(is.unaccounted)}`, is.waits ? 'held back by what comes after it' : null, dropping ? `drops there rise: ${dropping}` : null].filter(Boolean).join('; '));
    } };
  }

  new ResizeObserver(() => { if (drawn && last) { drawn = null; draw(...last); } }).observe(place);
  return { draw, regroup() { opened.clear(); if (last) draw(...last); } };
}

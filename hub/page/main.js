// The page: listens to the hub, keeps what it says, and has every part draw it.

import * as view from './view.js';
import { age, count } from './format.js';
import { attribute, byId, h, text } from './dom.js';
import { empty, fromState, suggested, withDetails, withTick } from './model.js';
import { detail } from './detail.js';
import { events } from './events.js';
import { health } from './health.js';
import { listen } from './stream.js';
import { table } from './table.js';
import { topology } from './topology.js';

let model = empty();
let looking = view.parse(location.search);
let linked = false;
let suggestion = null; // the node that is shown as long as none was chosen: it does not jump about

const parts = {
  health: health({ sortBy: (sort, down) => look({ sort, down }) }),
  topology: topology(byId('topology'), { choose, note: noteTopology }),
  detail: detail(byId('detail'), { onTab: (tab) => look({ tab }) }),
  table: table(byId('table'), { choose, sortBy: (sort, down) => look({ sort, down }) }),
  events: events({ choose }),
};

/** Changes what is looked at. A chosen node is a step to go back from; the rest is not. */
function look(change, step = false) {
  looking = { ...looking, ...change };
  follow();
  history[step ? 'pushState' : 'replaceState'](null, '', location.pathname + view.query(looking));
  draw();
}

/** The stream tells latencies of the window that is looked at. */
function follow() {
  if (path() === followed) return;
  followed = path();
  listenTo(followed);
}

function choose(node) {
  if (node !== looking.node) look({ node }, true);
}

function noteTopology(picture, opened) {
  const boxes = picture.boxes.length;
  text(byId('topology-note'), picture.grouped || opened ? `${count(model.nodes.size)} nodes in ${count(boxes)} boxes: alike ones share one` : '');
  byId('regroup').hidden = opened === 0;
}

function draw() {
  if (suggestion === null || !model.nodes.has(suggestion)) suggestion = suggested(model);
  const node = looking.node ?? suggestion;
  parts.health.draw(model, linked);
  parts.topology.draw(model, node);
  parts.detail.draw(model, node, looking, linked);
  const shown = parts.table.draw(model, { ...looking, node });
  text(byId('nodes-note'), looking.filter ? `${count(shown)} of ${count(model.nodes.size)}` : count(model.nodes.size));
  parts.events.draw(model);
  const { hub } = model;
  text(byId('hubline'), [model.version ? `version ${model.version}` : null, model.started ? `up ${age(model.now - model.started)}` : null, hub ? `${count(hub.reports)} reports` : null,
    hub?.refused ? `${count(hub.refused)} refused` : null, hub?.nodes_refused ? `▼ ${count(hub.nodes_refused)} nodes refused: too many` : null].filter(Boolean).join(' · '));
  for (const button of byId('windows').children) attribute(button, 'aria-pressed', String(button.dataset.window === looking.window));
}

// Several messages at once are one drawing; a page in the background is drawn when it is looked at again.
let due = false;
function soon() {
  if (due) return;
  due = true;
  requestAnimationFrame(() => { due = false; draw(); });
}

// The stream may leave ledgers out, which are long; they are asked for, less often than once a second.
const DETAILS = 5000;
let detailed = -DETAILS;
async function details() {
  if (document.hidden || !model.slim || performance.now() - detailed < DETAILS) return;
  detailed = performance.now();
  try {
    const answer = await (await fetch('/api/v1/nodes')).json();
    model = withDetails(model, Array.isArray(answer) ? answer : answer.nodes);
    soon();
  } catch { /* the banner tells that the hub is away */ }
}

function setLinked(is) {
  if (linked === is && byId('live').textContent) return;
  linked = is;
  byId('banner').hidden = is;
  text(byId('banner'), is ? '' : model.now === null ? 'Connecting to the hub …' : 'Connection lost, trying again …');
  text(byId('live'), is ? '● live' : '◌ not live');
  document.body.classList.toggle('away', !is);
  soon();
}

for (const window of view.WINDOWS) {
  byId('windows').append(h('button', { type: 'button', 'data-window': window, onclick: () => look({ window }) }, window));
}

const theme = byId('theme');
const { weirTheme } = window;
function nameTheme() {
  const dark = weirTheme.now() === 'dark';
  theme.replaceChildren(dark ? '☀' : '☾', h('span', { class: 'theme-word' }, dark ? ' light' : ' dark'));
  attribute(theme, 'aria-label', dark ? 'Use light colours' : 'Use dark colours');
}
theme.addEventListener('click', () => weirTheme.toggle());
weirTheme.onChange(() => { nameTheme(); parts.detail.rebuild(); });
nameTheme();

byId('regroup').textContent = 'Group again';
byId('regroup').addEventListener('click', () => parts.topology.regroup());

const filter = byId('filter');
filter.value = looking.filter;
filter.addEventListener('input', () => look({ filter: filter.value }));
addEventListener('keydown', (event) => {
  const typing = event.target instanceof Element && event.target.matches('input, textarea, select');
  if (event.key === '/' && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    filter.focus();
    filter.select();
  } else if (event.key === 'Escape') {
    // First the filter goes, then the chosen node.
    if (looking.filter) { filter.value = ''; look({ filter: '' }); } else if (typing) filter.blur();
    else if (looking.node !== null) look({ node: null }, true);
  }
});
addEventListener('popstate', () => { looking = view.parse(location.search); filter.value = looking.filter; follow(); draw(); });
document.addEventListener('visibilitychange', () => { if (!document.hidden) soon(); });

setLinked(false);
draw();
const path = () => `/api/v1/stream?window=${looking.window}`;
let followed = path();
const listenTo = listen(followed, {
  onState(state) { model = fromState(state); suggestion = null; detailed = -DETAILS; soon(); details(); },
  onTick(tick) { model = withTick(model, tick); soon(); details(); },
  onLink: setLinked,
});

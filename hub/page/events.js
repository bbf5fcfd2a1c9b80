// The list of events, the newest first.

import { byId, h } from './dom.js';
import { when } from './format.js';

const MARKS = { came: '+', back: '+', silent: '◌', restarted: '↻', rewound: '⇤', drops: '▼', dead: '✖', full: '‖', unaccounted: '✖' };
const mark = (kind) => Object.entries(MARKS).find(([word]) => String(kind).includes(word))?.[1] ?? '·';

/** The list; `choose(id)` when the node of an event is chosen. */
export function events({ choose }) {
  const list = byId('events');
  let newest = null;
  let first = null; // of which hub: after a restart the numbers begin anew

  function draw(model) {
    const stamp = JSON.stringify([model.events[0]?.n, model.events[0]?.at, model.events.length]);
    if (stamp === newest && first === model.started) return;
    [newest, first] = [stamp, model.started];
    list.replaceChildren(...model.events.map((event) => {
      const known = event.node !== null && event.node !== undefined && model.nodes.has(event.node);
      const words = event.text ?? event.kind;
      return h('li', {}, h('time', { datetime: new Date(event.at * 1000).toISOString() }, when(event.at, model.now)), h('span', { class: 'icon', 'aria-hidden': 'true' }, mark(event.kind)),
        known ? h('button', { type: 'button', class: 'plain', onclick: () => choose(event.node) }, event.node) : h('span', {}, event.node ?? 'hub'), h('span', {}, words));
    }));
    if (!model.events.length) list.append(h('li', { class: 'empty' }, 'Nothing happened yet.'));
  }

  return { draw };
}

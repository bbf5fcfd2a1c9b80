// The table of nodes: sorted, filtered, walked with the arrow keys. Cells change in place, rows move only when they must.

import { COLUMNS, rows } from './columns.js';
import { attribute, h, text } from './dom.js';
import { standing } from './model.js';

/** A table in `place`; `choose(id)` when a row is chosen, `sortBy(column, down)` when a heading is. */
export function table(place, { choose, sortBy }) {
  const headings = COLUMNS.map((column) => {
    const arrow = h('span', { class: 'sorted', 'aria-hidden': 'true' });
    const button = h('button', { type: 'button', title: column.about }, column.name, arrow);
    const cell = h('th', { scope: 'col', class: column.words ? 'words' : 'number' }, button);
    return { column, arrow, button, cell };
  });
  const body = h('tbody');
  place.append(h('table', { role: 'grid', 'aria-labelledby': 'nodes-title' }, h('thead', {}, h('tr', {}, ...headings.map(({ cell }) => cell))), body));
  const none = h('p', { class: 'empty', hidden: true }, 'No node matches.');
  place.append(none);
  const kept = new Map(); // id -> { row, cells }
  let sorting = { sort: 'id', down: false };

  for (const { column, button } of headings) {
    // Figures are looked at from the top: their first order is falling.
    button.addEventListener('click', () => sortBy(column.id, sorting.sort === column.id ? !sorting.down : !column.words));
  }

  body.addEventListener('keydown', (event) => {
    const row = event.target.closest('tr');
    const all = [...body.rows];
    const at = all.indexOf(row);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1, PageDown: at + 10, PageUp: at - 10 }[event.key];
    if (to !== undefined) {
      event.preventDefault();
      all[Math.min(all.length - 1, Math.max(0, to))]?.focus();
    } else if (event.key === 'Enter' || event.key === ' ') {
      event.preventDefault();
      choose(row.dataset.id);
    }
  });
  body.addEventListener('focusin', (event) => {
    const row = event.target.closest('tr');
    for (const other of body.rows) attribute(other, 'tabindex', other === row ? 0 : -1);
  });
  body.addEventListener('click', (event) => {
    const row = event.target.closest('tr');
    if (row && !String(getSelection())) choose(row.dataset.id);
  });

  function rowOf(node) {
    const cells = COLUMNS.map((column) => {
      const value = h('span');
      const parts = column.bar ? [h('i', { class: 'busy' }), h('i', { class: 'blocked' })] : [];
      const bar = column.bar ? h('span', { class: 'shares', 'aria-hidden': 'true' }, ...parts) : null;
      const cell = h(column.id === 'id' ? 'th' : 'td', { class: `${column.words ? 'words' : 'number'} c-${column.id}`, scope: column.id === 'id' ? 'row' : null }, bar, value);
      return { column, cell, value, parts };
    });
    const row = h('tr', { tabindex: -1, 'data-id': node.id }, ...cells.map(({ cell }) => cell));
    return { row, cells };
  }

  function draw(model, view) {
    sorting = view;
    for (const { column, arrow, cell } of headings) {
      const is = column.id === view.sort;
      attribute(cell, 'aria-sort', is ? (view.down ? 'descending' : 'ascending') : null);
      text(arrow, is ? (view.down ? '▼' : '▲') : '');
    }
    const wanted = rows(model, view);
    const ids = new Set(wanted.map((node) => node.id));
    for (const [id, { row }] of kept) if (!ids.has(id)) { row.remove(); kept.delete(id); }
    const focused = body.contains(document.activeElement) ? document.activeElement : null;
    let place = body.firstChild;
    for (const node of wanted) {
      if (!kept.has(node.id)) kept.set(node.id, rowOf(node));
      const { row, cells } = kept.get(node.id);
      if (place === row) place = row.nextSibling;
      else body.insertBefore(row, place);
      attribute(row, 'data-standing', standing(node, model.health));
      attribute(row, 'aria-selected', String(node.id === view.node));
      for (const { column, cell, value, parts } of cells) {
        text(value, column.text(node, model));
        if (column.harm) attribute(cell, 'data-harm', column.value(node, model) > 0 ? '' : null);
        if (column.id === 'id') attribute(cell, 'title', node.id);
        const share = column.bar?.(node);
        parts.forEach((part, n) => part.style.setProperty('width', `${((n ? share?.blocked : share?.busy) ?? 0) * 100}%`));
      }
    }
    if (focused !== document.activeElement) focused?.focus({ preventScroll: true });
    if (body.rows.length && ![...body.rows].some((row) => row.tabIndex === 0)) body.rows[0].tabIndex = 0;
    none.hidden = wanted.length > 0 || model.nodes.size === 0;
    return wanted.length;
  }

  return { draw };
}

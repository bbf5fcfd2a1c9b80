// The hub's stream of events: a whole state, then a tick a second. Says when it breaks, and comes back by itself.

const SILENCE = 6000; // ms without a tick after which the connection counts as lost
const AGAIN = 2000; // ms between two tries when the browser does not try by itself

/** Calls `onState`, `onTick`, and `onLink(true | false)` when the connection comes and goes. Gives a function that changes the path. */
export function listen(path, { onState, onTick, onLink }) {
  let source = null;
  let watch = 0;
  let again = 0;
  let whole = false; // a tick means nothing before the state it builds on

  function heard() {
    clearTimeout(watch);
    watch = setTimeout(() => { broken(); open(); }, SILENCE);
  }

  function broken() {
    whole = false;
    onLink(false);
  }

  function open() {
    clearTimeout(again);
    source?.close();
    source = new EventSource(path);
    heard();
    source.addEventListener('state', (event) => {
      heard();
      whole = true;
      onState(JSON.parse(event.data));
      onLink(true);
    });
    source.addEventListener('tick', (event) => {
      heard();
      if (whole) onTick(JSON.parse(event.data));
    });
    source.addEventListener('error', () => {
      broken();
      if (source.readyState === EventSource.CLOSED) {
        clearTimeout(again);
        again = setTimeout(open, AGAIN);
      }
    });
  }

  open();
  return (other) => { path = other; whole = false; open(); };
}

/** Lists whose elements stay while their data change, so that focus and open details survive. */

import {
  onEnd, paint, type Reader, scope, type Signal, signal, untracked,
} from "../state/signals";

interface Row<T> {
  readonly item: Signal<T>;
  readonly element: Element;
  readonly end: () => void;
}

/** Keep `parent`'s children in step with `items`, one element for each key. */
export function keyed<T, E extends Element>(
  parent: E,
  items: Reader<readonly T[]>,
  key: (item: T) => string,
  build: (item: Signal<T>) => Element,
): E {
  const rows = new Map<string, Row<T>>();
  paint(() => {
    const now = items();
    untracked(() => {
      const left = new Set(rows.keys());
      let at: Element | null = parent.firstElementChild;
      for (const data of now) {
        const name = key(data);
        left.delete(name);
        const row = rows.get(name) ?? add(rows, name, data, build);
        row.item.set(data);
        if (row.element === at) at = at.nextElementSibling;
        else parent.insertBefore(row.element, at);
      }
      for (const name of left) {
        rows.get(name)?.end();
        rows.get(name)?.element.remove();
        rows.delete(name);
      }
    });
  });
  onEnd(() => rows.forEach((row) => row.end()));
  return parent;
}

function add<T>(
  rows: Map<string, Row<T>>,
  name: string,
  data: T,
  build: (item: Signal<T>) => Element,
): Row<T> {
  const item = signal(data);
  const [element, end] = scope(() => build(item));
  const row = { item, element, end };
  rows.set(name, row);
  return row;
}

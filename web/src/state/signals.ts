/**
 * Values that tell when they change, and functions that run again when what they read changed.
 *
 * `watch` re-runs at once (logic); `paint` re-runs with the next animation frame (the page), so
 * that 50 samples a second cost at most one redraw a frame and nothing in a hidden tab.
 */

type Task = () => void;

interface Observer {
  readonly run: Task;
  readonly sources: Set<Set<Observer>>;
}

let current: Observer | null = null;

export interface Signal<T> {
  (): T;
  /** The value, without being told of changes. */
  peek(): T;
  set(value: T): void;
}

export type Reader<T> = () => T;

/** A value. Setting it to what it is already (`Object.is`) tells nobody. */
export function signal<T>(initial: T): Signal<T> {
  let value = initial;
  const observers = new Set<Observer>();
  const read = (() => {
    if (current !== null) {
      observers.add(current);
      current.sources.add(observers);
    }
    return value;
  }) as Signal<T>;
  read.peek = () => value;
  read.set = (next: T) => {
    if (Object.is(next, value)) return;
    value = next;
    for (const observer of [...observers]) observer.run();
  };
  return read;
}

/** A value made of others; set whenever one of them changes. Belongs to the current scope. */
export function computed<T>(compute: () => T): Reader<T> {
  const result = signal<T>(untracked(compute));
  watch(() => result.set(compute()));
  return result;
}

/** Run `compute` without being told of changes of what it reads. */
export function untracked<T>(compute: () => T): T {
  const outer = current;
  current = null;
  try {
    return compute();
  } finally {
    current = outer;
  }
}

let owned: Task[] | null = null;

/** Collect what `build` starts; the returned function ends all of it. */
export function scope<T>(build: () => T): [T, Task] {
  const outer = owned;
  const mine: Task[] = [];
  owned = mine;
  try {
    return [build(), () => mine.splice(0).forEach((task) => task())];
  } finally {
    owned = outer;
  }
}

/** Have `task` run when the current scope ends. */
export function onEnd(task: Task): void {
  owned?.push(task);
}

function observe(effect: Task, schedule: (run: Task) => void): void {
  let ended = false;
  const forget = () => {
    for (const source of observer.sources) source.delete(observer);
    observer.sources.clear();
  };
  const execute = () => {
    if (ended) return;
    forget();
    const outer = current;
    current = observer;
    try {
      effect();
    } finally {
      current = outer;
    }
  };
  const observer: Observer = { run: () => schedule(execute), sources: new Set() };
  onEnd(() => {
    ended = true;
    forget();
  });
  execute();
}

/** Run now, and at once whenever something that was read changes. */
export function watch(effect: Task): void {
  observe(effect, (run) => run());
}

const waiting = new Set<Task>();

function flush(): void {
  const tasks = [...waiting];
  waiting.clear();
  for (const task of tasks) task();
}

/** Run now, and once in the next frame after something that was read changed. */
export function paint(effect: Task): void {
  observe(effect, (run) => {
    if (waiting.size === 0) requestAnimationFrame(flush);
    waiting.add(run);
  });
}

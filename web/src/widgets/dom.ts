/** Elements from calls: `h("p", { class: "note" }, "text", () => live())`. */

import { onEnd, paint, type Reader, scope } from "../state/signals";

type Primitive = string | number | null | undefined | false;
export type Child = Primitive | Node | Reader<Primitive | Node> | Child[];
type Value = string | number | boolean | null | undefined | EventListener | Reader<unknown>;
export type Props = Record<string, Value>;

const SVG = "http://www.w3.org/2000/svg";
const SVG_TAGS = new Set(["svg", "path", "circle", "line", "g", "rect", "polyline"]);

interface Tags extends HTMLElementTagNameMap {
  svg: SVGSVGElement;
}

/**
 * Make an element. `on…` props are listeners; other functions are read again when what they read
 * changes; `null`, `undefined` and `false` leave an attribute out. Styles go through classes or
 * CSS properties set in script, since the content policy forbids style attributes.
 */
export function h<K extends keyof Tags>(tag: K, props?: Props, ...children: Child[]): Tags[K];
export function h(tag: string, props?: Props, ...children: Child[]): Element;
export function h(tag: string, props: Props = {}, ...children: Child[]): Element {
  const element = SVG_TAGS.has(tag)
    ? document.createElementNS(SVG, tag)
    : document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name.startsWith("on")) {
      element.addEventListener(name.slice(2), value as EventListener);
    } else if (typeof value === "function") {
      paint(() => apply(element, name, (value as Reader<unknown>)()));
    } else {
      apply(element, name, value);
    }
  }
  append(element, children);
  return element;
}

function apply(element: Element, name: string, value: unknown): void {
  if (name === "value" && element instanceof HTMLInputElement) {
    if (document.activeElement !== element || element.type === "range") {
      element.value = String(value);
    }
  } else if (name === "value" && element instanceof HTMLSelectElement) {
    element.value = String(value);
  } else if (name === "disabled" || name === "hidden" || name === "checked") {
    if (name === "checked") (element as HTMLInputElement).checked = Boolean(value);
    else element.toggleAttribute(name, Boolean(value));
  } else if (value === null || value === undefined || value === false) {
    element.removeAttribute(name);
  } else {
    const text = value === true ? "" : String(value);
    if (element.getAttribute(name) !== text) element.setAttribute(name, text);
  }
}

function append(parent: Element, children: Child[]): void {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) append(parent, child);
    else if (typeof child === "function") parent.append(live(child));
    else parent.append(child instanceof Node ? child : String(child));
  }
}

/** A node that follows what `read` returns; what the former one had started is ended. */
function live(read: Reader<Primitive | Node>): Node {
  let shown: ChildNode = document.createTextNode("");
  let end = () => {};
  paint(() => {
    end();
    let value: Primitive | Node;
    [value, end] = scope(read);
    if (value === null || value === undefined || value === false) value = "";
    if (!(value instanceof Node) && shown instanceof Text) {
      const text = String(value);
      if (shown.data !== text) shown.data = text;
      return;
    }
    const next = value instanceof Node ? value : document.createTextNode(String(value));
    shown.replaceWith(next);
    shown = next as ChildNode;
  });
  onEnd(() => end());
  return shown;
}

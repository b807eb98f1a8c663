// What a session has besides: showing the value of a statement, and its variables as text. Evaluated once, behind the prelude.
(function (given) {
  "use strict";
  const { shown, isItems, print, table } = given;
  const { getOwnPropertyNames, getPrototypeOf, defineProperty, keys, is } = Object;
  const { isArray } = Array;
  const stringify = JSON.stringify;
  const evaluate = eval;
  const textOf = Function.prototype.call.bind(Function.prototype.toString);
  const SHOWN = 1000;
  // What is there before the first statement is not the session's own.
  const before = new Set(getOwnPropertyNames(globalThis));
  const isPlain = (value) => value !== null && typeof value === "object" && (getPrototypeOf(value) === Object.prototype || getPrototypeOf(value) === null);
  const isScalar = (value) => value === null || typeof value !== "object" || value instanceof Date || value instanceof Uint8Array;
  const isRow = (value) => isPlain(value) && keys(value).length > 0 && keys(value).every((name) => isScalar(value[name]));

  async function present(value) {
    if (value === undefined) return;
    let rows, more = false;
    if (isItems(value)) {
      rows = [];
      for await (const row of value) {
        if (rows.length === SHOWN) { more = true; break; }
        rows.push(row);
      }
      value = rows;
      if (rows.length === 0) print("(nothing)");
    } else if (isArray(value) && value.length > 0 && value.slice(0, SHOWN).every(isRow)) {
      rows = value.slice(0, SHOWN);
      more = value.length > SHOWN;
    }
    if (rows === undefined) print(shown(value));
    else if (rows.length > 0) table(rows);
    if (more) print(`... the first ${SHOWN} are shown`);
    defineProperty(globalThis, "_", { value, writable: true, configurable: true, enumerable: false });
  }

  // A value as an expression that makes it again; of what is more than data none.
  function source(value, within) {
    switch (typeof value) {
      case "undefined": case "boolean": return `${value}`;
      case "number": return is(value, -0) ? "-0" : `${value}`;
      case "bigint": return `${value}n`;
      case "string": return stringify(value);
      case "object": break;
      default: throw new TypeError("no data");
    }
    if (value === null) return "null";
    if (within.length > 50 || within.includes(value)) throw new TypeError("no data");
    const inner = [...within, value];
    if (isArray(value)) return `[${value.map((item) => source(item, inner)).join(",")}]`;
    switch (getPrototypeOf(value)) {
      case Date.prototype: return `new Date(${value.getTime()})`;
      case Uint8Array.prototype: return `new Uint8Array([${value.join(",")}])`;
      case Map.prototype: return `new Map(${source([...value], inner)})`;
      case Set.prototype: return `new Set(${source([...value], inner)})`;
      case Object.prototype: case null: break;
      default: throw new TypeError("no data");
    }
    return `({${keys(value).map((name) => `[${stringify(name)}]:${source(value[name], inner)}`).join(",")}})`;
  }

  // The session's own variables, each with its text, or null where it is more than data.
  function dump() {
    const all = [];
    let room = 4 << 20;
    for (const name of getOwnPropertyNames(globalThis)) {
      if (before.has(name)) continue;
      let text = null;
      try {
        const value = globalThis[name];
        text = typeof value === "function" ? `(${textOf(value)})` : source(value, []);
      } catch { /* more than data */ }
      if (text !== null && text.length > room) text = null;
      room -= text?.length ?? 0;
      all.push([name, text]);
    }
    return all;
  }

  // Have the variables of another session. What is the same stays as it is, and what is more than data too.
  function load(all) {
    const given = new Map(all), own = new Map(dump());
    for (const name of own.keys()) {
      if (given.has(name)) continue;
      try { delete globalThis[name]; } catch { globalThis[name] = undefined; }
    }
    for (const [name, text] of given) {
      if (text === null || own.get(name) === text) continue;
      try { globalThis[name] = evaluate(text); } catch { /* then it has to do without */ }
    }
  }
  return { present, dump, load };
})

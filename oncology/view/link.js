// Two pages side by side: what is looked at and when goes from one to the other through the page that holds both.
const Link = (() => {
  const SHARED = ["day", "cross", "centre", "zoom", "camera", "radiological", "theme", "cut", "cutTumour", "planes", "window", "level"];
  let last = null, linked = false;

  const shared = ({ state }) => JSON.stringify(SHARED.map((name) => state[name]));

  // Tell the other page; called after every picture.
  function tell(view) {
    if (!linked) return;
    const now = shared(view);
    if (now === last) return;
    last = now;
    window.parent.postMessage({ oncology: JSON.parse(now), moving: Boolean(view.moving) }, "*");
  }

  // Take over what the other page tells; days that this one does not have are cut to its own.
  function adopt(view, values, moving) {
    const { state, first, last: end } = view, { day, theme } = state, given = Object.fromEntries(SHARED.map((name, k) => [name, values[k]]));
    Object.assign(state, given, { theme, day: Math.min(end, Math.max(first, given.day)) });
    view.moving = moving;
    if (theme !== given.theme) view.setTheme(given.theme);
    last = shared(view);  // not told back
    view.change(state.day !== day);
  }

  function listen(view) {
    window.addEventListener("message", ({ source, data }) => {
      if (source !== window.parent || source === window || !data || !data.oncology) return;
      if (data.oncology === "link") { linked = true; last = shared(view); }
      else if (linked && Array.isArray(data.oncology)) adopt(view, data.oncology, data.moving);
    });
  }

  return { listen, tell };
})();

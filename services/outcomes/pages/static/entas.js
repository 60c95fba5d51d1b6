// Keeps an open page fresh: asks for its live part every few seconds, and leaves it alone while nobody looks.
(() => {
  "use strict";
  const EVERY = 4000;
  const LONGEST = 60000;
  const main = document.querySelector("main[data-live]");
  const sign = document.querySelector(".live");
  if (!main || !window.fetch) return;

  let etag = null;
  let pause = EVERY;
  let timer = 0;

  const say = (on) => {
    sign.hidden = false;
    sign.classList.toggle("is-off", !on);
    sign.textContent = on ? sign.dataset.on : sign.dataset.off;
  };

  // Where the reader is, in a form that survives the exchange: the place of an element among its like.
  const placeOf = (element) => {
    if (!main.contains(element)) return null;
    const name = element.tagName;
    return [name, [...main.getElementsByTagName(name)].indexOf(element)];
  };

  const exchange = (html) => {
    const opened = [...main.querySelectorAll("details[open][id]")].map((details) => details.id);
    const place = placeOf(document.activeElement);
    const scrolled = [...main.querySelectorAll(".scroll")].map((box) => box.scrollLeft);
    const fresh = new DOMParser().parseFromString(html, "text/html").body;
    main.replaceChildren(...fresh.childNodes);
    for (const id of opened) {
      const details = document.getElementById(id);
      if (details) details.open = true;
    }
    main.querySelectorAll(".scroll").forEach((box, n) => { box.scrollLeft = scrolled[n] || 0; });
    if (place) {
      const again = main.getElementsByTagName(place[0])[place[1]];
      if (again) again.focus({ preventScroll: true });
    }
  };

  const look = async () => {
    try {
      const headers = etag ? { "If-None-Match": etag } : {};
      const answer = await fetch(main.dataset.live, { headers, cache: "no-store" });
      if (answer.status === 200) {
        const stamp = answer.headers.get("ETag");
        const html = await answer.text();
        const known = etag || `W/"${main.dataset.stamp}"`;
        if (stamp !== known) exchange(html);
        etag = stamp;
      } else if (answer.status !== 304) {
        throw new Error(String(answer.status));
      }
      pause = EVERY;
      say(true);
    } catch {
      pause = Math.min(pause * 2, LONGEST);
      say(false);
    }
    wait();
  };

  const wait = () => {
    window.clearTimeout(timer);
    if (!document.hidden) timer = window.setTimeout(look, pause);
  };

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) window.clearTimeout(timer);
    else look();
  });
  say(true);
  wait();
})();

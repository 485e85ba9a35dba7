
"use strict";
addEventListener("error", (event) => { document.documentElement.dataset.error = event.message; });

for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  const value = (row, i) => {
    const cell = row.cells[i];
    return cell.dataset.v === undefined ? cell.textContent : Number(cell.dataset.v === "nan" ? NaN : cell.dataset.v.replace("inf", "Infinity"));
  };
  const order = (a, b) => {
    if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
    if (typeof a === "string") return a.localeCompare(b);
    return Number.isNaN(a) - Number.isNaN(b) || a - b;
  };
  heads.forEach((head, i) => head.addEventListener("click", () => {
    const numeric = head.classList.contains("n"), was = head.getAttribute("aria-sort");
    const up = was ? was === "descending" : !numeric;
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const rows = [...body.rows].sort((a, b) => (up ? 1 : -1) * order(value(a, i), value(b, i)));
    body.append(...rows);
  }));
}

for (const box of document.querySelectorAll(".mapbox")) {
  const svg = box.querySelector("svg.map"), pan = svg.querySelector(".pan"), tip = box.querySelector(".tip");
  const [, , width, height] = svg.getAttribute("viewBox").split(" ").map(Number);
  const say = (element) => {
    const title = element.querySelector("title"), words = title.textContent;
    title.remove();
    return words;
  };
  const at = (element) => element.getAttribute("transform").match(/-?[\d.]+/g).map(Number);
  const round = (element, words) => ({
    element, words, x: +element.getAttribute("cx"), y: +element.getAttribute("cy"), r: +element.getAttribute("r"),
  });
  const circles = [...svg.querySelectorAll(".metros circle")].map((element) => round(element, say(element)));
  const rings = [...svg.querySelectorAll(".ring")].map((element) => round(element, ""));
  const sites = [...svg.querySelectorAll(".site")].map((element) => {
    const [x, y] = at(element);
    return { element, x, y, r: 5, words: say(element) };
  });
  const labels = [...svg.querySelectorAll(".label")].map((element) => ({ element, x: at(element)[0], y: at(element)[1] }));
  const points = svg.querySelector(".points");
  let k = 1, left = 0, top = 0, rest = 1;

  const apart = (a, b) => a.right < b.left || b.right < a.left || a.bottom < b.top || b.bottom < a.top;
  const place = (item, scale) => item.element.setAttribute("transform", `translate(${item.x} ${item.y}) scale(${scale})`);
  const tidy = () => {
    const shown = [], frame = svg.getBoundingClientRect();
    for (const { element } of labels) {
      element.style.visibility = "";
      const here = element.querySelector("text").getBoundingClientRect();
      const inside = here.left >= frame.left && here.right <= frame.right;
      if (inside && shown.every((other) => apart(here, other))) shown.push(here);
      else element.style.visibility = "hidden";
    }
  };
  const draw = () => {
    left = Math.min(0, Math.max(left, width * (1 - k)));
    top = Math.min(0, Math.max(top, height * (1 - k)));
    const pixels = svg.getBoundingClientRect().width / width || 1;
    const larger = Math.min(Math.max(0.85 / pixels, 1), 2.2), size = (larger ** 0.5) / k;
    rest = k ** -0.6;
    pan.setAttribute("transform", `translate(${left} ${top}) scale(${k})`);
    for (const item of [...circles, ...rings]) item.element.setAttribute("r", item.r * rest);
    for (const item of sites) place(item, size * k ** 0.25);
    for (const item of labels) place(item, larger / k);
    if (points) points.style.strokeWidth = `${2 * k ** 0.25}px`;
    svg.classList.toggle("zoomed", k > 1);
    tidy();
  };
  const point = (event) => {
    const frame = svg.getBoundingClientRect();
    return [(event.clientX - frame.left) * width / frame.width, (event.clientY - frame.top) * height / frame.height];
  };
  const zoom = (factor, x, y) => {
    const next = factor ? Math.min(40, Math.max(1, k * factor)) : 1;
    left = x - (x - left) * next / k;
    top = y - (y - top) * next / k;
    k = next;
    draw();
  };
  const nearest = (x, y, reach) => {
    let best = null, least = reach;
    const look = (items, grown, ahead) => {
      for (const item of items) {
        const distance = Math.hypot(item.x * k + left - x, item.y * k + top - y) - item.r * grown;
        const rank = Math.max(distance, 0) + (distance < 0 ? item.r * 1e-3 : 0) - ahead;
        if (distance < reach && rank < least) [best, least] = [item, rank];
      }
    };
    if (!svg.classList.contains("no-metros")) look(circles, rest * k, 0);
    look(sites, 1, 1);
    return best;
  };
  const tell = (event) => {
    const frame = svg.getBoundingClientRect(), found = nearest(...point(event), 9 * width / frame.width);
    tip.hidden = !found;
    if (!found) return;
    tip.textContent = found.words;
    const x = event.clientX - frame.left, y = event.clientY - frame.top;
    const across = Math.max(4, Math.min(x + 14, frame.width - tip.offsetWidth - 6));
    const down = y + 18 + tip.offsetHeight > frame.height ? y - tip.offsetHeight - 12 : y + 18;
    tip.style.transform = `translate(${across}px, ${down}px)`;
  };

  const held = new Map();
  svg.addEventListener("pointerdown", (event) => {
    held.set(event.pointerId, [event.clientX, event.clientY]);
    tell(event);
  });
  svg.addEventListener("pointermove", (event) => {
    const was = held.get(event.pointerId);
    if (!was) { tell(event); return; }
    const unit = width / svg.getBoundingClientRect().width, others = [...held].filter(([id]) => id !== event.pointerId);
    if (others.length) {
      const [x, y] = others[0][1], far = (px, py) => Math.hypot(px - x, py - y) || 1;
      zoom(far(event.clientX, event.clientY) / far(...was), ...point({ clientX: x, clientY: y }));
    } else if (k > 1) {
      left += (event.clientX - was[0]) * unit;
      top += (event.clientY - was[1]) * unit;
      svg.classList.add("held");
      svg.setPointerCapture(event.pointerId);
      tip.hidden = true;
      draw();
    }
    held.set(event.pointerId, [event.clientX, event.clientY]);
  });
  const let_go = (event) => { held.delete(event.pointerId); svg.classList.remove("held"); };
  for (const name of ["pointerup", "pointercancel"]) svg.addEventListener(name, let_go);
  svg.addEventListener("pointerleave", () => { tip.hidden = true; });
  svg.addEventListener("dblclick", (event) => { event.preventDefault(); zoom(2, ...point(event)); });
  svg.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey && k === 1) return;
    event.preventDefault();
    zoom(1.0018 ** -event.deltaY, ...point(event));
  }, { passive: false });
  for (const button of box.querySelectorAll("[data-zoom]")) {
    button.addEventListener("click", () => zoom(+button.dataset.zoom, width / 2, height / 2));
  }
  for (const button of box.querySelectorAll("[data-layer]")) {
    button.addEventListener("click", () => {
      const hidden = svg.classList.toggle(`no-${button.dataset.layer}`);
      button.setAttribute("aria-pressed", String(!hidden));
      tidy();
    });
  }
  addEventListener("resize", draw);
  addEventListener("beforeprint", () => zoom(0, 0, 0));
  draw();
}
document.documentElement.dataset.ready = "yes";

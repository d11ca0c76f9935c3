// The gallery: filters, pages, the detail view, and the charts' filtered bars. Texts are never inserted as markup.
"use strict";
(() => {
  const PAGE = 60, FAILURES_A_PAGE = 100, SVG = "http://www.w3.org/2000/svg";
  const WORDS = {taxon: "named", unknown: "unknown", blank: "blank", person: "person", vehicle: "vehicle", unclassified: "not classified"};
  const REVIEW_MARKS = {"agrees": "✓ agrees", "less specific": "≈ less specific", "differs": "✗ differs", "other": "• reviewed"};
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("data").textContent);
  const levels = data.ranks.concat(["label", "group"]);

  // The meaning of the rows of numbers.
  const taxa = data.taxa.map(([name, rank, common, lineage]) => ({name, rank, common, lineage}));
  const named = (pair) => pair && {taxon: taxa[pair[0]], number: pair[0], probability: pair[1]};
  const entries = data.entries.map((row, number) => {
    const [image, place, box, detector, verdict, decided, candidates, flags, event, trail, reviews, agreement] = row;
    const [file, frame, moment, offset, station, where] = data.images[image];
    const best = named(decided || candidates[0]);
    return {
      number, image, place, box, detector, flags, event, trail, file, frame, moment, offset, station, where,
      verdict: data.verdicts[verdict], decided: named(decided), candidates: candidates.map(named),
      probability: best ? best.probability : null, best,
      reviews: reviews.map((index) => data.reviews[index]), agreement: data.agreements[agreement],
      day: moment.slice(0, 10), hour: moment ? Number(moment.slice(11, 13)) : -1, lowered: file.toLowerCase(),
    };
  });
  const ofImage = new Map();
  for (const entry of entries) {
    if (!ofImage.has(entry.image)) ofImage.set(entry.image, []);
    ofImage.get(entry.image).push(entry);
  }

  // Elements are built from text alone, never from markup.
  function element(name, attributes, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) if (value !== null && value !== undefined) made.setAttribute(key, value);
    made.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
    return made;
  }
  function shape(name, attributes, ...children) {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }
  const percent = (share) => share === null ? "" : share > 0 && share < 0.001 ? "<0.1%" : share > 0.9949 && share < 1 ? ">99%" : `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)}%`;
  const count = (number) => number.toLocaleString("en");
  const moment = (entry) => entry.moment ? entry.moment.replace("T", " ") + entry.offset : "";
  const scientific = (taxon) => element(["genus", "species"].includes(taxon.rank) ? "i" : "span", null, taxon.name);
  const titled = (entry) => entry.decided ? entry.decided.taxon.name : WORDS[entry.verdict];
  const station = (entry) => data.stations[entry.station][0];
  // Only Windows paths are split at backslashes: elsewhere a backslash may begin the visible form of a control character.
  const lastPart = (file) => file.split(/^([A-Za-z]:\\|\\\\)/.test(file) ? /[\\/]/ : "/").pop() || file;
  const fileName = (entry) => lastPart(entry.file) + (entry.frame ? ` #${entry.frame}` : "");

  // Thumbnails: one data block per image, read when it is shown.
  function thumbnails(entry) {
    const block = byId(`t${entry.image}`);
    return block ? JSON.parse(block.textContent) : null;
  }
  function picture(entry, kept, closeUp, label) {
    const shown = kept && ((closeUp && kept.c && kept.c[entry.place]) || kept.i);
    if (!shown) {
      const reason = kept ? kept.e || "no picture" : "";
      return element("div", {class: kept ? "no-picture" : "no-picture pending", role: label ? "img" : null, "aria-label": label ? `No picture: ${reason}` : null},
        element("span", null, reason));
    }
    const [bytes, width, height, part] = shown;
    const drawn = shape("svg", {viewBox: `0 0 ${width} ${height}`, class: "picture", ...(label ? {role: "img", "aria-label": label} : {"aria-hidden": "true"})},
      shape("image", {href: `data:${data.mime};base64,${bytes}`, width, height}));
    for (const one of ofImage.get(entry.image)) {
      if (!one.box) continue;
      const [x, y, w, h] = one.box, across = width / part[2], down = height / part[3];
      const kind = one.verdict === "person" || one.verdict === "vehicle" ? one.verdict : "thing";
      drawn.append(shape("rect", {class: `box ${kind}${one === entry ? " own" : ""}`, x: (x - part[0]) * across, y: (y - part[1]) * down, width: w * across, height: h * down}));
    }
    return drawn;
  }
  const described = (entry) => `${titled(entry)}${entry.probability === null ? "" : `, ${percent(entry.probability)}`}, ${fileName(entry)}`;

  // Groups: the taxon of each entry at the chosen rank.
  let groups = [], groupOf = [];
  function regroup(rank) {
    const place = data.ranks.indexOf(rank), found = new Map();
    groupOf = entries.map((entry) => {
      let id, name, taxon = null;
      if (!entry.decided) {
        id = `~${entry.verdict}`; name = WORDS[entry.verdict];
      } else {
        taxon = entry.decided.taxon;
        const own = place < 0 ? (data.ranks.includes(taxon.rank) ? "" : taxon.name) : taxon.lineage[place];
        if (own) { id = place < 0 ? own : taxon.lineage.slice(0, place + 1).join("\u0000"); name = own; }
        else { id = "~"; name = `not named to ${rank}`; }
      }
      if (!found.has(id)) found.set(id, {id, name, common: "", size: 0, special: id.startsWith("~")});
      const group = found.get(id);
      group.size += 1;
      if (taxon && taxon.rank === rank && taxon.common) group.common = taxon.common;
      return group;
    });
    groups = [...found.values()].sort((a, b) => a.special - b.special || b.size - a.size || (a.name < b.name ? -1 : 1));
    groups.forEach((group, order) => { group.order = order; });
  }

  // Filters.
  const controls = {};
  for (const id of ["search", "rank", "taxon", "named", "verdict", "camera", "from", "to", "least", "most", "reviewed", "order"]) controls[id] = byId(id);
  function option(select, value, text) { select.append(element("option", {value}, text)); }
  function fillTaxa() {
    controls.taxon.replaceChildren();
    option(controls.taxon, "", "all");
    const sorted = [...groups].sort((a, b) => a.special - b.special || (a.name < b.name ? -1 : a.name > b.name ? 1 : a.order - b.order));
    for (const group of sorted) option(controls.taxon, String(group.order), `${group.name}${group.common ? ` · ${group.common}` : ""} (${count(group.size)})`);
  }
  function fillControls() {
    const present = levels.filter((level) => entries.some((entry) => entry.decided && (entry.decided.taxon.rank === level || entry.decided.taxon.lineage[data.ranks.indexOf(level)])));
    for (const level of present) option(controls.rank, level, level);
    if (!present.length) option(controls.rank, "species", "species");
    const preferred = present.includes("label") ? "label" : present.includes("species") ? "species" : present[present.length - 1] || "species";
    for (const one of controls.rank.options) one.defaultSelected = one.value === preferred;
    controls.rank.value = preferred;
    option(controls.named, "", "any rank");
    for (const level of present.filter((one) => entries.some((entry) => entry.decided && entry.decided.taxon.rank === one)).reverse()) option(controls.named, level, level);
    option(controls.verdict, "", "all");
    for (const verdict of data.verdicts) if (entries.some((entry) => entry.verdict === verdict)) option(controls.verdict, verdict, WORDS[verdict]);
    option(controls.camera, "", "all");
    data.stations.map(([name], number) => [name, number]).sort((a, b) => (a[0] < b[0] ? -1 : 1)).forEach(([name, number]) => option(controls.camera, String(number), name));
    option(controls.reviewed, "", "all");
    for (const [value, text] of [["none", "not reviewed"], ["any", "reviewed"], ["agrees", "agrees"], ["less specific", "less specific"], ["differs", "differs"]]) option(controls.reviewed, value, text);
    for (const [value, text] of [["taxon", "taxon, most certain first"], ["unsure", "least certain first"], ["sure", "most certain first"], ["time", "time"], ["file", "file name"]]) option(controls.order, value, text);
    const days = entries.map((entry) => entry.day).filter(Boolean).sort();
    for (const control of [controls.from, controls.to]) {
      if (days.length) { control.min = days[0]; control.max = days[days.length - 1]; } else control.disabled = true;
    }
  }
  function passes() {
    const value = Object.fromEntries(Object.entries(controls).map(([id, control]) => [id, control.value]));
    const wanted = value.search.trim().toLowerCase(), least = value.least / 100, most = value.most / 100;
    const unsure = Number(value.least) > 0 || Number(value.most) < 100;
    return (entry) =>
      (!wanted || entry.lowered.includes(wanted)) &&
      (!value.taxon || groupOf[entry.number].order === Number(value.taxon)) &&
      (!value.named || (entry.decided !== null && entry.decided.taxon.rank === value.named)) &&
      (!value.verdict || entry.verdict === value.verdict) &&
      (!value.camera || entry.station === Number(value.camera)) &&
      (!value.from || (entry.day && entry.day >= value.from)) &&
      (!value.to || (entry.day && entry.day <= value.to)) &&
      (!unsure || (entry.probability !== null && entry.probability >= least && entry.probability <= most)) &&
      (!value.reviewed || (value.reviewed === "none" ? !entry.reviews.length : value.reviewed === "any" ? entry.reviews.length > 0 : entry.agreement === value.reviewed));
  }
  const sureness = (entry) => entry.probability === null ? -1 : entry.probability;
  const ORDERS = {
    taxon: (a, b) => groupOf[a.number].order - groupOf[b.number].order || sureness(b) - sureness(a) || a.number - b.number,
    unsure: (a, b) => (a.probability === null) - (b.probability === null) || sureness(a) - sureness(b) || a.number - b.number,
    sure: (a, b) => sureness(b) - sureness(a) || a.number - b.number,
    time: (a, b) => !a.moment - !b.moment || (a.moment < b.moment ? -1 : a.moment > b.moment ? 1 : a.number - b.number),
    file: (a, b) => (a.file < b.file ? -1 : a.file > b.file ? 1 : a.number - b.number),
  };

  // Pages of cards.
  let found = [], page = 0, pending = false;
  const pages = () => Math.max(1, Math.ceil(found.length / PAGE));
  function card(entry) {
    const kept = thumbnails(entry);
    if (!kept) pending = true;
    const group = groupOf[entry.number], title = entry.decided ? scientific(entry.decided.taxon) : element("span", {class: "quiet"}, WORDS[entry.verdict]);
    const guess = !entry.decided && entry.best ? element("small", null, "perhaps ", scientific(entry.best.taxon)) : entry.decided && entry.decided.taxon.common !== entry.decided.taxon.name ? element("small", null, entry.decided.taxon.common) : null;
    const review = entry.reviews.length ? element("span", {class: `mark ${entry.agreement.replace(" ", "-")}`}, REVIEW_MARKS[entry.agreement] || "• reviewed") : null;
    const seen = entry.probability === null && entry.detector && entry.detector[1] !== null ? element("span", {class: "quiet"}, `detector ${percent(entry.detector[1])}`) : null;
    const sure = entry.probability === null ? seen : element("span", {class: "sure"}, element("meter", {min: 0, max: 1, value: entry.probability, "aria-hidden": "true"}), percent(entry.probability));
    const made = element("button", {type: "button", class: "card", "data-entry": entry.number, "aria-label": `${described(entry)}${review ? `, review ${entry.agreement}` : ""}`},
      picture(entry, kept, true, ""),
      element("span", {class: "name"}, title, " ", guess),
      element("span", {class: "facts"}, sure, review || (entry.decided ? "" : entry.verdict === "unknown" ? element("span", {class: "mark"}, "uncertain") : "")),
      element("span", {class: "file"}, entry.day ? `${entry.day} ${entry.moment.slice(11, 16)}` : "no time"),
      element("span", {class: "file", title: entry.file}, fileName(entry)));
    made.addEventListener("click", () => openDetail(entry));
    return element("li", {"data-group": group.name}, made);
  }
  function showPage() {
    pending = false;
    const shown = found.slice(page * PAGE, (page + 1) * PAGE), cards = byId("cards"), rows = [];
    let last = null;
    for (const entry of shown) {
      const group = groupOf[entry.number];
      if (controls.order.value === "taxon" && group !== last) {
        const name = !group.special && ["genus", "species"].includes(controls.rank.value) ? element("i", null, group.name) : group.name;
        rows.push(element("li", {class: "group"}, element("h3", null, name, group.common && group.common !== group.name ? " " : "", group.common && group.common !== group.name ? element("small", null, group.common) : "")));
        last = group;
      }
      rows.push(card(entry));
    }
    cards.replaceChildren(...rows);
    if (!shown.length) cards.append(element("li", {class: "none"}, entries.length ? "No entry passes these filters." : "There are no results to show."));
    const all = entries.length === found.length ? `${count(found.length)} in all` : `${count(found.length)} of ${count(entries.length)}`;
    byId("count").textContent = `${all}, page ${count(page + 1)} of ${count(pages())}`;
    byId("page").value = page + 1;
    byId("page").max = pages();
    byId("pages").textContent = `of ${count(pages())}`;
    byId("pages-below").textContent = `${count(page + 1)} of ${count(pages())}`;
    for (const id of ["previous", "previous-below"]) byId(id).disabled = page === 0;
    for (const id of ["next", "next-below"]) byId(id).disabled = page >= pages() - 1;
  }
  function turn(to, above) {
    page = Math.min(Math.max(0, to), pages() - 1);
    showPage();
    if (above) { byId("gallery").scrollIntoView(); byId("gallery").focus({preventScroll: true}); }
  }
  function update() {
    byId("least-shown").textContent = `${controls.least.value}%`;
    byId("most-shown").textContent = `${controls.most.value}%`;
    found = entries.filter(passes()).sort(ORDERS[controls.order.value]);
    page = 0;
    showPage();
    drawCharts();
  }
  let waiting = 0;
  function soon() { if (!waiting) waiting = requestAnimationFrame(() => { waiting = 0; update(); }); }

  // The charts: dark bars and points count the filtered entries; without filters they count the whole run.
  const bars = [...document.querySelectorAll("rect.left")], spots = [...document.querySelectorAll("circle.spot")];
  const asWritten = [...bars, ...spots].map((one) => [one, Object.fromEntries([...one.attributes].map((attribute) => [attribute.name, attribute.value]))]);
  const mostWritten = document.querySelector("svg.activity .most") ? document.querySelector("svg.activity .most").textContent : "";
  function drawCharts() {
    const whole = found.length === entries.length, activity = document.querySelector("svg.activity"), map = document.querySelector("svg.map");
    if (whole) for (const [one, attributes] of asWritten) for (const [name, value] of Object.entries(attributes)) one.setAttribute(name, value);
    const hours = new Array(24).fill(0), stations = new Map();
    for (const entry of found) {
      if (entry.verdict === "blank") continue;
      if (entry.hour >= 0) hours[entry.hour] += 1;
      stations.set(entry.station, (stations.get(entry.station) || 0) + 1);
    }
    if (activity) {
      const floor = Number(activity.dataset.floor), room = Number(activity.dataset.room), most = Math.max(...hours);
      activity.querySelector(".most").textContent = whole ? mostWritten : `busiest hour: ${count(most)}`;
      if (!whole) for (const bar of bars) {
        const height = most ? room * hours[Number(bar.dataset.hour)] / most : 0;
        bar.setAttribute("height", height);
        bar.setAttribute("y", floor - height);
      }
    }
    if (map && !whole) {
      const most = Math.max(1, ...stations.values()), smallest = Number(map.dataset.smallest), largest = Number(map.dataset.largest);
      for (const spot of spots) {
        const regions = stations.get(Number(spot.dataset.station)) || 0;
        spot.setAttribute("r", regions ? smallest + (largest - smallest) * Math.sqrt(regions / most) : smallest);
        spot.setAttribute("class", regions ? "spot" : "spot none");
      }
    }
  }

  // The detail view.
  const dialog = byId("detail");
  let current = null;
  function facts(rows) {
    return element("dl", {class: "facts"}, ...rows.filter(([, value]) => value).map(([name, value]) => element("div", null, element("dt", null, name), element("dd", null, value))));
  }
  function candidateTable(entry) {
    if (!entry.candidates.length) return element("p", {class: "note"}, "The model did not answer for this region.");
    const rows = entry.candidates.map((one) => element("tr", null,
      element("th", {scope: "row", title: [one.taxon.name, one.taxon.common].filter(Boolean).join(" · ")}, scientific(one.taxon), " ", one.taxon.common && one.taxon.common !== one.taxon.name ? element("small", null, one.taxon.common) : null),
      element("td", null, element("meter", {min: 0, max: 1, value: one.probability, "aria-hidden": "true"})),
      element("td", {class: "n"}, percent(one.probability))));
    return element("table", {class: "candidates one-line"}, element("thead", null, element("tr", null, element("th", {scope: "col"}, "candidate"), element("th", {scope: "col"}, ""), element("th", {scope: "col", class: "n"}, "probability"))), element("tbody", null, ...rows));
  }
  function decision(entry) {
    const parts = [element("p", {class: "verdict"}, entry.decided ? scientific(entry.decided.taxon) : WORDS[entry.verdict])];
    if (entry.decided) {
      const taxon = entry.decided.taxon, lineage = taxon.lineage.filter(Boolean).slice(0, -1).join(" › ");
      parts.push(element("p", {class: "note"}, [taxon.common !== taxon.name ? taxon.common : "", taxon.rank, percent(entry.decided.probability)].filter(Boolean).join(" · ")));
      if (lineage) parts.push(element("p", {class: "note"}, lineage));
    }
    for (const step of entry.trail) parts.push(element("p", {class: "note step"}, step));
    return element("section", {class: "side"}, element("h3", null, "Decision"), ...parts);
  }
  function review(entry) {
    const said = [...entry.reviews].reverse().map(([verdict, number, reviewer, day, comment, about]) => element("div", null,
      element("p", {class: "verdict"}, number >= 0 ? scientific(taxa[number]) : verdict.replaceAll("_", " ")),
      element("p", {class: "note"}, `${reviewer}, ${day}${about === "region" ? "" : `, of the ${about === "media" ? "image" : "event"}`}`),
      comment ? element("p", {class: "note"}, comment) : null));
    const mark = entry.reviews.length ? element("span", {class: `mark ${entry.agreement.replace(" ", "-")}`}, REVIEW_MARKS[entry.agreement] || "• reviewed") : null;
    return element("section", {class: "side"}, element("h3", null, "Review ", mark), ...(said.length ? said : [element("p", {class: "note"}, "Not reviewed yet.")]));
  }
  function openDetail(entry) {
    current = entry;
    const kept = thumbnails(entry), label = `${described(entry)}, box drawn`;
    const close = kept && kept.c && kept.c[entry.place];
    byId("detail-title").replaceChildren(entry.decided ? scientific(entry.decided.taxon) : WORDS[entry.verdict]);
    byId("detail-place").textContent = `${count(found.indexOf(entry) + 1)} of ${count(found.length)}`;
    const [category, confidence, detector] = entry.detector || ["", null, ""];
    byId("detail-body").replaceChildren(
      element("div", {class: close ? "pictures two" : "pictures"}, picture(entry, kept, false, `Whole image: ${label}`), close ? picture(entry, kept, true, `Close-up: ${label}`) : null),
      element("div", {class: "sides"}, element("section", {class: "side"}, element("h3", null, "Candidates"), candidateTable(entry)), decision(entry), review(entry)),
      facts([["File", entry.file + (entry.frame ? `, frame ${entry.frame}` : "")], ["Taken", moment(entry)], ["Camera", station(entry)], ["Place", [entry.where, data.stations[entry.station][1]].filter(Boolean).join(" · ")], ["Event", entry.event],
        ["Detector", entry.box ? [category, confidence === null ? "" : percent(confidence), detector].filter(Boolean).join(" · ") : ""], ["Flags", entry.flags.join(", ").replaceAll("_", " ")]]));
    const place = found.indexOf(entry);
    byId("earlier").disabled = place <= 0;
    byId("later").disabled = place < 0 || place >= found.length - 1;
    if (!dialog.open) dialog.showModal();
    byId("detail-body").scrollTop = 0;
  }
  function step(by) {
    const to = found[found.indexOf(current) + by];
    if (!to) return;
    const focused = document.activeElement;
    openDetail(to);
    if (focused && focused.disabled) byId("close").focus();
    const itsPage = Math.floor(found.indexOf(to) / PAGE);
    if (itsPage !== page) turn(itsPage, false);
  }

  // Failures.
  let failurePage = 0;
  function showFailures() {
    if (!byId("failure-list")) return;
    const wanted = byId("failure-search").value.trim().toLowerCase();
    const listed = data.failures.filter(([file, , stage, reason]) => !wanted || `${file} ${stage} ${reason}`.toLowerCase().includes(wanted));
    const last = Math.max(0, Math.ceil(listed.length / FAILURES_A_PAGE) - 1);
    failurePage = Math.min(Math.max(0, failurePage), last);
    byId("failure-list").replaceChildren(...listed.slice(failurePage * FAILURES_A_PAGE, (failurePage + 1) * FAILURES_A_PAGE).map(([file, frame, stage, reason]) =>
      element("li", null, element("span", {class: "file"}, file + (frame ? ` #${frame}` : "")), element("span", {class: "reason"}, `${stage}: ${reason}`))));
    byId("failure-count").textContent = `${count(listed.length)} image${listed.length === 1 ? "" : "s"}${last ? `, page ${failurePage + 1} of ${last + 1}` : ""}`;
    byId("failure-previous").disabled = failurePage === 0;
    byId("failure-next").disabled = failurePage >= last;
    byId("failure-next").parentElement.hidden = last === 0;
  }

  // Actions of the reader.
  function listen() {
    byId("filters").addEventListener("input", (event) => {
      if (event.target === controls.rank) { regroup(controls.rank.value); fillTaxa(); }
      soon();
    });
    byId("filters").addEventListener("submit", (event) => event.preventDefault());
    byId("filters").addEventListener("reset", () => setTimeout(() => { regroup(controls.rank.value); fillTaxa(); update(); }));
    byId("previous").addEventListener("click", () => turn(page - 1, false));
    byId("next").addEventListener("click", () => turn(page + 1, false));
    byId("previous-below").addEventListener("click", () => turn(page - 1, true));
    byId("next-below").addEventListener("click", () => turn(page + 1, true));
    byId("page").addEventListener("change", () => turn((Number(byId("page").value) || 1) - 1, false));
    byId("close").addEventListener("click", () => dialog.close());
    byId("earlier").addEventListener("click", () => step(-1));
    byId("later").addEventListener("click", () => step(1));
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
    dialog.addEventListener("keydown", (event) => {
      if (event.key === "ArrowLeft") step(-1);
      else if (event.key === "ArrowRight") step(1);
      else return;
      event.preventDefault();
    });
    dialog.addEventListener("close", () => {
      const opener = current && document.querySelector(`[data-entry="${current.number}"]`);
      if (opener) opener.focus();
    });
    for (const button of document.querySelectorAll("button.pick")) button.addEventListener("click", () => pick(button.dataset));
    if (byId("failure-list")) {
      byId("failure-search").addEventListener("input", () => { failurePage = 0; showFailures(); });
      byId("failure-previous").addEventListener("click", () => { failurePage -= 1; showFailures(); });
      byId("failure-next").addEventListener("click", () => { failurePage += 1; showFailures(); });
    }
  }
  function pick(chosen) {
    if (chosen.rank) {
      controls.rank.value = chosen.rank;
      regroup(chosen.rank);
      fillTaxa();
      const group = groups.find((one) => !one.special && one.name === chosen.name);
      controls.taxon.value = group ? String(group.order) : "";
    }
    if (chosen.verdict) controls.verdict.value = chosen.verdict;
    if (chosen.camera) controls.camera.value = chosen.camera;
    update();
    byId("gallery").scrollIntoView();
    byId("gallery").focus({preventScroll: true});
  }

  fillControls();
  regroup(controls.rank.value);
  fillTaxa();
  listen();
  update();
  showFailures();
  const ready = () => { if (pending) showPage(); document.documentElement.dataset.ready = "yes"; };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", ready); else ready();
})();

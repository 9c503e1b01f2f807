"use strict";
// Which samples are shown, which one is current, and what a person has judged of each.
(() => {
  const { run, place, header, label, words, classes, samples } = JSON.parse(document.getElementById("samples").textContent);
  const UNCLEAR = -1; // a judgment; all others are the number of a class
  const cards = [...document.querySelectorAll("figure")];
  const judged = new Map(); // by the name of the sample
  const past = []; // what was judged before, to be undone
  let current = -1;
  let kept = true;
  const part = (id) => document.getElementById(id);

  // ---- which are shown: those of a pair of classes, those whose name or labels hold some words
  const form = part("filter");
  const texts = cards.map((card) => card.textContent.toLowerCase());
  const filter = () => {
    const wanted = part("text").value.toLowerCase().split(/\s+/).filter(Boolean);
    const pair = part("pair").value;
    let count = 0;
    cards.forEach((card, number) => {
      const fits = (!pair || card.dataset.pair === pair) && wanted.every((word) => texts[number].includes(word));
      card.hidden = !fits;
      count += fits;
    });
    part("shown").value = `${count} of ${cards.length} shown`;
    if (!cards[current] || cards[current].hidden) go(cards.findIndex((card) => !card.hidden));
  };

  // ---- which one is current
  const go = (number, scroll = true) => {
    cards[current]?.removeAttribute("aria-current");
    current = number;
    cards[current]?.setAttribute("aria-current", "true");
    if (!scroll || current < 0) return;
    const { top, bottom } = cards[current].getBoundingClientRect();
    if (top < Math.max(0, part("bar").getBoundingClientRect().bottom) || bottom > innerHeight) {
      cards[current].scrollIntoView({ block: "center" });
    }
  };
  const move = (by) => {
    let number = current + by;
    while (cards[number]?.hidden) number += by;
    if (cards[number]) go(number);
  };

  // ---- what is judged, kept in this browser
  const read = () => {
    judged.clear();
    try {
      for (const [key, verdict] of JSON.parse(localStorage.getItem(place) ?? "[]")) judged.set(key, verdict);
    } catch {
      kept = false;
    }
  };
  const keep = () => {
    try {
      localStorage.setItem(place, JSON.stringify([...judged]));
      kept = true;
    } catch {
      kept = false;
    }
  };
  const draw = (number) => {
    const { key, given } = samples[number];
    const verdict = judged.get(key);
    const line = cards[number].querySelector(".judged");
    cards[number].toggleAttribute("data-judged", verdict !== undefined);
    if (verdict === undefined) line.textContent = "";
    else if (verdict === UNCLEAR) line.textContent = "unclear";
    else line.textContent = verdict === given ? `stays ${classes[given].shown}` : `is ${classes[verdict].shown}`;
  };
  const count = () => {
    const done = samples.filter(({ key }) => judged.has(key)).length;
    const lost = kept ? "" : " (this browser keeps nothing: download before you leave)";
    part("progress").value = `${done} of ${samples.length} judged${lost}`;
  };
  const drawAll = () => {
    samples.forEach((_, number) => draw(number));
    count();
  };
  const judge = (verdict) => {
    if (current < 0) return;
    const { key } = samples[current];
    past.push([current, judged.get(key)]);
    judged.set(key, verdict);
    keep();
    draw(current);
    count();
    move(1);
  };
  const undo = () => {
    if (!past.length) return;
    const [number, before] = past.pop();
    if (before === undefined) judged.delete(samples[number].key);
    else judged.set(samples[number].key, before);
    keep();
    draw(number);
    count();
    if (cards[number].hidden) form.reset();
    filter();
    go(number);
  };
  const accept = () => current >= 0 && judge(samples[current].suggested);
  const refuse = () => current >= 0 && judge(samples[current].given);
  const unclear = () => judge(UNCLEAR);
  const give = () => {
    part("class").blur(); // so that keys judge again
    judge(Number(part("class").value));
  };

  // ---- what is taken away
  const download = (name, type, text) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  };
  const row = ({ key, cell, given }) => {
    const verdict = judged.get(key);
    if (verdict === undefined) return [];
    if (verdict === UNCLEAR) return [`${cell},,${words.unclear}`];
    return [`${cell},${classes[verdict].cell},${verdict === given ? words.right : words.wrong}`];
  };
  const table = () => [header, ...samples.flatMap(row), ""].join("\n");
  const answer = (verdict) => [
    { from_name: label, to_name: "image", type: "choices", value: { choices: [classes[verdict].shown] } },
  ];
  const task = ({ key, given, suggested, confidence }, number) => {
    const picture = cards[number].querySelector(":scope > img");
    const verdict = judged.get(key) ?? UNCLEAR;
    if (!picture) return [];
    return [{
      data: { image: picture.src, key, given_label: classes[given].shown },
      predictions: [{ model_version: run, score: confidence ?? undefined, result: answer(suggested) }],
      annotations: verdict === UNCLEAR ? [] : [{ result: answer(verdict) }],
    }];
  };
  const tasks = () => JSON.stringify(samples.flatMap(task), null, 1);

  // ---- keys and buttons
  const keys = {
    y: accept, n: refuse, u: unclear, z: undo, c: () => part("class").focus(),
    j: () => move(1), ArrowRight: () => move(1), k: () => move(-1), ArrowLeft: () => move(-1),
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches("select, input")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const digit = /^[0-9]$/.test(event.key) ? (Number(event.key) + 9) % 10 : -1;
    const action = classes[digit] ? () => judge(digit) : Object.hasOwn(keys, event.key) && keys[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
  part("class").addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    give();
  });
  const click = (id, action) => part(id).addEventListener("click", action);
  click("previous", () => move(-1));
  click("next", () => move(1));
  click("undo", undo);
  click("download", () => download("reviewed.csv", "text/csv", table()));
  click("tasks", () => download("label_studio.json", "application/json", tasks()));
  part("work").addEventListener("submit", (event) => {
    event.preventDefault();
    give();
  });
  cards.forEach((card, number) => {
    card.addEventListener("click", () => go(number, false));
    const line = document.createElement("p");
    line.className = "judged";
    const choices = document.createElement("div");
    choices.className = "choices";
    for (const [name, action] of [["suggested", accept], ["given", refuse], ["unclear", unclear]]) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = name;
      button.addEventListener("click", (event) => {
        event.stopPropagation(); // the next one is current by then
        go(number, false);
        action();
      });
      choices.append(button);
    }
    card.querySelector("figcaption").append(line, choices);
  });
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  addEventListener("storage", (event) => {
    if (event.key !== place && event.key !== null) return;
    read(); // what was judged in another window of this page
    drawAll();
  });

  read();
  drawAll();
  part("work").hidden = false;
  const first = Math.max(0, samples.findIndex(({ key }) => !judged.has(key)));
  go(first, first > 0);
  filter(); // a browser that goes back keeps what was chosen
})();

"use strict";
// Which samples are shown: those of a pair of classes, those whose name or labels hold some words.
(() => {
  const pair = document.getElementById("pair");
  const text = document.getElementById("text");
  const shown = document.getElementById("shown");
  const cards = [...document.querySelectorAll("figure")];
  const words = cards.map((card) => card.textContent.toLowerCase());
  const filter = () => {
    const wanted = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    cards.forEach((card, number) => {
      const fits = (!pair.value || card.dataset.pair === pair.value) && wanted.every((word) => words[number].includes(word));
      card.hidden = !fits;
      count += fits;
    });
    shown.value = `${count} of ${cards.length} shown`;
  };
  const form = document.getElementById("filter");
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  filter(); // a browser that goes back keeps what was chosen
})();
